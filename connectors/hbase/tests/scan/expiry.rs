//! Consumers that are slow: a gateway forgets a scanner that waits, and closes a connection on which nothing is said.

use tidelock_containers::GatewayOptions;
use tidelock_processes::is_soak;

use super::*;

const ROWS: u64 = 1_000;

/// Shorter than the minute that servers have by default, so that a test need not wait for it.
const FORGETS_AFTER: Duration = Duration::from_secs(2);

/// For so long the consumer is busy.
const SLOW: Duration = Duration::from_secs(4);

/// Reads with pauses between batches, while a bare client leaves a scanner alone: it must be gone by then.
async fn a_slow_consumer_loses_and_doubles_nothing(
    options: GatewayOptions,
    slow: Duration,
    idle_max_ms: u64,
) {
    let server = HbaseServer::shared().await.unwrap();
    let gateway = server.another_gateway(options).await.unwrap();
    let mut place = Place::on(server, &[]).await;
    place.gateways = vec![gateway.address()];
    place.fill((0..ROWS).map(numbered));
    let scan = place.scan(|config| {
        config.batch_rows = 400;
        config.hbase.idle_max_ms = idle_max_ms;
    });
    let scan = scan.await;
    let mut reader = scan.open(only_split_of(&scan).await).await.unwrap();
    let mut read = Vec::new();
    for _ in 0..2 {
        let mut bare = place.bare();
        let scanner = bare.open(&place.table, |_| ()).unwrap();
        assert_eq!(bare.read(scanner, 5).unwrap().len(), 5);
        read.extend(keys(&next(&mut reader).await));
        tokio::time::sleep(slow).await;
        let gone = bare.read(scanner, 5);
        assert!(gone.is_err(), "the trap is there");
    }
    assert!(read.len() < ROWS as usize, "there is something left");
    read.extend(keys(&rest(&mut reader).await));
    assert_eq!(read, (0..ROWS).map(numbered).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_scanner_that_expired_is_opened_anew_after_the_last_row() {
    let options = GatewayOptions::default();
    let options = options.with_setting("hbase.client.scanner.timeout.period", FORGETS_AFTER.as_millis());
    a_slow_consumer_loses_and_doubles_nothing(options, SLOW, 50_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_connection_that_was_closed_is_replaced_with_its_scanner() {
    let options = GatewayOptions::default().with_idle_max(FORGETS_AFTER);
    a_slow_consumer_loses_and_doubles_nothing(options, SLOW, 50_000).await;
}

/// What may have been forgotten is not asked for.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_scanner_that_waited_too_long_by_our_own_clock_is_given_up() {
    let options = GatewayOptions::default().with_idle_max(FORGETS_AFTER);
    a_slow_consumer_loses_and_doubles_nothing(options, SLOW, 500).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_consumer_that_needs_more_than_a_minute_loses_nothing_by_the_defaults() {
    // The same with shorter times is above.
    if !is_soak() {
        return;
    }
    a_slow_consumer_loses_and_doubles_nothing(GatewayOptions::default(), Duration::from_secs(75), 50_000)
        .await;
}
