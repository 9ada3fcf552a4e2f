//! What may be sent now: of each key the first that waits.
//!
//! ```text
//!   key a:  a1 under way │ a2 a3      waits for a1
//!   key b:  b1 b2                     b1 is ready; b1 and b2 go together where that is wanted
//!   key c:  c1                        held: its shard is throttled
//! ```
//!
//! Pure: times are milliseconds of a clock that never goes back.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::brakes::Brakes;
use crate::aggregate::{OWN_BYTES, RECORD_OWN_BYTES};
use crate::hash_key::HashKey;
use crate::put::KinesisPut;

/// So many bytes of records go together as one, as the KPL does by default. A shard takes 1,000 records in a second, however
/// small they are: small ones gain most. Where more go together, a refusal costs more.
const AGGREGATE_BYTES_MAX: usize = 51_200;

/// A record, and which one it is of all that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) index: u64,
    pub(super) put: KinesisPut,
}

/// What goes as one record of the stream: one at least, and several only where they have the same keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) records: Vec<Waiting>,
    pub(super) hash: HashKey,
    lane: LaneKey,
    /// At most what it counts in a request, and its key.
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum LaneKey {
    Of(String),
    /// Where nothing keeps its order.
    Alone(u64),
}

/// How records are put together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Whether records of a key keep their order.
    pub(super) is_ordered: bool,
    /// Whether those that wait together go together.
    pub(super) aggregates: bool,
    pub(super) records_max: usize,
    pub(super) bytes_max: usize,
    /// The most that comes to the data of a record.
    pub(super) own_bytes: usize,
}

/// Records that wait, and those that are under way, whose keys wait.
#[derive(Debug)]
pub(super) struct Lanes {
    rules: Rules,
    /// What waits, by key. A key that is under way has one, too.
    lanes: HashMap<LaneKey, VecDeque<Waiting>>,
    ready: VecDeque<LaneKey>,
    /// Keys that wait for a time.
    held: BTreeMap<(u64, u64), LaneKey>,
    holds: u64,
    /// Of all that wait and are under way.
    records: usize,
    bytes: usize,
}

impl Lanes {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            held: BTreeMap::new(),
            holds: 0,
            records: 0,
            bytes: 0,
        }
    }

    /// How many records are not done.
    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// How many bytes these have.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the first key may go on that waits for a time.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.held.first_key_value().map(|((due_ms, _), _)| *due_ms)
    }

    /// Adds a record behind those of its key.
    pub(super) fn add(&mut self, record: Waiting) {
        let lane = match self.rules.is_ordered {
            true => LaneKey::Of(record.put.partition_key.clone()),
            false => LaneKey::Alone(record.index),
        };
        self.records += 1;
        self.bytes += record_bytes(&record.put);
        match self.lanes.get_mut(&lane) {
            Some(waiting) => waiting.push_back(record),
            None => {
                self.lanes.insert(lane.clone(), [record].into());
                self.ready.push_back(lane);
            }
        }
    }

    /// Takes what goes with the next request. Nothing, where nothing may be sent now.
    pub(super) fn take(&mut self, now_ms: u64, brakes: &mut Brakes) -> Vec<Unit> {
        while self.next_due().is_some_and(|due_ms| due_ms <= now_ms)
            && let Some((_, lane)) = self.held.pop_first()
        {
            self.ready.push_back(lane);
        }
        let (mut units, mut bytes) = (Vec::new(), 0);
        while units.len() < self.rules.records_max
            && let Some(lane) = self.ready.pop_front()
        {
            let Some(first) = self.lanes.get(&lane).and_then(VecDeque::front) else { continue };
            let hash = hash_of(&first.put);
            let room = self.rules.bytes_max.saturating_sub(bytes);
            // A record alone always goes: it was looked at before.
            if self.unit_bytes(&first.put) > room && !units.is_empty() {
                self.ready.push_front(lane);
                break;
            }
            if let Err(until_ms) = brakes.pass(hash, now_ms) {
                self.hold(lane, until_ms);
                continue;
            }
            let unit = self.unit(lane, hash, room);
            bytes += unit.bytes;
            units.push(unit);
        }
        units
    }

    /// What was sent is in the stream: the next one of its key may go.
    pub(super) fn done(&mut self, unit: Unit) {
        self.records -= unit.records.len();
        self.bytes -= unit.records.iter().map(|record| record_bytes(&record.put)).sum::<usize>();
        match self.lanes.get(&unit.lane) {
            Some(waiting) if !waiting.is_empty() => self.ready.push_back(unit.lane),
            _ => drop(self.lanes.remove(&unit.lane)),
        }
    }

    /// What was sent is not in the stream, or nobody knows: it goes once more, before all others of its key, at this time or later.
    pub(super) fn again(&mut self, unit: Unit, from_ms: u64) {
        let waiting = self.lanes.entry(unit.lane.clone()).or_default();
        for record in unit.records.into_iter().rev() {
            waiting.push_front(record);
        }
        self.hold(unit.lane, from_ms);
    }

    fn hold(&mut self, lane: LaneKey, until_ms: u64) {
        self.holds += 1;
        self.held.insert((until_ms, self.holds), lane);
    }

    /// The first record of a lane that has one, and those behind it that go with it.
    fn unit(&mut self, lane: LaneKey, hash: HashKey, room: usize) -> Unit {
        let most = if self.rules.aggregates { room.min(AGGREGATE_BYTES_MAX) } else { 0 };
        let own_bytes = self.rules.own_bytes;
        let waiting = self.lanes.entry(lane.clone()).or_default();
        let mut records: Vec<Waiting> = waiting.pop_front().into_iter().collect();
        let keys = records.first().map_or(0, |first| keys_bytes(&first.put));
        let mut bytes = keys + records.iter().map(|first| first.put.data.len() + own_bytes).sum::<usize>();
        let mut together = bytes + OWN_BYTES + keys + RECORD_OWN_BYTES;
        while let (Some(first), Some(next)) = (records.first(), waiting.front())
            && first.put.explicit_hash_key == next.put.explicit_hash_key
        {
            together += next.put.data.len() + own_bytes + RECORD_OWN_BYTES;
            if together > most {
                break;
            }
            bytes = together;
            records.extend(waiting.pop_front());
        }
        Unit { records, hash, lane, bytes }
    }

    fn unit_bytes(&self, put: &KinesisPut) -> usize {
        record_bytes(put) + self.rules.own_bytes
    }
}

