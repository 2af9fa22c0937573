//! The model gets the path of parents and nothing beside it.

use super::Scene;
use crate::ids::MessageId;
use crate::messages::{Claimed, Draft, Ending, Follows, Reply, StoredMessage};
use crate::testing::endpoint::{says, status};
use crate::testing::{conversation, draft, message_id};

impl Scene {
    /// A message with this text, answered by the model.
    async fn ask(&self, id: u32, text: &str, follows: Follows) -> StoredMessage {
        let message = self.send(&said(id, text, follows)).await;
        self.work().await;
        message
    }

    /// A message that follows the latest item and gets this many answers without a model.
    async fn answered(&self, id: u32, text: &str, answers: usize) -> StoredMessage {
        let message = self.send(&said(id, text, Follows::Latest)).await;
        for (_, receipt) in self.stack.receive().await {
            self.stack.finished(&receipt).await;
        }
        let messages = &self.answerer.messages;
        let Ok(Claimed::Yes(claim)) = messages.claim(&message).await else { panic!("not claimed") };
        let reply = |number| Reply { text: format!("{number} to {text}"), media: None };
        let ending = Ending::Done { replies: (0..answers).map(reply).collect() };
        messages.end(claim, ending, None, message.seq).await.expect("an end").expect("it holds it").0
    }

    /// The texts that the model got the last time.
    fn path(&self) -> Vec<String> {
        let requests = self.endpoint.requests();
        let messages = requests.last().expect("a request").body["messages"].as_array().expect("messages").clone();
        messages.iter().map(|message| message["content"].as_str().expect("a text").to_owned()).collect()
    }
}

fn said(id: u32, text: &str, follows: Follows) -> Draft {
    Draft { text: text.to_owned(), follows, ..draft(id, 0) }
}

fn item(id: &MessageId) -> Follows {
    Follows::Item(id.as_str().to_owned())
}

#[tokio::test]
async fn an_edited_message_is_a_sibling_and_each_sees_its_own_path_alone() {
    let answers = ["A1", "A2", "A2b", "A3", "A3b", "A4"].map(|text| says(&[text])).to_vec();
    let scene = Scene::new(answers).await;
    let first = scene.ask(1, "M1", Follows::Latest).await;
    let second = scene.ask(2, "M2", Follows::Latest).await;
    assert_eq!(scene.path(), ["M1", "A1", "M2"]);
    // The second message is edited: the new one has the same parent.
    scene.ask(3, "M2b", item(&first.id.answer(0))).await;
    assert_eq!(scene.path(), ["M1", "A1", "M2b"]);
    // Each branch goes on.
    scene.ask(4, "M3", item(&second.id.answer(0))).await;
    assert_eq!(scene.path(), ["M1", "A1", "M2", "A2", "M3"]);
    scene.ask(5, "M3b", item(&message_id(3).answer(0))).await;
    assert_eq!(scene.path(), ["M1", "A1", "M2b", "A2b", "M3b"]);
    // The first message is edited: the new one begins a path of its own.
    scene.ask(6, "M1b", Follows::Beginning).await;
    assert_eq!(scene.path(), ["M1b"]);
    scene.ask(7, "M4", Follows::Latest).await;
    assert_eq!(scene.path(), ["M1b", "A4", "M4"]);
}

#[tokio::test]
async fn a_message_that_follows_an_unanswered_one_follows_its_answer_once_that_exists() {
    let scene = Scene::new(["A1", "A2", "A3"].map(|text| says(&[text])).to_vec()).await;
    let first = scene.send(&said(1, "M1", Follows::Latest)).await;
    scene.send(&said(2, "M2", item(&first.id))).await;
    scene.send(&said(3, "M3", item(&first.id))).await;
    scene.work().await;
    let requests = scene.endpoint.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(scene.path(), ["M1", "A1", "M3"]);
}

#[tokio::test]
async fn a_message_that_was_never_answered_is_left_out_and_the_path_goes_on_above_it() {
    let no = || status("400 Bad Request", "", "no");
    let scene = Scene::new(vec![no(), says(&["A2"]), no(), no(), says(&["A5"])]).await;
    for (id, text, path) in [
        (1, "M1", vec!["M1"]),
        (2, "M2", vec!["M2"]),
        (3, "M3", vec!["M2", "A2", "M3"]),
        (4, "M4", vec!["M2", "A2", "M4"]),
        (5, "M5", vec!["M2", "A2", "M5"]),
    ] {
        scene.ask(id, text, Follows::Latest).await;
        assert_eq!(scene.path(), path);
    }
}

#[tokio::test]
async fn a_branch_point_far_above_is_found_with_all_that_leads_to_it() {
    let scene = Scene::new(vec![says(&["good"])]).await;
    let mut said = Vec::new();
    for number in 0..60 {
        // Each turn has three items.
        said.push(scene.answered(number, &format!("M{number}"), 2).await);
    }
    let above = |number: usize| {
        (0..=number).flat_map(|n| [format!("M{n}"), format!("0 to M{n}"), format!("1 to M{n}")]).collect::<Vec<_>>()
    };
    // The last answer, the first answer and the message itself belong to the same turn.
    let seven = &said[7].id;
    for (id, parent) in [(1001, seven.answer(1)), (1002, seven.answer(0)), (1003, seven.clone())] {
        scene.ask(id, "M", item(&parent)).await;
        let mut expected = above(7);
        expected.push("M".to_owned());
        assert_eq!(scene.path(), expected, "{parent}");
    }
    // And a branch of that branch, which leads through both.
    scene.ask(1004, "N", Follows::Latest).await;
    assert_eq!(scene.path().len(), above(7).len() + 3);
    // A long path ends, with a whole turn.
    scene.ask(1005, "M", item(&said[59].id)).await;
    let path = scene.path();
    assert!((50..=53).contains(&path.len()), "{}", path.len());
    assert_eq!(path[path.len() - 2], "1 to M59");
}

#[tokio::test]
async fn a_path_ends_where_the_budget_does_and_reads_no_further() {
    let mut scene = Scene::new(vec![says(&["good"])]).await;
    let root = scene.answered(0, "root", 1).await;
    for number in 1..40 {
        scene.answered(number, &format!("M{number} {}", "x".repeat(300)), 1).await;
    }
    scene.answerer.context.tokens = 400;
    let before = scene.stack.calls("worker");
    scene.ask(1001, "M", Follows::Latest).await;
    let queries = scene.stack.calls("worker")["Query"] - before.get("Query").copied().unwrap_or(0);
    assert_eq!(queries, 1, "the end of the conversation is enough");
    assert!(scene.path().len() < 5, "{:?}", scene.path());
    // A parent far above costs one page more.
    scene.ask(1002, "M", item(&root.id)).await;
    assert_eq!(scene.path(), ["root", "0 to root", "M"]);
}

#[tokio::test]
async fn an_item_from_before_there_were_parents_follows_the_item_before_it() {
    let scene = Scene::new(vec![says(&["good"])]).await;
    for (number, answers) in [(0, 1), (1, 3), (2, 0), (3, 1)] {
        scene.answered(number, &format!("M{number}"), answers).await;
    }
    scene.stack.forget_parents("u", &conversation(0));
    scene.ask(10, "M", Follows::Latest).await;
    let expected = ["M0", "0 to M0", "M1", "0 to M1", "1 to M1", "2 to M1", "M3", "0 to M3", "M"];
    assert_eq!(scene.path(), expected);
    scene.ask(11, "N", item(&message_id(1).answer(1))).await;
    assert_eq!(scene.path(), [&expected[..6], &["N"]].concat());
}
