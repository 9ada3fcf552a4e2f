//! Sinks that crash, are paused and wake up, roll back, fork and lose a part of their log, on a stream that is split and merged, by requests that are done in part, late and
//! again: and what a reader makes of it.
//!
//! The oracle knows each record by itself: one that arrived is handed over once, whatever arrived how often; records of a key in their order.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use tidelock::{Epoch, Generation, JobId, Uid};

use super::Seen;
use crate::header::{Header, NumberingId};
use crate::place::Place;
use crate::trail::{LAG_MS, Trail};

/// What a sink does not have more of under way beyond the first that is not acknowledged.
const WINDOW: u64 = 60;

/// After so long without an answer a request is made again.
const TIMEOUT_MS: u64 = 300;

const KEYS: u32 = 16;

/// What is wrong on purpose, so that the oracle is seen to find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// A shard does not begin with what those had that it goes on from.
    NoUnion,
    /// All shards share what was seen.
    OneForAll,
    /// A floor is what was acknowledged just now.
    NoLag,
    /// Records are told by epoch and index alone.
    NoNumbering,
    /// Whatever comes is new.
    Nothing,
}

struct Shard {
    keys: std::ops::Range<u32>,
    parents: Vec<usize>,
    is_open: bool,
    records: Vec<Arrived>,
}

struct Arrived {
    header: Header,
    key: u32,
    at_ms: u64,
}

/// A request that may arrive, and whose answer may.
struct Flight {
    arrives_ms: Option<u64>,
    answer_ms: Option<u64>,
    records: Vec<(Header, u32)>,
    sender: usize,
    /// How likely one of its records is refused.
    refused: f64,
    taken: Vec<Place>,
}

/// The records of an epoch and a numbering, by the keys that they have.
#[derive(Clone)]
struct Part {
    numbering: NumberingId,
    since: Epoch,
    epoch: Epoch,
    keys: Vec<u32>,
}

#[derive(Clone)]
struct Log {
    job: JobId,
    generation: Generation,
    next: u64,
    /// Not confirmed.
    pending: Vec<Vec<Part>>,
}

/// A part that is being put.
struct Sending {
    part: Part,
    acked: BTreeSet<u64>,
    /// When each index was sent that is under way.
    sent: BTreeMap<u64, u64>,
}

struct Process {
    log: usize,
    generation: Generation,
    is_owner: bool,
    is_paused: bool,
    is_over: bool,
    writers: Vec<(NumberingId, Option<Epoch>)>,
    sending: Vec<Sending>,
    trails: BTreeMap<NumberingId, Trail>,
}

struct World {
    rng: StdRng,
    now_ms: u64,
    is_disordered: bool,
    broken: Option<Broken>,
    shards: Vec<Shard>,
    flights: Vec<Flight>,
    logs: Vec<Log>,
    backups: Vec<Log>,
    processes: Vec<Process>,
    acked: BTreeSet<(NumberingId, Place)>,
    /// What is given up with the end of a log: it may be handed over once, or not at all.
    given_up: BTreeSet<(NumberingId, Epoch)>,
    began: u64,
}

impl World {
    fn new(seed: u64, broken: Option<Broken>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let is_disordered = rng.random_bool(0.3);
        let shard = Shard { keys: 0..KEYS, parents: Vec::new(), is_open: true, records: Vec::new() };
        let mut world = Self {
            rng,
            now_ms: 0,
            is_disordered,
            broken,
            shards: vec![shard],
            flights: Vec::new(),
            logs: Vec::new(),
            backups: Vec::new(),
            processes: Vec::new(),
            acked: BTreeSet::new(),
            given_up: BTreeSet::new(),
            began: 0,
        };
        world.begin_log();
        world
    }

    fn begin_log(&mut self) {
        let job = JobId::new(format!("job-{}", self.logs.len())).expect("a name");
        let log = Log { job, generation: Generation(100), next: 1, pending: Vec::new() };
        self.logs.push(log.clone());
        self.backups.push(log);
        self.attempt(self.logs.len() - 1);
    }

