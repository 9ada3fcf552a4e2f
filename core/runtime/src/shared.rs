//! What every worker and task of one attempt in one process shares.

use std::sync::Arc;
use std::time::Duration;

use tidelock::Epoch;
use tidelock::log::Log;

use crate::align::Aligner;
use crate::budget::Budget;
use crate::cluster::Post;
use crate::counters::Counters;
use crate::handle::Handle;
use crate::lookup::Desks;
use crate::outbox::Outbox;
use crate::slice::Slicing;
use crate::stop::Stop;
use crate::tasks::Tasks;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stop: Arc<Stop>,
    pub(crate) tasks: Tasks,
    pub(crate) budget: Arc<Budget>,
    pub(crate) slicing: Slicing,
    /// How long a store may take to answer one call.
    pub(crate) call_timeout: Duration,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) counters: Arc<Counters>,
    /// The user's hand on the job.
    pub(crate) handle: Handle,
    pub(crate) log: Log,
    pub(crate) desks: Desks,
    /// The post to the other processes, where there are any.
    pub(crate) post: Option<Arc<Post>>,
    #[cfg(test)]
    pub(crate) apply_on_arrival: bool,
}

impl Shared {
    /// What holds back the records of later epochs.
    pub(crate) fn aligner<B>(&self, open: Epoch) -> Aligner<B> {
        #[cfg(test)]
        if self.apply_on_arrival {
            return Aligner::broken(open);
        }
        Aligner::new(open)
    }
}
