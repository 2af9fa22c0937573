//! `/api/admission`: tells a browser whether its handshake would be accepted now. A browser can't see why one was
//! refused.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::leases::Admittance;
use utoipa::ToSchema;

use crate::Deps;
use crate::input::Speaker;
use crate::problem::{Always, Problem};

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Admission {
    state: AdmissionState,
    /// The number of places that are taken.
    in_use: u32,
    /// The number of places.
    capacity: u32,
    /// The seconds until another try makes sense. By then a place becomes free, unless its holder sends something
    /// first. 0 when open.
    retry_after_seconds: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AdmissionState {
    /// There is a free place.
    Open,
    /// All places are taken.
    Full,
    /// This user has a place.
    Connected,
}

/// Tells whether this user could connect now.
#[utoipa::path(get, path = "/api/admission", operation_id = "getAdmission", tag = "users", responses(
    (status = 200, description = "Whether there is a place", body = Admission),
    Always,
))]
pub(crate) async fn admission(State(deps): State<Deps>, speaker: Speaker) -> Result<Json<Admission>, Problem> {
    let occupancy = deps.leases.occupancy(&speaker.user).await?;
    let now = deps.clock.now();
    Ok(Json(Admission {
        state: match occupancy.state {
            Admittance::Open => AdmissionState::Open,
            Admittance::Full => AdmissionState::Full,
            Admittance::Connected => AdmissionState::Connected,
        },
        in_use: occupancy.in_use,
        capacity: occupancy.capacity,
        retry_after_seconds: occupancy.free_at.map_or(0, |at| at.since(now).as_millis().div_ceil(1000).max(1) as u64),
    }))
}
