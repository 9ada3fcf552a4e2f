//! The HBase server and its gateways do what the tests of other crates rely on.

use std::time::Duration;

use tidelock_containers::{Cell, CellKind, FamilyOptions, GatewayOptions, HbaseOptions, HbaseServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For an answer that must not come.
const GLANCE: Duration = Duration::from_secs(2);

/// What a busy machine may need for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls in the binary protocol: the gateway answers this one by itself, and asks the server for that.
const KIND: &[u8] = b"\x80\x01\x00\x01\x00\x00\x00\x13getThriftServerType\x00\x00\x00\x07\x00";
const TABLES: &[u8] = b"\x80\x01\x00\x01\x00\x00\x00\x0dgetTableNames\x00\x00\x00\x07\x00";

async fn put(server: &HbaseServer, table: &str, value: &str, timestamp: i64) {
    server.put(table, b"row", ("f", b"q"), value.as_bytes(), Some(timestamp)).await.expect("a cell");
}

/// What the one column of the one row has, newest first.
fn values(cells: &[Cell]) -> Vec<(i64, String)> {
    let value = |cell: &Cell| (cell.timestamp, String::from_utf8_lossy(&cell.value).into_owned());
    cells.iter().inspect(|cell| assert_eq!(cell.kind, CellKind::Put)).map(value).collect()
}

async fn seen(server: &HbaseServer, table: &str) -> Vec<(i64, String)> {
    values(&server.cells(table).await.expect("cells"))
}

/// Whether a gateway answers a call on a connection that has no other.
async fn answers(stream: &mut TcpStream, call: &[u8], patience: Duration) -> bool {
    // The answer begins with as much; the rest of it is for nobody.
    let mut answer = vec![0; call.len()];
    stream.write_all(call).await.is_ok()
        && matches!(timeout(patience, stream.read_exact(&mut answer)).await, Ok(Ok(_)))
}

async fn connected(gateway: &str) -> TcpStream {
    TcpStream::connect(gateway).await.expect("a connection")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_server_keeps_what_it_acknowledged_when_it_is_killed_and_paused_and_its_gateway_stays() {
    let server = HbaseServer::start(HbaseOptions::default()).await.expect("started");
    let table = server.fresh_table(&[FamilyOptions::new("f").with_versions(9)]).await.expect("a table");
    put(&server, &table, "in memory", 1).await;

    assert!(answers(&mut connected(&server.gateway()).await, TABLES, PATIENCE).await);
    server.kill_server().await.expect("killed");
    assert!(server.cells(&table).await.is_err(), "nobody there");
    assert!(
        answers(&mut connected(&server.gateway()).await, KIND, PATIENCE).await,
        "the gateway is another process"
    );
    server.start_server().await.expect("started again");
    let again = answers(&mut connected(&server.gateway()).await, TABLES, PATIENCE).await;
    assert!(again, "the gateway finds its server again");
    put(&server, &table, "second", 2).await;
    let both = vec![(2, "second".to_owned()), (1, "in memory".to_owned())];
    assert_eq!(seen(&server, &table).await, both);

    server.pause_server().await.expect("paused");
    assert!(timeout(GLANCE, server.cells(&table)).await.is_err(), "it does not answer");
    server.unpause_server().await.expect("goes on");
    assert_eq!(seen(&server, &table).await, both);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn gateways_are_killed_and_paused_one_by_one_and_speak_what_they_are_told_to() {
    let server = HbaseServer::shared().await.expect("started");
    let other = GatewayOptions::default().with_frames().with_compact_protocol();
    let other = server.another_gateway(other).await.expect("one more");
    let mut stream = connected(&server.gateway()).await;
    assert!(answers(&mut stream, KIND, PATIENCE).await, "the first speaks the binary protocol");
    assert!(
        !answers(&mut connected(&other.address()).await, KIND, GLANCE).await,
        "and the other one does not"
    );

    server.pause_gateway().await.expect("paused");
    assert!(!answers(&mut connected(&server.gateway()).await, KIND, GLANCE).await, "it is frozen");
    server.unpause_gateway().await.expect("goes on");

    server.kill_gateway().await.expect("killed");
    assert!(TcpStream::connect(server.gateway()).await.is_err(), "nobody there");
    TcpStream::connect(other.address()).await.expect("the other one is");
    other.kill().await.expect("killed");
    other.start().await.expect("serves again");
    server.start_gateway().await.expect("serves again");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_gateway_closes_a_connection_that_is_idle_for_as_long_as_it_was_told() {
    let server = HbaseServer::shared().await.expect("started");
    let hasty = GatewayOptions::default().with_idle_max(Duration::from_millis(500));
    let hasty = server.another_gateway(hasty).await.expect("a gateway");
    let mut stream = connected(&hasty.address()).await;
    assert!(answers(&mut stream, KIND, PATIENCE).await);
    let end = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
    end.expect("closed before its default of a minute").expect("closed cleanly");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_table_is_what_was_asked_for_and_a_compaction_is_done_when_it_returns() {
    let server = HbaseServer::shared().await.expect("started");
    let families = [
        FamilyOptions::new("f").with_versions(2),
        FamilyOptions::new("kept").with_deleted_cells_kept().with_new_version_behavior(),
        FamilyOptions::new("short").with_time_to_live(Duration::from_secs(1)),
    ];
    let table = server.fresh_table(&families).await.expect("a table");
    assert!(server.tables().await.expect("names").contains(&table));
    for timestamp in 1..=3 {
        put(server, &table, "v", timestamp).await;
        server.flush(&table).await.expect("flushed");
    }
    server.put(&table, b"row", ("short", b"q"), b"v", Some(1)).await.expect("a cell from long ago");
    let raw = server.raw_cells(&table).await.expect("cells");
    assert_eq!(raw.len(), 4, "also what no reader sees: {raw:?}");
    assert_eq!(
        seen(server, &table).await,
        [(3, "v".to_owned()), (2, "v".to_owned())],
        "VERSIONS=2 and TTL=1"
    );
    server.flush(&table).await.expect("flushed");
    server.major_compact(&table).await.expect("compacted");
    assert_eq!(values(&server.raw_cells(&table).await.expect("cells")).len(), 2, "forgotten");

    server.drop_table(&table).await.expect("dropped");
    assert!(!server.tables().await.expect("names").contains(&table));
    let refused = server.cells(&table).await.expect_err("there is no such table").to_string();
    assert!(refused.contains("TableNotFoundException"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn regions_are_split_and_moved_with_their_rows() {
    let server = HbaseServer::shared().await.expect("started");
    let table = format!("test_{:016x}", rand::random::<u64>());
    server.create_table(&table, &[FamilyOptions::new("f")], &[b"m"]).await.expect("a table");
    for row in [&b"a"[..], b"p", b"\xff\x00"] {
        server.put(&table, row, ("f", b"q"), b"v", None).await.expect("a row");
    }
    server.split(&table, b"t").await.expect("split");
    assert_eq!(server.regions(&table).await.expect("keys"), [&b""[..], b"m", b"t"]);
    let before = server.cells(&table).await.expect("cells");
    server.move_regions(&table).await.expect("moved");
    assert_eq!(server.cells(&table).await.expect("cells"), before);
    assert_eq!(before.len(), 3);
}