    /// A new attempt claims. The older one may go on for a while with what it is at, or be gone.
    fn attempt(&mut self, log: usize) {
        for process in self.processes.iter_mut().filter(|process| process.log == log && process.is_owner) {
            process.is_owner = false;
            process.is_over = self.rng.random_bool(0.5);
            process.is_paused = true;
        }
        let writers = (0..self.rng.random_range(1..4)).map(|_| (self.numbering(), None)).collect();
        let generation = self.logs[log].generation;
        self.processes.push(Process {
            log,
            generation,
            is_owner: true,
            is_paused: false,
            is_over: false,
            writers,
            sending: Vec::new(),
            trails: BTreeMap::new(),
        });
    }

    fn numbering(&mut self) -> NumberingId {
        if self.broken == Some(Broken::NoNumbering) {
            return NumberingId { began_ms: 0, nonce: 0 };
        }
        self.began += self.rng.random_range(0..2);
        NumberingId { began_ms: self.began, nonce: self.rng.random() }
    }

    fn step(&mut self) {
        self.now_ms += self.rng.random_range(1..40);
        self.arrive();
        self.answer();
        for at in 0..self.processes.len() {
            let is_idle = self.processes[at].is_over || self.processes[at].is_paused;
            if !is_idle {
                self.work(at);
            }
        }
        match self.rng.random_range(0..400) {
            0..4 => self.reshard(),
            4..7 => self.attempt_somewhere(),
            7..11 => self.wake(),
            11 => self.roll_back(),
            12 if self.logs.len() < 3 => self.begin_log(),
            13..15 => self.back_up(),
            15 => self.restore_backup(),
            16..18 => self.pause(),
            _ => {}
        }
    }

    fn attempt_somewhere(&mut self) {
        let log = self.rng.random_range(0..self.logs.len());
        self.attempt(log);
    }

    fn wake(&mut self) {
        let at = self.rng.random_range(0..self.processes.len());
        self.processes[at].is_paused = false;
    }

    fn pause(&mut self) {
        let at = self.rng.random_range(0..self.processes.len());
        self.processes[at].is_paused = true;
    }

    /// What is pending was given up by name, and a new history begins.
    fn roll_back(&mut self) {
        let at = self.rng.random_range(0..self.logs.len());
        self.logs[at].generation = self.logs[at].generation.next();
        self.give_up(at);
        self.attempt(at);
    }

    fn give_up(&mut self, at: usize) {
        let pending = std::mem::take(&mut self.logs[at].pending);
        self.given_up.extend(pending.iter().flatten().map(|part| (part.numbering, part.epoch)));
    }

    fn back_up(&mut self) {
        let at = self.rng.random_range(0..self.logs.len());
        self.backups[at] = self.logs[at].clone();
    }

    fn restore_backup(&mut self) {
        let at = self.rng.random_range(0..self.logs.len());
        self.give_up(at);
        self.logs[at] = self.backups[at].clone();
        self.attempt(at);
    }

    fn reshard(&mut self) {
        let open: Vec<usize> = (0..self.shards.len()).filter(|at| self.shards[*at].is_open).collect();
        let at = *open.choose(&mut self.rng).expect("one is open");
        let keys = self.shards[at].keys.clone();
        let child = |keys, parents| Shard { keys, parents, is_open: true, records: Vec::new() };
        if self.rng.random_bool(0.5) && keys.len() > 1 {
            let middle = self.rng.random_range(keys.start + 1..keys.end);
            self.shards[at].is_open = false;
            self.shards.push(child(keys.start..middle, vec![at]));
            self.shards.push(child(middle..keys.end, vec![at]));
        } else if let Some(next) = open.into_iter().find(|next| self.shards[*next].keys.start == keys.end) {
            let end = self.shards[next].keys.end;
            (self.shards[at].is_open, self.shards[next].is_open) = (false, false);
            self.shards.push(child(keys.start..end, vec![at, next]));
        }
    }

    /// Requests arrive, and each of their records is put into its shard or refused.
    fn arrive(&mut self) {
        let mut flights = std::mem::take(&mut self.flights);
        for flight in &mut flights {
            if flight.arrives_ms.is_none_or(|arrives| arrives > self.now_ms) {
                continue;
            }
            flight.arrives_ms = None;
            for (header, key) in &flight.records {
                if self.rng.random_bool(flight.refused) {
                    continue;
                }
                flight.taken.push(header.place);
                let is_of = |shard: &&mut Shard| shard.is_open && shard.keys.contains(key);
                let shard = self.shards.iter_mut().find(is_of).expect("all keys have a shard");
                let mut place = shard.records.len();
                if self.is_disordered {
                    // Records that are put close to each other may be in another order.
                    while place > 0
                        && shard.records[place - 1].at_ms + LAG_MS / 2 > self.now_ms
                        && self.rng.random_bool(0.7)
                    {
                        place -= 1;
                    }
                }
                let arrived = Arrived { header: header.clone(), key: *key, at_ms: self.now_ms };
                shard.records.insert(place, arrived);
            }
        }
        self.flights = flights;
    }

