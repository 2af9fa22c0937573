//! The paths under `/_local/chaos` start, show and end the faults of a running stack.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::json;

use super::kinds::Kind;
use super::plan::{DEFAULT_RATE, Decision, Plan};
use super::{Chaos, Rule};

/// The paths below `/_local/chaos`.
pub(crate) fn router(chaos: Arc<Chaos>) -> Router {
    Router::new()
        .route("/_local/chaos", get(show).put(start).delete(end))
        .route("/_local/chaos/log", get(log))
        .route("/_local/chaos/calls", get(calls))
        .route("/_local/chaos/rules", post(add_rule))
        .with_state(chaos)
}

/// The plan to follow. Without a seed and without a log, calls are only noted, and only rules make faults.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    seed: Option<u64>,
    rate: Option<f64>,
    kinds: Option<Vec<Kind>>,
    replay: Option<Vec<Decision>>,
}

async fn show(State(chaos): State<Arc<Chaos>>) -> Response {
    let state = chaos.lock();
    let seed = match state.plan {
        Plan::Seed { seed, .. } => Some(seed),
        Plan::Rules | Plan::Replay(_) => None,
    };
    Json(json!({ "seed": seed, "decided": state.log.len(), "faults": state.faults(), "rules": state.rules }))
        .into_response()
}

async fn start(State(chaos): State<Arc<Chaos>>, wanted: Result<Json<Wanted>, JsonRejection>) -> Response {
    let Json(Wanted { seed, rate, kinds, replay }) = match wanted {
        Ok(wanted) => wanted,
        Err(rejection) => return refuse(&rejection.body_text()),
    };
    let plan = match (seed, replay) {
        (Some(_), Some(_)) => return refuse("Give either a seed or a log to replay, not both"),
        (None, _) if rate.is_some() || kinds.is_some() => return refuse("rate and kinds need a seed; add \"seed\""),
        (Some(seed), None) => {
            let rate = rate.unwrap_or(DEFAULT_RATE);
            if !(0.0..=1.0).contains(&rate) {
                return refuse("rate must be a number from 0 to 1, the share of calls that get a fault");
            }
            Plan::Seed { seed, rate, kinds }
        }
        (None, Some(log)) => Plan::replay(log),
        (None, None) => Plan::Rules,
    };
    chaos.follow(plan);
    show(State(chaos)).await
}

async fn end(State(chaos): State<Arc<Chaos>>) -> StatusCode {
    chaos.end();
    StatusCode::NO_CONTENT
}

async fn log(State(chaos): State<Arc<Chaos>>) -> Response {
    let lines: String =
        chaos.lock().log.iter().filter_map(|decision| Some(serde_json::to_string(decision).ok()? + "\n")).collect();
    ([(CONTENT_TYPE, "application/jsonl")], lines).into_response()
}

#[derive(Debug, Deserialize)]
struct Made {
    function: String,
    #[serde(default)]
    event: String,
}

async fn calls(State(chaos): State<Arc<Chaos>>, Query(made): Query<Made>) -> Response {
    Json(chaos.lock().calls(&made.function, &made.event)).into_response()
}

async fn add_rule(State(chaos): State<Arc<Chaos>>, rule: Result<Json<Rule>, JsonRejection>) -> Response {
    match rule {
        Ok(Json(rule)) if rule.call == 0 => refuse("call must be 1 or more, because calls are counted from 1"),
        Ok(Json(rule)) => {
            chaos.add(rule);
            StatusCode::CREATED.into_response()
        }
        Err(rejection) => refuse(&rejection.body_text()),
    }
}

fn refuse(message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "message": message }))).into_response()
}
