//! Gateways and servers that are killed, frozen, or close what is idle, while rows are written: the table is what it would be without.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tidelock::{ErrorKind, Sink as _, SinkAttempt, WriterId};
use tidelock_containers::{FamilyOptions, GatewayOptions, HbaseOptions, HbaseServer};
use tidelock_hbase::{Deletes, HbaseConfig, HbaseSinkConfig, HbaseWriter, Mode};
use tidelock_processes::{PATIENCE, is_soak, seed};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::held::{Expected, random_records};
use super::place::{Place, attempt, commit, gone, opened, prepared, put, write};

/// Between two batches: what is away must be missed by some, and the machine has others to serve.
const PAUSE: Duration = Duration::from_millis(5);

/// Of many rows some are written while one is away, again when it is back, and then no more.
const ROW_COUNT: u32 = 300;

/// Opened, however often a call of it takes longer than it may: a Java machine that has just started is slow.
async fn opened_at_last(place: &Place, attempt: &SinkAttempt) -> HbaseWriter {
    let opened = async {
        loop {
            let sink = place.sink();
            match sink.recover(attempt, &[]).await.and(sink.open(attempt, WriterId(0)).await) {
                Ok(writer) => return writer,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, opened).await.unwrap()
}

/// Writes random batches for as long as something else is done.
async fn write_meanwhile(
    writer: &mut HbaseWriter,
    rng: &mut StdRng,
    expected: &mut Expected,
    done: impl Future<Output = ()>,
) {
    let is_done = AtomicBool::new(false);
    let writing = async {
        let mut more = 1;
        while more > 0 {
            let records = random_records(rng, ROW_COUNT, &Deletes::Markers);
            expected.take(&records);
            write(writer, records).await.unwrap();
            tokio::time::sleep(PAUSE).await;
            // And some after it.
            more = if is_done.load(Ordering::SeqCst) { more - 1 } else { 10 };
        }
    };
    let doing = async {
        done.await;
        is_done.store(true, Ordering::SeqCst);
    };
    tokio::join!(writing, doing);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn gateways_are_killed_and_frozen_and_the_other_one_is_used_and_nothing_old_wins() {
    let mut rng = StdRng::seed_from_u64(seed("gateways"));
    let mut place = Place::upsert().await;
    let first = place.server.another_gateway(GatewayOptions::default()).await.unwrap();
    let second = place.server.another_gateway(GatewayOptions::default()).await.unwrap();
    place.config.hbase = HbaseConfig::new([first.address(), second.address()]);
    place.config.hbase.call_timeout_ms = 3_000;
    let mut writer = opened_at_last(&place, &attempt(1)).await;
    let mut expected = Expected::default();
    let faults = async {
        first.kill().await.unwrap();
        first.start().await.unwrap();
        second.pause().await.unwrap();
        // Longer than a call may take: what it was asked for it does when it goes on, and newer rows are there by then.
        tokio::time::sleep(Duration::from_secs(4)).await;
        second.unpause().await.unwrap();
        second.kill().await.unwrap();
    };
    write_meanwhile(&mut writer, &mut rng, &mut expected, faults).await;
    expected.check_compacted(&place).await;
    // And with all of them away for a while.
    first.kill().await.unwrap();
    let records = vec![put("a", 1), gone("r0")];
    expected.take(&records);
    let (written, ()) = tokio::join!(write(&mut writer, records), async { first.start().await.unwrap() });
    written.unwrap();
    expected.check_compacted(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_a_frozen_gateway_was_asked_for_it_does_when_it_goes_on_and_newer_rows_win() {
    let mut place = Place::upsert().await;
    let usual = place.config.hbase.clone();
    let gateway = place.server.another_gateway(GatewayOptions::default()).await.unwrap();
    place.config.hbase = HbaseConfig::new([gateway.address()]);
    place.config.hbase.call_timeout_ms = 2_000;
    let mut older = opened_at_last(&place, &attempt(1)).await;
    // With that it has times for what follows, too.
    write(&mut older, vec![put("a", 0)]).await.unwrap();
    gateway.pause().await.unwrap();
    place.config.hbase = usual;
    let mut expected = Expected::default();
    let newer = async {
        // It is asked again and again, and each time gives no answer.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let records = vec![put("a", 2), put("c", 2), gone("b")];
        expected.take(&records);
        let mut newer = opened(&place.sink(), &attempt(2)).await;
        write(&mut newer, records).await.unwrap();
        gateway.unpause().await.unwrap();
    };
    let (written, ()) = tokio::join!(write(&mut older, vec![put("a", 1), put("b", 1), put("c", 1)]), newer);
    written.unwrap();
    expected.check_compacted(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_connection_that_the_gateway_closed_while_it_was_idle_costs_nothing() {
    let mut place = Place::upsert().await;
    let hasty = GatewayOptions::default().with_idle_max(Duration::from_secs(1));
    let hasty = place.server.another_gateway(hasty).await.unwrap();
    place.config.hbase = HbaseConfig::new([hasty.address()]);
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    for value in 0..3 {
        write(&mut writer, vec![put("a", value)]).await.unwrap();
        // One that was opened later is closed: so are all that the sink has.
        let mut later = TcpStream::connect(hasty.address()).await.unwrap();
        let end = tokio::time::timeout(PATIENCE, later.read_to_end(&mut Vec::new())).await;
        end.unwrap().unwrap();
        assert_eq!(place.value("a").await, Some(value));
    }
    if is_soak() {
        let mut writer = opened(&Place::upsert().await.sink(), &attempt(1)).await;
        write(&mut writer, vec![put("a", 1)]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(75)).await; // the usual gateway closes it after 60
        write(&mut writer, vec![put("a", 2)]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn regions_that_are_moved_split_flushed_and_compacted_while_rows_are_written_lose_none() {
    let mut rng = StdRng::seed_from_u64(seed("regions"));
    let place = Place::upsert().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let mut expected = Expected::default();
    let table = place.table();
    let moved = async {
        for key in ["r2", "r15"] {
            place.server.move_regions(table).await.unwrap();
            place.server.split(table, key.as_bytes()).await.unwrap();
            place.compact().await;
        }
    };
    write_meanwhile(&mut writer, &mut rng, &mut expected, moved).await;
    assert_eq!(place.server.regions(table).await.unwrap().len(), 3);
    expected.check_compacted(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_server_that_is_killed_or_frozen_is_waited_for_in_both_modes_and_nothing_old_wins() {
    let mut rng = StdRng::seed_from_u64(seed("server"));
    // Nobody else may be served by it. It ends with the process.
    let server: &'static HbaseServer =
        Box::leak(Box::new(HbaseServer::start(HbaseOptions::default()).await.unwrap()));
    let table = server.fresh_table(&[FamilyOptions::new("f").with_deleted_cells_kept()]).await.unwrap();
    let mut config = HbaseSinkConfig::new(HbaseConfig::new([server.gateway()]), table);
    config.deletes = Deletes::Markers;
    config.hbase.call_timeout_ms = 5_000;
    let mut place = Place { server, config };
    let mut writer = opened_at_last(&place, &attempt(1)).await;
    let mut expected = Expected::default();
    let bounced = async {
        server.kill_server().await.unwrap();
        if is_soak() {
            tokio::time::sleep(Duration::from_secs(50)).await;
        }
        server.start_server().await.unwrap();
        server.pause_server().await.unwrap();
        tokio::time::sleep(Duration::from_secs(6)).await; // longer than a call may take
        server.unpause_server().await.unwrap();
    };
    write_meanwhile(&mut writer, &mut rng, &mut expected, bounced).await;
    expected.check_compacted(&place).await;

    place.config.mode = Mode::Ledger;
    let mut writer = opened_at_last(&place, &attempt(2)).await;
    let records = random_records(&mut rng, ROW_COUNT, &Deletes::Markers);
    expected.take(&records);
    let listed = prepared(&mut writer, &attempt(2), 1, records).await;
    server.kill_server().await.unwrap();
    let sink = place.sink();
    let (committed, ()) =
        tokio::join!(commit(&sink, 1, &listed), async { server.start_server().await.unwrap() });
    committed.unwrap();
    expected.check_compacted(&place).await;
}
