//! Where keys are asked for: the cache, the requests under way, and who waits for what.

use std::any::Any;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tidelock::{Error, ErrorKind, Lookup, Result, Retry, Uid, in_time};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::Lookups;
use super::cache::{Answer, AnswerCache};
use super::counts::Counts;
use super::patience::{Patience, later};
use crate::wake::Waker;

/// Where the answers for one worker come in.
#[derive(Debug)]
pub(super) struct Mailbox<K, V> {
    answers: Mutex<Vec<(K, Answer<V>)>>,
    waker: Waker,
}

impl<K, V> Mailbox<K, V> {
    pub(super) fn new(waker: Waker) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::default(), waker })
    }

    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    pub(super) fn take(&self) -> Vec<(K, Answer<V>)> {
        std::mem::take(&mut self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, key: K, answer: Answer<V>) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push((key, answer));
    }
}

pub(super) struct Desk<L: Lookup> {
    uid: Uid,
    lookup: Arc<L>,
    how: Lookups,
    /// A request without an answer for so long ends the attempt.
    call_timeout: Duration,
    cache: AnswerCache<L::Key, L::Value>,
    pub(super) counts: Counts,
    book: Mutex<DeskBook<L::Key, L::Value>>,
    asked: Notify,
}

struct DeskBook<K, V> {
    /// Not requested yet, in the order in which they were asked for.
    queue: VecDeque<K>,
    /// Who waits for each key that is queued or under way.
    waiting: HashMap<K, Vec<Arc<Mailbox<K, V>>>, RandomState>,
}

impl<L: Lookup> Desk<L> {
    pub(super) fn new(uid: Uid, lookup: Arc<L>, how: Lookups, call_timeout: Duration) -> Self {
        Self {
            counts: Counts::new(&uid),
            uid,
            lookup,
            how,
            call_timeout,
            cache: AnswerCache::new(how),
            book: Mutex::new(DeskBook { queue: VecDeque::new(), waiting: HashMap::default() }),
            asked: Notify::new(),
        }
    }

    /// The answer, if it is known already.
    pub(super) fn cached(&self, key: &L::Key) -> Option<Answer<L::Value>> {
        self.cache.fresh(key)
    }

    /// Asks for keys. The answers come to the mailbox, each once.
    pub(super) fn ask(
        &self,
        keys: impl IntoIterator<Item = L::Key>,
        mailbox: &Arc<Mailbox<L::Key, L::Value>>,
    ) {
        let mut book = self.book();
        for key in keys {
            let waiting = book.waiting.entry(key.clone()).or_default();
            let is_new = waiting.is_empty();
            waiting.push(Arc::clone(mailbox));
            if is_new {
                book.queue.push_back(key);
            }
        }
        drop(book);
        self.asked.notify_one();
    }

    /// Sends requests as long as anybody may ask.
    pub(super) async fn run(self: Arc<Self>) -> Result<()> {
        let mut requests = FuturesUnordered::new();
        loop {
            while requests.len() < self.how.requests_in_flight_max {
                let keys = self.next_keys();
                if keys.is_empty() {
                    break;
                }
                requests.push(self.request(keys));
            }
            tokio::select! {
                Some(answered) = requests.next() => answered?,
                () = self.asked.notified() => {}
            }
        }
    }

    fn next_keys(&self) -> Vec<L::Key> {
        let mut book = self.book();
        let count = book.queue.len().min(self.how.keys_per_request_max);
        book.queue.drain(..count).collect()
    }

    /// Asks until the keys are answered. An error that may pass is not worth an attempt, for a while.
    async fn request(&self, mut keys: Vec<L::Key>) -> Result<()> {
        let mut patience: Option<Patience> = None;
        loop {
            let asked = Instant::now();
            let error = match in_time("look up", self.call_timeout, self.lookup.lookup(&keys)).await {
                Ok(values) => {
                    self.counts.answered(asked.elapsed());
                    return self.answer_all(keys, values);
                }
                Err(error) => error,
            };
            self.counts.failed(asked.elapsed());
            if error.retry() != Retry::Retry {
                return Err(error);
            }
            keys = self.answer_stale(keys);
            if keys.is_empty() {
                return Ok(());
            }
            // Counted from the first answer that did not come: a store that is slow to say no is not given up sooner.
            let patience =
                patience.get_or_insert_with(|| Patience::until(later(Instant::now(), self.how.retry_for)));
            let Some(pause) = patience.pause() else { return Err(error) };
            warn!(uid = %self.uid, %error, keys = keys.len(), ?pause, "the store of a lookup fails: it is asked again");
            sleep(pause).await;
        }
    }

    fn answer_all(&self, keys: Vec<L::Key>, values: Vec<Option<L::Value>>) -> Result<()> {
        if values.len() != keys.len() {
            let error = Error::new(ErrorKind::Bug, "look up", "a lookup must give one answer for each key");
            return Err(error.with("keys", keys.len()).with("answers", values.len()));
        }
        let mut book = self.book();
        for (key, value) in keys.into_iter().zip(values) {
            let answer = value.map(Arc::new);
            self.cache.keep(key.clone(), answer.clone());
            book.answer(key, &answer);
        }
        Ok(())
    }

    /// Answers what may be answered by what was known before, and gives the other keys back.
    fn answer_stale(&self, keys: Vec<L::Key>) -> Vec<L::Key> {
        let mut book = self.book();
        let asked = keys.len();
        let mut unknown = Vec::new();
        for key in keys {
            match self.cache.stale(&key) {
                Some(answer) => book.answer(key, &answer),
                None => unknown.push(key),
            }
        }
        self.counts.stale((asked - unknown.len()) as u64);
        unknown
    }

    fn book(&self) -> MutexGuard<'_, DeskBook<L::Key, L::Value>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + std::hash::Hash + Clone, V> DeskBook<K, V> {
    /// Tells all who wait for the key.
    fn answer(&mut self, key: K, answer: &Answer<V>) {
        for mailbox in self.waiting.remove(&key).unwrap_or_default() {
            mailbox.put(key.clone(), answer.clone());
            mailbox.waker.wake();
        }
    }
}

/// The desks of one process: the workers that build the same graph share them.
#[derive(Debug, Default)]
pub(crate) struct Desks {
    desks: Mutex<BTreeMap<Uid, Arc<dyn Any + Send + Sync>>>,
}

impl Desks {
    /// The desk of a lookup, made by the first who asks.
    pub(super) fn get<D: Any + Send + Sync>(&self, uid: &Uid, make: impl FnOnce() -> Arc<D>) -> Arc<D> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(desk) = desks.get(uid)
            && let Ok(desk) = Arc::clone(desk).downcast::<D>()
        {
            return desk;
        }
        let desk = make();
        desks.insert(uid.clone(), Arc::<D>::clone(&desk));
        desk
    }
}
