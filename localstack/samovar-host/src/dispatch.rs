//! Chooses the instance that gets an invocation.

use std::sync::Arc;

use super::instance::Instance;
use super::pool::{Job, Pool};

impl Pool {
    /// Gives an admitted invocation to the most recently used idle instance, or to a new one.
    pub(super) fn dispatch(self: &Arc<Self>, mut job: Box<Job>) {
        let index = job.index();
        loop {
            match self.take_idle(index) {
                // The instance has just died, and gave the job back.
                Some(instance) => match instance.assign(job) {
                    Ok(()) => return,
                    Err(refused) => job = refused,
                },
                None => {
                    let instance = Instance::new(Arc::clone(self), self.function(index), index);
                    self.enlist(index, instance.handle());
                    self.instances.spawn(instance.run(job));
                    return;
                }
            }
        }
    }
}
