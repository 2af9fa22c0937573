//! Leases against the real engine: a model under every order of calls, races, crashes, and what a connect costs.

mod model;
