//! Several processes as one job.
//!
//! ```text
//!   process 0:  coordinator ── orders ──> itself and, by post, every other process
//!               coordinator <── news ──── itself and, by post, every other process
//! ```
//!
//! The post is a dataflow of its own beside the job's, so there is no second network layer. Only
//! process 0 claims the job. Every process looks at the log, and the job begins only if all of them saw
//! the same snapshot and built the same graph. Whatever fails anywhere ends all processes; a
//! supervisor starts them again. Only once the coordinator has decided how the job ends, every process waits for it and
//! ends as it says, whatever fails meanwhile: see [`stop`](crate::stop).

mod follow;
mod lead;
mod lost;
mod post;
mod questions;
mod signs;
mod wire;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use follow::follow;
pub(crate) use lead::lead;
pub(crate) use post::Post;
use tidelock::{Error, ErrorKind, Result};
pub(crate) use wire::Hello;

use crate::shared::Shared;
use wire::Content;

/// How long the processes may take to find each other and to build their graphs.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a process says that it is there.
const ALIVE_INTERVAL: Duration = Duration::from_millis(500);

/// A process that says nothing for so long is taken for dead: it may be paused, or cut off without its
/// connection being closed.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How long the last words of a process may take on their way.
const FAREWELL: Duration = Duration::from_millis(300);

/// How long the others may take to say good-bye.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// Does something else beside what the attempt waits for. Neither is a task of the attempt: both go on where this
/// process has failed and the coordinator ends the job without it.
async fn beside<T>(attempt: impl Future<Output = T>, other: impl Future<Output = ()>) -> T {
    let other = async {
        other.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        ended = attempt => ended,
        never = other => match never {},
    }
}

/// Which of the processes this one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 0; the coordinator is in process 0.
    pub(crate) process: usize,
    pub(crate) processes: usize,
    /// Worker threads of each process.
    pub(crate) threads: usize,
}

impl Place {
    /// The worker of a process that has its post.
    fn postmaster(self, process: usize) -> u64 {
        (process * self.threads) as u64
    }
}

fn silent(process: usize) -> Error {
    let why = "a process was not heard of for too long: it is paused, overloaded or cut off";
    Error::new(ErrorKind::Unavailable, "run", why)
        .with("process", process)
        .with("seconds", SILENCE_MAX.as_secs())
}

/// How often a process looks whether it has too much in flight, and what has arrived: records of others come
/// without asking.
const BUDGET_INTERVAL: Duration = Duration::from_millis(5);

/// Tells when too much is in flight here, and when that is over: sources read only while there is room everywhere,
/// because the records of one process may all go to another. Tells as well what has arrived from each process.
async fn tell_budget(shared: Arc<Shared>, post: Arc<Post>) -> Result<()> {
    let mut told = false;
    let mut told_arrived = vec![0; post.place.processes];
    let mut look = tokio::time::interval(BUDGET_INTERVAL);
    loop {
        look.tick().await;
        for ((process, in_all), told) in shared.budget.arrived_here().zip(&mut told_arrived) {
            if std::mem::replace(told, in_all) != in_all {
                post.send(process, Content::Arrived(in_all))?;
            }
        }
        let full =
            if post.place.process == 0 { shared.budget.is_full_anywhere() } else { shared.budget.is_full() };
        if full != told {
            told = full;
            match post.place.process {
                0 => post.broadcast(Content::Full(full))?,
                _ => post.send(0, Content::Full(full))?,
            }
        }
    }
}
