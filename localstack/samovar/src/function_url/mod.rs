//! Function URLs: each is a path of its own, `/_lambda-url/ID/`, that invokes one function with every request.
//!
//! - [`router_before()`] receives requests and finds their URL; `handle` is the way of a request to the function.
//! - `event` builds the function's event, and `response` turns its answer into a response.
//!
//! On AWS each URL has a host name, so the function sees its paths from `/` on. It does so here, too: the prefix is
//! taken away. A request is as described in "Invoking Lambda function URLs" in Lambda's developer guide, and who may
//! make it in "Control access to Lambda function URLs".
//!
//! `RESPONSE_STREAM` has the form of streamed answers, but an answer comes as a whole: the function host gathers it.
//!
//! A request that has been read runs to its end in a task of the URL's own, as on AWS. If the client leaves, only the
//! response is lost.

mod event;
mod handle;
mod response;
mod router;

#[cfg(test)]
mod tests;

use samovar_template::{Function, FunctionUrl};
use tokio_util::task::TaskTracker;

use crate::edge::Edge;
pub(crate) use router::router_before;

/// The first segment of the paths of all URLs.
pub(crate) const PATH: &str = "_lambda-url";

/// One function URL of the template, running.
#[derive(Debug)]
pub(crate) struct Url {
    /// The first part of its host name on AWS.
    id: String,
    spec: FunctionUrl,
    /// The invoker's name for the function.
    function: String,
    arn: String,
    edge: Edge,
    tasks: TaskTracker,
}

impl Url {
    /// The URL of this function, if it has one.
    pub(crate) fn of(function: &Function, edge: &Edge) -> Option<Self> {
        let spec = function.url.clone()?;
        Some(Self {
            id: spec.id.clone(),
            spec,
            function: function.name.clone(),
            arn: function.arn.clone(),
            edge: edge.clone(),
            tasks: TaskTracker::new(),
        })
    }

    /// The name of its function.
    pub(crate) fn function(&self) -> &str {
        &self.function
    }

    /// Its path, with a slash at the end.
    pub(crate) fn path(&self) -> String {
        format!("/{PATH}/{}/", self.id)
    }

    /// Waits for the running requests. The caller must make sure that no new ones come.
    pub(crate) async fn shutdown(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
