//! The command, as a person runs it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidelock::log::{Closed, Created, Entry, EntryKind, Lineage, Log, State};
use tidelock::restore::SplitChanges;
use tidelock::{
    Epoch, Generation, JobId, Known, Position, Segment, Source as _, Split as _, SplitState, Stored, Uid,
};
use tidelock_kinesis::{Given, GivenAt, KinesisShard, KinesisStream, KinesisStreamConfig, StreamStart};
use tidelock_testkit::tool::Tool;

use crate::scene::{Scene, checkpoint, shard};

fn tool(scene: &Scene, command: &str) -> Tool {
    let endpoint = scene.proxy.endpoint();
    let tool = Tool::new(env!("CARGO_BIN_EXE_tidelock-kinesis"), &["leases", command]);
    let tool = tool.with_option("--region", "eu-central-1").with_option("--dynamodb-endpoint", &endpoint);
    let tool =
        tool.with_variable("AWS_ACCESS_KEY_ID", "test").with_variable("AWS_SECRET_ACCESS_KEY", "s3cret");
    let tool = tool.that_keeps("s3cret");
    if command == "show" { tool.with_option("--kinesis-endpoint", &endpoint) } else { tool }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_shown_with_where_a_job_would_begin() {
    let scene = Scene::of_dump().await;
    let show = tool(&scene, "show").with_option("--watch", "0");
    let said = show.does(&[&scene.table]);
    for part in
        ["CHECKPOINT", "SHARD_END", "worker-1", "/2", "4 leases", "1 of WORKER_METRIC_STATS", "not looked at"]
    {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert!(!said.contains("BEGINS"), "{said}");
    let said = show.does(&[&scene.table, "--stream", "flights"]);
    for part in ["BEGINS", "nowhere: it is over", "after 49", "a job can begin with it"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let lines = show.does(&[&scene.table, "--stream", "flights", "--json"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((lines.len(), &lines[0]["begins"]), (4, &json!("finished")));
    assert_eq!(lines[1]["begins"]["after_sub"]["sub_sequence"], 2);
    show.refuses(&[&scene.table, "--stream", "planes"], "there is no such stream");
    show.refuses(&["no_such_table"], "no_such_table");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_would_refuse_is_shown_and_refused() {
    let scene = Scene::new(&[("flights", json!([shard("shardId-0", None), shard("shardId-1", None)]))]).await;
    scene.make("leaseKey").await;
    scene.put(crate::scene::lease("shardId-0", "AT_TIMESTAMP", Some("worker-1"))).await;
    let show = tool(&scene, "show").with_option("--watch", "0");
    let arguments = [scene.table.as_str(), "--stream", "flights"];
    show.refuses(&arguments, "initial_position = { at_timestamp");
    show.refuses(&arguments, "shard shardId-1 of flights has no lease");
    show.refuses(&arguments, "unknown");
    let said =
        show.does(&[&scene.table, "--stream", "flights", "--initial-position", "1970-01-01T00:00:07Z"]);
    assert!(said.matches("at 1970-01-01T00:00:07Z").count() == 2, "{said}");
    let told = tool(&scene, "show").with_option("--watch", "1").does(&[&scene.table]);
    assert!(told.contains("nobody wrote to the table within 1 s"), "{told}");
}

/// The log of a job whose source has these splits.
async fn log(folder: &str, splits: &[(KinesisShard, bool)], kind: EntryKind) {
    let state = |(split, finished): &(KinesisShard, bool)| SplitState {
        id: split.id(),
        split: Stored::encode(split).unwrap(),
        watermark: None,
        finished: *finished,
    };
    let changes = SplitChanges { splits: splits.iter().map(state).collect(), ..SplitChanges::default() };
    let segment = Segment::Json(serde_json::value::to_raw_value(&changes).unwrap());
    let state = State {
        sources: BTreeMap::from([(Uid::new("flights").unwrap(), vec![segment])]),
        ..State::default()
    };
    let log = Log::open(folder).await.unwrap();
    let entry = Entry {
        job: JobId::new("copy").unwrap(),
        position: Position(1),
        kind,
        nonce: log.nonce(),
        attempt: Position(1),
        lineage: Lineage { id: Position(1), generation: Generation(1), origin: None },
        created_at: jiff::Timestamp::UNIX_EPOCH,
        epoch: Epoch(1),
        obeyed: Vec::new(),
        state: Some(state),
        abandoned: BTreeMap::new(),
    };
    assert!(matches!(log.create(&entry).await.unwrap(), Created::Ours(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_stopped_job_ended_is_written_and_where_another_one_is_only_when_forced() {
    let scene =
        Scene::new(&[("flights", json!([shard("shardId-0", None), shard("shardId-1", Some("shardId-0"))]))])
            .await;
    let given = |shard: &str, at| Given { stream: "flights".into(), shard: shard.into(), at };
    let mut config = KinesisStreamConfig::new(scene.service(), ["flights"]);
    let after = GivenAt::AfterSub { sequence_number: "497".into(), sub_sequence: 2 };
    config.start = StreamStart::Given(vec![given("shardId-0", GivenAt::Finished), given("shardId-1", after)]);
    let source = KinesisStream::connect(config).await.unwrap();
    let first_run = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    let splits = source.discover(&first_run).await.unwrap().new.into_iter();
    let splits: Vec<(KinesisShard, bool)> =
        splits.map(|split| (split.clone(), split.id().as_str().ends_with("-0"))).collect();
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    log(&place("stopped"), &splits, EntryKind::Closed(Closed::Stopped)).await;
    log(&place("killed"), &splits, EntryKind::Checkpoint).await;
    let export = tool(&scene, "export");
    let table = scene.table.as_str();
    let of = |log: &str, uid: &str| {
        [table.to_owned(), "--log".into(), log.to_owned(), "--uid".into(), uid.to_owned()]
    };
    let run = |arguments: &[String]| export.does(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let refuses = |arguments: &[String], why: &str| {
        export.refuses(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), why);
    };
    refuses(&of(&place("killed"), "flights"), "the job was not stopped");
    refuses(&of(&place("stopped"), "planes"), "flights");
    refuses(&of(&place("nothing"), "flights"), "nothing");
    assert!(run(&of(&place("stopped"), "flights")).contains("2 leases written"));
    let rows = scene.rows().await;
    assert_eq!(
        (checkpoint(&rows["shardId-0"]), checkpoint(&rows["shardId-1"])),
        ("SHARD_END/0".into(), "497/2".into())
    );
    let mut forced = of(&place("killed"), "flights").to_vec();
    forced.push("--force".into());
    assert!(run(&forced).contains("2 leases written"));
}
