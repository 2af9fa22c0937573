//! Decides which calls get which faults, from a seed or a log.
//!
//! A decision depends only on the call: on its function, service and operation, and on the number of such calls before
//! it. It does not depend on the time. So a seed gives the same calls the same faults in each run, and a log can be
//! replayed. If processes race, the calls themselves differ between runs.

use std::collections::HashMap;

use samovar_services::faults::Call;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::kinds::Kind;

/// The share of calls that get a fault.
pub(super) const DEFAULT_RATE: f64 = 0.01;

/// The longest delay of a call.
const MAX_DELAY_MS: u64 = 2000;

/// One decision, as it is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Decision {
    pub(super) function: String,
    pub(super) service: String,
    pub(super) operation: String,
    /// The number of this call among the same calls of the function, counted from 1.
    pub(super) call: u64,
    pub(super) fault: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ms: Option<u64>,
    /// The id of the invocation that made the call. A replay does not look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) invocation: Option<String>,
}

/// A fault, and how long the call takes if it is delayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) kind: Kind,
    pub(super) ms: u64,
}

/// How faults are decided.
#[derive(Debug, Default)]
pub(super) enum Plan {
    /// Only rules make faults.
    #[default]
    Rules,
    /// A share of the calls gets a fault.
    Seed { seed: u64, rate: f64, kinds: Option<Vec<Kind>> },
    /// The decisions of a log.
    Replay(HashMap<(String, String, String, u64), Chosen>),
}

impl Plan {
    pub(super) fn replay(log: Vec<Decision>) -> Self {
        let decisions = log.into_iter().map(|decision| {
            let Decision { function, service, operation, call, fault, ms, .. } = decision;
            ((function, service, operation, call), Chosen { kind: fault, ms: ms.unwrap_or_default() })
        });
        Self::Replay(decisions.collect())
    }

    /// The fault of this call, which is the `number`-th of its kind, if it gets one.
    pub(super) fn choose(&self, call: &Call, number: u64) -> Option<Chosen> {
        match self {
            Self::Rules => None,
            Self::Replay(decisions) => {
                let key = (call.caller.clone(), call.service.to_owned(), call.operation.clone(), number);
                decisions.get(&key).copied()
            }
            Self::Seed { seed, rate, kinds } => {
                let [first, second, third] = draws(*seed, call, number);
                // 53 bits are as many as a float holds exactly.
                let share = (first >> 11) as f64 / (1_u64 << 53) as f64;
                if share >= *rate {
                    return None;
                }
                let mut possible = Kind::that_hit(call);
                possible.retain(|(kind, _)| kinds.as_ref().is_none_or(|kinds| kinds.contains(kind)));
                let all: u64 = possible.iter().map(|(_, share)| u64::from(*share)).sum();
                let mut at = second.checked_rem(all)?;
                let kind = possible.iter().find_map(|(kind, share)| {
                    let (share, here) = (u64::from(*share), at);
                    at = at.saturating_sub(share);
                    (here < share).then_some(*kind)
                })?;
                Some(Chosen { kind, ms: third % MAX_DELAY_MS })
            }
        }
    }
}

/// Three numbers that only the seed and the call's key decide.
fn draws(seed: u64, call: &Call, number: u64) -> [u64; 3] {
    let key = format!("{seed}/{}/{}/{}/{number}", call.caller, call.service, call.operation);
    let digest = Sha256::digest(key);
    std::array::from_fn(|at| {
        digest[at * 8..(at + 1) * 8].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;

    fn call(operation: &str) -> Call {
        Call {
            number: 0,
            caller: "worker".into(),
            instance: Some("1".into()),
            service: "dynamodb",
            operation: operation.into(),
            body: Bytes::from_static(b"{}"),
        }
    }

    fn seed(seed: u64, rate: f64) -> Plan {
        Plan::Seed { seed, rate, kinds: None }
    }

    #[test]
    fn a_seed_decides_the_same_for_the_same_calls_and_another_seed_decides_otherwise() {
        let chosen = |plan: &Plan| (1..2000).map(|number| plan.choose(&call("PutItem"), number)).collect::<Vec<_>>();
        assert_eq!(chosen(&seed(7, 0.1)), chosen(&seed(7, 0.1)));
        assert_ne!(chosen(&seed(7, 0.1)), chosen(&seed(8, 0.1)));
    }

    #[test]
    fn the_rate_is_the_share_of_calls_with_a_fault_and_every_kind_comes() {
        let mut kinds = BTreeMap::new();
        for number in 0..20_000 {
            if let Some(chosen) = seed(1, 0.05).choose(&call("PutItem"), number) {
                *kinds.entry(chosen.kind).or_insert(0) += 1;
            }
        }
        let all: i32 = kinds.values().sum();
        assert!((800..1200).contains(&all), "{kinds:?}");
        let possible: Vec<_> = Kind::that_hit(&call("PutItem")).into_iter().map(|(kind, _)| kind).collect();
        assert!(possible.iter().all(|kind| kinds.contains_key(kind)), "{kinds:?}");
        assert!(!kinds.contains_key(&Kind::Stale) && !kinds.contains_key(&Kind::Gone), "{kinds:?}");
        assert!((1..100).all(|number| seed(1, 0.0).choose(&call("PutItem"), number).is_none()));
    }

    #[test]
    fn a_log_gives_its_faults_to_the_same_calls() {
        let log = r#"{"function":"worker","service":"dynamodb","operation":"PutItem","call":3,"fault":"kill_after"}"#;
        let plan = Plan::replay(vec![serde_json::from_str(log).expect("a decision")]);
        let kinds: Vec<_> =
            (1..5).map(|number| plan.choose(&call("PutItem"), number).map(|chosen| chosen.kind)).collect();
        assert_eq!(kinds, [None, None, Some(Kind::KillAfter), None]);
        assert_eq!(plan.choose(&call("GetItem"), 3), None);
    }

    #[test]
    fn only_reads_that_are_not_consistent_can_be_stale() {
        let stale = |body: &'static str| {
            let call = Call { body: Bytes::from_static(body.as_bytes()), ..call("GetItem") };
            Kind::that_hit(&call).iter().any(|(kind, _)| *kind == Kind::Stale)
        };
        assert!(stale(r#"{"TableName":"t"}"#));
        assert!(!stale(r#"{"TableName":"t","ConsistentRead":true}"#));
        assert!(!stale(r#"{"RequestItems":{"t":{"ConsistentRead":true}}}"#));
    }
}
