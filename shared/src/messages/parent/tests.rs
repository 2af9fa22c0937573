//! Parents at admission: which ones are allowed, and which one a message gets.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt as _;

use crate::errors::Error;
use crate::ids::MessageId;
use crate::leases::Handshake;
use crate::messages::tests::{answer, connected, new, say, say_all};
use crate::messages::{Admission, Claimed, Draft, Ending, Follows, Parent, Reply, StoredMessage};
use crate::testing::{Before, Function, connection, conversation, draft, message_id, user};

fn after(id: u32, follows: Follows) -> Draft {
    Draft { follows, ..draft(id, 0) }
}

fn item(id: &MessageId) -> Follows {
    Follows::Item(id.as_str().to_owned())
}

fn parent_of(item: &StoredMessage) -> Option<Parent> {
    Some(Parent { id: Some(item.id.clone()), seq: item.seq })
}

/// Answers a message with this many answers.
async fn answer_with(function: &Function, message: &StoredMessage, count: usize) -> Vec<StoredMessage> {
    let Claimed::Yes(claim) = function.messages.claim(message).await.expect("a claim") else { panic!("not claimed") };
    let reply = |number| Reply { text: format!("answer {number}"), media: None };
    let ending = Ending::Done { replies: (0..count).map(reply).collect() };
    function.messages.end(claim, ending, None, 0).await.expect("an end").expect("it holds it").1
}

