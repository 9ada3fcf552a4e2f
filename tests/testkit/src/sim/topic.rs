//! A transactional target, as a message log has it: transactions by identity, producer epochs that
//! fence, records that readers see only when their transaction was committed.
//!
//! It is as unforgiving as a real one. A commit names an identity and no particular transaction, so a
//! late one ends whatever is open; an initialise aborts what is open; a write after an abort begins a
//! new transaction; what is open for too long is thrown away.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidelock::{Committable, Result, TargetName, Versioned};

use super::input::Record;
use super::process::log_root;
use super::world::State;

/// What names a transaction: the committable of [`TopicSink`](super::topic_sink::TopicSink).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Transaction {
    /// The identity that it was written with.
    pub id: String,
    /// How often the identity was initialised before.
    pub producer_epoch: u32,
    /// When it began, on a clock that never stands still.
    pub start: u64,
    /// Makes it too large for a manifest, in some runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub padding: String,
}

impl Versioned for Transaction {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(tidelock::unknown_version::<Self>(version))
    }
}

impl Committable for Transaction {}

/// A record that a normal reader sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    /// The record.
    pub record: Record,
    /// The generation of the attempt that wrote it.
    pub generation: u64,
}

#[derive(Debug)]
struct Open {
    start: u64,
    deadline: u64,
    generation: u64,
    prepared: bool,
    records: Vec<Record>,
}

#[derive(Debug, Default)]
struct Identity {
    producer_epoch: u32,
    open: Option<Open>,
    /// The transaction that ended last, and whether it was committed.
    last: Option<(Transaction, bool)>,
}

/// Why the target refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The identity was initialised again.
    Fenced,
    /// The identity has no such transaction.
    InvalidState,
}

/// What the target knows of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Described {
    /// It is open.
    Ongoing,
    /// It was committed.
    Committed,
    /// Anything else.
    Gone,
}

/// A transactional target.
#[derive(Debug, Default)]
pub struct Topic {
    identities: BTreeMap<String, Identity>,
    visible: Vec<Visible>,
    seen: BTreeSet<(u64, Record)>,
    last_place: BTreeMap<(u64, u32), u64>,
    committed_at: BTreeMap<Transaction, u64>,
    /// Transactions that were listed by an entry and thrown away.
    pub thrown_away: BTreeSet<Transaction>,
}

impl Topic {
    /// What a normal reader sees, in its order.
    pub fn visible(&self) -> &[Visible] {
        &self.visible
    }

    /// When a transaction became visible: [`State::happened`].
    pub fn committed_at(&self, transaction: &Transaction) -> Option<u64> {
        self.committed_at.get(transaction).copied()
    }

    /// Identities with an open transaction: what pins the target's readers.
    pub fn open(&self) -> Vec<Transaction> {
        self.identities
            .iter()
            .filter_map(|(id, identity)| {
                let open = identity.open.as_ref()?;
                Some(Transaction::new(id, identity.producer_epoch, open.start))
            })
            .collect()
    }

    fn show(&mut self, generation: u64, records: Vec<Record>) -> Option<String> {
        let mut wrong = None;
        for record in records {
            let last = self.last_place.insert((generation, record.split), record.place);
            if !self.seen.insert((generation, record.clone())) {
                wrong = Some(format!("{record:?} became visible twice"));
            } else if last.is_some_and(|last| last > record.place) {
                wrong = Some(format!("{record:?} became visible after {last:?} of its split"));
            }
            self.visible.push(Visible { record, generation });
        }
        wrong
    }
}

impl std::fmt::Display for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, producer epoch {}, begun at {}", self.id, self.producer_epoch, self.start)
    }
}

impl Transaction {
    /// A transaction's name.
    pub fn new(id: impl Into<String>, producer_epoch: u32, start: u64) -> Self {
        Self { id: id.into(), producer_epoch, start, padding: String::new() }
    }

    /// The job, sink, attempt and writer that made it.
    pub fn made_by(&self) -> Option<TargetName> {
        TargetName::parse(self.id.split_once('/')?.0)
    }

    /// Whether both name the same transaction.
    pub fn is(&self, other: &Self) -> bool {
        (&self.id, self.producer_epoch, self.start) == (&other.id, other.producer_epoch, other.start)
    }

    fn ever_listed(&self, state: &State) -> bool {
        self.made_by().is_some_and(|name| state.objects.has_listed(&log_root(&name.job), &name.uid, self))
    }

    /// Whether the newest entry of its job's log lists it.
    pub fn is_listed(&self, state: &State) -> bool {
        self.made_by().is_some_and(|name| state.objects.still_lists(&log_root(&name.job), &name.uid, self))
    }
}

fn with_identity<T>(state: &mut State, topic: &str, id: &str, act: impl FnOnce(&mut Identity) -> T) -> T {
    expire(state, topic);
    let topic = state.topics.entry(topic.to_owned()).or_default();
    act(topic.identities.entry(id.to_owned()).or_default())
}

