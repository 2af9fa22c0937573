//! An event of a function, of whichever type.

use crate::fields::Schema;

/// The type of the events that are routes of HTTP APIs.
pub(super) const HTTP_API_EVENT: &str = "HttpApi";

pub(super) const EVENT: Schema =
    Schema { subject: "An event", required: &["Type", "Properties"], optional: &[], ignored: &[] };
