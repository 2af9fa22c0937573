//! Transactions that come twice. For ten minutes, a transaction with the same `ClientRequestToken` is not executed
//! again, and gets the same answer.
//!
//! The engine can do this too. But with each transaction it looks at every token of the last ten minutes, and it keeps
//! the whole request. At 200 transactions a second, that is a walk over 120,000 tokens each time. So the token is taken
//! from the request before the engine sees it.
//!
//! The lock is held while a transaction is executed, so a repetition that comes at the same time waits, and is then
//! recognised. This costs nothing: the engine executes one call at a time anyway. A transaction that failed leaves no
//! token, and is executed again when it is repeated.
//!
//! Source: API reference of `TransactWriteItems`, `ClientRequestToken`.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dynoxide::DynoxideError;
use dynoxide::actions::transact_write_items::TransactWriteItemsRequest;
use serde_json::Value;

const WINDOW: Duration = Duration::from_secs(600);

/// The longest token.
const MAX_BYTES: usize = 36;

/// The tokens of the last ten minutes.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    done: HashMap<Digest, Done>,
    /// The oldest first.
    by_age: VecDeque<(Instant, Digest)>,
}

/// Of a token, or of the items of a transaction. A busy stack makes some 100,000 transactions in ten minutes, so it
/// keeps digests.
type Digest = (u64, u64);

#[derive(Debug)]
struct Done {
    items: Digest,
    /// `None` for the usual answer, which is empty.
    answer: Option<Vec<u8>>,
}

/// The answer to a transaction for which no more was asked.
const EMPTY: &[u8] = b"{}";

impl Tokens {
    /// Executes the transaction, unless it was executed before.
    pub(super) fn once(
        &self,
        body: &[u8],
        now: Instant,
        execute: impl FnOnce(TransactWriteItemsRequest) -> Result<Vec<u8>, DynoxideError>,
    ) -> Result<Vec<u8>, DynoxideError> {
        let malformed = |error: serde_json::Error| DynoxideError::SerializationException(error.to_string());
        let mut request: TransactWriteItemsRequest = serde_json::from_slice(body).map_err(malformed)?;
        // The engine refuses a token that is not a token.
        let is_token = |token: &mut String| (1..=MAX_BYTES).contains(&token.len());
        let Some(token) = request.client_request_token.take_if(is_token) else { return execute(request) };
        // The members of an object have an order of their own in every request, and `Value` sorts them.
        let whole: Value = serde_json::from_slice(body).map_err(malformed)?;
        let (token, items) = (digest(&token), digest(&whole["TransactItems"].to_string()));
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(now);
        if let Some(done) = state.done.get(&token) {
            if done.items != items {
                let message = "The ClientRequestToken was used for another transaction in the last ten minutes";
                return Err(DynoxideError::IdempotentParameterMismatchException(message.to_owned()));
            }
            return Ok(done.answer.clone().unwrap_or_else(|| EMPTY.to_vec()));
        }
        let answer = execute(request)?;
        state.by_age.push_back((now, token));
        state.done.insert(token, Done { items, answer: Some(answer.clone()).filter(|answer| answer != EMPTY) });
        Ok(answer)
    }
}

impl State {
    fn forget(&mut self, now: Instant) {
        while let Some((_, token)) = self.by_age.pop_front_if(|(since, _)| now.duration_since(*since) >= WINDOW) {
            self.done.remove(&token);
        }
    }
}

fn digest(text: &str) -> Digest {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        hasher.finish()
    };
    (half(0), half(1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(token: &str, value: &str) -> Vec<u8> {
        let put = json!({ "Put": { "TableName": "t", "Item": { "pk": { "S": "a" }, "v": { "S": value } } } });
        json!({ "ClientRequestToken": token, "TransactItems": [put] }).to_string().into_bytes()
    }

    /// How often it was executed, and the last answer.
    struct Run {
        tokens: Tokens,
        executed: usize,
        now: Instant,
    }

    impl Run {
        fn new() -> Self {
            Self { tokens: Tokens::default(), executed: 0, now: Instant::now() }
        }

        fn once(&mut self, body: &[u8], result: Result<&str, DynoxideError>) -> Result<Vec<u8>, DynoxideError> {
            self.tokens.once(body, self.now, |request| {
                assert_eq!(request.client_request_token, None, "the engine keeps no token");
                self.executed += 1;
                result.map(|answer| answer.as_bytes().to_vec())
            })
        }
    }

    #[test]
    fn a_repetition_is_not_executed_and_gets_the_first_answer() {
        let mut run = Run::new();
        assert_eq!(run.once(&body("one", "x"), Ok("first")).expect("it is executed"), b"first");
        assert_eq!(run.once(&body("one", "x"), Ok("second")).expect("it is repeated"), b"first");
        assert_eq!(run.once(&body("two", "x"), Ok("second")).expect("it is executed"), b"second");
        assert_eq!(run.executed, 2);
    }

    #[test]
    fn members_in_another_order_are_the_same_transaction() {
        let mut run = Run::new();
        let [one, other] = [
            r#"{"TransactItems":[{"Delete":{"TableName":"t","Key":{"pk":{"S":"a"}}}}],"ClientRequestToken":"one"}"#,
            r#"{"ClientRequestToken":"one","TransactItems":[{"Delete":{"Key":{"pk":{"S":"a"}},"TableName":"t"}}]}"#,
        ];
        run.once(one.as_bytes(), Ok("{}")).expect("it is executed");
        run.once(other.as_bytes(), Ok("{}")).expect("it is repeated");
        assert_eq!(run.executed, 1);
    }

    #[test]
    fn a_token_of_another_transaction_is_refused() {
        let mut run = Run::new();
        run.once(&body("one", "x"), Ok("{}")).expect("it is executed");
        let refused = run.once(&body("one", "y"), Ok("{}"));
        assert!(matches!(refused, Err(DynoxideError::IdempotentParameterMismatchException(_))), "{refused:?}");
        assert_eq!(run.executed, 1);
    }

    #[test]
    fn a_transaction_that_failed_is_executed_again() {
        let mut run = Run::new();
        let failed = Err(DynoxideError::InternalServerError("no".to_owned()));
        run.once(&body("one", "x"), failed).expect_err("it fails");
        run.once(&body("one", "x"), Ok("{}")).expect("it is executed");
        assert_eq!(run.executed, 2);
    }

    #[test]
    fn a_token_is_forgotten_after_ten_minutes() {
        let mut run = Run::new();
        run.once(&body("one", "x"), Ok("{}")).expect("it is executed");
        run.now += WINDOW - Duration::from_millis(1);
        run.once(&body("one", "x"), Ok("{}")).expect("it is repeated");
        assert_eq!(run.executed, 1);
        run.now += Duration::from_millis(1);
        run.once(&body("one", "y"), Ok("{}")).expect("the token is free");
        assert_eq!(run.executed, 2);
        let state = run.tokens.0.lock().expect("the state");
        assert_eq!((state.done.len(), state.by_age.len()), (1, 1));
    }
}
