//! What is asked in a process without the coordinator, on its way to process 0, and the answers on theirs.

use std::collections::BTreeMap;

use tidelock::Result;
use tidelock::coordinator::Progress;
use tokio::sync::{mpsc, oneshot, watch};

use super::wire::{Content, Told};
use crate::ask::{Far, Question, Said};
use crate::handle::Handle;
use crate::stop::Failure;

/// Questions of users are rare.
const QUESTIONS_WAITING_MAX: usize = 16;

pub(super) struct Questions {
    asked: mpsc::Receiver<Question>,
    progress: watch::Sender<Progress>,
    /// Who waits for which answer.
    waiting: BTreeMap<u64, oneshot::Sender<Result<Said>>>,
    next: u64,
}

impl Questions {
    /// Takes the questions of this process's users from now on.
    pub(super) fn of(handle: &Handle) -> Self {
        let (questions, asked) = mpsc::channel(QUESTIONS_WAITING_MAX);
        let progress = watch::Sender::new(Progress::default());
        handle.attach_far(Far { questions, progress: progress.subscribe() });
        Self { asked, progress, waiting: BTreeMap::new(), next: 0 }
    }

    /// The next one, to be sent to process 0. Nothing is lost where the wait is given up.
    pub(super) async fn next(&mut self) -> Content {
        let Some(Question { ask, answer }) = self.asked.recv().await else {
            return std::future::pending().await;
        };
        self.next += 1;
        self.waiting.insert(self.next, answer);
        Content::Ask { number: self.next, ask }
    }

    /// Process 0 has answered.
    pub(super) fn answer(&mut self, number: u64, said: Result<Said, Told>) {
        let said = said.map_err(|told| told.into_failure(0).into_error());
        if let Some(waiting) = self.waiting.remove(&number) {
            // Who asked may have gone.
            let _ = waiting.send(said);
        }
    }

    /// Process 0 has told how the job goes.
    pub(super) fn show(&self, progress: Progress) {
        self.progress.send_replace(progress);
    }
}

/// Answers a question of another process.
pub(super) async fn answer(handle: &Handle, ask: crate::ask::Ask) -> Result<Said, Told> {
    handle.ask(ask).await.map_err(|error| Told::of(&Failure { uid: None, error }))
}
