//! Sends changes of many keys at once, and goes on with it between the calls of a writer.
//!
//! Each lane is a task of its own: on one task all requests would be made on one core, and each answer would come to it from another one. A lane takes
//! the next key by itself, so that nobody is woken for each answer, and ends when there is none. A call of the writer that waited until all of its
//! changes have arrived would leave most lanes idle at its end, and those of the next call at its beginning: so it waits only until all of them are
//! under way.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidelock::{Error, ErrorKind, Result};
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};

use super::merge::Chain;
use super::queue::Queue;
use super::request::Sender;
use crate::key::Key;

/// Sends what a writer is given, in as many lanes as may be.
pub(super) struct Lanes {
    shared: Arc<Shared>,
    sender: Arc<Sender>,
    lanes_max: usize,
    running: JoinSet<()>,
}

/// What lanes and their writer share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Nothing waits any more, or somebody failed.
    handed_over: Notify,
}

#[derive(Default)]
struct State {
    queue: Queue,
    /// How many lanes look for work still.
    lanes: usize,
    /// Why nothing is sent any more.
    failed: Option<Error>,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("lanes_max", &self.lanes_max).finish_non_exhaustive()
    }
}

impl Lanes {
    pub(super) fn new(sender: Arc<Sender>, lanes_max: usize) -> Self {
        Self { shared: Arc::default(), sender, lanes_max: lanes_max.max(1), running: JoinSet::new() }
    }

    /// Sends changes. When it returns all of them are under way, and of a key no more than one request is. A call that is dropped, or fails, ends all
    /// requests.
    ///
    /// # Errors
    /// What became of a change of this call, or of one before it.
    pub(super) async fn send(&mut self, chains: Vec<(Key, Chain)>) -> Result<()> {
        let mut running = std::mem::take(&mut self.running);
        while let Some(ended) = running.try_join_next() {
            ended.map_err(broke)?;
        }
        // Where a change before these failed, nothing is sent any more.
        self.shared.lock().is_handed_over()?;
        for _ in 0..self.add(chains) {
            running.spawn(lane(Arc::clone(&self.shared), Arc::clone(&self.sender)));
        }
        loop {
            let handed_over = self.shared.handed_over.notified();
            if self.shared.lock().is_handed_over()? {
                self.running = running;
                return Ok(());
            }
            tokio::select! {
                () = handed_over => {}
                Some(ended) = running.join_next() => ended.map_err(broke)?,
            }
        }
    }

    /// Returns when everything has arrived. A call that is dropped, or fails, ends all requests.
    ///
    /// # Errors
    /// What became of a change.
    pub(super) async fn arrived(&mut self) -> Result<()> {
        let mut running = std::mem::take(&mut self.running);
        while let Some(ended) = running.join_next().await {
            ended.map_err(broke)?;
        }
        self.shared.lock().is_handed_over().map(drop)
    }

    /// Gives how many lanes there must be beside those that run.
    fn add(&self, chains: Vec<(Key, Chain)>) -> usize {
        let mut state = self.shared.lock();
        let mut passed = 0;
        for (key, chain) in chains {
            passed += state.queue.add(key, chain);
        }
        let wanted = state.queue.ready().min(self.lanes_max.saturating_sub(state.lanes));
        state.lanes += wanted;
        drop(state);
        (0..passed).for_each(|_| self.sender.requests().passed());
        wanted
    }
}

/// Sends the changes of one key after the other, until there is nothing to do.
async fn lane(shared: Arc<Shared>, sender: Arc<Sender>) {
    let mut sent = None;
    while let Some((key, chain)) = shared.next(sent.take()) {
        for write in &chain {
            if let Err(error) = sender.send(&key, write).await {
                return shared.fail(error);
            }
        }
        sent = Some(key);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, sent: Option<Key>) -> Option<(Key, Chain)> {
        let mut state = self.lock();
        let next = state.queue.next(sent);
        if next.is_none() {
            state.lanes -= 1;
        }
        let is_handed_over = state.queue.is_handed_over();
        drop(state);
        if is_handed_over {
            self.handed_over.notify_waiters();
        }
        next
    }

    fn fail(&self, error: Error) {
        let mut state = self.lock();
        state.queue.clear();
        state.lanes -= 1;
        state.failed.get_or_insert(error);
        drop(state);
        self.handed_over.notify_waiters();
    }
}

impl State {
    /// # Errors
    /// What one of the lanes failed with. It is given once: the writer takes no more calls then.
    fn is_handed_over(&mut self) -> Result<bool> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(self.queue.is_handed_over()),
        }
    }
}

fn broke(error: JoinError) -> Error {
    let why = "what sends items ended in the middle: which of them are there is unknown";
    Error::new(ErrorKind::Other, "write items", why).because(error)
}
