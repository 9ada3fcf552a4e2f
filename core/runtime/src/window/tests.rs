//! Windows against a model that looks at all records at once, with restores in between.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::fixed::FixedLogic;
use super::panes::Panes;
use super::session::SessionLogic;
use super::*;
use crate::budget::Budget;
use crate::counters::Counter;
use crate::keyed::{Emit, Logic, Setting};
use crate::slice::{Slice, Slicing};
use crate::state::{Floors, entries, merge_all};

/// A record: its key, its number, its time.
type Record = (u8, u32, Millis);
/// A result: key, window, the numbers in it.
type Row = (u8, Window, Vec<u32>);

/// Lists the numbers of the records.
struct List;

impl Aggregate for List {
    type Key = u8;
    type In = Record;
    type Out = Row;
    type Accumulator = Vec<u32>;
    const STATE_VERSION: u16 = 1;

    fn add(&mut self, accumulator: &mut Vec<u32>, record: &Record) {
        accumulator.push(record.1);
    }

    fn finish(&mut self, key: &u8, window: Window, accumulator: &Vec<u32>) -> Row {
        let mut numbers = accumulator.clone();
        numbers.sort_unstable();
        (*key, window, numbers)
    }
}

impl Merge for List {
    fn merge(&mut self, into: &mut Vec<u32>, from: Vec<u32>) {
        into.extend(from);
    }
}

fn setting() -> Setting<Row, Record> {
    let budget = Budget::new(u64::MAX, None);
    Setting {
        time: None,
        watermark: Millis::MIN,
        floors: Floors::default(),
        out: Emit::new(std::sync::Arc::clone(&budget)),
        side: Emit::new(budget),
    }
}

/// What happens to an operator.
enum Step {
    Record(Record),
    Watermark(Millis),
    /// A snapshot is taken and restored.
    Restore,
}

/// Random records around a watermark that moves on.
fn steps(seed: u64) -> Vec<Step> {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut now, mut watermark) = (0, Millis::MIN);
    let mut steps = Vec::new();
    for number in 0..400 {
        now += rng.random_range(0..6);
        steps.push(Step::Record((rng.random_range(0..3), number, now - rng.random_range(0..60))));
        if rng.random_range(0..4) == 0 {
            watermark = watermark.max(now - rng.random_range(10..60));
            steps.push(Step::Watermark(watermark));
        }
        if rng.random_range(0..25) == 0 {
            steps.push(Step::Restore);
        }
    }
    steps.push(Step::Watermark(Millis::MAX));
    steps
}

/// Repeats what goes in slices until it is done.
fn finish<T>(steps: u32, mut slice: impl FnMut(&mut Slice) -> Poll<T>) -> T {
    loop {
        if let Poll::Ready(done) = slice(&mut Slicing::steps(steps).begin()) {
            return done;
        }
    }
}

/// Runs the steps, with a fresh operator after each restore. Returns the results and the late records. Firing and
/// freezing go in slices of every length: that must not matter.
fn run<L>(make: impl Fn() -> L, steps: &[Step]) -> (Vec<Row>, Vec<Record>)
where
    L: Logic<In = Record, Out = Row, Side = Record>,
{
    let (mut logic, mut setting, mut stored) = (make(), setting(), Vec::<Bytes>::new());
    let mut lengths = (1..6).cycle();
    let mut length = || lengths.next().unwrap_or(1);
    for step in steps {
        match step {
            Step::Record(record) => {
                setting.time = Some(record.2);
                logic.apply(*record, &mut setting).unwrap();
            }
            Step::Watermark(watermark) => {
                setting.watermark = *watermark;
                finish(length(), |slice| logic.fire(&mut setting, slice).unwrap());
            }
            Step::Restore => {
                stored.extend(finish(length(), |slice| logic.freeze(slice).unwrap()));
                logic = make();
                if let Some(whole) = merge_all(&stored).unwrap() {
                    for entry in entries(&whole).unwrap() {
                        let entry = entry.unwrap();
                        logic.load(entry.key, entry.value.unwrap()).unwrap();
                    }
                }
            }
        }
    }
    stored.extend(finish(length(), |slice| logic.freeze(slice).unwrap()));
    assert!(merge_all(&stored).unwrap().is_none(), "at the end of time no window is open");
    (setting.out.take_all(), setting.side.take_all())
}

