//! What is left in a model of HBase, whatever happens to the calls on their way.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const FAMILIES: [&str; 2] = ["f", "g"];
const ROUNDS: usize = 3_000;

fn families() -> impl Iterator<Item = String> {
    FAMILIES.iter().map(|family| (*family).to_owned())
}

fn column(text: &str) -> Column {
    Column::parse(text).expect("a column")
}

/// What a reader sees: of each row the columns.
type Seen = BTreeMap<Bytes, BTreeMap<Column, Bytes>>;

/// The cells of a table whose families have `VERSIONS => 1` and keep deleted cells, in one region.
#[derive(Debug, Clone, Default)]
struct Cells {
    puts: BTreeMap<(Bytes, Column), BTreeMap<i64, Bytes>>,
    column_deletes: BTreeSet<(Bytes, Column, i64)>,
    family_deletes: BTreeSet<(Bytes, String, i64)>,
}

impl Cells {
    /// A call arrives.
    fn take(&mut self, step: &Step) {
        for ToldRow { row, told } in &step.rows {
            for told in told {
                match told.clone() {
                    Told::Put(column, value) => {
                        let cell = self.puts.entry((row.clone(), column)).or_default();
                        cell.insert(step.timestamp, value);
                    }
                    Told::Delete(column) => {
                        self.column_deletes.insert((row.clone(), column, step.timestamp));
                    }
                    Told::DeleteFamily(family) => {
                        self.family_deletes.insert((row.clone(), family, step.timestamp));
                    }
                }
            }
        }
    }

    fn deleted_up_to(&self, row: &Bytes, column: &Column) -> i64 {
        let columns = self.column_deletes.iter().filter(|(of, which, _)| of == row && which == column);
        let families =
            self.family_deletes.iter().filter(|(of, which, _)| of == row && which == column.family());
        columns.map(|(.., at)| *at).chain(families.map(|(.., at)| *at)).max().unwrap_or(i64::MIN)
    }

    fn seen(&self) -> Seen {
        let mut seen = Seen::new();
        for ((row, column), versions) in &self.puts {
            if let Some((at, value)) = versions.last_key_value()
                && *at > self.deleted_up_to(row, column)
            {
                seen.entry(row.clone()).or_default().insert(column.clone(), value.clone());
            }
        }
        seen
    }

    /// A major compaction: one version is kept, deleted or not, and markers that have nothing older below them go.
    fn compact(&mut self) {
        let mut earliest: BTreeMap<String, i64> = BTreeMap::new();
        for ((_, column), versions) in &self.puts {
            let at = earliest.entry(column.family().to_owned()).or_insert(i64::MAX);
            *at = (*at).min(*versions.first_key_value().expect("a put").0);
        }
        for versions in self.puts.values_mut() {
            let newest = *versions.last_key_value().expect("a put").0;
            versions.retain(|at, _| *at == newest);
        }
        let has_older = |family: &str, at: i64| earliest.get(family).is_some_and(|earliest| *earliest <= at);
        self.column_deletes.retain(|(_, column, at)| has_older(column.family(), *at));
        self.family_deletes.retain(|(_, family, at)| has_older(family, *at));
    }
}

fn some_column(random: &mut StdRng) -> Column {
    let family = FAMILIES.choose(random).expect("one");
    column(&format!("{family}:{}", random.random_range(0..2)))
}

/// A change of one of few rows; each value is there once.
fn some_record(random: &mut StdRng, number: usize) -> RowMutation {
    let row = format!("r{}", random.random_range(0..3));
    match random.random_range(0..6) {
        0..3 => {
            let columns: BTreeSet<Column> =
                (0..random.random_range(1..3)).map(|_| some_column(random)).collect();
            RowMutation::put(row, columns.into_iter().map(|column| (column, format!("v{number}"))))
        }
        3..5 => {
            let columns = (0..random.random_range(1..3)).map(|_| some_column(random));
            RowMutation::delete_columns(row, columns.collect::<Vec<_>>())
        }
        _ => RowMutation::delete_row(row),
    }
}

/// What the records say, one after the other.
fn said(records: &[RowMutation]) -> Seen {
    let mut seen = Seen::new();
    for record in records {
        let row = seen.entry(record.row.clone()).or_default();
        match &record.change {
            RowChange::Put(values) => {
                row.extend(values.iter().map(|value| (value.column.clone(), value.value.clone())));
            }
            RowChange::DeleteColumns(columns) => row.retain(|column, _| !columns.contains(column)),
            RowChange::DeleteRow => row.clear(),
        }
    }
    seen.retain(|_, columns| !columns.is_empty());
    seen
}