    fn answer(&mut self) {
        let now = self.now_ms;
        for flight in &mut self.flights {
            let process = &mut self.processes[flight.sender];
            let is_due = flight.answer_ms.is_some_and(|answer| answer <= now);
            if !is_due || process.is_paused && !process.is_over {
                continue;
            }
            flight.answer_ms = None;
            if process.is_over {
                continue;
            }
            for (header, _) in &flight.records {
                let is_of = |one: &&mut Sending| {
                    one.part.numbering == header.numbering && one.part.epoch == header.place.epoch
                };
                let Some(sending) = process.sending.iter_mut().find(is_of) else { continue };
                sending.sent.remove(&header.place.index);
                if flight.taken.contains(&header.place) {
                    sending.acked.insert(header.place.index);
                    self.acked.insert((header.numbering, header.place));
                }
            }
        }
        self.flights.retain(|flight| flight.arrives_ms.is_some() || flight.answer_ms.is_some());
    }

    fn work(&mut self, at: usize) {
        let log = self.processes[at].log;
        if self.processes[at].sending.is_empty() && !self.next_epoch(at, log) {
            return;
        }
        for part in 0..self.processes[at].sending.len() {
            self.send(at, part);
        }
        let process = &mut self.processes[at];
        if process.sending.iter().all(|sending| sending.acked.len() == sending.part.keys.len()) {
            process.sending.clear();
            if process.is_owner {
                self.logs[log].pending.remove(0);
            } else {
                process.is_over = true;
            }
        }
    }

    /// Takes up the next epoch of the log; prepares one where nothing is pending.
    fn next_epoch(&mut self, at: usize, log: usize) -> bool {
        if !self.processes[at].is_owner {
            self.processes[at].is_over = true;
            return false;
        }
        if self.logs[log].pending.is_empty() {
            let epoch = Epoch(self.logs[log].next);
            self.logs[log].next += 1;
            let mut parts = Vec::new();
            for writer in 0..self.processes[at].writers.len() {
                if self.rng.random_bool(0.2) {
                    continue;
                }
                let keys = (0..self.rng.random_range(1..80)).map(|_| self.rng.random_range(0..KEYS));
                let keys = keys.collect();
                let (numbering, since) = &mut self.processes[at].writers[writer];
                let since = *since.get_or_insert(epoch);
                parts.push(Part { numbering: *numbering, since, epoch, keys });
            }
            self.logs[log].pending.push(parts);
        }
        let part =
            |part: &Part| Sending { part: part.clone(), acked: BTreeSet::new(), sent: BTreeMap::new() };
        self.processes[at].sending = self.logs[log].pending[0].iter().map(part).collect();
        true
    }

    fn send(&mut self, at: usize, part: usize) {
        let (now, job) = (self.now_ms, self.logs[self.processes[at].log].job.clone());
        let process = &mut self.processes[at];
        let Sending { part, acked, sent } = &mut process.sending[part];
        sent.retain(|_, sent_ms| now < *sent_ms + TIMEOUT_MS);
        let count = part.keys.len() as u64;
        let first = (0..count).find(|index| !acked.contains(index)).unwrap_or(count);
        let done = Place { epoch: part.epoch, index: first };
        let trail = process.trails.entry(part.numbering).or_default();
        trail.note(now, done);
        let floor = if self.broken == Some(Broken::NoLag) { done } else { trail.floor(now) };
        let (mut records, mut held) = (Vec::new(), BTreeSet::new());
        for index in first..count.min(first + WINDOW) {
            let key = part.keys[usize::try_from(index).expect("few")];
            if acked.contains(&index) || !held.insert(key) || sent.contains_key(&index) {
                continue;
            }
            if records.len() < 25 {
                sent.insert(index, now);
                let header = Header {
                    job: job.clone(),
                    uid: Uid::new("out").expect("a name"),
                    generation: process.generation,
                    numbering: part.numbering,
                    since: part.since,
                    place: Place { epoch: part.epoch, index },
                    floor,
                    stream: 0,
                };
                records.push((header, key));
            }
        }
        if records.is_empty() {
            return;
        }
        records.shuffle(&mut self.rng);
        let (arrives, answer, refused) = match self.rng.random_range(0..20) {
            0 => (None, None, 0.0),
            1 | 2 => (Some(self.rng.random_range(0..4_000)), None, 0.1),
            3 => (Some(self.rng.random_range(0..60_000)), None, 0.0),
            4..7 => (Some(self.rng.random_range(0..100)), Some(self.rng.random_range(100..200)), 0.5),
            _ => (Some(self.rng.random_range(0..50)), Some(self.rng.random_range(50..400)), 0.0),
        };
        self.flights.push(Flight {
            arrives_ms: arrives.map(|after: u64| now + after),
            answer_ms: answer.map(|after: u64| now + after),
            records,
            sender: at,
            refused,
            taken: Vec::new(),
        });
    }