/// The numbers of each key and window, by its start.
type Model = BTreeMap<(u8, Millis), Vec<u32>>;

fn fixed_model(windows: Fixed, steps: &[Step]) -> (Model, Vec<Record>) {
    let (mut panes, mut late, mut watermark) = (BTreeMap::<_, Vec<u32>>::new(), Vec::new(), Millis::MIN);
    for step in steps {
        match step {
            Step::Watermark(to) => watermark = *to,
            Step::Restore => {}
            Step::Record(record) => {
                let open: Vec<_> = windows
                    .of(record.2)
                    .filter(|(_, end)| end.saturating_add(windows.lateness) > watermark)
                    .collect();
                if open.is_empty() {
                    late.push(*record);
                }
                for (start, _) in open {
                    panes.entry((record.0, start)).or_default().push(record.1);
                }
            }
        }
    }
    (panes, late)
}

#[test]
fn fixed_windows_are_what_a_look_at_all_records_says() {
    for seed in 0..60 {
        println!("seed {seed}");
        let steps = steps(seed);
        let tumbling = Tumbling::of(Duration::from_millis(20));
        let sliding = Sliding::of(Duration::from_millis(20), Duration::from_millis(7));
        for windows in [tumbling, sliding, tumbling.allowed_lateness(Duration::from_millis(30))] {
            let make = || FixedLogic {
                key: Rc::new(|record: &Record| record.0),
                windows,
                panes: Panes::new(List, windows.lateness),
                late: Counter::default(),
            };
            let (rows, late) = run(make, &steps);
            let (panes, late_expected) = fixed_model(windows, &steps);
            assert_eq!(late, late_expected);
            assert!(!panes.is_empty());
            // The last revision of each window has all its records, and the ones before come first.
            let mut last = BTreeMap::new();
            for (key, window, numbers) in rows {
                let revisions = last.insert((key, window.start), (window.revision, numbers));
                assert_eq!(window.revision, revisions.map_or(0, |(revision, _)| revision + 1));
                assert!(window.revision == 0 || windows.lateness > 0);
            }
            let last: BTreeMap<_, _> = last.into_iter().map(|(pane, (_, numbers))| (pane, numbers)).collect();
            assert_eq!(last, panes);
        }
    }
}

/// The sessions of each key that were never late, by their starts.
fn session_model(gap: Millis, steps: &[Step]) -> (Vec<Row>, Vec<Record>) {
    let (mut open, mut done, mut late) = (Vec::<Row>::new(), Vec::new(), Vec::new());
    let mut watermark = Millis::MIN;
    for step in steps {
        match step {
            Step::Restore => {}
            Step::Watermark(to) => {
                watermark = *to;
                done.extend(open.extract_if(.., |(_, window, _)| window.end <= watermark));
            }
            Step::Record(record) => {
                let (mut start, mut end) = (record.2, record.2 + gap);
                let touching = |(key, window, _): &mut Row| {
                    *key == record.0 && window.start < record.2 + gap && record.2 < window.end
                };
                let mut numbers = vec![record.1];
                for (_, window, others) in open.extract_if(.., touching) {
                    (start, end) = (start.min(window.start), end.max(window.end));
                    numbers.extend(others);
                }
                if end <= watermark {
                    late.push(*record);
                    continue;
                }
                numbers.sort_unstable();
                open.push((record.0, Window { start, end, revision: 0 }, numbers));
            }
        }
    }
    (done, late)
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|(key, window, _)| (window.end, *key, window.start));
    rows
}

