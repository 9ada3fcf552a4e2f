//! The coordinator: the only async brain of a job. It feeds the [protocol machine](crate::protocol) with
//! what happens and performs what the machine decides.
//!
//! ```text
//!             ┌── Control (user) ──┐      ┌── News (host) ──┐     ┌── timers ──┐
//!             v                    v      v                 v     v            v
//!   ┌───────────────────────────── one loop, one future ─────────────────────────────┐
//!   │ event ─> Machine::step ─> actions ─> work under way (log, sinks, sources) ─> event │
//!   └──────────────────────────────────────────────┬─────────────────────────────────┘
//!                                                   └──> Order (host)
//! ```
//!
//! It spawns nothing: dropping its future ends the attempt exactly like a crash, and not polling it is a
//! pause. Both are what the simulation does to it at every point.

mod books;
mod clocks;
mod control;
mod deadlines;
mod ending;
mod entries;
mod farewell;
mod fencing;
mod intake;
mod link;
mod perform;
mod phases;
mod pruning;
mod reports;
mod requests;
mod restoring;
mod run;
mod savepoints;
mod schedule;
mod settling;
mod snapshot;
mod split_table;
mod splits;
mod standing;
mod start;
mod sweeping;
mod tidy;
mod unread;
mod upkeep;
mod waiting;
mod work;

pub use control::{Control, Ended, HostLink, Progress};
pub use tidy::tidy;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use crate::Result;
use crate::host::{News, Order};
use crate::job::{Graph, Job, Settings};

use control::Command;
use deadlines::Deadlines;

/// Orders that wait for the host. More wait inside the coordinator, bounded by the epochs in flight and
/// the number of splits.
const ORDERS: usize = 64;
/// News that wait for the coordinator: enough for every task of a large host to report at once.
const NEWS: usize = 256;
/// Commands of users are rare.
const COMMANDS: usize = 16;

/// Drives one attempt. It is one future that spawns nothing: dropping it ends the attempt like a crash.
#[derive(Debug)]
pub struct Coordinator {
    job: Job,
    graph: Graph,
    deadlines: Deadlines,
    orders: mpsc::Sender<Order>,
    news: mpsc::Receiver<News>,
    commands: mpsc::Receiver<Command>,
    settings: watch::Receiver<Settings>,
    progress: watch::Sender<Progress>,
    seed: u64,
    wall: jiff::Timestamp,
}

impl Coordinator {
    /// Makes the coordinator of a job whose graph is built, with the ends for the host and the user.
    pub fn new(job: Job, graph: Graph) -> (Self, HostLink, Control) {
        // The one place where the coordinator takes chance and the wall clock.
        Self::with_chance(job, graph, rand::random(), jiff::Timestamp::now())
    }

    /// The same with given chance and clock, so that a simulation replays exactly. `seed` jitters pauses;
    /// `wall` is the wall clock's time now.
    pub fn with_chance(
        job: Job,
        graph: Graph,
        seed: u64,
        wall: jiff::Timestamp,
    ) -> (Self, HostLink, Control) {
        let (orders, host_orders) = mpsc::channel(ORDERS);
        let (host_news, news) = mpsc::channel(NEWS);
        let (user_commands, commands) = mpsc::channel(COMMANDS);
        let (user_settings, settings) = watch::channel(job.config().settings.clone());
        let (progress, user_progress) = watch::channel(Progress::default());
        let deadlines = Deadlines::new(job.config(), &graph);
        let control = Control::new(user_commands, user_settings, user_progress, deadlines.clone());
        let link = HostLink { orders: host_orders, news: host_news };
        let coordinator =
            Self { job, graph, deadlines, orders, news, commands, settings, progress, seed, wall };
        (coordinator, link, control)
    }

    /// Claims the job, recovers, and runs it until its end.
    ///
    /// # Errors
    /// Whatever ended the attempt; its [`Retry`](crate::Retry) says whether starting again helps.
    pub async fn run(self) -> Result<Ended> {
        self.running().await
    }

    /// Boxed: it is compiled here, and not anew in each crate that awaits it.
    fn running(self) -> BoxFuture<'static, Result<Ended>> {
        async move {
            self.graph.check()?;
            let (log, sources) = (self.job.log.clone(), self.graph.sources.clone());
            let mut ended = run::Running::new(self).run().await?;
            if ended.was_finished {
                ended.unread = unread::unread(&log, &sources).await;
            }
            Ok(ended)
        }
        .boxed()
    }
}
