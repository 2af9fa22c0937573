//! Leases against the real engine: a model under every order of calls, every operation in the middle of every other,
//! crashes at every call, races, and what a connect costs.

mod close;
mod cost;
mod crashes;
mod late;
mod model;
mod pairs;
mod races;
mod scene;
