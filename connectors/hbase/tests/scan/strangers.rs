//! Scanners are numbers of a gateway: whoever says the number reads on, and after a restart they are given anew.

use tidelock_containers::GatewayOptions;

use super::*;

const ROWS: u64 = 300;

/// More than a scan of ours can have opened.
const SCANNERS: i32 = 20;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_scanner_of_a_gateway_that_was_started_again_is_a_strangers_and_is_not_touched() {
    let server = HbaseServer::shared().await.unwrap();
    let gateway = server.another_gateway(GatewayOptions::default()).await.unwrap();
    let (mut ours, theirs) = (Place::on(server, &[]).await, Place::on(server, &[]).await);
    ours.gateways = vec![gateway.address()];
    ours.fill((0..ROWS).map(numbered));
    let of_theirs: Vec<Vec<u8>> =
        (0..ROWS).map(|number| format!("n{number:07}/theirs").into_bytes()).collect();
    theirs.fill(&of_theirs);

    let mut bare = ours.bare();
    let stale = bare.open(&ours.table, |_| ()).unwrap();
    assert_eq!(bare::keys(bare.read(stale, 10).unwrap()), (0..10).map(numbered).collect::<Vec<_>>());
    let scan = ours.scan(|config| config.batch_rows = 20).await;
    let mut reader = scan.open(only_split_of(&scan).await).await.unwrap();
    let mut read = keys(&next(&mut reader).await);

    gateway.kill().await.unwrap();
    gateway.start().await.unwrap();
    let mut stranger = ours.bare();
    let scanners: Vec<i32> = (0..SCANNERS).map(|_| stranger.open(&theirs.table, |_| ()).unwrap()).collect();
    assert!(scanners.contains(&stale), "{stale} is not given anew: {scanners:?}");
    let taken = bare::keys(ours.bare().read(stale, 10).unwrap());
    assert_eq!(taken, of_theirs[..10], "the trap is there: rows of another table, without an error");

    read.extend(keys(&rest(&mut reader).await));
    assert_eq!(read, (0..ROWS).map(numbered).collect::<Vec<_>>());
    for scanner in scanners {
        let left = bare::keys(stranger.read(scanner, 1_000).unwrap());
        let taken = if scanner == stale { 10 } else { 0 };
        assert!(left == of_theirs[taken..], "rows of the stranger's scanner {scanner} are gone");
        stranger.close(scanner).unwrap();
    }
}

/// Where somebody else uses our number all the same, rows that cannot be the next ones are not taken for ours.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_scanner_that_somebody_else_closed_is_opened_anew() {
    let server = HbaseServer::shared().await.unwrap();
    let gateway = server.another_gateway(GatewayOptions::default()).await.unwrap();
    let mut place = Place::on(server, &[]).await;
    place.gateways = vec![gateway.address()];
    place.fill((0..ROWS).map(numbered));
    let scan = place.scan(|config| config.batch_rows = 20).await;
    let mut reader = scan.open(only_split_of(&scan).await).await.unwrap();
    let mut read = Vec::new();
    loop {
        let batch = next(&mut reader).await;
        if batch.is_empty() {
            break;
        }
        read.extend(keys(&batch));
        let mut stranger = place.bare();
        // All that there can be, ours among them.
        let last = stranger.open(&place.table, |_| ()).unwrap();
        let closed = (0..=last).filter(|&scanner| stranger.close(scanner).is_ok()).count();
        assert!(closed >= 2 || read.len() == ROWS as usize, "ours was not closed");
    }
    assert_eq!(read, (0..ROWS).map(numbered).collect::<Vec<_>>());
}
