//! A ledger in memory, with requests that get lost, come late and come again, and attempts that are paused and wake up.
//!
//! What is tried is what is decided: by the items' texts alone. How it is asked of DynamoDB is tried on a server.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tidelock::write_ahead::Version;
use tidelock::{Epoch, ErrorKind, Generation, JobId, Position, Retry, Uid};

use super::decide::{Stand, Who, claimed, lane_claimed};
use super::model::{Model, random_change, schema};
use super::place::Place;
use super::plan::{Chunk, Plan, RULES};
use super::state::{At, Begun, Claim, Cut, Head, Lane, Lanes, of_text, to_text};
use crate::change::{Change, ItemChange};

fn place() -> Place {
    let (job, uid) = (JobId::new("job").expect("a name"), Uid::new("out").expect("a name"));
    Place { job, uid, table: "orders".into(), ledger: "tidelock_ledger".into() }
}

fn claim(generation: u64, attempt: u64) -> Claim {
    Claim { generation: Generation(generation), attempt: Position(attempt) }
}

fn version(generation: u64, epoch: u64) -> Version {
    Version { generation: Generation(generation), epoch: Epoch(epoch) }
}

/// A transaction: an item of the ledger is swapped, and changes are made.
#[derive(Debug, Clone)]
struct Request {
    id: String,
    before: Option<String>,
    after: String,
    changes: Vec<Change>,
}

#[derive(Debug, Default)]
struct Tables {
    ledger: BTreeMap<String, String>,
    items: Model,
}

impl Tables {
    fn take(&mut self, request: &Request) -> bool {
        if self.ledger.get(&request.id) != request.before.as_ref() {
            return false;
        }
        self.ledger.insert(request.id.clone(), request.after.clone());
        request.changes.iter().for_each(|change| self.items.apply(change));
        true
    }

    fn read<T: serde::de::DeserializeOwned>(&self, id: &str) -> Option<T> {
        self.ledger.get(id).map(|text| of_text(text).expect("whole"))
    }
}

/// What an attempt does next.
#[derive(Debug, Clone)]
enum Step {
    ClaimHead,
    ClaimLane(u32),
    Begin,
    /// A lane, and which of its chunks.
    Send(u32, usize),
}

/// A process that applies the epochs of a list, and looks at the ledger when it must.
#[derive(Debug)]
struct Process {
    claim: Claim,
    epoch: usize,
    steps: Vec<Step>,
    chunks: Vec<Vec<Chunk>>,
    /// What it read before it was paused: it may be old.
    read: BTreeMap<String, Option<String>>,
    is_fenced: bool,
}

/// An epoch: its changes, and into how many lanes whoever begins it would cut it; none: as a whole.
struct Input {
    version: Version,
    changes: Vec<ItemChange>,
    lanes: u32,
}

impl Process {
    fn new(claim: Claim, epoch: usize) -> Self {
        let steps = vec![Step::ClaimHead];
        Self { claim, epoch, steps, chunks: Vec::new(), read: BTreeMap::new(), is_fenced: false }
    }

    /// What it knows of an item, perhaps from long ago.
    fn known<T: serde::de::DeserializeOwned>(
        &mut self,
        tables: &Tables,
        id: &str,
    ) -> (Option<T>, Option<String>) {
        let text = self.read.entry(id.to_owned()).or_insert_with(|| tables.ledger.get(id).cloned()).clone();
        (text.as_ref().map(|text| of_text(text).expect("whole")), text)
    }

