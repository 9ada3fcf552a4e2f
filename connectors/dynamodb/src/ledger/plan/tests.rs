//! Whatever the changes are, the chunks do the same, and are the same again.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::ledger::model::{Model, random_change, schema};
use crate::value::Value;

/// The chunks of each lane.
fn cut(count: u32, changes: &[ItemChange]) -> Vec<Vec<Chunk>> {
    cut_by(Lanes { count, rules: RULES }, changes)
}

fn cut_by(lanes: Lanes, changes: &[ItemChange]) -> Vec<Vec<Chunk>> {
    let schema = schema();
    let (mut plan, mut of_lanes) = (Plan::new(lanes, &schema), vec![Vec::new(); lanes.count as usize]);
    for change in changes {
        if let Some((lane, chunk)) = plan.take(change.clone()).expect("a key") {
            of_lanes[lane].push(chunk);
        }
    }
    plan.end().for_each(|(lane, chunk)| of_lanes[lane].push(chunk));
    of_lanes
}

fn random_changes(rng: &mut StdRng) -> Vec<ItemChange> {
    let (count, items) = (rng.random_range(0..1_500), rng.random_range(1..400));
    (0..count).map(|_| random_change(rng, items)).collect()
}

#[test]
fn lanes_that_are_applied_beside_each_other_do_what_the_changes_did_in_their_order() {
    let mut rng = StdRng::seed_from_u64(tidelock_processes::seed("the cut of an epoch"));
    for _ in 0..tidelock_processes::count(40, 2_000) {
        let (lanes, changes) = (rng.random_range(1..9), random_changes(&mut rng));
        let of_lanes = cut(lanes, &changes);
        assert_eq!(cut(lanes, &changes), of_lanes, "it is the same again");
        let (mut expected, mut applied) = (Model::new(true), Model::new(true));
        changes.iter().for_each(|change| expected.apply(&change.change));
        let mut left: Vec<_> = of_lanes.into_iter().map(Vec::into_iter).collect();
        while !left.is_empty() {
            let lane = rng.random_range(0..left.len());
            match left[lane].next() {
                Some(chunk) => chunk.changes.iter().for_each(|change| applied.apply(change)),
                None => drop(left.swap_remove(lane)),
            }
        }
        let keys = |model: &Model| model.items.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&applied), keys(&expected));
        for (key, item) in &mut applied.items {
            // Its number may be written in another form.
            item.insert("sk".into(), expected.items[key]["sk"].clone());
        }
        assert_eq!(applied, expected);
    }
}

#[test]
fn a_chunk_fits_into_a_transaction_and_tells_where_it_ends() {
    let mut rng = StdRng::seed_from_u64(tidelock_processes::seed("the chunks of an epoch"));
    for _ in 0..tidelock_processes::count(30, 1_000) {
        let changes = random_changes(&mut rng);
        let of_lanes = cut(rng.random_range(1..9), &changes);
        for lane in &of_lanes {
            let mut until = 0;
            for (number, chunk) in (0..).zip(lane) {
                assert_eq!(chunk.number, number);
                assert!((1..=ACTIONS_MAX).contains(&chunk.changes.len()) && chunk.until > until);
                until = chunk.until;
                let keys: BTreeSet<Key> = chunk.changes.iter().map(|change| key_of(change.clone())).collect();
                assert_eq!(keys.len(), chunk.changes.len(), "each of another item");
            }
        }
        let total: u64 = of_lanes.iter().filter_map(|lane| lane.last()).map(|chunk| chunk.until).sum();
        assert_eq!(total, changes.len() as u64);
    }
}

fn key_of(change: Change) -> Key {
    let change = match change {
        Change::Put(item) => ItemChange::put(item),
        Change::Update(update) => ItemChange::update(update),
        Change::Delete(key) => ItemChange::delete(key),
    };
    schema().key_of_change(&change).expect("a key")
}

fn key(number: u32) -> Item {
    [("pk".to_owned(), Value::from("a")), ("sk".to_owned(), Value::from(number))].into()
}

