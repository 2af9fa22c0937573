"""The same chat as one process beside PostgreSQL: FastAPI, SQLAlchemy, uvicorn.

It does what a chat of this kind usually does for a message: it checks the connection and the conversation, stores the
message, asks the model (which answers at once), stores the answer, and tells the client. There is no queue, and a
message whose process dies is lost.
"""

import os
import uuid
from contextlib import asynccontextmanager
from datetime import datetime, timezone

from fastapi import Depends, FastAPI, Header, HTTPException, WebSocket, WebSocketDisconnect
from sqlalchemy import ForeignKey, Index, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

MAX_CLIENTS = 50

engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=20, max_overflow=40)
sessions = async_sessionmaker(engine, expire_on_commit=False)


def now() -> datetime:
    return datetime.now(timezone.utc)


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"
    id: Mapped[str] = mapped_column(primary_key=True)


class Conversation(Base):
    __tablename__ = "conversation"
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), index=True)
    updated_at: Mapped[datetime] = mapped_column(default=lambda: now().replace(tzinfo=None))


class Message(Base):
    __tablename__ = "message"
    id: Mapped[str] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversation.id"))
    role: Mapped[str]
    text: Mapped[str]
    status: Mapped[str]
    reply_to: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=lambda: now().replace(tzinfo=None))
    __table_args__ = (Index("history", "conversation_id", "created_at"),)


class Connection(Base):
    __tablename__ = "websocket_connection"
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), primary_key=True)
    id: Mapped[str]
    last_seen: Mapped[datetime] = mapped_column(default=lambda: now().replace(tzinfo=None))


@asynccontextmanager
async def lifespan(_: FastAPI):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health():
    return {}


@app.post("/_local/token")
async def token(body: dict):
    async with sessions() as session:
        if await session.get(User, body["username"]) is None:
            session.add(User(id=body["username"]))
            await session.commit()
    return {"accessToken": body["username"]}


def caller(authorization: str = Header()) -> str:
    return authorization.removeprefix("Bearer ")


@app.post("/api/conversations", status_code=201)
async def new_conversation(user: str = Depends(caller)):
    async with sessions() as session:
        conversation = Conversation(id=str(uuid.uuid4()), user_id=user)
        session.add(conversation)
        await session.commit()
    return {"id": conversation.id}


def view(message: Message) -> dict:
    return {
        "id": message.id,
        "conversationId": message.conversation_id,
        "role": message.role,
        "type": "text",
        "text": message.text,
        "status": message.status,
        "createdAt": message.created_at.isoformat() + "Z",
    }


async def model(message: Message) -> str:
    return f"response for {message.text}"


async def answer(websocket: WebSocket, user: str, connection_id: str, frame: dict):
    async with sessions() as session:
        connection = await session.get(Connection, user)
        conversation = await session.get(Conversation, frame["conversationId"])
        if connection is None or connection.id != connection_id:
            return await websocket.send_json({"type": "error", "id": frame["id"], "code": "lease_expired"})
        if conversation is None or conversation.user_id != user:
            return await websocket.send_json({"type": "error", "id": frame["id"], "code": "conversation_not_found"})
        message = Message(
            id=frame["id"], conversation_id=conversation.id, role="user", text=frame["text"], status="processing"
        )
        session.add(message)
        connection.last_seen = now().replace(tzinfo=None)
        await session.commit()
        await websocket.send_json(
            {"type": "accepted", "id": message.id, "duplicate": False, "message": view(message)}
        )

        text = await model(message)
        await websocket.send_json({"type": "delta", "id": message.id, "seq": 0, "text": text})
        reply = Message(
            id=str(uuid.uuid4()), conversation_id=conversation.id, role="assistant", text=text, status="done"
        )
        reply.reply_to = message.id
        session.add(reply)
        message.status = "done"
        conversation.updated_at = now().replace(tzinfo=None)
        await session.commit()
        await websocket.send_json(
            {"type": "reply", "id": message.id, "message": view(message), "replies": [view(reply)]}
        )


@app.websocket("/ws")
async def chat(websocket: WebSocket):
    user = websocket.headers["authorization"].removeprefix("Bearer ")
    connection_id = str(uuid.uuid4())
    async with sessions() as session:
        connected = await session.scalar(select(func.count()).select_from(Connection))
        if connected >= MAX_CLIENTS:
            raise HTTPException(503)
        if await session.get(Connection, user) is not None:
            raise HTTPException(409)
        session.add(Connection(user_id=user, id=connection_id))
        await session.commit()
    await websocket.accept()
    try:
        while True:
            frame = await websocket.receive_json()
            if frame["action"] == "sendMessage":
                await answer(websocket, user, connection_id, frame)
            else:
                await websocket.send_json({"type": frame["action"]})
    except WebSocketDisconnect:
        pass
    finally:
        async with sessions() as session:
            connection = await session.get(Connection, user)
            if connection is not None and connection.id == connection_id:
                await session.delete(connection)
                await session.commit()