    /// The request that it makes next, as far as it knows. `None`: it has nothing to ask for.
    fn next(&mut self, tables: &Tables, inputs: &[Input]) -> Option<Request> {
        let place = place();
        let step = self.steps.last()?.clone();
        match step {
            Step::ClaimHead => {
                let (head, text) = self.known::<Head>(tables, &place.head());
                if head.as_ref().is_some_and(|head| head.claim > self.claim) {
                    self.is_fenced = true;
                    return None;
                }
                let Some(next) = claimed(head.as_ref(), self.claim) else {
                    self.steps = vec![Step::Begin];
                    self.steps.extend((0..head.map_or(0, |head| head.lanes)).map(Step::ClaimLane));
                    return self.next(tables, inputs);
                };
                Some(Request {
                    id: place.head(),
                    before: text,
                    after: to_text(&next).expect("text"),
                    changes: Vec::new(),
                })
            }
            Step::ClaimLane(lane) => {
                let id = place.lane(lane);
                let (found, text) = self.known::<Lane>(tables, &id);
                let Some(next) = lane_claimed(found.as_ref(), self.claim) else {
                    self.steps.pop();
                    return self.next(tables, inputs);
                };
                Some(Request { id, before: text, after: to_text(&next).expect("text"), changes: Vec::new() })
            }
            Step::Begin => self.begin(tables, inputs),
            Step::Send(lane, at) => self.send(tables, inputs, lane, at),
        }
    }

    fn who<'p>(&self, place: &'p Place, input: &Input) -> Who<'p> {
        Who { place, ours: Some(self.claim), version: input.version, batches: 1 }
    }

    fn begin(&mut self, tables: &Tables, inputs: &[Input]) -> Option<Request> {
        let (place, input) = (place(), inputs.get(self.epoch)?);
        let (head, text) = self.known::<Head>(tables, &place.head());
        let (head, who) = (head.expect("a head"), self.who(&place, input));
        let stand = match who.stand(&head) {
            Ok(stand) => stand,
            Err(error) => return self.fenced(&error),
        };
        match stand {
            Stand::Applied => {
                self.epoch += 1;
                self.begin(tables, inputs)
            }
            Stand::Lanes(lanes) => {
                self.chunks = cut(lanes.count, &input.changes);
                self.epoch += 1;
                let chunks = (0..).zip(&self.chunks);
                let steps =
                    chunks.flat_map(|(lane, chunks)| (0..chunks.len()).map(move |at| Step::Send(lane, at)));
                // The last is next.
                self.steps.extend(steps.collect::<Vec<_>>().into_iter().rev());
                self.next(tables, inputs)
            }
            Stand::New if input.lanes == 0 => {
                let changes =
                    cut(1, &input.changes).remove(0).pop().map(|chunk| chunk.changes).unwrap_or_default();
                let after = to_text(&who.begun(&head, Cut::Whole)).expect("text");
                Some(Request { id: place.head(), before: text, after, changes })
            }
            Stand::New => {
                let cut = Cut::Lanes(Lanes { count: input.lanes, rules: RULES });
                for lane in head.lanes..input.lanes {
                    let id = place.lane(lane);
                    let (found, before) = self.known::<Lane>(tables, &id);
                    if let Some(made) = lane_claimed(found.as_ref(), self.claim) {
                        return Some(Request {
                            id,
                            before,
                            after: to_text(&made).expect("text"),
                            changes: Vec::new(),
                        });
                    }
                }
                let after = to_text(&who.begun(&head, cut)).expect("text");
                Some(Request { id: place.head(), before: text, after, changes: Vec::new() })
            }
        }
    }

    fn send(&mut self, tables: &Tables, inputs: &[Input], lane: u32, at: usize) -> Option<Request> {
        let (place, input) = (place(), &inputs[self.epoch - 1]);
        let id = place.lane(lane);
        let (found, text) = self.known::<Lane>(tables, &id);
        let chunk = self.chunks[lane as usize][at].clone();
        match self.who(&place, input).next(&found.expect("a lane"), &chunk) {
            Ok(Some(after)) => {
                let after = to_text(&after).expect("text");
                Some(Request { id, before: text, after, changes: chunk.changes })
            }
            Ok(None) => {
                self.steps.pop();
                self.next(tables, inputs)
            }
            Err(error) => self.fenced(&error),
        }
    }

    fn fenced(&mut self, error: &tidelock::Error) -> Option<Request> {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error}");
        self.is_fenced = true;
        None
    }
}

