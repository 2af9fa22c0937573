//! Conversations against the real engine: order, pages, owners, and deletions while others write.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::{Order, Range, Title};
use crate::clock::Clock as _;
use crate::errors::Error;
use crate::ids::{ConversationId, MessageId, UserId};
use crate::leases::Handshake;
use crate::messages::{Admission, Claimed, Draft, Ending, Follows, Role, StoredMessage};
use crate::paging::{Limit, List};
use crate::testing::{Before, Function, Stack, connection, message_id, user};

const LONG: Duration = Duration::from_secs(3600);

struct Scene {
    stack: Stack,
    function: Function,
    alice: UserId,
}

impl Scene {
    /// Alice is connected.
    async fn new() -> Self {
        let mut stack = Stack::start(5, LONG, LONG);
        stack.limits.max_pending_per_client = 1000;
        let function = stack.function("rest_api", 3, 1);
        let alice = user("alice");
        function.leases.connect(&alice, &connection("c"), &Handshake::default()).await.expect("a place");
        Self { stack, function, alice }
    }

    async fn conversation(&self) -> ConversationId {
        self.stack.clock.advance(Duration::from_millis(1));
        self.function.conversations.create(&self.alice, Title::default()).await.expect("a conversation").id
    }

    async fn say(&self, conversation: &ConversationId, id: u32) -> StoredMessage {
        let draft = Draft {
            id: message_id(id),
            conversation: conversation.clone(),
            text: format!("{id}"),
            media: None,
            follows: Follows::Latest,
        };
        let limits = &self.stack.limits;
        match self.function.messages.admit(&self.alice, &connection("c"), &draft, limits).await {
            Ok(Admission::New(message)) => message,
            other => panic!("not new: {other:?}"),
        }
    }

    async fn answer(&self, message: &StoredMessage) -> Option<(StoredMessage, Vec<StoredMessage>)> {
        let Ok(Claimed::Yes(claim)) = self.function.messages.claim(message).await else { panic!("not claimed") };
        let ending = Ending::text(format!("answer to {}", message.text));
        self.function.messages.end(claim, ending, None, message.seq).await.expect("an end")
    }

    /// Reads all pages, and counts them.
    async fn read(&self, conversation: &ConversationId, order: Order, limit: u32) -> (Vec<StoredMessage>, usize) {
        let mut range = Range { order: Some(order), ..Range::default() };
        let (mut read, mut pages) = (Vec::new(), 0);
        loop {
            let limit = Limit::new(limit).expect("a limit");
            let conversations = &self.function.conversations;
            let page = conversations.history(&self.alice, conversation, &range, limit).await.expect("a page");
            read.extend(page.items);
            pages += 1;
            match page.next {
                Some(next) => range.cursor = Some(next),
                None => return (read, pages),
            }
        }
    }

    async fn after(&self, conversation: &ConversationId, after: &MessageId) -> Vec<String> {
        let range = Range { after: Some(after.clone()), ..Range::default() };
        let page = self.function.conversations.history(&self.alice, conversation, &range, Limit::DEFAULT).await;
        page.expect("a page").items.into_iter().map(|message| message.text).collect()
    }
}

fn texts(messages: &[StoredMessage]) -> Vec<&str> {
    messages.iter().map(|message| message.text.as_str()).collect()
}

