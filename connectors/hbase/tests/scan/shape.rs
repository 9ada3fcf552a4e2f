//! What of a row is read, and that it is read whole.

use std::collections::BTreeMap;

use tidelock::{ErrorKind, Retry};
use tidelock_hbase::{Column, HbaseScanRows};

use super::*;

fn cells(row: &HbaseRow) -> Vec<(String, String, i64)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    row.cells.iter().map(|(column, cell)| (column.to_string(), text(&cell.value), cell.timestamp)).collect()
}

fn cell(column: &str, value: &str, timestamp: i64) -> (String, String, i64) {
    (column.to_owned(), value.to_owned(), timestamp)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn chosen_columns_are_read_and_rows_without_them_are_not() {
    let server = HbaseServer::shared().await.unwrap();
    let families = [FamilyOptions::new("f"), FamilyOptions::new("g")];
    let place = Place::with_families(server, &families, &[]).await;
    let row = |key: &str, columns: &[&str]| {
        (
            key.as_bytes().to_vec(),
            columns.iter().map(|column| ((*column).to_owned(), b"v".to_vec())).collect(),
        )
    };
    let rows = vec![row("1", &["f:a", "f:b", "g:a"]), row("2", &["f:b"]), row("3", &["g:z", "g:b:c"])];
    place.bare().put(&place.table, rows, 5);
    for (columns, expected) in [
        (&[][..], "1[f:a f:b g:a] 2[f:b] 3[g:b:c g:z]"),
        (&["f:a"], "1[f:a]"),
        (&["g"], "1[g:a] 3[g:b:c g:z]"),
        (&["f:b", "g:b:c"], "1[f:b] 2[f:b] 3[g:b:c]"),
        (&["g", "f:a"], "1[f:a g:a] 3[g:b:c g:z]"),
        (&["f:nobody"], ""),
    ] {
        let columns: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
        let scan = place.scan(|config| config.columns = columns.clone()).await;
        let shown = |row: &HbaseRow| {
            let names = row.cells.keys().map(Column::to_string).collect::<Vec<_>>().join(" ");
            format!("{}[{names}]", String::from_utf8_lossy(&row.row))
        };
        let read = read_all(&scan).await.iter().map(shown).collect::<Vec<_>>().join(" ");
        assert_eq!(read, expected, "{columns:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn columns_may_have_any_bytes_for_a_name_and_none() {
    let server = HbaseServer::shared().await.unwrap();
    let place = Place::on(server, &[]).await;
    for qualifier in [&b""[..], b"\0\xff", b"a\\b"] {
        server.put(&place.table, b"row", ("f", qualifier), b"v", Some(1)).await.unwrap();
    }
    let read = read_all(&place.scan(|_| ()).await).await;
    let expected = [cell("f:", "v", 1), cell(r"f:\x00\xFF", "v", 1), cell(r"f:a\\b", "v", 1)];
    assert_eq!(cells(&read[0]), expected);
    let json = serde_json::to_string(&read[0]).unwrap();
    assert_eq!(serde_json::from_str::<HbaseRow>(&json).unwrap(), read[0], "it goes through files as it is");
    let binary = place.scan(|config| config.columns = vec![r"f:\x00\xFF".into()]).await;
    assert_eq!(cells(&read_all(&binary).await[0]), expected[1..2]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn the_newest_cell_before_a_timestamp_is_read() {
    let server = HbaseServer::shared().await.unwrap();
    let place = Place::with_families(server, &[FamilyOptions::new("f").with_versions(3)], &[]).await;
    for (value, timestamp) in [("old", 10), ("newer", 20), ("newest", 30)] {
        place.bare().put(&place.table, [(b"row".to_vec(), vec![("f:q".into(), value.into())])], timestamp);
    }
    for (before, expected) in [
        (None, vec![cell("f:q", "newest", 30)]),
        (Some(31), vec![cell("f:q", "newest", 30)]),
        (Some(30), vec![cell("f:q", "newer", 20)]),
        (Some(11), vec![cell("f:q", "old", 10)]),
    ] {
        let scan = place.scan(|config| config.before_timestamp = before).await;
        assert_eq!(cells(&read_all(&scan).await[0]), expected, "{before:?}");
    }
    let scan = place.scan(|config| config.before_timestamp = Some(10)).await;
    assert!(read_all(&scan).await.is_empty());
}

/// A number in `batch_size` would do: a gateway then gives a row in parts, each of which looks like a row.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_row_of_many_cells_is_one_record() {
    const CELLS: usize = 5_000;
    let place = Place::shared(&[]).await;
    let wide = |key: &str| {
        let cells = (0..CELLS).map(|number| (format!("f:{number:05}"), vec![b'v'; 100])).collect();
        (key.as_bytes().to_vec(), cells)
    };
    place.bare().put(&place.table, [wide("a"), wide("b")], 1);
    let mut bare = place.bare();
    let scanner = bare.open(&place.table, |scan| scan.batch_size = Some(100)).unwrap();
    let parts = bare::keys(bare.read(scanner, 60).unwrap());
    assert!(
        parts.len() == 60 && parts[49] == b"a" && parts[50] == b"b",
        "the trap is there: {}",
        parts.len()
    );
    for batch_rows in [1, 1_000] {
        let scan = place.scan(|config| config.batch_rows = batch_rows).await;
        let read = read_all(&scan).await;
        let seen: BTreeMap<_, _> = read.iter().map(|row| (&row.row[..], row.cells.len())).collect();
        assert_eq!((read.len(), seen), (2, BTreeMap::from([(&b"a"[..], CELLS), (&b"b"[..], CELLS)])));
    }
}

/// Where a sink is killed while it tries what deletes do.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_row_that_a_sink_left_behind_is_none_of_the_users() {
    let place = Place::shared(&[]).await;
    place.fill([&b"\0"[..], b"\0tidelock/job/rows", b"\0tidelock0", b"a"]);
    for batch_rows in [1, 1_000] {
        let scan = place.scan(|config| config.batch_rows = batch_rows).await;
        assert_eq!(keys(&read_all(&scan).await), [&b"\0"[..], b"\0tidelock0", b"a"]);
    }
}

/// The structs of the client are full of zeros and empty texts, and a gateway takes them for what is wanted.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn the_defaults_of_the_client_are_no_scan() {
    let place = Place::shared(&[]).await;
    place.fill((0..3).map(numbered));
    let refused = place.bare().open(&place.table, |scan| *scan = hbase_thrift::hbase::TScan::default());
    assert!(refused.is_err(), "the trap is there");
    assert_eq!(read_all(&place.scan(|_| ()).await).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_is_not_there_is_told_before_a_row_is_read() {
    let place = Place::shared(&[]).await;
    let mut config = place.config();
    config.columns = vec!["f:a".into(), "nobody".into()];
    let error = HbaseScan::connect(config).await.expect_err("no such family");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error}");
    let text = error.to_string();
    assert!(text.contains("family=nobody") && text.contains("there=f"), "{text}");
    let mut config = place.config();
    config.table = "nobody".into();
    let error = HbaseScan::connect(config).await.expect_err("no such table");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_table_that_is_dropped_while_it_is_read_halts_and_is_no_end() {
    let server = HbaseServer::shared().await.unwrap();
    let place = Place::on(server, &[]).await;
    place.fill((0..300).map(numbered));
    let scan = place
        .scan(|config| (config.batch_rows, config.rows) = (10, HbaseScanRows::Prefix(b"n".to_vec())))
        .await;
    let mut reader = scan.open(only_split_of(&scan).await).await.unwrap();
    assert_eq!(next(&mut reader).await.len(), 10);
    server.drop_table(&place.table).await.unwrap();
    let error = loop {
        // What the gateway has fetched already it still gives.
        match timeout(PATIENCE, reader.next()).await.expect("an answer") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("an end that is none"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error}");
    assert!(error.to_string().contains(&place.table), "{error}");
}
