//! A stream of ten thousand shards: found, found again, found after all of them were split, and stored.
//!
//! `TIDELOCK_SOAK=1 cargo test --release -p tidelock-kinesis --lib simulated -- --nocapture --test-threads 1` prints the figures of this folder.

use tidelock::{Known, Source as _, Split as _, Stored};
use tidelock_processes::count;
use tokio::time::Instant;

use super::cpu::Cpu;
use super::service::Service;
use crate::source::config::StreamStart;
use crate::source::shard::{End, KinesisShard, Position};
use crate::source::stream::KinesisStream;

const SHARDS: usize = 10_000;

/// Looks at the stream, and tells what it took. Returns what was found, and how often shards were listed.
async fn look(
    name: &str,
    service: &Service,
    source: &KinesisStream,
    known: &Known<KinesisShard>,
) -> (Vec<KinesisShard>, u64) {
    service.state().forget_calls();
    let (began, cpu) = (Instant::now(), Cpu::now());
    let found = source.discover(known).await.expect("found").new;
    let (took, cpu) = (began.elapsed(), cpu.since());
    let state = service.state();
    let calls = ["DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords"]
        .map(|call| (call, state.calls(call)));
    println!(
        "{name}: {} shards in {took:?} where a call takes 20 ms, {cpu:?} of a processor, the service's own work in it",
        found.len()
    );
    println!("    calls in all, and the most within a second: {calls:?}");
    (found, state.calls("ListShards").0)
}

/// As a reader leaves it.
fn read(mut shard: KinesisShard, end: Option<End>) -> KinesisShard {
    let sequence_number = "49590338271490256608559692538361571095921575989136588898".to_owned();
    shard.position = Position::After { sequence_number, sub_sequence: 0, is_whole: true };
    (shard.arrival_ms, shard.caught_up_ms) = (Some(1_764_471_600_000), Some(1_764_471_600_000));
    shard.end = end;
    shard
}

fn bytes(shards: &[KinesisShard]) -> usize {
    let stored: Vec<Stored> = shards.iter().map(|shard| Stored::encode(shard).expect("stored")).collect();
    serde_json::to_vec(&stored).expect("JSON").len()
}

fn nothing() -> Known<KinesisShard> {
    Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true }
}

/// Where each shard is asked for its oldest record there are as many calls as shards, and more: fewer shards will do where there is no time.
#[tokio::test(start_paused = true)]
async fn the_horizon_of_each_shard_takes_two_calls() {
    let shards = count(SHARDS / 20, SHARDS);
    let service = Service::with_shards(shards, |_| 0, 1);
    let source = service.source(|_| {}).await;
    let (found, lists) = look("found at the horizon", &service, &source, &nothing()).await;
    assert_eq!((found.len(), lists), (shards, shards.div_ceil(1_000) as u64));
    for call in ["GetShardIterator", "GetRecords"] {
        assert_eq!(service.state().calls(call).0, shards as u64, "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_shards_are_planned_with_few_calls() {
    let service = Service::with_shards(SHARDS, |_| 0, 1);
    let source = service.source(|config| config.start = StreamStart::Latest).await;
    let (found, lists) = look("found at the latest record", &service, &source, &nothing()).await;
    assert_eq!((found.len(), lists), (SHARDS, 10), "a page has a thousand");

    let active: Vec<KinesisShard> = found.into_iter().map(|shard| read(shard, None)).collect();
    println!("in a snapshot: {} bytes", bytes(&active));
    let known = Known { active: active.clone(), first_run: false, ..nothing() };
    let (found, lists) = look("found again", &service, &source, &known).await;
    assert_eq!((found.len(), lists), (0, 10), "nothing is new, and no more is asked");

    // All of them were split while the job was away, and were read to their end when it came back.
    service.state().split_all();
    let children = service.state().children();
    let end = |shard: KinesisShard| {
        let children = children[&shard.shard].clone();
        read(shard, Some(End::Children(children)))
    };
    let ended: Vec<KinesisShard> = active.into_iter().map(end).collect();
    println!("ended in a snapshot: {} bytes", bytes(&ended));
    let finished = ended.iter().map(KinesisShard::id).collect();
    let known = Known { finished, ended, first_run: false, ..nothing() };
    let (found, lists) = look("found after a split of all", &service, &source, &known).await;
    assert_eq!((found.len(), lists), (2 * SHARDS, 30));

    let (found, lists) =
        look("found at the latest record, a third of them closed", &service, &source, &nothing()).await;
    assert_eq!((found.len(), lists), (3 * SHARDS, 30));
}