#[tokio::test]
async fn conversations_are_listed_by_their_last_use() {
    let scene = Scene::new().await;
    let mut made = Vec::new();
    for _ in 0..25 {
        made.push(scene.conversation().await);
    }
    scene.stack.clock.advance(Duration::from_millis(1));
    scene.say(&made[3], 1).await;
    scene.stack.clock.advance(Duration::from_millis(1));
    scene.function.conversations.rename(&scene.alice, &made[7], Title::parse("x").expect("a title")).await.expect("it");
    let expected: Vec<_> = [7, 3]
        .into_iter()
        .chain((0..25).rev().filter(|number| ![3, 7].contains(number)))
        .map(|number| made[number].clone())
        .collect();
    for limit in [1, 5, 24, 25, 26] {
        let (mut listed, mut cursor) = (Vec::new(), None);
        loop {
            let limit = Limit::new(limit).expect("a limit");
            let page = scene.function.conversations.list(&scene.alice, limit, cursor.as_deref()).await.expect("a page");
            assert!(page.items.len() == limit.get() || page.next.is_none());
            listed.extend(page.items.into_iter().map(|conversation| conversation.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(listed, expected, "{limit}");
    }
}

#[tokio::test]
async fn history_is_in_the_order_in_which_it_came_both_ways() {
    let scene = Scene::new().await;
    let talk = scene.conversation().await;
    let (first, second) = (scene.say(&talk, 1).await, scene.say(&talk, 2).await);
    scene.answer(&first).await.expect("answered");
    let third = scene.say(&talk, 3).await;
    scene.answer(&second).await.expect("answered");
    scene.answer(&third).await.expect("answered");
    let came = ["1", "2", "answer to 1", "3", "answer to 2", "answer to 3"];
    for limit in 1..=7 {
        let (mut read, pages) = scene.read(&talk, Order::Asc, limit).await;
        assert_eq!((texts(&read), pages), (came.to_vec(), came.len().div_ceil(limit as usize)), "{limit}");
        let (backwards, _) = scene.read(&talk, Order::Desc, limit).await;
        read.reverse();
        assert_eq!(texts(&backwards), texts(&read), "{limit}");
    }
    assert_eq!(scene.after(&talk, &message_id(2)).await, came[2..]);
    assert_eq!(scene.after(&talk, &message_id(1).answer(0)).await, came[3..]);
    assert!(scene.after(&talk, &message_id(3).answer(0)).await.is_empty());
    // The model gets each message with its answers.
    let mut log = scene.function.messages.log(&talk, third.seq, 0).await.expect("a log");
    let mut turns = Vec::new();
    for seq in 1..=6 {
        let said = log.said_at(seq).await.expect("a read").expect("something said");
        turns.push((said.message.text.clone(), texts(&said.answers).concat()));
    }
    let expected = ["1", "2", "1", "3", "2", "3"].map(|id| (id.to_owned(), format!("answer to {id}")));
    assert_eq!(turns, expected);
    assert_eq!((log.said_at(7).await.expect("a read").is_none(), log.last_seq()), (true, 6));
    assert_eq!(log.messages_up_to(first.seq).len(), 1);
}

#[tokio::test]
async fn one_message_or_answer_is_found_by_its_id() {
    let scene = Scene::new().await;
    let (talk, other) = (scene.conversation().await, scene.conversation().await);
    let message = scene.say(&talk, 1).await;
    let (_, answers) = scene.answer(&message).await.expect("answered");
    let conversations = &scene.function.conversations;
    for (id, role) in [(&message.id, Role::User), (&answers[0].id, Role::Assistant)] {
        let found = conversations.message(&scene.alice, &talk, id).await.expect("a message");
        assert_eq!((&found.id, found.role), (id, role));
        let elsewhere = conversations.message(&scene.alice, &other, id).await;
        assert!(matches!(elsewhere, Err(Error::MessageNotFound)), "{elsewhere:?}");
        let bobs = conversations.message(&user("bob"), &talk, id).await;
        assert!(matches!(bobs, Err(Error::ConversationNotFound)), "{bobs:?}");
    }
    for id in [message.id.answer(1), message_id(9), message_id(9).answer(0)] {
        let found = conversations.message(&scene.alice, &talk, &id).await;
        assert!(matches!(found, Err(Error::MessageNotFound)), "{found:?}");
    }
}

#[tokio::test]
async fn a_cursor_continues_only_the_reading_that_it_came_from() {
    let scene = Scene::new().await;
    let (talk, other) = (scene.conversation().await, scene.conversation().await);
    for id in 0..4 {
        scene.say(&talk, id).await;
    }
    let conversations = &scene.function.conversations;
    let one = Limit::new(1).expect("a limit");
    let range = Range { order: Some(Order::Desc), after: Some(message_id(0)), cursor: None };
    let cursor = conversations.history(&scene.alice, &talk, &range, one).await.expect("a page").next;
    // The cursor holds what was asked for. The client may ask for the same again.
    for range in
        [Range { cursor: cursor.clone(), ..range.clone() }, Range { cursor: cursor.clone(), ..Range::default() }]
    {
        let page = conversations.history(&scene.alice, &talk, &range, Limit::DEFAULT).await.expect("a page");
        assert_eq!(texts(&page.items), ["2", "1"]);
    }
    for range in [
        Range { order: Some(Order::Asc), after: None, cursor: cursor.clone() },
        Range { order: None, after: Some(message_id(1)), cursor: cursor.clone() },
    ] {
        let page = conversations.history(&scene.alice, &talk, &range, one).await;
        assert!(matches!(page, Err(Error::BadRequest(_))), "{page:?}");
    }
    let range = Range { cursor, ..Range::default() };
    let page = conversations.history(&scene.alice, &other, &range, one).await;
    assert!(matches!(page, Err(Error::BadRequest(_))), "{page:?}");
}

#[tokio::test]
async fn a_message_that_arrives_while_an_answer_is_stored_takes_the_number_and_nothing_is_lost() {
    let scene = Scene::new().await;
    let talk = scene.conversation().await;
    let message = scene.say(&talk, 1).await;
    let worker = scene.stack.function("worker", 3, 2);
    let Ok(Claimed::Yes(claim)) = worker.messages.claim(&message).await else { panic!("not claimed") };
    let (other, user, limits) = (scene.function.clone(), scene.alice.clone(), scene.stack.limits);
    let draft = Draft {
        id: message_id(2),
        conversation: talk.clone(),
        text: "2".to_owned(),
        media: None,
        follows: Follows::Latest,
    };
    let admit =
        async move { drop(other.messages.admit(&user, &connection("c"), &draft, &limits).await.expect("accepted")) };
    Before::install(&scene.stack, "worker", "TransactWriteItems", admit.boxed());
    let ending = Ending::text("answer");
    let (_, answers) = worker.messages.end(claim, ending, None, message.seq).await.expect("an end").expect("its claim");
    assert_eq!(answers[0].seq, 3);
    assert_eq!(texts(&scene.read(&talk, Order::Asc, 10).await.0), ["1", "2", "answer"]);
    crate::testing::assert_numbered(&scene.stack);
}

#[tokio::test]
async fn a_deleted_conversation_is_gone_at_once_and_nothing_of_it_is_left_in_the_end() {
    let scene = Scene::new().await;
    let (talk, kept) = (scene.conversation().await, scene.conversation().await);
    let mut last = scene.say(&kept, 1000).await;
    for id in 0..130 {
        last = scene.say(&talk, id).await;
        scene.answer(&last).await.expect("answered");
    }
    let conversations = &scene.function.conversations;
    let deletion = conversations.delete(&scene.alice, &talk).await.expect("deleted");
    let range = Range::default();
    let not_found = |what: &str, error: Option<Error>| {
        assert!(matches!(error, Some(Error::ConversationNotFound)), "{what}: {error:?}");
    };
    not_found("get", conversations.get(&scene.alice, &talk).await.err());
    not_found("history", conversations.history(&scene.alice, &talk, &range, Limit::DEFAULT).await.err());
    not_found("message", conversations.message(&scene.alice, &talk, &last.id).await.err());
    not_found("rename", conversations.rename(&scene.alice, &talk, Title::default()).await.err());
    not_found("delete", conversations.delete(&scene.alice, &talk).await.err());
    let draft = Draft {
        id: message_id(500),
        conversation: talk.clone(),
        text: "late".to_owned(),
        media: None,
        follows: Follows::Latest,
    };
    let said = scene.function.messages.admit(&scene.alice, &connection("c"), &draft, &scene.stack.limits).await;
    not_found("admit", said.err());

    // With no time at all, this does one round and leaves the rest to others. Several of them may run at once.
    assert!(!conversations.sweep(&deletion, Duration::ZERO).await.expect("a round"));
    let left = conversations.deletions().await.expect("a list");
    let left = left.into_iter().collect::<Result<Vec<_>, _>>().expect("deletions");
    assert_eq!(left.iter().map(|deletion| &deletion.conversation).collect::<Vec<_>>(), [&talk]);
    let other = scene.stack.function("janitor", 3, 2);
    let (one, two) = tokio::join!(conversations.sweep(&left[0], LONG), other.conversations.sweep(&left[0], LONG));
    assert!(one.expect("a sweep") && two.expect("a sweep"));
    let state = scene.stack.snapshot();
    assert_eq!(state.messages.keys().map(|(talk, _)| talk.as_str()).collect::<BTreeSet<_>>(), [kept.as_str()].into());
    assert!(state.answers.is_empty() && state.deleted.is_empty() && state.names.len() == 1, "{state:?}");
}

#[tokio::test]
async fn a_page_of_long_answers_is_one_that_lambda_takes() {
    let scene = Scene::new().await;
    let talk = scene.conversation().await;
    for id in 1..=9 {
        let message = scene.say(&talk, id).await;
        let Ok(Claimed::Yes(claim)) = scene.function.messages.claim(&message).await else { panic!("not claimed") };
        let ending = Ending::text("\"".repeat(250 * 1024));
        scene.function.messages.end(claim, ending, None, message.seq).await.expect("an end").expect("an answer");
    }
    for order in [Order::Asc, Order::Desc] {
        let (read, pages) = scene.read(&talk, order, 100).await;
        assert_eq!((read.len(), pages), (18, 3));
        let mut seqs: Vec<u64> = read.iter().map(|message| message.seq).collect();
        if order == Order::Desc {
            seqs.reverse();
        }
        assert_eq!(seqs, (1..=18).collect::<Vec<_>>(), "nothing is lost or repeated");
    }
    let limit = Limit::new(100).expect("a limit");
    let page =
        scene.function.conversations.history(&scene.alice, &talk, &Range::default(), limit).await.expect("a page");
    let shown: Vec<_> = page.items.iter().map(|message| crate::protocol::Message::new(message, None)).collect();
    let body = serde_json::to_string(&shown).expect("JSON");
    let answered = serde_json::Value::from(body).to_string().len();
    assert!((3_000_000..6_000_000).contains(&answered), "{answered}");
}

#[tokio::test]
async fn an_answer_that_comes_after_the_deletion_is_not_stored() {
    let scene = Scene::new().await;
    let talk = scene.conversation().await;
    let message = scene.say(&talk, 1).await;
    let Ok(Claimed::Yes(claim)) = scene.function.messages.claim(&message).await else { panic!("not claimed") };
    let deletion = scene.function.conversations.delete(&scene.alice, &talk).await.expect("deleted");
    let ended = scene.function.messages.end(claim, Ending::text("answer"), None, 1).await;
    assert!(ended.expect("an end").is_none());
    assert!(scene.function.conversations.sweep(&deletion, LONG).await.expect("a sweep"));
    let state = scene.stack.snapshot();
    assert!(state.messages.is_empty() && state.answers.is_empty() && state.names.is_empty(), "{state:?}");
    assert_eq!(state.users["alice"].pending.len(), 1, "the message stays counted until its user is told");
}

#[tokio::test]
async fn titles_have_1_to_100_characters_of_any_script() {
    let scene = Scene::new().await;
    let now = scene.stack.clock.now();
    for title in ["x".to_owned(), "ß".repeat(100), "🙂".repeat(100), "日本".repeat(50), " ".to_owned()] {
        let made = scene.function.conversations.create(&scene.alice, Title::parse(&title).expect(&title)).await;
        let made = made.expect("a conversation");
        assert_eq!((made.title.as_str(), made.created_at), (title.as_str(), now));
        assert_eq!(scene.function.conversations.get(&scene.alice, &made.id).await.expect("it").title, title);
    }
    for title in [String::new(), "x".repeat(101), "🙂".repeat(101)] {
        assert!(matches!(Title::parse(&title), Err(Error::Invalid { field: "title", .. })), "{title}");
    }
}

/// A cursor is not secret, so its owner can make up others.
#[tokio::test]
async fn a_cursor_that_its_owner_made_up_is_one_of_the_list_or_refused() {
    let scene = Scene::new().await;
    let talk = scene.conversation().await;
    for id in 1..=3 {
        scene.say(&talk, id).await;
    }
    let limit = Limit::new(2).expect("a limit");
    let conversations = &scene.function.conversations;
    let numbers = [0, 1, 2, 3, 4, 999_999_999_999, 1_000_000_000_000, u64::MAX];
    for (order, after, seq) in
        ["asc", "desc"].iter().flat_map(|order| numbers.map(|after| numbers.map(|seq| (order, after, seq)))).flatten()
    {
        let cursor = List::of(&scene.alice, talk.as_str())
            .cursor(serde_json::json!({ "order": order, "after": after, "seq": seq }));
        let range = Range { cursor: Some(cursor), ..Range::default() };
        match conversations.history(&scene.alice, &talk, &range, limit).await {
            Ok(page) => assert!(page.items.iter().all(|item| item.seq > after), "{order} {after} {seq}"),
            Err(Error::BadRequest(_)) => {}
            Err(error) => panic!("{order} {after} {seq}: {error}"),
        }
    }
    for id in ["", "x", "#", "../", "\u{0}", &"x".repeat(2000), talk.as_str()] {
        for updated_at in [i64::MIN, -1, 0, i64::MAX] {
            let cursor = List::of(&scene.alice, "conversations")
                .cursor(serde_json::json!({ "updated_at": updated_at, "id": id }));
            match conversations.list(&scene.alice, limit, Some(&cursor)).await {
                Ok(page) => assert!(page.items.iter().all(|item| item.id == talk), "{id} {updated_at}"),
                Err(Error::BadRequest(_)) => {}
                Err(error) => panic!("{id} {updated_at}: {error}"),
            }
        }
    }
}