impl Unit {
    /// The partition key of its records.
    pub(super) fn put(&self) -> Option<&KinesisPut> {
        self.records.first().map(|record| &record.put)
    }
}

fn hash_of(put: &KinesisPut) -> HashKey {
    let explicit = put.explicit_hash_key.as_deref().and_then(HashKey::parse);
    explicit.unwrap_or_else(|| HashKey::of_partition_key(&put.partition_key))
}

/// What the keys of a record count in a request.
fn keys_bytes(put: &KinesisPut) -> usize {
    put.partition_key.len() + put.explicit_hash_key.as_ref().map_or(0, String::len)
}

fn record_bytes(put: &KinesisPut) -> usize {
    keys_bytes(put) + put.data.len()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    const RULES: Rules =
        Rules { is_ordered: true, aggregates: false, records_max: 500, bytes_max: 10_000, own_bytes: 10 };

    fn record(index: u64, key: &str) -> Waiting {
        Waiting { index, put: KinesisPut::new(key, vec![7; 90]) }
    }

    fn lanes(rules: Rules, keys: &[&str]) -> Lanes {
        let mut lanes = Lanes::new(rules);
        for (index, key) in keys.iter().enumerate() {
            lanes.add(record(index as u64, key));
        }
        lanes
    }

    fn indices(units: &[Unit]) -> Vec<Vec<u64>> {
        units.iter().map(|unit| unit.records.iter().map(|record| record.index).collect()).collect()
    }

    fn take(lanes: &mut Lanes, now_ms: u64) -> Vec<Unit> {
        lanes.take(now_ms, &mut Brakes::default())
    }

    #[test]
    fn of_a_key_one_is_under_way_and_others_go_on() {
        let mut lanes = lanes(RULES, &["a", "a", "b", "a", "b"]);
        let first = take(&mut lanes, 0);
        assert_eq!(indices(&first), [[0], [2]]);
        assert!(take(&mut lanes, 0).is_empty());
        let [a, b] = <[Unit; 2]>::try_from(first).expect("two");
        lanes.done(b);
        // A record that is refused goes again before those behind it.
        lanes.again(a, 100);
        assert_eq!(indices(&take(&mut lanes, 99)), [[4]]);
        assert_eq!(lanes.next_due(), Some(100));
        let again = take(&mut lanes, 100);
        assert_eq!(indices(&again), [[0]]);
        again.into_iter().for_each(|unit| lanes.done(unit));
        let next = take(&mut lanes, 100);
        assert_eq!(indices(&next), [[1]]);
        assert_eq!(lanes.records(), 3);
    }

    #[test]
    fn without_an_order_all_go_at_once() {
        let mut lanes = lanes(Rules { is_ordered: false, ..RULES }, &["a", "a", "a"]);
        let all = take(&mut lanes, 0);
        assert_eq!(indices(&all), [[0], [1], [2]]);
        all.into_iter().for_each(|unit| lanes.done(unit));
        assert_eq!((lanes.records(), lanes.bytes(), lanes.lanes.len()), (0, 0, 0));
    }

    #[test]
    fn a_request_has_so_many_records_and_bytes_and_a_large_one_goes_alone() {
        let keys: Vec<String> = (0..7).map(|at| format!("k{at}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut few = lanes(Rules { records_max: 3, ..RULES }, &keys);
        assert_eq!([0, 0, 0].map(|now| take(&mut few, now).len()), [3, 3, 1]);
        // Each is 90 bytes, a key of two, and what the sink adds.
        let mut small = lanes(Rules { bytes_max: 2 * 102, ..RULES }, &keys);
        assert_eq!([0, 0, 0, 0].map(|now| take(&mut small, now).len()), [2, 2, 2, 1]);
        let mut tiny = lanes(Rules { bytes_max: 1, ..RULES }, &keys[..2]);
        assert_eq!([0, 0].map(|now| take(&mut tiny, now).len()), [1, 1]);
    }

    #[test]
    fn records_of_a_key_that_wait_together_go_together() {
        let mut lanes = lanes(Rules { aggregates: true, ..RULES }, &["a", "b", "a", "a"]);
        lanes.add(Waiting { index: 4, put: KinesisPut::new("a", "other").with_hash_key(7) });
        lanes.add(record(5, "a"));
        let units = take(&mut lanes, 0);
        assert_eq!(indices(&units), [vec![0, 2, 3], vec![1]]);
        let mut units = units.into_iter();
        lanes.done(units.next().expect("two"));
        assert_eq!(indices(&take(&mut lanes, 0)), [[4]], "another hash key, and before those behind it");
    }

    #[test]
    fn an_aggregate_has_so_many_bytes() {
        let mut lanes = Lanes::new(Rules { aggregates: true, bytes_max: 1 << 20, ..RULES });
        for index in 0..10 {
            lanes.add(Waiting { index, put: KinesisPut::new("a", vec![7; 10_000]) });
        }
        lanes.add(Waiting { index: 10, put: KinesisPut::new("large", vec![7; 100_000]) });
        lanes.add(Waiting { index: 11, put: KinesisPut::new("large", "small") });
        assert_eq!(indices(&take(&mut lanes, 0)), [vec![0, 1, 2, 3, 4], vec![10]]);
    }

    #[test]
    fn a_throttled_shard_holds_its_keys_and_no_others() {
        let mut lanes = lanes(RULES, &["a", "b"]);
        let mut brakes = Brakes::default();
        brakes.learn(HashKey::of_partition_key("a"), "shard-a");
        brakes.learn(HashKey::of_partition_key("b"), "shard-b");
        let until_ms = brakes.throttled(HashKey::of_partition_key("a"), 0);
        assert_eq!(indices(&lanes.take(1, &mut brakes)), [[1]]);
        assert_eq!(lanes.next_due(), Some(until_ms));
        assert_eq!(indices(&lanes.take(until_ms, &mut brakes)), [[0]]);
    }

    proptest! {
        /// Whatever is refused, all are put, each once, and those of a key in their order.
        #[test]
        fn all_go_once_and_in_the_order_of_their_keys(
            keys in proptest::collection::vec(0_u32..5, 1..80),
            aggregates in any::<bool>(),
            refused in proptest::collection::vec(any::<bool>(), 0..120),
        ) {
            let mut lanes = Lanes::new(Rules { aggregates, records_max: 3, ..RULES });
            let mut refused = refused.into_iter();
            let (mut under_way, mut now_ms, mut put) = (Vec::<Unit>::new(), 0, BTreeMap::<String, Vec<u64>>::new());
            let mut records = keys.iter().enumerate().map(|(at, key)| record(at as u64, &key.to_string()));
            loop {
                now_ms += 10;
                lanes_add(&mut lanes, &mut records);
                under_way.extend(take(&mut lanes, now_ms));
                let keys: HashSet<_> = under_way.iter().map(|unit| unit.lane.clone()).collect();
                prop_assert_eq!(keys.len(), under_way.len(), "of a key one");
                let Some(unit) = under_way.pop() else {
                    if lanes.records() == 0 { break } else { continue }
                };
                if refused.next().unwrap_or(false) {
                    lanes.again(unit, now_ms + 25);
                    continue;
                }
                let key = unit.put().expect("a record").partition_key.clone();
                put.entry(key).or_default().extend(unit.records.iter().map(|record| record.index));
                lanes.done(unit);
            }
            let mut all: Vec<u64> = put.values().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..keys.len() as u64).collect::<Vec<_>>());
            for indices in put.values() {
                prop_assert!(indices.is_sorted(), "{:?}", indices);
            }
            prop_assert_eq!((lanes.bytes(), lanes.lanes.len()), (0, 0));
        }
    }

    fn lanes_add(lanes: &mut Lanes, records: &mut impl Iterator<Item = Waiting>) {
        records.take(2).for_each(|record| lanes.add(record));
    }
}
