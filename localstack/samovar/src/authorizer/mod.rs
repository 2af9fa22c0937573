//! What the Lambda authorizers of all kinds of APIs have in common: the policies that they answer with, and the answers
//! that are kept for a while.

pub(crate) mod cache;
pub(crate) mod policy;
