//! The log at its default level says what happened and has no text of a message or an answer.

use super::*;
use crate::testing::Log;

#[test]
fn neither_a_message_nor_its_answer_is_in_the_log_also_if_the_endpoint_repeats_it() {
    let said = "My name is Ann Smith and I am ill";
    let words = |status_line: &str| status(status_line, "", &json!({ "error": { "message": said } }).to_string());
    let log = Log::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    log.during(|| {
        runtime.block_on(async {
            let scripts =
                vec![words("500 Internal Server Error"), says(&["Get well soon, Ann"]), words("400 Bad Request")];
            let scene = Scene::new(scripts).await;
            for (id, end) in [(1, Status::Done), (2, Status::Failed)] {
                let message = scene.send(&Draft { text: said.to_owned(), ..draft(id, 0) }).await;
                scene.work().await;
                assert_eq!(scene.message(&message.id).await.status, end);
            }
        });
    });
    let log = log.text();
    for line in ["The model failed and is asked again", "The model failed for good"] {
        assert!(log.contains(line), "{line}: {log}");
    }
    for text in ["Ann", "Smith", "am ill", "Get well"] {
        assert!(!log.contains(text), "{text}: {log}");
    }
}