fn cut(lanes: u32, changes: &[ItemChange]) -> Vec<Vec<Chunk>> {
    let schema = schema();
    let (mut plan, mut of_lanes) =
        (Plan::new(Lanes { count: lanes, rules: RULES }, &schema), vec![Vec::new(); lanes as usize]);
    for change in changes {
        if let Some((lane, chunk)) = plan.take(change.clone()).expect("a key") {
            of_lanes[lane].push(chunk);
        }
    }
    plan.end().for_each(|(lane, chunk)| of_lanes[lane].push(chunk));
    of_lanes
}

fn random_inputs(rng: &mut StdRng) -> Vec<Input> {
    let input = |at: u64| {
        let is_small = rng.random_bool(0.4);
        let count = if is_small { rng.random_range(1..60) } else { rng.random_range(200..900) };
        let items = if is_small { 90 } else { 500 };
        let changes: Vec<_> = (0..count).map(|_| random_change(rng, items)).collect();
        let is_whole = cut(1, &changes)[0].len() == 1;
        let lanes = if is_whole { 0 } else { rng.random_range(1..5) };
        Input { version: version(1, at), changes, lanes }
    };
    (1..6).map(input).collect()
}

#[test]
fn every_change_is_applied_once_and_in_order_whatever_becomes_of_requests_and_attempts() {
    let mut rng = StdRng::seed_from_u64(tidelock_processes::seed("a ledger in memory"));
    for _ in 0..tidelock_processes::count(30, 1_000) {
        let inputs = random_inputs(&mut rng);
        let mut tables = Tables::default();
        let mut processes = vec![Process::new(claim(1, 1), 0)];
        // What is still on its way, and may arrive at any time, also twice.
        let mut late: Vec<Request> = Vec::new();
        let is_done = |processes: &[Process]| {
            let newest = processes.last().expect("one");
            newest.epoch == inputs.len() && matches!(newest.steps[..], [Step::Begin])
        };
        while !is_done(&processes) {
            if processes.len() < 6 && rng.random_bool(0.02) {
                // A new attempt begins with an epoch that is pending, which may be applied in part.
                let (number, epoch) = (processes.len() as u64 + 1, processes.last().expect("one").epoch);
                processes.push(Process::new(claim(1, number), epoch.saturating_sub(1)));
            }
            if !late.is_empty() && rng.random_bool(0.2) {
                tables.take(late.choose(&mut rng).expect("one"));
            }
            // An older one wakes up now and then.
            let newest = processes.len() - 1;
            let at = if rng.random_bool(0.3) { rng.random_range(0..=newest) } else { newest };
            let process = &mut processes[at];
            let Some(request) = process.next(&tables, &inputs) else {
                assert!(!process.is_fenced || at < newest, "nobody fences the newest attempt");
                continue;
            };
            let fate = rng.random_range(0..10);
            if fate < 3 {
                late.push(request.clone());
            }
            if fate > 0 {
                let is_taken = tables.take(&request);
                // Where it was, and the answer came, it knows what stands there.
                let text = if is_taken && fate > 1 { Some(Some(request.after)) } else { None };
                match text {
                    Some(text) => process.read.insert(request.id, text),
                    None => process.read.remove(&request.id),
                };
            } else {
                process.read.remove(&request.id);
            }
        }
        late.iter().for_each(|request| assert!(!tables.take(request), "nothing is applied late"));
        let mut expected = Model::new(false);
        for input in &inputs {
            input.changes.iter().for_each(|change| expected.apply(&change.change));
        }
        let names = |model: &Model| model.items.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&tables.items), names(&expected));
        for (key, item) in &expected.items {
            let found = &tables.items.items[key];
            let without_key = |item: &crate::item::Item| {
                let mut item = item.clone();
                item.remove("sk");
                item
            };
            assert_eq!(without_key(found), without_key(item), "{key}");
        }
        // The ledger does not grow with time.
        assert!(tables.ledger.len() <= 5, "{:?}", tables.ledger);
        let head: Head = tables.read(&place().head()).expect("a head");
        assert_eq!(head.begun.map(|begun| begun.version), Some(version(1, 5)));
    }
}

