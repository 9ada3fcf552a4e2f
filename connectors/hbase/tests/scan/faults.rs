//! Gateways, regions and servers that go away while they are read.

use tidelock::{ErrorKind, Retry, Split as _};
use tidelock_containers::{GatewayOptions, HbaseOptions};

use super::*;

const ROWS: u64 = 1_000;

fn all() -> Vec<Vec<u8>> {
    (0..ROWS).map(numbered).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_gateway_that_is_killed_is_replaced_by_another_one_or_waited_for() {
    let server = HbaseServer::shared().await.unwrap();
    let start = || server.another_gateway(GatewayOptions::default());
    let (one, other) = tokio::join!(start(), start());
    let gateways = [one.unwrap(), other.unwrap()];
    let mut place = Place::on(server, &[]).await;
    place.fill(all());
    place.gateways = gateways.iter().map(|gateway| gateway.address()).collect();
    let scan = place.scan(|config| config.batch_rows = 50).await;
    let mut reader = scan.open(only_split_of(&scan).await).await.unwrap();
    let mut read = keys(&next(&mut reader).await);
    for gateway in &gateways {
        gateway.kill().await.unwrap();
        read.extend(keys(&next(&mut reader).await));
        gateway.start().await.unwrap();
        read.extend(keys(&next(&mut reader).await));
    }
    // None is there for a while.
    for gateway in &gateways {
        gateway.kill().await.unwrap();
    }
    let (batch, started) = tokio::join!(next(&mut reader), gateways[0].start());
    started.unwrap();
    read.extend(keys(&batch));
    read.extend(keys(&rest(&mut reader).await));
    assert_eq!(read, all());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_gateway_that_hangs_is_left_for_another_one() {
    let server = HbaseServer::shared().await.unwrap();
    let start = || server.another_gateway(GatewayOptions::default());
    let (one, other) = tokio::join!(start(), start());
    let gateways = [one.unwrap(), other.unwrap()];
    let mut place = Place::on(server, &[]).await;
    place.fill(all());
    place.gateways = gateways.iter().map(|gateway| gateway.address()).collect();
    let scan = place.scan(|config| {
        config.batch_rows = 50;
        config.hbase.call_timeout_ms = 3_000;
    });
    let scan = scan.await;
    let mut reader = scan.open(only_split_of(&scan).await).await.unwrap();
    let mut read = keys(&next(&mut reader).await);
    for gateway in &gateways {
        gateway.pause().await.unwrap();
        for _ in 0..3 {
            read.extend(keys(&next(&mut reader).await));
        }
        gateway.unpause().await.unwrap();
    }
    read.extend(keys(&rest(&mut reader).await));
    assert_eq!(read, all());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn regions_that_are_moved_and_split_under_a_scan_lose_and_double_nothing() {
    let server = HbaseServer::shared().await.unwrap();
    let place = Place::on(server, &[b"n0000500"]).await;
    place.fill(all());
    let scan = place.scan(|config| (config.batch_rows, config.splits_max) = (30, 1)).await;
    let mut reader = scan.open(only_split_of(&scan).await).await.unwrap();
    let mut read = keys(&next(&mut reader).await);
    for key in [b"n0000010", b"n0000250", b"n0000700", b"n0000800"] {
        server.split(&place.table, key).await.unwrap();
        read.extend(keys(&next(&mut reader).await));
        let (batch, moved) = tokio::join!(next(&mut reader), server.move_regions(&place.table));
        moved.unwrap();
        read.extend(keys(&batch));
        server.flush(&place.table).await.unwrap();
        read.extend(keys(&next(&mut reader).await));
        server.major_compact(&place.table).await.unwrap();
        read.extend(keys(&next(&mut reader).await));
    }
    assert!(read.len() < all().len(), "there is something left");
    read.extend(keys(&rest(&mut reader).await));
    assert_eq!(read, all());
    assert_eq!(server.regions(&place.table).await.unwrap().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_region_server_that_is_killed_or_paused_is_waited_for() {
    let server = HbaseServer::start(HbaseOptions::default()).await.unwrap();
    let place = Place::on(&server, &[]).await;
    place.fill(all());
    let scan = place.scan(|config| config.batch_rows = 50).await;
    let mut reader = scan.open(only_split_of(&scan).await).await.unwrap();
    let mut read = keys(&next(&mut reader).await);
    server.kill_server().await.unwrap();
    let (batch, started) = tokio::join!(next(&mut reader), server.start_server());
    started.unwrap();
    read.extend(keys(&batch));
    server.pause_server().await.unwrap();
    let unpaused = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        server.unpause_server().await.unwrap();
    };
    read.extend(keys(&tokio::join!(next(&mut reader), unpaused).0));
    read.extend(keys(&rest(&mut reader).await));
    assert_eq!(read, all());
}

/// What does not come back ends the attempt, and not the job: its last checkpoint has the position.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn gateways_that_stay_away_are_an_error_that_restarts() {
    let server = HbaseServer::shared().await.unwrap();
    let gateway = server.another_gateway(GatewayOptions::default()).await.unwrap();
    let mut place = Place::on(server, &[]).await;
    place.gateways = vec![gateway.address()];
    place.fill(all());
    let scan = place.scan(|config| (config.batch_rows, config.retry_for_ms) = (50, 500)).await;
    let mut reader = scan.open(only_split_of(&scan).await).await.unwrap();
    let first = reader.next().await.unwrap().expect("rows");
    gateway.kill().await.unwrap();
    let error = timeout(PATIENCE, reader.next()).await.expect("an answer").expect_err("nobody there");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Restart), "{error}");
    let text = error.to_string();
    assert!(text.contains(&place.table) && text.contains("split=000000"), "{text}");
    gateway.start().await.unwrap();
    assert_eq!(first.resume.id().as_str(), "000000");
    let mut read = keys(&first.records);
    read.extend(keys(&read_split(&scan, first.resume).await.unwrap()));
    assert_eq!(read, all());
}
