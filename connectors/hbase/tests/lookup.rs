//! Lookups on a real HBase: what is found, what is missed, and what gateways that fail do to them.

use std::collections::BTreeMap;
use std::time::Duration;

use hbase_thrift::hbase::{BatchMutation, HbaseSyncClient, Mutation, THbaseSyncClient};
use thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol};
use thrift::transport::{TBufferedReadTransport, TBufferedWriteTransport, TIoChannel, TTcpChannel};
use tidelock::{ErrorKind, Lookup, Retry};
use tidelock_containers::{FamilyOptions, GatewayOptions, HbaseOptions, HbaseServer};
use tidelock_hbase::{HbaseConfig, HbaseLookup, HbaseLookupConfig, HbaseRow, Protocol, Transport};
use tokio::time::{sleep, timeout};

/// What a busy machine may need for one answer.
const PATIENCE: Duration = Duration::from_secs(240);

async fn shared() -> &'static HbaseServer {
    HbaseServer::shared().await.expect("a server")
}

/// Two families: `info`, and `more`.
async fn table(server: &HbaseServer) -> String {
    server.fresh_table(&[FamilyOptions::new("info"), FamilyOptions::new("more")]).await.expect("a table")
}

/// The values of a row, by column.
type Values = Vec<(&'static str, Vec<u8>)>;

/// Writes rows through the library's client as it is: their keys, and what they have.
async fn fill(gateway: String, table: &str, rows: Vec<(Vec<u8>, Values)>) {
    let table = table.as_bytes().to_vec();
    let written = tokio::task::spawn_blocking(move || {
        let mut channel = TTcpChannel::new();
        channel.open(&gateway)?;
        let (reading, writing) = channel.split()?;
        let mut client = HbaseSyncClient::new(
            TBinaryInputProtocol::new(TBufferedReadTransport::new(reading), true),
            TBinaryOutputProtocol::new(TBufferedWriteTransport::new(writing), true),
        );
        let batches = rows.into_iter().map(|(row, columns)| {
            let put = |(column, value): (&str, Vec<u8>)| {
                Mutation::new(false, column.as_bytes().to_vec(), value, true)
            };
            BatchMutation::new(row, columns.into_iter().map(put).collect::<Vec<_>>())
        });
        client.mutate_rows_ts(table, batches.collect(), 7, BTreeMap::new())
    });
    written.await.expect("no panic").expect("written");
}

fn seats(count: usize) -> Values {
    vec![("info:seats", count.to_string().into_bytes())]
}

async fn planes(config: HbaseConfig, table: &str, columns: &[&str]) -> HbaseLookup<String> {
    let mut config = HbaseLookupConfig::new(config, table);
    config.columns = columns.iter().map(|&column| column.to_owned()).collect();
    HbaseLookup::open_by_bytes(config).await.expect("a table")
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|&key| key.to_owned()).collect()
}