#[tokio::test]
async fn without_a_parent_a_message_follows_the_latest_item_and_answers_follow_one_another() {
    let (stack, function) = connected().await;
    let first = new(say(&stack, &function, draft(1, 0)).await);
    assert_eq!(first.parent, Some(Parent { id: None, seq: 0 }));
    let second = new(say(&stack, &function, draft(2, 0)).await);
    assert_eq!(second.parent, parent_of(&first));
    let answers = answer_with(&function, &first, 3).await;
    assert_eq!(answers[0].parent, parent_of(&first));
    assert_eq!(answers[1].parent, parent_of(&answers[0]));
    assert_eq!(answers[2].parent, parent_of(&answers[1]));
    let third = new(say(&stack, &function, draft(3, 0)).await);
    assert_eq!(third.parent, parent_of(&answers[2]));
    // The stored items are read again.
    for stored in [&first, &second, &answers[2], &third] {
        let found = function.messages.find_any(&user("u"), &stored.id).await.expect("a read").expect("it");
        assert_eq!(found.parent, stored.parent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_messages_at_once_follows_the_one_right_before() {
    let (stack, function) = connected().await;
    let first = new(say(&stack, &function, draft(100, 0)).await);
    let (outcomes, answers) = tokio::join!(
        say_all(&stack, &function, (0..9).map(|number| draft(number, 0))),
        answer_with(&function, &first, 2)
    );
    let mut items: Vec<StoredMessage> = outcomes.into_iter().map(new).chain(answers).chain([first]).collect();
    items.sort_by_key(|item| item.seq);
    for pair in items.windows(2).filter(|pair| pair[1].reply_to.is_none()) {
        assert_eq!(pair[1].parent, parent_of(&pair[0]));
    }
    let state = stack.snapshot();
    let key = ("u".to_owned(), conversation(0).as_str().to_owned());
    assert_eq!(state.last_ids[&key], items.last().expect("an item").id.as_str());
}

#[tokio::test]
async fn a_message_follows_any_item_of_its_conversation_or_the_beginning() {
    let (stack, function) = connected().await;
    let first = new(say(&stack, &function, draft(1, 0)).await);
    let answers = answer_with(&function, &first, 2).await;
    let named = [(10, &first), (11, &answers[0]), (12, &answers[1])];
    for (id, parent) in named {
        let message = new(say(&stack, &function, after(id, item(&parent.id))).await);
        assert_eq!(message.parent, parent_of(parent));
    }
    let anew = new(say(&stack, &function, after(13, Follows::Beginning)).await);
    assert_eq!(anew.parent, Some(Parent { id: None, seq: 0 }));
    // The same id in capitals names the same parent. The message shows the id as it was stored.
    let capitals = Follows::Item(first.id.as_str().to_uppercase());
    let message = new(say(&stack, &function, after(14, capitals)).await);
    assert_eq!(message.parent, parent_of(&first));
}

#[tokio::test]
async fn a_parent_that_is_not_in_the_conversation_is_refused_and_nothing_is_stored() {
    let (stack, function) = connected().await;
    let mine = new(say(&stack, &function, draft(1, 0)).await);
    answer_with(&function, &mine, 1).await;
    let elsewhere = new(say(&stack, &function, draft(2, 1)).await);
    stack.make_conversations("v", [9]);
    let (stranger, line) = (user("v"), connection("d"));
    function.leases.connect(&stranger, &line, &Handshake::default()).await.expect("a place");
    new(function.messages.admit(&stranger, &line, &draft(3, 9), &stack.limits).await);
    let before = stack.snapshot();
    for parent in [
        elsewhere.id.as_str().to_owned(),
        message_id(3).as_str().to_owned(),          // another user's
        message_id(7).as_str().to_owned(),          // nobody's
        message_id(50).as_str().to_owned(),         // the message itself
        mine.id.answer(1).as_str().to_owned(),      // it has one answer
        elsewhere.id.answer(0).as_str().to_owned(), // it has none
        "nonsense".to_owned(),
        " ".to_owned(),
    ] {
        let refused = say(&stack, &function, after(50, Follows::Item(parent.clone()))).await;
        assert!(matches!(refused, Err(Error::ParentNotFound)), "{parent}: {refused:?}");
        assert_eq!(stack.snapshot(), before, "{parent}");
    }
    let error = Error::ParentNotFound;
    assert_eq!(error.code(), "bad_request");
    assert!(error.public_message().contains("leave it out"), "{}", error.public_message());
}

#[tokio::test]
async fn a_repeated_id_is_a_repetition_whichever_parent_it_names_now() {
    let (stack, function) = connected().await;
    let first = new(say(&stack, &function, draft(1, 0)).await);
    answer(&function, &first).await.expect("answered");
    let follows =
        [Follows::Latest, Follows::Beginning, item(&first.id), item(&message_id(9)), Follows::Item("x".to_owned())];
    for follows in follows {
        let again = say(&stack, &function, after(1, follows.clone())).await;
        let Ok(Admission::Duplicate(message)) = again else { panic!("{follows:?}: {again:?}") };
        assert_eq!(message.parent, first.parent);
    }
}

#[tokio::test]
async fn a_message_can_follow_an_item_from_before_there_were_parents() {
    let (stack, function) = connected().await;
    let first = new(say(&stack, &function, draft(1, 0)).await);
    let answers = answer_with(&function, &first, 2).await;
    stack.forget_parents("u", &conversation(0));
    let old = function.messages.find(&user("u"), &first.id).await.expect("a read").expect("it");
    assert_eq!((old.parent, old.seq), (None, 1));
    let next = new(say(&stack, &function, draft(2, 0)).await);
    assert_eq!(next.parent, parent_of(&answers[1]));
    let key = ("u".to_owned(), conversation(0).as_str().to_owned());
    assert_eq!(stack.snapshot().last_ids[&key], next.id.as_str(), "the next one need not look");
    stack.forget_parents("u", &conversation(0));
    let named = new(say(&stack, &function, after(3, item(&answers[0].id))).await);
    assert_eq!(named.parent, parent_of(&answers[0]));
}

#[tokio::test]
async fn a_named_parent_that_is_no_longer_the_latest_is_followed_all_the_same() {
    for (name, follows_latest) in [("named", false), ("latest", true)] {
        let (stack, function) = connected().await;
        let first = new(say(&stack, &function, draft(1, 0)).await);
        let (other, stack) = (stack.function("other", 3, 2), Arc::new(stack));
        let meanwhile = {
            let stack = Arc::clone(&stack);
            async move { drop(new(say(&stack, &other, draft(2, 0)).await)) }
        };
        Before::install(&stack, "send_message", "TransactWriteItems", meanwhile.boxed());
        let follows = if follows_latest { Follows::Latest } else { item(&first.id) };
        let message = new(say(&stack, &function, after(3, follows)).await);
        let parent = if follows_latest { message_id(2) } else { first.id };
        assert_eq!(message.parent.expect("a parent").id, Some(parent), "{name}");
        assert_eq!(message.seq, 3, "{name}");
    }
}

#[tokio::test]
async fn following_the_latest_item_costs_no_extra_read() {
    let (stack, function) = connected().await;
    let first = new(say(&stack, &function, draft(1, 0)).await);
    let calls = |name: &str| -> HashMap<String, u64> { stack.calls(name) };
    let one_each = HashMap::from([("BatchGetItem".to_owned(), 1), ("TransactWriteItems".to_owned(), 1)]);
    for (name, id, follows) in
        [("left-out", 2, Follows::Latest), ("named", 3, item(&message_id(2))), ("anew", 4, Follows::Beginning)]
    {
        new(say(&stack, &stack.function(name, 1, 1), after(id, follows)).await);
        assert_eq!(calls(name), one_each, "{name}");
    }
    // Naming another parent costs the read that finds it, and the read that sees that the id is new.
    new(say(&stack, &stack.function("above", 1, 1), after(5, item(&first.id))).await);
    assert_eq!(calls("above").get("GetItem"), Some(&3));
}
