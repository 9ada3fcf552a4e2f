//! The oracle: what must be true of the log and of the targets when all is over.
//!
//! Every lineage of a job's log says where it started and what its newest entry covers. Readers of the
//! targets must see exactly the records between: each once, each split in its order, none torn.

use std::collections::{BTreeMap, BTreeSet};

use tidelock::log::{Entry, EntryKind, PendingState, State as Stored};
use tidelock::restore::SplitChanges;
use tidelock::{JobId, Uid};

use super::input::{Record, SimSplit};
use super::plan::uid;
use super::process::{INPUT, Spec, log_root};
use super::store::Fact;
use super::table::{KEYS, Table, key_of};
use super::topic::{Topic, Transaction};
use super::world::State;
use crate::oracle::{Input, Ledger};

/// Places of splits: the first record that is not covered.
type Places = BTreeMap<u32, u64>;

/// One history of a job.
struct Lineage {
    generation: u64,
    from: Places,
    to: Places,
    /// Its newest entry says that the input was read to its end.
    finished: bool,
}

/// Says what is wrong with a job, or nothing.
///
/// # Errors
/// The first wrong.
pub fn audit(state: &State, spec: &Spec) -> Result<(), String> {
    let log = entries_in_order(state, &spec.config.job);
    check_entries(&log)?;
    let lineages = lineages(state, &spec.config.job, &log)?;
    for table in &spec.tables {
        check_table(&lineages, state.tables.get(&table.table))
            .map_err(|wrong| format!("{}: {wrong}", table.table))?;
    }
    for topic in &spec.topics {
        let target = state.topics.get(&topic.topic);
        check_pending(state, &spec.config.job, &log, &topic.uid, target)?;
        for lineage in &lineages {
            check_lineage(state, lineage, target)
                .map_err(|wrong| format!("{}: generation {}: {wrong}", topic.topic, lineage.generation))?;
        }
    }
    Ok(())
}

/// The entries that count, by position. A claim in a gap that pruning left does not count.
fn entries_in_order(state: &State, job: &JobId) -> Vec<Fact> {
    let mut log: Vec<Fact> = Vec::new();
    for fact in state.objects.entries(&log_root(job)).rev() {
        if log.last().is_none_or(|newer| newer.created > fact.created) {
            log.push(fact.clone());
        }
    }
    log.reverse();
    log
}

fn check_entries(log: &[Fact]) -> Result<(), String> {
    let mut nonces = BTreeSet::new();
    for fact in log {
        let entry = &fact.entry;
        if !nonces.insert(&entry.nonce.0) {
            return Err(format!("I5: position {} repeats a nonce", entry.position));
        }
        if let Some(pending) = pending(entry).find(|(_, pending)| pending.epoch > entry.epoch) {
            return Err(format!("I3: entry {} of epoch {} lists {pending:?}", entry.position, entry.epoch));
        }
        if matches!(entry.kind, EntryKind::Closed(_) | EntryKind::Start) && pending(entry).next().is_some() {
            return Err(format!("I6: {:?} entry {} lists something", entry.kind, entry.position));
        }
    }
    for pair in log.windows(2) {
        let (older, newer) = (&pair[0].entry, &pair[1].entry);
        let same_attempt = older.attempt == newer.attempt;
        if older.epoch > newer.epoch && older.lineage.generation == newer.lineage.generation {
            return Err(format!("epochs went back at position {}", newer.position));
        }
        let same_state =
            (&older.state, &older.lineage, &older.obeyed) == (&newer.state, &newer.lineage, &newer.obeyed);
        if newer.kind == EntryKind::Claim && !same_state {
            return Err(format!("I5: claim {} does not carry the state of the entry below", newer.position));
        }
        if !same_attempt && newer.kind != EntryKind::Claim {
            return Err(format!("I5: entry {} is the first of attempt {}", newer.position, newer.attempt));
        }
    }
    Ok(())
}

fn pending(entry: &Entry) -> impl Iterator<Item = (&Uid, &PendingState)> {
    let sinks = entry.state.iter().flat_map(|state: &Stored| &state.sinks);
    sinks.flat_map(|(uid, pending)| pending.iter().map(move |one| (uid, one)))
}