fn of(found: &[Option<HbaseRow>], column: &str) -> Vec<Option<String>> {
    let text = |row: &HbaseRow| row.text(column).map(str::to_owned);
    found.iter().map(|row| row.as_ref().and_then(text)).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn every_key_has_its_row_in_its_place_and_what_is_not_there_is_a_miss() {
    let server = shared().await;
    let table = table(server).await;
    let rows = vec![
        (b"N1".to_vec(), vec![("info:seats", b"180".to_vec()), ("more:model", b"A320".to_vec())]),
        (b"N2".to_vec(), vec![("more:model", b"B757".to_vec())]),
        (b"\xff\0".to_vec(), vec![("info:seats", b"\xfe".to_vec())]),
    ];
    fill(server.gateway(), &table, rows).await;
    let config = HbaseConfig::new([server.gateway()]);
    let whole = planes(config.clone(), &table, &[]).await;
    let long = "x".repeat(32_768);
    // No row can have the last two, and nobody is asked.
    let keys = owned(&["N2", "nobody", "N1", "n1", "N1 ", "", &long]);
    let found = whole.lookup(&keys).await.expect("answers");
    let models = [Some("B757"), None, Some("A320"), None, None, None, None];
    assert_eq!(of(&found, "more:model"), models.map(|model| model.map(str::to_owned)));
    let row = found[2].as_ref().expect("it is there");
    assert_eq!((&row.row[..], row.text("info:seats"), row.cells.len()), (&b"N1"[..], Some("180"), 2));
    assert!(row.cells.values().all(|cell| cell.timestamp == 7));
    assert_eq!(whole.lookup(&[]).await.expect("nothing"), []);
    assert_eq!(whole.lookup(&owned(&["", &long])).await.expect("nobody is asked"), [None, None]);
    // JSON has the bytes too, and reads them back.
    let json = serde_json::to_string(row).expect("JSON");
    assert_eq!(serde_json::from_str::<HbaseRow>(&json).expect("a row"), *row);

    for columns in [&["info:seats"][..], &["info"], &["info", "more:nothing"]] {
        let some = planes(config.clone(), &table, columns).await;
        let found = some.lookup(&keys).await.expect("answers");
        let expected = [None, None, Some("180".to_owned()), None, None, None, None];
        assert_eq!(of(&found, "info:seats"), expected, "{columns:?}");
        assert_eq!(of(&found, "more:model"), vec![None; 7], "{columns:?}");
        assert!(found[0].is_none(), "it has none of {columns:?}");
    }
    // Keys of another type, of which several are one row.
    let lookup = HbaseLookupConfig::new(config, &table);
    let numbers = HbaseLookup::open(lookup, |number: &u32| format!("N{}", number % 10).into_bytes()).await;
    let found = numbers.expect("a table").lookup(&[11, 2, 1, 3, 21]).await.expect("answers");
    let models =
        ["A320", "B757", "A320", "", "A320"].map(|model| Some(model.to_owned()).filter(|m| !m.is_empty()));
    assert_eq!(of(&found, "more:model"), models);
    let bytes = HbaseLookup::<Vec<u8>>::open_by_bytes(HbaseLookupConfig::new(
        HbaseConfig::new([server.gateway()]),
        &table,
    ));
    let found = bytes.await.expect("a table").lookup(&[b"\xff\0".to_vec()]).await.expect("answers");
    assert_eq!(found[0].as_ref().and_then(|row| row.value("info:seats")), Some(&b"\xfe"[..]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn more_keys_than_a_call_has_and_rows_that_are_too_many_for_an_answer_are_found() {
    let server = shared().await;
    let table = table(server).await;
    let key = |at: usize| format!("{at:05}").into_bytes();
    fill(server.gateway(), &table, (0..2_500).map(|at| (key(at), seats(at))).collect()).await;
    let mut config = HbaseConfig::new([server.gateway()]);
    let expected: Vec<Option<String>> =
        (0..2_600).rev().map(|at| (at < 2_500 && at % 2 == 0).then(|| at.to_string())).collect();
    // Every other one is not there; the order is not that of the table.
    let asked: Vec<String> =
        (0..2_600).rev().map(|at| if at % 2 == 0 { format!("{at:05}") } else { format!("x{at}") }).collect();
    // Rows that are smaller than what an answer may have are found, however many there are.
    for answer_bytes_max in [256_000_000, 100_000] {
        config.answer_bytes_max = answer_bytes_max;
        let lookup = planes(config.clone(), &table, &[]).await;
        let found = lookup.lookup(&asked).await.expect("answers");
        assert_eq!(of(&found, "info:seats"), expected, "{answer_bytes_max}");
    }
    // One that is larger alone is an error, and not a full memory.
    fill(server.gateway(), &table, vec![(b"large".to_vec(), vec![("info:seats", vec![b'1'; 100_001])])])
        .await;
    let lookup = planes(config, &table, &[]).await;
    let error = lookup.lookup(&owned(&["00000", "large", "00002"])).await.expect_err("too large");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error}");
    assert!(
        error.to_string().contains("setting=answer_bytes_max") && error.to_string().contains(&table),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_is_missing_is_told_when_the_lookup_is_opened() {
    let server = shared().await;
    let table = table(server).await;
    let open = async |table: &str, column: &str| {
        let mut config = HbaseLookupConfig::new(HbaseConfig::new([server.gateway()]), table);
        config.columns = vec![column.to_owned()];
        HbaseLookup::<String>::open_by_bytes(config).await.map(drop)
    };
    open(&table, "info:seats").await.expect("it is there");
    for (table, column, named) in [
        ("nowhere", "info:seats", "create 'nowhere'"),
        (table.as_str(), "nothing:seats", "NAME => 'nothing'"),
    ] {
        let error = open(table, column).await.expect_err("it is not there");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error}");
        assert!(error.to_string().contains(named), "{error}");
        assert!(!error.to_string().contains("\n"), "{error}");
    }
    let error = open("no space:nowhere", "info:seats").await.expect_err("no name");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let error = open("nospace:nowhere", "info:seats").await.expect_err("no namespace");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error}");
    // A table that is dropped under lookups.
    let lookup = planes(HbaseConfig::new([server.gateway()]), &table, &[]).await;
    server.drop_table(&table).await.expect("dropped");
    let error = lookup.lookup(&owned(&["a"])).await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains(&table) && error.to_string().len() < 500, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn gateways_with_frames_and_the_compact_protocol_are_spoken_to_and_told_from_others() {
    let server = shared().await;
    let table = table(server).await;
    fill(server.gateway(), &table, (0..100).map(|at| (at.to_string().into_bytes(), seats(at))).collect())
        .await;
    let plain = server.gateway();
    let framed = GatewayOptions::default().with_frames().with_compact_protocol();
    let framed = server.another_gateway(framed).await.expect("a gateway");
    let mut config = HbaseConfig::new([framed.address()]);
    (config.transport, config.protocol) = (Transport::Framed, Protocol::Compact);
    let lookup = planes(config.clone(), &table, &[]).await;
    let mut keys: Vec<String> = (0..100).map(|at| at.to_string()).collect();
    // Six million bytes: a gateway with frames closes the connection at more than two million in one.
    keys.extend((0..200).map(|at| format!("{at:030000}")));
    let found = lookup.lookup(&keys).await.expect("answers");
    let expected: Vec<_> = (0..300).map(|at| (at < 100).then(|| at.to_string())).collect();
    assert_eq!(of(&found, "info:seats"), expected);
    // One without frames takes them in one, and as many as our own limit lets through: 29 million bytes of a thousand keys.
    let unframed = planes(HbaseConfig::new([server.gateway()]), &table, &[]).await;
    keys.extend((200..930).map(|at| format!("{at:032767}")));
    let found = unframed.lookup(&keys).await.expect("answers");
    assert_eq!(of(&found, "info:seats")[..300], expected);
    keys.truncate(300);
    // With more at once it is as it is without the limit.
    let mut unlimited = config.clone();
    unlimited.request_bytes_max = Some(32_000_000);
    let unlimited = planes(unlimited, &table, &[]).await;
    let error = unlimited.lookup(&keys).await.expect_err("closed");
    assert_eq!(error.retry(), Retry::Retry, "{error}");

    // The other way round each is told, within seconds: a client with frames and a gateway without wait for each other.
    let mut mixed = HbaseConfig::new([plain]);
    (mixed.transport, mixed.protocol) = (config.transport, config.protocol);
    let named = r#"transport = "buffered" and protocol = "binary""#;
    for (config, named) in [
        (mixed, named),
        (HbaseConfig::new([framed.address()]), r#"transport = "framed" and protocol = "compact""#),
    ] {
        let opened = HbaseLookup::<String>::open_by_bytes(HbaseLookupConfig::new(config, &table));
        let error = timeout(PATIENCE, opened).await.expect("it is told").expect_err("another language");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

/// Asks until it is answered, as a host does for errors that may pass.
async fn answered_at_last(lookup: &HbaseLookup<String>) -> Vec<Option<HbaseRow>> {
    let asking = async {
        loop {
            match lookup.lookup(&owned(&["1", "nobody"])).await {
                Ok(found) => break found,
                Err(error) => assert_eq!(error.retry(), Retry::Retry, "{error}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, asking).await.expect("an answer at last")
}

/// A server of its own, with a table that has the row `1`, and one gateway more.
struct World {
    server: HbaseServer,
    second: tidelock_containers::Gateway,
    table: String,
}

impl World {
    async fn start(second: GatewayOptions) -> Self {
        let options = HbaseOptions::default().with_gateway(second.clone());
        let server = HbaseServer::start(options).await.expect("a server");
        let second = server.another_gateway(second).await.expect("a gateway");
        let table = table(&server).await;
        fill(server.gateway(), &table, vec![(b"1".to_vec(), seats(180))]).await;
        Self { server, second, table }
    }

    /// Looks up by both gateways.
    async fn by_both(&self) -> HbaseLookup<String> {
        let mut config = HbaseConfig::new([self.server.gateway(), self.second.address()]);
        config.connect_timeout_ms = 2_000;
        planes(config, &self.table, &[]).await
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn gateways_are_killed_and_paused_under_lookups_and_one_that_is_left_is_enough() {
    let world = World::start(GatewayOptions::default()).await;
    let right = [Some("180".to_owned()), None];
    let lookup = world.by_both().await;
    assert_eq!(of(&answered_at_last(&lookup).await, "info:seats"), right);
    // Whichever has the open connections, the other one answers.
    for _ in 0..2 {
        world.second.kill().await.expect("killed");
        assert_eq!(of(&answered_at_last(&lookup).await, "info:seats"), right);
        world.second.start().await.expect("started");
        world.server.kill_gateway().await.expect("killed");
        assert_eq!(of(&answered_at_last(&lookup).await, "info:seats"), right);
        world.server.start_gateway().await.expect("started");
    }
    // Nobody waits for the one that is paused for as long as a call may take.
    world.second.pause().await.expect("paused");
    assert_eq!(of(&answered_at_last(&lookup).await, "info:seats"), right);
    world.server.pause_gateway().await.expect("paused");
    world.second.unpause().await.expect("goes on");
    assert_eq!(of(&answered_at_last(&lookup).await, "info:seats"), right);
    // Both are away.
    world.second.kill().await.expect("killed");
    let asked = timeout(PATIENCE, lookup.lookup(&owned(&["1"]))).await.expect("no answer is an answer, too");
    let error = asked.expect_err("nobody is there");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Retry), "{error}");
    world.server.unpause_gateway().await.expect("goes on");
    assert_eq!(of(&answered_at_last(&lookup).await, "info:seats"), right);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_server_that_is_paused_or_away_and_comes_back_is_waited_for() {
    let world = World::start(GatewayOptions::default()).await;
    let right = [Some("180".to_owned()), None];
    let lookup = world.by_both().await;
    assert_eq!(of(&answered_at_last(&lookup).await, "info:seats"), right);
    // The gateway is asked again and again meanwhile, and says that it is awake: the call is not given up.
    let one = owned(&["1"]);
    world.server.pause_server().await.expect("paused");
    let go_on = async {
        sleep(Duration::from_secs(9)).await;
        world.server.unpause_server().await.expect("goes on");
    };
    let (asked, ()) = tokio::join!(lookup.lookup(&one), go_on);
    assert_eq!(of(&asked.expect("an answer"), "info:seats"), right[..1]);
    // A gateway waits for a server that is away, and a lookup waits for the gateway.
    world.server.kill_server().await.expect("killed");
    let (asked, started) = tokio::join!(lookup.lookup(&one), world.server.start_server());
    started.expect("started");
    match asked {
        Ok(found) => assert_eq!(of(&found, "info:seats"), right[..1]),
        Err(error) => assert_eq!(error.retry(), Retry::Retry, "{error}"),
    }
    assert_eq!(of(&answered_at_last(&lookup).await, "info:seats"), right);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_connection_that_was_idle_for_longer_than_a_gateway_allows_is_not_noticed() {
    let server = shared().await;
    let table = table(server).await;
    fill(server.gateway(), &table, vec![(b"1".to_vec(), seats(180))]).await;
    let options = GatewayOptions::default().with_idle_max(Duration::from_secs(1));
    let gateway = server.another_gateway(options).await.expect("a gateway");
    // Once because it is closed before, and once because it is seen that the gateway closed it.
    for idle_max_ms in [500, 50_000] {
        let mut config = HbaseConfig::new([gateway.address()]);
        config.idle_max_ms = idle_max_ms;
        let lookup = planes(config, &table, &[]).await;
        for _ in 0..3 {
            let found = lookup.lookup(&owned(&["1"])).await.expect("an answer at once");
            assert_eq!(of(&found, "info:seats"), [Some("180".to_owned())], "{idle_max_ms}");
            sleep(Duration::from_millis(2_500)).await;
        }
    }
}