const LANES: Lanes = Lanes { count: 2, rules: RULES };

fn head(claim: Claim, begun: Option<(Version, Cut)>) -> Head {
    let begun = begun.map(|(version, cut)| Begun { version, batches: 1, cut });
    Head { claim, lanes: 2, begun }
}

#[test]
fn what_an_older_history_or_attempt_asks_for_is_refused_with_the_evidence() {
    let (place, lanes) = (place(), Cut::Lanes(LANES));
    let who = |ours: Option<Claim>, version| Who { place: &place, ours, version, batches: 1 };
    let older = who(Some(claim(1, 3)), version(1, 7));
    let told = |error: tidelock::Error, words: &[&str]| {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error}");
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    };
    let newer_attempt = claim(1, 4);
    let new =
        older.stand(&head(newer_attempt, Some((version(1, 6), Cut::Whole)))).expect_err("not begun by it");
    told(new, &["newer attempt", "attempt 4", "ledger_table=tidelock_ledger", "item=job.out"]);
    // What is applied already is applied.
    for begun in [(version(1, 7), Cut::Whole), (version(1, 8), lanes)] {
        assert_eq!(older.stand(&head(newer_attempt, Some(begun))).expect("applied"), Stand::Applied);
    }
    assert_eq!(
        older.stand(&head(newer_attempt, Some((version(1, 7), lanes)))).expect("begun"),
        Stand::Lanes(LANES)
    );
    let ignored =
        older.stand(&head(claim(2, 5), Some((version(2, 8), Cut::Whole)))).expect_err("of another history");
    told(ignored, &["newer history", "version=1/7", "newest_in_ledger=2/8"]);
    // A process that was told of no attempt does what the ledger allows.
    let nobody = who(None, version(1, 7));
    assert_eq!(nobody.stand(&head(newer_attempt, None)).expect("new"), Stand::New);

    let chunk = |number, until| Chunk { number, until, changes: Vec::new() };
    let lane =
        |claim, chunks, changes| Lane { claim, at: Some(At { version: version(1, 7), chunks, changes }) };
    assert_eq!(older.next(&lane(newer_attempt, 3, 200), &chunk(2, 200)).expect("applied"), None);
    told(older.next(&lane(newer_attempt, 3, 200), &chunk(3, 250)).expect_err("fenced"), &["newer attempt"]);
    let after = older.next(&lane(claim(1, 2), 3, 200), &chunk(3, 250)).expect("next").expect("to be applied");
    assert_eq!(after, lane(claim(1, 3), 4, 250), "with its own claim");
    told(
        older.next(&lane(claim(1, 3), 3, 200), &chunk(5, 400)).expect_err("two are missing"),
        &["older than was there"],
    );
}

#[test]
fn an_epoch_that_is_not_what_it_was_is_not_applied_further() {
    let place = place();
    let who = |batches| Who { place: &place, ours: None, version: version(1, 7), batches };
    let refused = |error: tidelock::Error, word: &str| {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Corrupt, Retry::Halt), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    };
    let stands = |rules| head(claim(1, 1), Some((version(1, 7), Cut::Lanes(Lanes { count: 2, rules }))));
    refused(who(2).stand(&stands(RULES)).expect_err("other batches"), "1 batches, and has 2");
    refused(who(1).stand(&stands(RULES + 1)).expect_err("other rules"), "rules");
    let older = Stand::Lanes(Lanes { count: 2, rules: 1 });
    assert_eq!(who(1).stand(&stands(1)).expect("an older build began it"), older);
    let lane = Lane { claim: claim(1, 1), at: Some(At { version: version(1, 7), chunks: 2, changes: 150 }) };
    let last = Chunk { number: 1, until: 160, changes: Vec::new() };
    refused(who(1).next(&lane, &last).expect_err("another cut"), "150 changes");
}
