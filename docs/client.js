// A minimal client: says something and prints the answer. For browsers and Node 22 or later.
async function main(url = "http://127.0.0.1:8000", text = "hello", username = "alice") {
  const post = async (path, body, token) => {
    const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
    const response = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  const { accessToken } = await post("/_local/token", { username }); // deployed: a token of your OpenID issuer
  const conversation = await post("/api/conversations", {}, accessToken);
  const id = crypto.randomUUID(); // keep it until the message is accepted: sent again, it is still one message
  const session = crypto.randomUUID(); // keep it in sessionStorage: it takes your place back after a broken line
  const address = `${url.replace("http", "ws")}/ws?session=${session}`;
  const socket = new WebSocket(address, ["parley.v1", `bearer.${accessToken}`]);
  const beat = setInterval(() => socket.send(JSON.stringify({ action: "heartbeat" })), 20_000);
  let answer = "", next = 0; // what there is of the answer, and the number of the next delta
  socket.onopen = () =>
    socket.send(JSON.stringify({ action: "sendMessage", id, conversationId: conversation.id, text }));
  socket.onerror = () => console.error("Not connected; GET /api/admission says why");
  socket.onclose = () => clearInterval(beat);
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.type === "delta" && (frame.restart || frame.seq >= next)) {
      answer = (frame.restart ? "" : answer) + frame.text; // show it; with a restart, the text begins again
      next = frame.seq + 1;
    } else if (frame.type === "reply") {
      for (const reply of frame.replies) console.log(reply.text ?? reply.media.url); // instead of the deltas
      socket.close();
    } else if (frame.type === "error" || frame.type === "closing") {
      console.error(`${frame.code}: ${frame.message}`);
      socket.close();
    }
  };
}
main(...(globalThis.process?.argv.slice(2) ?? []));