/// A job that writes the records, dies again and again and replays, while calls of before arrive late, and again, and the table is
/// compacted. What a reader sees at the end.
fn lived_through(merge: &Merge, records: &[RowMutation], random: &mut StdRng) -> Seen {
    let (mut cells, mut sent, mut clock) = (Cells::default(), Vec::<Step>::new(), 1);
    let mut snapshot = 0;
    while snapshot < records.len() {
        let (mut at, mut lives) = (snapshot, true);
        while at < records.len() && lives {
            let end = random.random_range(at + 1..=records.len().min(at + 5));
            let merged = merge.in_order(records[at..end].to_vec());
            let times = merged.times();
            for step in merged.at(clock) {
                lives = random.random_bool(0.85);
                // It waits for the answer, so that the next one is sent after this one has arrived, and dies with one on its way.
                if lives {
                    cells.take(&step);
                }
                sent.push(step);
                if random.random_bool(0.3) {
                    cells.take(sent.choose(random).expect("one"));
                }
                if random.random_bool(0.3) {
                    cells.compact();
                }
                if !lives {
                    break;
                }
            }
            clock += times;
            if lives {
                at = end;
                if random.random_bool(0.3) {
                    snapshot = at;
                }
            }
        }
        // An attempt begins above whatever the one before may have used.
        clock += 10;
        if lives {
            snapshot = records.len();
        }
    }
    sent.shuffle(random);
    for step in &sent {
        cells.take(step);
        if random.random_bool(0.2) {
            cells.compact();
        }
    }
    cells.seen()
}

#[test]
fn whatever_is_late_repeated_replayed_or_compacted_the_same_table_is_left() {
    let seed = tidelock_processes::seed("merge, in order");
    let mut random = StdRng::seed_from_u64(seed);
    let merge = Merge::new(families(), &Deletes::Markers);
    for round in 0..ROUNDS {
        let count = random.random_range(1..16);
        let records: Vec<_> = (0..count).map(|number| some_record(&mut random, number)).collect();
        assert_eq!(
            lived_through(&merge, &records, &mut random),
            said(&records),
            "round {round}: {records:#?}"
        );
    }
}

/// The exception of the module's page, left out: the test above must find that out.
#[test]
fn a_merge_that_drops_what_a_delete_hides_is_found_out() {
    let mut random = StdRng::seed_from_u64(7);
    let merge = Merge { keeps_hidden: false, ..Merge::new(families(), &Deletes::Markers) };
    let wrong = (0..ROUNDS).filter(|_| {
        let count = random.random_range(1..16);
        let records: Vec<_> = (0..count).map(|number| some_record(&mut random, number)).collect();
        lived_through(&merge, &records, &mut random) != said(&records)
    });
    assert!(wrong.count() > 0);
}

#[test]
fn versions_of_records_decide_in_whatever_order_they_come() {
    let seed = tidelock_processes::seed("merge, by version");
    let mut random = StdRng::seed_from_u64(seed);
    let merge = Merge::new(families(), &Deletes::Markers);
    for round in 0..ROUNDS {
        let count = random.random_range(1..16);
        let records: Vec<_> =
            (0..count).map(|number| some_record(&mut random, number).with_version(number as u64)).collect();
        let mut shuffled = records.clone();
        shuffled.shuffle(&mut random);
        let mut steps = Vec::new();
        let mut left = shuffled.as_slice();
        while !left.is_empty() {
            let (batch, rest) = left.split_at(random.random_range(1..=left.len()));
            steps.extend(merge.by_version(batch.to_vec()));
            left = rest;
        }
        steps.extend(steps.clone());
        steps.shuffle(&mut random);
        let mut cells = Cells::default();
        steps.iter().for_each(|step| cells.take(step));
        assert_eq!(cells.seen(), said(&records), "round {round}: {shuffled:#?}");
    }
}

