//! The post between processes: a dataflow that carries bytes from worker to worker, and no progress.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tidelock::{Error, Result};
use timely::communication::Hooks;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::worker::Worker;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Place;
use super::lost::Lost;
use super::wire::{Content, Mail, decode, encode};
use crate::wake::Waker;

/// A letter: the worker that it is for, and what it says.
type Letter = (u64, Vec<u8>);

/// The post office of one process. Letters arrive in the order in which one process sent them to another.
/// Its queues are bounded by what passes between a coordinator and its host.
#[derive(Debug)]
pub(crate) struct Post {
    pub(super) place: Place,
    /// The address of every process.
    pub(super) addresses: Vec<String>,
    /// When each process gave its last sign of life beside the post.
    signs: Mutex<Vec<Option<Instant>>>,
    outgoing: Mutex<VecDeque<Letter>>,
    waker: OnceLock<Waker>,
    incoming: Mutex<VecDeque<Vec<u8>>>,
    came: Notify,
    closed: AtomicBool,
    lost: Lost,
}

impl Post {
    pub(crate) fn new(place: Place, addresses: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            place,
            signs: Mutex::new(vec![None; addresses.len()]),
            addresses,
            outgoing: Mutex::default(),
            waker: OnceLock::new(),
            incoming: Mutex::default(),
            came: Notify::new(),
            closed: AtomicBool::new(false),
            lost: Lost::default(),
        })
    }

    /// What timely needs, so that a process that is gone can be named.
    pub(crate) fn watch_connections(&self) -> Hooks {
        self.lost.watch()
    }

    /// The error of a worker's panic, where it follows from the loss of another process.
    pub(crate) fn error_of_loss(&self, operation: &'static str, panic: &(dyn Any + Send)) -> Option<Error> {
        self.lost.error_of(operation, panic, &self.addresses)
    }

    /// Whether this process has the coordinator.
    pub(crate) fn is_leader(&self) -> bool {
        self.place.process == 0
    }

    pub(super) fn send(&self, to: usize, content: Content) -> Result<()> {
        let letter = encode(&Mail { from: self.place.process, content })?;
        self.put([(self.place.postmaster(to), letter)]);
        Ok(())
    }

    /// Sends to every other process.
    pub(super) fn broadcast(&self, content: Content) -> Result<()> {
        let letter = encode(&Mail { from: self.place.process, content })?;
        let others = (0..self.place.processes).filter(|process| *process != self.place.process);
        self.put(others.map(|process| (self.place.postmaster(process), letter.clone())));
        Ok(())
    }

    fn put(&self, letters: impl IntoIterator<Item = Letter>) {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner).extend(letters);
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    /// The next letter. Nothing is lost where the wait is given up.
    pub(super) async fn next(&self) -> Result<Mail> {
        loop {
            let next = self.incoming.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                Some(bytes) => return decode(&bytes),
                None => self.came.notified().await,
            }
        }
    }

    pub(super) fn note_sign_of(&self, process: usize) {
        let mut signs = self.signs.lock().unwrap_or_else(PoisonError::into_inner);
        signs[process] = Some(Instant::now());
    }

    /// When a process was last heard of: by a letter, of which the caller knows, or by a sign beside the post.
    pub(super) fn last_heard_of(&self, process: usize, by_letter: Instant) -> Instant {
        let signs = self.signs.lock().unwrap_or_else(PoisonError::into_inner);
        signs[process].map_or(by_letter, |sign| sign.max(by_letter))
    }

    /// No letter matters any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Builds the dataflow. Every worker takes part; the first one of each process has the letters.
    pub(crate) fn install(self: &Arc<Self>, worker: &mut Worker) {
        let is_postmaster = worker.index() as u64 == self.place.postmaster(self.place.process);
        let post = Arc::clone(self);
        worker.dataflow_named::<u64, _, _>("post", |scope| {
            let mut builder = OperatorBuilder::new("send".to_owned(), scope);
            let address = builder.operator_info().address;
            let (mut output, letters) = builder.new_output();
            let waker = Waker::new(scope.worker().sync_activator_for(address.to_vec()));
            if is_postmaster {
                let _ = post.waker.set(waker.clone());
            }
            let outbox = is_postmaster.then(|| Arc::clone(&post));
            builder.build(move |mut capabilities| {
                let capability = capabilities.pop();
                move |_| {
                    waker.taken();
                    if let (Some(post), Some(capability)) = (&outbox, &capability) {
                        let mut outgoing = post.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
                        let mut letters: Vec<Letter> = outgoing.drain(..).collect();
                        output.activate().give(capability, &mut letters);
                    }
                }
            });
            let mut builder = OperatorBuilder::new("deliver".to_owned(), scope);
            let mut input = builder.new_input(letters, Exchange::new(|letter: &Letter| letter.0));
            builder.build(move |_| {
                move |_| {
                    input.for_each(|_, letters| {
                        let mut incoming = post.incoming.lock().unwrap_or_else(PoisonError::into_inner);
                        incoming.extend(letters.drain(..).map(|(_, letter)| letter));
                        drop(incoming);
                        post.came.notify_one();
                    });
                }
            });
        });
    }
}