    /// Reads all shards, those first that others go on from. Returns what is wrong.
    fn read(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut seen_of: Vec<Seen> = Vec::new();
        let mut handed_over: BTreeMap<(NumberingId, Place), u32> = BTreeMap::new();
        let mut last: BTreeMap<(NumberingId, u32), Place> = BTreeMap::new();
        for shard in &self.shards {
            let mut seen = Seen::default();
            for parent in &shard.parents {
                seen.union(seen_of[*parent].clone());
            }
            match self.broken {
                Some(Broken::NoUnion) => seen = Seen::default(),
                Some(Broken::OneForAll) => seen = seen_of.last().cloned().unwrap_or_default(),
                _ => {}
            }
            for Arrived { header, key, at_ms } in &shard.records {
                if self.rng.random_bool(0.02) {
                    let stored = serde_json::to_string(&seen).expect("stored");
                    seen = serde_json::from_str(&stored).expect("read");
                }
                let id = (header.numbering, header.place);
                handed_over.entry(id).or_default();
                let is_new = seen.take(header, i64::try_from(*at_ms).expect("small"));
                if !is_new && self.broken != Some(Broken::Nothing) {
                    continue;
                }
                *handed_over.entry(id).or_default() += 1;
                let before = last.insert((header.numbering, *key), header.place);
                if !self.is_disordered && before.is_some_and(|before| before >= header.place) {
                    wrong.push(format!("{id:?} after {before:?}"));
                }
            }
            seen_of.push(seen);
        }
        let is_wrong = |(numbering, place): &(NumberingId, Place), times: u32| {
            times > 1 || times == 0 && !self.given_up.contains(&(*numbering, place.epoch))
        };
        let times = handed_over.iter().filter(|(id, times)| is_wrong(id, **times));
        wrong.extend(times.map(|(id, times)| format!("{id:?}: {times} times")));
        let missing = self.acked.iter().filter(|id| !handed_over.contains_key(id));
        wrong.extend(missing.map(|id| format!("{id:?} was acknowledged and is nowhere")));
        wrong
    }
}

fn run(seed: u64, broken: Option<Broken>) -> Vec<String> {
    let mut world = World::new(seed, broken);
    for _ in 0..1_500 {
        world.step();
    }
    // What is late arrives.
    world.now_ms += 100_000;
    world.arrive();
    world.read()
}

#[test]
fn each_record_that_arrived_is_handed_over_once_and_in_order() {
    let first = tidelock_processes::seed("numbered records");
    for seed in (0..tidelock_processes::count(20, 5_000) as u64).map(|at| first.wrapping_add(at)) {
        let wrong = run(seed, None);
        let some = &wrong[..wrong.len().min(5)];
        assert!(wrong.is_empty(), "seed {seed}: {} wrong, as {some:#?}", wrong.len());
    }
}

/// A check that cannot fail says nothing.
#[test]
fn what_is_broken_is_found() {
    for broken in [Broken::NoUnion, Broken::OneForAll, Broken::NoLag, Broken::NoNumbering, Broken::Nothing] {
        let found = (0..60).find(|seed| !run(*seed, Some(broken)).is_empty());
        println!("{broken:?}: found with seed {found:?}");
        assert!(found.is_some(), "{broken:?} is not found");
    }
}
