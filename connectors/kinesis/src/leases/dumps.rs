//! Tables that a real KCL wrote, of versions 2.7.2 and 3.5.1, each with the shards that there were: tests/kcl/dumps has them whole.

use serde_json::Value;

use super::lease::tests::item;
use super::lease::{Checkpoint, Lease, Row};
use super::reconcile::{Facts, Listed, ListedStream, plan};
use crate::source::GivenAt;

const OF_2: &str = include_str!("../../tests/kcl/dumps/v2_running.json");
const OF_2_ENDED: &str = include_str!("../../tests/kcl/dumps/v2_ended.json");
const OF_3: &str = include_str!("../../tests/kcl/dumps/v3_running.json");
const OF_3_ENDED: &str = include_str!("../../tests/kcl/dumps/v3_ended.json");
const OF_3_AS_2: &str = include_str!("../../tests/kcl/dumps/v3_as_v2_running.json");
const PREPARED: &str = include_str!("../../tests/kcl/dumps/v3_prepared.json");

struct Dump {
    leases: Vec<Lease>,
    others: Vec<String>,
    stream: ListedStream,
}

fn dump(text: &str) -> Dump {
    let dump: Value = serde_json::from_str(text).unwrap();
    let (mut leases, mut others) = (Vec::new(), Vec::new());
    let tables = dump["tables"].as_object().unwrap();
    assert_eq!(tables.len(), 1, "all is in one table");
    for row in tables.values().flat_map(|table| table["items"].as_array().unwrap()) {
        match Row::of(&item(row)).unwrap() {
            Row::Lease(lease) => leases.push(lease),
            Row::Other { kind, .. } => others.push(kind),
        }
    }
    leases.sort_by(|one, other| one.key.cmp(&other.key));
    others.sort();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let shard = |shard: &Value| Listed {
        id: text(&shard["ShardId"]).unwrap(),
        parents: [&shard["ParentShardId"], &shard["AdjacentParentShardId"]]
            .into_iter()
            .filter_map(text)
            .collect(),
        first: text(&shard["SequenceNumberRange"]["StartingSequenceNumber"]),
    };
    let shards = dump["shards"].as_array().unwrap().iter().map(shard).collect();
    Dump { leases, others, stream: ListedStream { name: "flights".into(), created_ms: None, shards } }
}

#[test]
fn every_row_of_a_real_table_is_told_for_what_it_is() {
    for (text, leases, others) in [
        (OF_2, 4, &[][..]),
        (OF_2_ENDED, 4, &[]),
        (OF_3, 4, &["CLIENT_VERSION_MIGRATION", "LEADER", "WORKER_METRIC_STATS"]),
        (OF_3_ENDED, 4, &["CLIENT_VERSION_MIGRATION", "WORKER_METRIC_STATS"]),
        (OF_3_AS_2, 4, &["CLIENT_VERSION_MIGRATION", "WORKER_METRIC_STATS"]),
        (PREPARED, 2, &["CLIENT_VERSION_MIGRATION", "LEADER", "WORKER_METRIC_STATS"]),
    ] {
        let dump = dump(text);
        assert_eq!(
            (dump.leases.len(), dump.others.as_slice()),
            (leases, &others.iter().map(|&one| one.to_owned()).collect::<Vec<_>>()[..])
        );
        // The name stays when a worker has ended.
        assert!(
            dump.leases.iter().all(|lease| lease.owner.as_deref() == Some("worker-1") && lease.counter > 0)
        );
    }
}

#[test]
fn a_real_table_is_gone_on_from_after_a_split_and_within_an_aggregate() {
    for text in [OF_2, OF_2_ENDED, OF_3, OF_3_ENDED, OF_3_AS_2] {
        let dump = dump(text);
        let plan = plan(&dump.leases, &dump.stream, Facts { initial: None, now_ms: 0 });
        let given = plan.given(false).expect("nothing stands against it");
        let at = |shard: &str| &given.iter().find(|one| one.shard.ends_with(shard)).unwrap().at;
        assert_eq!(given.len(), 4);
        assert_eq!(at("0"), &GivenAt::Finished);
        // The application had processed a part of an aggregate: three of its records.
        assert!(matches!(at("1"), GivenAt::AfterSub { sub_sequence: 2, .. }), "{:?}", at("1"));
        for child in ["2", "3"] {
            assert!(matches!(at(child), GivenAt::AfterSub { sub_sequence: 0, .. }), "{:?}", at(child));
        }
    }
}

#[test]
fn a_checkpoint_that_was_prepared_and_not_ended_is_none() {
    let dump = dump(PREPARED);
    let lease = &dump.leases[1];
    assert_eq!(lease.checkpoint, Checkpoint::TrimHorizon);
    assert!(matches!(lease.pending, Some(Checkpoint::After { sub_sequence: 1, .. })), "{:?}", lease.pending);
    let plan = plan(&dump.leases, &dump.stream, Facts { initial: None, now_ms: 0 });
    assert_eq!(plan.given(false).unwrap()[1].at, GivenAt::Oldest);
}
