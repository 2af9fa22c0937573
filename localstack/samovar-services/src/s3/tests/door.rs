//! The door: what is counted, and what faults do.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::Answer;
use crate::faults::{Call, Fault, Heard, Hook};

#[tokio::test]
async fn calls_and_presigned_uses_are_counted_as_the_functions() {
    let served = Served::new().await;
    served.put("a", b"meow", "image/png").await;
    served.keys().await;
    let get = served.client().get_object().bucket(BUCKET).key("a").presigned(presigned::for_seconds(60)).await;
    let got = reqwest::get(get.expect("a URL").uri()).await.expect("an answer");
    assert_eq!(got.status(), 200);
    forms::Form::new("uploads/1").post(&served, b"meow").await;
    let expected = [("GetObject", 1), ("ListObjectsV2", 1), ("PostObject", 1), ("PutObject", 1)];
    assert_eq!(served.calls(), expected.map(|(name, count)| (name.to_owned(), count)).into());
}

/// The same fault for all calls.
#[derive(Debug)]
struct Always(fn() -> Fault);

impl Hook for Always {
    fn decide(&self, call: Call) -> BoxFuture<'_, Fault> {
        assert_eq!((call.caller.as_str(), call.service), (FUNCTION, "s3"));
        let fault = (self.0)();
        async move { fault }.boxed()
    }
}

fn slow_down() -> Answer {
    let body = b"<Error><Code>SlowDown</Code></Error>".to_vec();
    Answer { status: 503, headers: Vec::new(), body }
}

#[tokio::test]
async fn a_fault_says_whether_an_upload_is_executed_and_what_is_heard_of_it() {
    let served = Served::new().await;
    let put = |key: &str| served.client().put_object().bucket(BUCKET).key(key);
    let heard = |response: reqwest::Result<reqwest::Response>| async {
        let response = response.ok()?;
        let status = response.status().as_u16();
        response.bytes().await.ok().map(|_| status)
    };
    let refused: fn() -> Fault = || Fault::refused(slow_down());
    let lost: fn() -> Fault = || Fault::lost(Heard::Instead(slow_down()));
    let broken: fn() -> Fault = || Fault::lost(Heard::Break);
    let dropped: fn() -> Fault = || Fault::dropped(Heard::Break);
    for (key, fault, status) in [
        ("refused", refused, Some(503)),
        ("lost", lost, Some(503)),
        ("broken", broken, None),
        ("dropped", dropped, None),
    ] {
        let url = put(key).presigned(presigned::for_seconds(60)).await.expect("a URL").uri().to_owned();
        served.services.faults.install(Arc::new(Always(fault)));
        let response = reqwest::Client::new().put(url).body("x").send().await;
        assert_eq!(heard(response).await, status, "{key}");
        let response = forms::Form::new(&format!("uploads/{key}")).send(&served, b"x").await;
        assert_eq!(heard(response).await, status, "{key} as a form");
        served.services.faults.clear();
    }
    assert_eq!(served.keys().await, ["broken", "lost", "uploads/broken", "uploads/lost"]);
    assert_eq!(served.calls()["PutObject"], 2, "what was not executed is not billed");
}