fn large(number: u32, bytes: usize) -> ItemChange {
    let value = [("b".to_owned(), Value::from("x".repeat(bytes)))];
    ItemChange::put(key(number).into_iter().chain(value).collect())
}

#[test]
fn large_items_are_few_in_a_chunk_and_counters_are_many_changes_of_one_action() {
    let changes: Vec<_> = (0..25).map(|number| large(number, 390_000)).collect();
    let sizes = |rules| -> Vec<usize> {
        let chunks = cut_by(Lanes { count: 1, rules }, &changes).remove(0);
        chunks.iter().map(|chunk| chunk.changes.len()).collect()
    };
    assert_eq!((sizes(1), sizes(2)), (vec![9, 9, 7], [vec![3; 8], vec![1]].concat()));
    let counts: Vec<_> =
        (0..9_900).map(|at| ItemChange::update(ItemUpdate::of(key(at % 99)).add("n", 1))).collect();
    let cut = cut(1, &counts);
    assert_eq!((cut[0].len(), cut[0][0].changes.len(), cut[0][0].until), (1, 99, 9_900));
    let expected = Change::Update(ItemUpdate::of(key(0)).add("n", 100));
    assert_eq!(cut[0][0].changes[0], expected);
}

/// A golden file never changes: an epoch that an older build began is cut as it did.
#[test]
fn the_cut_by_these_rules_never_changes() {
    let golden = [
        include_str!("../../../tests/golden/ledger_cut_v1.txt"),
        include_str!("../../../tests/golden/ledger_cut_v2.txt"),
    ];
    assert_eq!(golden.len(), RULES as usize);
    for (rules, golden) in (1..).zip(golden) {
        assert_eq!(told(rules), golden);
    }
}

/// How some changes are cut by these rules.
fn told(rules: u16) -> String {
    let mut found = format!("rules {rules}\n");
    for shift in [23, 26] {
        // Not of a random generator, which may change.
        let changes: Vec<_> =
            (0..1_000_u32).map(|at| sample(at, at.wrapping_mul(2_654_435_761) >> shift)).collect();
        for (lane, chunks) in cut_by(Lanes { count: 3, rules }, &changes).iter().enumerate() {
            for chunk in chunks {
                let json = serde_json::to_string(&chunk.changes).expect("JSON");
                let sum = crc32c::crc32c(json.as_bytes());
                let (number, until, actions) = (chunk.number, chunk.until, chunk.changes.len());
                found += &format!(
                    "{shift}: lane {lane} chunk {number}: {actions} actions of {until} changes, {sum:08x}\n"
                );
            }
        }
    }
    found
}

/// A request has 16 MB at most on its way, whatever its values count as where they are stored.
#[test]
fn a_chunk_fits_into_a_request_however_long_its_values_are_there() {
    const REQUEST_BYTES_MAX: usize = 16 << 20;
    let values: [fn(usize) -> Value; 5] = [
        |bytes| Value::L(vec![Value::from(""); bytes]),
        |bytes| Value::L(vec![Value::from(false); bytes / 2]),
        |bytes| Value::from("\u{1}".repeat(bytes)),
        |bytes| Value::M((0..bytes / 8).map(|at| (format!("{at:05}"), Value::from(false))).collect()),
        |bytes| Value::B(vec![7; bytes].into()),
    ];
    for value in values {
        let put = |number| {
            let value = [("v".to_owned(), value(390_000))];
            ItemChange::put(key(number).into_iter().chain(value).collect())
        };
        let changes: Vec<_> = (0..9).map(put).collect();
        for chunk in &cut(1, &changes)[0] {
            let bytes = serde_json::to_vec(&chunk.changes).expect("JSON").len();
            assert!(bytes < REQUEST_BYTES_MAX, "{bytes}");
        }
    }
}

fn sample(at: u32, number: u32) -> ItemChange {
    match at % 7 {
        0 => ItemChange::delete(key(number)),
        1 | 2 => large(number, (at as usize % 13) * 9_000),
        3 => ItemChange::update(ItemUpdate::of(key(number)).remove("n")),
        _ => ItemChange::update(ItemUpdate::of(key(number)).add("n", 1).set("s", "text")),
    }
}