#[test]
fn a_tombstone_says_which_rows_are_there() {
    let seed = tidelock_processes::seed("merge, tombstones");
    let mut random = StdRng::seed_from_u64(seed);
    let tombstone = column("g:gone");
    let merge = Merge::new(families(), &Deletes::Tombstones { column: tombstone.clone() });
    for round in 0..ROUNDS {
        let count = random.random_range(1..16);
        let mut records: Vec<_> = (0..count).map(|number| some_record(&mut random, number)).collect();
        records.retain(|record| !matches!(record.change, RowChange::DeleteColumns(_)));
        let (mut steps, mut clock) = (Vec::new(), 1);
        for batch in records.chunks(3) {
            let merged = merge.in_order(batch.to_vec());
            clock += merged.times();
            let first = clock - merged.times();
            steps.extend(merged.at(first));
        }
        steps.shuffle(&mut random);
        let mut cells = Cells::default();
        steps.iter().for_each(|step| cells.take(step));
        let mut seen = cells.seen();
        let mut states = seen.values().map(|row| row.get(&tombstone).map(|value| &**value));
        assert!(states.all(|state| matches!(state, Some(b"0" | b"1"))), "round {round}: {seen:?}");
        seen.retain(|_, row| row.remove(&tombstone).is_some_and(|value| &*value == THERE));
        assert_eq!(seen, said(&records), "round {round}: {records:#?}");
    }
}

/// What is pending is applied again by the next attempt, whose settings may be others.
#[test]
fn an_epoch_that_is_applied_in_part_and_again_with_other_deletes_loses_nothing() {
    let seed = tidelock_processes::seed("merge, again with other deletes");
    let mut random = StdRng::seed_from_u64(seed);
    let tombstone = column("g:gone");
    let settings = [Deletes::Refused, Deletes::Markers, Deletes::Tombstones { column: tombstone.clone() }];
    for round in 0..ROUNDS {
        let count = random.random_range(1..8);
        let records: Vec<_> = (0..count).map(|number| some_record(&mut random, number)).collect();
        let steps = |random: &mut StdRng| {
            let merge = Merge::new(families(), settings.choose(random).expect("one"));
            merge.in_order(records.clone()).in_places(1)
        };
        let (before, after) = (steps(&mut random), steps(&mut random));
        let mut cells = Cells::default();
        let arrived = random.random_range(0..=before.len());
        before[..arrived].iter().chain(&after).for_each(|step| cells.take(step));
        if random.random_bool(0.5) {
            before.choose(&mut random).iter().for_each(|late| cells.take(late));
        }
        let mut seen = cells.seen();
        seen.values_mut().for_each(|row| drop(row.remove(&tombstone)));
        seen.retain(|_, row| !row.is_empty());
        assert_eq!(seen, said(&records), "round {round}: {records:#?}");
    }
}

/// <https://issues.apache.org/jira/browse/HBASE-8626>: a batch that has a row twice is often cut down to the last of them.
#[test]
fn columns_of_a_row_are_merged_and_the_last_value_of_each_is_sent() {
    let merge = Merge::new(families(), &Deletes::Refused);
    let put = |name: &str, value: &'static str| RowMutation::put("r", [(column(name), value)]);
    let steps = merge.in_order(vec![put("f:a", "1"), put("f:b", "2"), put("f:a", "3")]).at(7);
    let told = [("f:a", "3"), ("f:b", "2")].map(|(name, value)| Told::Put(column(name), value.into()));
    assert_eq!(steps, [Step { timestamp: 7, rows: vec![ToldRow { row: "r".into(), told: told.into() }] }]);
}

#[test]
fn puts_and_deletes_of_a_batch_never_have_one_timestamp() {
    let merge = Merge::new(families(), &Deletes::Markers);
    let records = vec![
        RowMutation::put("r", [(column("f:a"), "1")]),
        RowMutation::delete_row("r"),
        RowMutation::put("r", [(column("f:a"), "2")]),
    ];
    let merged = merge.in_order(records.clone());
    assert_eq!(merged.times(), STEPS_MAX);
    let of = |steps: &[Step]| {
        steps.iter().map(|step| (step.timestamp, step.rows[0].told.len())).collect::<Vec<_>>()
    };
    assert_eq!(of(&merged.at(5)), [(5, 1), (6, 2), (7, 1)]);
    let versioned = (0..).zip(records).map(|(version, record)| record.with_version(version)).collect();
    assert_eq!(of(&merge.by_version(versioned)), [(1, 1), (2, 2), (5, 1)]);
}
