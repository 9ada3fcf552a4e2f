//! What every worker and task of one attempt in one process shares.

use std::sync::Arc;

use tidelock::log::Log;

use crate::budget::Budget;
use crate::counters::Counters;
use crate::outbox::Outbox;
use crate::stop::Stop;
use crate::tasks::Tasks;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stop: Arc<Stop>,
    pub(crate) tasks: Tasks,
    pub(crate) budget: Arc<Budget>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) log: Log,
}