/// Throws away what was open for too long.
pub fn expire(state: &mut State, topic: &str) {
    let now = state.now;
    let Some(target) = state.topics.get_mut(topic) else { return };
    let mut gone = Vec::new();
    for (id, identity) in &mut target.identities {
        if let Some(open) = identity.open.take_if(|open| open.deadline <= now) {
            let transaction = Transaction::new(id, identity.producer_epoch, open.start);
            identity.last = Some((transaction.clone(), false));
            gone.push(transaction);
        }
    }
    for transaction in gone {
        // An entry that was asked for in time may list it later: then it was doomed, and counts as well.
        state.reached("the target threw away what was open for too long");
        if let Some(topic) = state.topics.get_mut(topic) {
            topic.thrown_away.insert(transaction);
        }
    }
}

/// Initialises an identity: what it has open is aborted, and older clients of it are fenced.
pub fn initialise(state: &mut State, topic: &str, id: &str) -> u32 {
    let (open, producer_epoch) = with_identity(state, topic, id, |identity| {
        let open = identity.open.take();
        let open = open.map(|open| Transaction::new(id, identity.producer_epoch, open.start));
        if let Some(open) = &open {
            identity.last = Some((open.clone(), false));
        }
        // The first client of an identity has producer epoch 1.
        identity.producer_epoch += 1;
        (open, identity.producer_epoch)
    });
    if let Some(open) = open.filter(|open| open.is_listed(state)) {
        state.accuse(format!("an initialise aborted what the newest entry lists: {}", open));
    }
    producer_epoch
}

/// Appends records to the open transaction, or begins one.
pub fn write(
    state: &mut State,
    topic: &str,
    client: (&str, u32),
    records: Vec<Record>,
    generation: u64,
    timeout: u64,
) -> Result<u64, Refused> {
    let (id, producer_epoch) = client;
    let (now, start) = (state.now, state.happened());
    let (begun, last) = with_identity(state, topic, id, |identity| {
        if identity.producer_epoch != producer_epoch {
            return (Err(Refused::Fenced), None);
        }
        let last = identity.last.as_ref().filter(|_| identity.open.is_none());
        let last = last.map(|(transaction, _)| transaction.clone());
        let open = identity.open.get_or_insert_with(|| Open {
            start,
            deadline: now.saturating_add(timeout),
            generation,
            prepared: false,
            records: Vec::new(),
        });
        open.records.extend(records);
        (Ok(open.start), last)
    });
    // A slot that is used again while an entry lists what it held: a recovery would commit what is now
    // open there, or would have to take "done" on trust.
    if let Some(last) = last.filter(|last| last.is_listed(state)) {
        state.accuse(format!("a slot was used again while the newest entry lists {}", last));
    }
    begun
}

/// Makes durable what was written: returns the milliseconds until the target may throw it away.
pub fn prepare(state: &mut State, topic: &str, id: &str, producer_epoch: u32) -> Result<u64, Refused> {
    let now = state.now;
    with_identity(state, topic, id, |identity| match &mut identity.open {
        _ if identity.producer_epoch != producer_epoch => Err(Refused::Fenced),
        Some(open) => {
            open.prepared = true;
            Ok(open.deadline - now)
        }
        None => Err(Refused::InvalidState),
    })
}

/// Ends whatever is open under an identity.
pub fn end(
    state: &mut State,
    topic: &str,
    id: &str,
    producer_epoch: u32,
    commit: bool,
) -> Result<(), Refused> {
    let ended = with_identity(state, topic, id, |identity| {
        if identity.producer_epoch != producer_epoch {
            return Err(Refused::Fenced);
        }
        let Some(open) = identity.open.take() else {
            let same = identity.last.as_ref().is_some_and(|(_, committed)| *committed == commit);
            return if same { Ok(None) } else { Err(Refused::InvalidState) };
        };
        let transaction = Transaction::new(id, producer_epoch, open.start);
        identity.last = Some((transaction.clone(), commit));
        Ok(Some((transaction, open)))
    })?;
    if let Some((transaction, open)) = ended {
        witness_end(state, topic, &transaction, open, commit);
    }
    Ok(())
}

fn witness_end(state: &mut State, topic: &str, transaction: &Transaction, open: Open, commit: bool) {
    if !commit {
        if transaction.is_listed(state) {
            state.accuse(format!("what the newest entry lists was aborted: {}", transaction));
        }
        return;
    }
    if !transaction.ever_listed(state) {
        state.accuse(format!("I1: committed and in no durable entry: {}", transaction));
    }
    if !open.prepared {
        state.accuse(format!("an epoch was torn: committed while it was written: {}", transaction));
    }
    let happened = state.happened();
    let target = state.topics.entry(topic.to_owned()).or_default();
    target.committed_at.insert(transaction.clone(), happened);
    if let Some(wrong) = target.show(open.generation, open.records) {
        state.accuse(wrong);
    }
}

/// What became of a transaction.
pub fn describe(state: &mut State, topic: &str, transaction: &Transaction) -> Described {
    with_identity(state, topic, &transaction.id, |identity| {
        if identity.producer_epoch != transaction.producer_epoch {
            return Described::Gone;
        }
        match (&identity.open, &identity.last) {
            (Some(open), _) if open.start == transaction.start => Described::Ongoing,
            (_, Some((last, true))) if last.start == transaction.start => Described::Committed,
            _ => Described::Gone,
        }
    })
}