/// I3: what an entry lists stays in every later one until it is visible.
fn check_pending(
    state: &State,
    job: &JobId,
    log: &[Fact],
    uid: &Uid,
    target: Option<&Topic>,
) -> Result<(), String> {
    let root = log_root(job);
    let listed = |fact: &Fact| -> BTreeSet<Transaction> {
        state.objects.listed(&root, fact, uid).into_iter().collect()
    };
    for pair in log.windows(2) {
        let (older, newer) = (listed(&pair[0]), listed(&pair[1]));
        for gone in older.difference(&newer) {
            let visible = target.and_then(|target| target.committed_at(gone));
            if visible.is_none_or(|at| at > pair[1].created) {
                let position = pair[1].entry.position;
                return Err(format!(
                    "I3: entry {position} no longer lists {gone}, which was not visible then"
                ));
            }
        }
    }
    Ok(())
}

fn lineages(state: &State, job: &JobId, log: &[Fact]) -> Result<Vec<Lineage>, String> {
    let mut found: Vec<Lineage> = Vec::new();
    for fact in log {
        let Some(stored) = &fact.entry.state else { continue };
        let (generation, root) = (fact.entry.lineage.generation.0, log_root(job));
        let places = places(state, &root, stored)?;
        let finished = fact.entry.kind == EntryKind::Closed(tidelock::log::Closed::Finished);
        match found.last_mut().filter(|lineage| lineage.generation == generation) {
            Some(lineage) => (lineage.to, lineage.finished) = (places, finished),
            None => {
                if found.last().is_some_and(|last| last.generation >= generation) {
                    return Err(format!("I8: generation {generation} is not newer"));
                }
                found.push(Lineage { generation, from: places.clone(), to: places, finished });
            }
        }
    }
    Ok(found)
}

fn places(state: &State, root: &str, stored: &Stored) -> Result<Places, String> {
    let mut places = Places::new();
    for segment in stored.sources.get(&uid(INPUT)).into_iter().flatten() {
        let bytes = state.objects.segment(root, segment).ok_or("an entry names a chunk that never was")?;
        let changes: SplitChanges = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        for split in changes.splits {
            let split: SimSplit = split.split.decode().map_err(|error| error.to_string())?;
            places.insert(split.split, split.place);
        }
    }
    Ok(places)
}

/// Every row says the newest record of its key that the newest entry covers.
fn check_table(lineages: &[Lineage], table: Option<&Table>) -> Result<(), String> {
    let (Some(first), Some(last)) = (lineages.first(), lineages.last()) else { return Ok(()) };
    for (split, to) in &last.to {
        let from = first.from.get(split).copied().unwrap_or(0);
        for place in from.max(to.saturating_sub(KEYS))..*to {
            let record = Record { split: *split, place };
            let row = table.and_then(|table| table.rows().get(&key_of(&record)));
            if row.is_none_or(|row| row.record != record) {
                return Err(format!("row {:?} must say {record:?} and says {row:?}", key_of(&record)));
            }
        }
    }
    Ok(())
}

fn check_lineage(state: &State, lineage: &Lineage, target: Option<&Topic>) -> Result<(), String> {
    let mut ledger = Ledger::new();
    for (split, to) in &lineage.to {
        // A split that appeared later starts at its beginning.
        let from = lineage.from.get(split).copied().unwrap_or(0);
        let to = if lineage.finished { state.input.partitions[split].records } else { *to };
        ledger.expect(split.to_string(), to.saturating_sub(from));
    }
    if lineage.finished && lineage.to.len() != state.input.partitions.len() {
        return Err(format!("finished with the splits {:?} alone", lineage.to.keys()));
    }
    let visible: Vec<Input> = target
        .into_iter()
        .flat_map(|target| target.visible())
        .filter(|visible| visible.generation == lineage.generation)
        .map(|visible| {
            let record = &visible.record;
            let from = lineage.from.get(&record.split).copied().unwrap_or(0);
            // Before the start: a place that no ledger knows.
            Input::new(record.split.to_string(), record.place.checked_sub(from).unwrap_or(u64::MAX))
        })
        .collect();
    match ledger.audit(&visible).first() {
        None => Ok(()),
        Some(wrong) => {
            Err(format!("{wrong}, counted from {:?}; the newest entry covers {:?}", lineage.from, lineage.to))
        }
    }
}
