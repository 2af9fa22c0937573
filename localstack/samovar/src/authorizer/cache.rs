//! Answers of an authorizer, kept for as long as its API says, by the identity that they were given for.
//!
//! Requests with the same identity that come at once may all ask the function, as on AWS. The last answer is kept.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The answers of one authorizer.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<Vec<String>, Kept>>);

#[derive(Debug)]
struct Kept {
    until: Instant,
    answer: Value,
}

impl Cache {
    /// The answer for this identity, if it is kept and still fresh.
    pub(crate) fn get(&self, identity: &[String], now: Instant) -> Option<Value> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(identity).filter(|kept| kept.until > now).map(|kept| kept.answer.clone())
    }

    /// Keeps an answer. With a time of zero nothing is kept.
    pub(crate) fn keep(&self, identity: Vec<String>, answer: Value, time: Duration, now: Instant) {
        if time.is_zero() {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| kept.until > now);
        kept.insert(identity, Kept { until: now + time, answer });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_for_its_time_and_its_identity() {
        let cache = Cache::default();
        let (alice, bob) = (vec!["alice".to_owned()], vec!["bob".to_owned()]);
        let (now, time) = (Instant::now(), Duration::from_secs(10));
        cache.keep(alice.clone(), 1.into(), time, now);
        cache.keep(bob.clone(), 2.into(), Duration::ZERO, now);
        assert_eq!((cache.get(&alice, now), cache.get(&bob, now)), (Some(1.into()), None));
        assert_eq!(cache.get(&alice, now + time), None);
        cache.keep(bob, 2.into(), time, now + time);
        assert_eq!(cache.0.lock().unwrap().len(), 1, "what is too old is dropped");
    }
}