#[test]
fn sessions_are_what_a_look_at_all_records_says() {
    for seed in 0..60 {
        println!("seed {seed}");
        let (steps, gap) = (steps(seed), 9);
        let session = Session::gap(Duration::from_millis(9));
        let make = || {
            let key = Rc::new(|record: &Record| record.0);
            SessionLogic::new(key, session, Panes::new(List, 0), Counter::default())
        };
        let (rows, late) = run(make, &steps);
        let (expected, late_expected) = session_model(gap, &steps);
        assert_eq!(late, late_expected);
        assert!(!expected.is_empty());
        assert_eq!(sorted(rows), sorted(expected));
    }
}

/// What sessions with a gap of ten make of the steps.
fn sessions(lateness: u64, steps: &[Step]) -> Vec<(Millis, Millis, u32, Vec<u32>)> {
    let session = Session::gap(Duration::from_millis(10)).allowed_lateness(Duration::from_millis(lateness));
    let make = || {
        let key = Rc::new(|record: &Record| record.0);
        SessionLogic::new(key, session, Panes::new(List, session.lateness), Counter::default())
    };
    let (rows, late) = run(make, steps);
    assert!(late.is_empty());
    rows.into_iter()
        .map(|(_, window, numbers)| (window.start, window.end, window.revision, numbers))
        .collect()
}

#[test]
fn records_exactly_a_gap_apart_are_two_sessions_whether_the_first_had_its_result_or_not() {
    let two = [(0, 10, 0, vec![1]), (10, 20, 0, vec![2])];
    let (first, second) = (|| Step::Record((0, 1, 0)), || Step::Record((0, 2, 10)));
    let (result, end) = (|| Step::Watermark(10), || Step::Watermark(Millis::MAX));
    assert_eq!(sessions(0, &[first(), second(), end()]), two);
    assert_eq!(sessions(0, &[second(), first(), end()]), two);
    assert_eq!(sessions(0, &[first(), result(), second(), end()]), two);
    // A millisecond less, and they are one.
    assert_eq!(sessions(0, &[first(), Step::Record((0, 2, 9)), end()]), [(0, 19, 0, vec![1, 2])]);
}

#[test]
fn a_late_record_in_the_gap_of_a_session_that_had_its_result_begins_another_unless_lateness_is_allowed() {
    let steps =
        [Step::Record((0, 1, 0)), Step::Watermark(12), Step::Record((0, 2, 7)), Step::Watermark(Millis::MAX)];
    assert_eq!(sessions(0, &steps), [(0, 10, 0, vec![1]), (7, 17, 0, vec![2])]);
    assert_eq!(sessions(3, &steps), [(0, 10, 0, vec![1]), (0, 17, 1, vec![1, 2])]);
}

#[test]
fn a_late_record_within_the_allowed_lateness_revises_a_session() {
    let session = Session::gap(Duration::from_millis(10)).allowed_lateness(Duration::from_millis(100));
    let make = || {
        let key = Rc::new(|record: &Record| record.0);
        SessionLogic::new(key, session, Panes::new(List, session.lateness), Counter::default())
    };
    let steps = [
        Step::Record((0, 1, 0)),
        Step::Record((0, 2, 30)),
        Step::Watermark(50),
        // Joins both, which had their results.
        Step::Record((0, 3, 8)),
        Step::Record((0, 4, 17)),
        Step::Record((0, 5, 23)),
        Step::Restore,
        // Goes on beyond the watermark, and waits.
        Step::Record((0, 6, 39)),
        Step::Record((0, 7, 45)),
        Step::Watermark(60),
        Step::Watermark(Millis::MAX),
    ];
    let (rows, late) = run(make, &steps);
    let row = |start, end, revision, numbers: &[u32]| (0, Window { start, end, revision }, numbers.to_vec());
    assert_eq!(
        rows,
        [
            row(0, 10, 0, &[1]),
            row(30, 40, 0, &[2]),
            row(0, 18, 1, &[1, 3]),
            row(0, 27, 2, &[1, 3, 4]),
            row(0, 40, 3, &[1, 2, 3, 4, 5]),
            row(0, 49, 4, &[1, 2, 3, 4, 5, 6]),
            row(0, 55, 5, &[1, 2, 3, 4, 5, 6, 7]),
        ]
    );
    assert!(late.is_empty());
}
