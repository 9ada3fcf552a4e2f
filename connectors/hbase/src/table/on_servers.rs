//! What is found out of tables, on a real HBase.

use std::time::SystemTime;

use tidelock_containers::{FamilyOptions, HbaseServer};

use super::*;
use crate::config::HbaseConfig;

async fn server() -> (&'static HbaseServer, Gateways) {
    let server = HbaseServer::shared().await.expect("a server");
    (server, Gateways::new(&HbaseConfig::new([server.gateway()])).expect("settings"))
}

#[allow(clippy::disallowed_methods, reason = "cells of families with a TTL are near the clock")]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    i64::try_from(since.as_millis()).expect("a time")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_table_is_known_with_what_its_families_keep() {
    let (server, gateways) = server().await;
    let families = [
        FamilyOptions::new("a"),
        FamilyOptions::new("b_b").with_versions(7).with_time_to_live(Duration::from_secs(86_400)),
    ];
    let name = server.fresh_table(&families).await.expect("a table");
    let table = Table::look(&gateways, &name).await.expect("it is there");
    let lives = |seconds| Some(Duration::from_secs(seconds));
    let expected = [
        ("a".to_owned(), Family { max_versions: 1, time_to_live: None }),
        ("b_b".to_owned(), Family { max_versions: 7, time_to_live: lives(86_400) }),
    ];
    assert_eq!(table.families, BTreeMap::from(expected));
    // By this, gateways of two clusters are told from each other.
    let id = gateways.call("ask", |client| client.get_cluster_id()).await.expect("an answer");
    assert!(!id.is_empty());
    let error = table.family("c").expect_err("not there");
    assert!(error.to_string().contains("there=a, b_b"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_family_whose_deletes_do_not_keep_what_they_hide_is_refused_by_name() {
    let (server, gateways) = server().await;
    let kept = |name: &str| FamilyOptions::new(name).with_deleted_cells_kept();
    for (families, wrong) in [
        (
            vec![
                kept("a"),
                kept("b").with_versions(3),
                kept("c").with_time_to_live(Duration::from_secs(3_600)),
            ],
            None,
        ),
        (vec![kept("a"), FamilyOptions::new("b")], Some(("family=b", "KEEP_DELETED_CELLS => 'TRUE'"))),
        (
            vec![FamilyOptions::new("b").with_versions(5), kept("a")],
            Some(("family=b", "KEEP_DELETED_CELLS => 'TRUE'")),
        ),
        (
            vec![kept("a"), kept("b").with_new_version_behavior()],
            Some(("family=b", "NEW_VERSION_BEHAVIOR => 'false'")),
        ),
    ] {
        let name = server.fresh_table(&families).await.expect("a table");
        let table = Table::look(&gateways, &name).await.expect("it is there");
        let all = table.families.keys().cloned().collect();
        // Again and again, as each attempt does, also after what was written went to files.
        for attempt in 0..3 {
            let row = [OWN_ROWS, b"orders/out"].concat();
            let tried = table.try_deletes(&gateways, &all, &row, now_ms() + attempt).await;
            match (tried, wrong) {
                (Ok(()), None) => {}
                (Err(error), Some((family, remedy))) => {
                    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
                    assert!(
                        error.to_string().contains(family) && error.to_string().contains(remedy),
                        "{error}"
                    );
                }
                (tried, wrong) => panic!("{families:?}: {tried:?} instead of {wrong:?}"),
            }
            assert_eq!(server.cells(&name).await.expect("cells"), [], "nothing is left of it");
            server.flush(&name).await.expect("flushed");
        }
        // Families that nobody deletes in are not tried.
        let good = ["a".to_owned()].into();
        table
            .try_deletes(&gateways, &good, &[OWN_ROWS, b"x"].concat(), now_ms())
            .await
            .expect("it keeps deletes");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn the_newest_time_of_each_family_is_seen_and_rows_of_our_own_are_not() {
    let (server, gateways) = server().await;
    let name =
        server.fresh_table(&[FamilyOptions::new("a"), FamilyOptions::new("b")]).await.expect("a table");
    let table = Table::look(&gateways, &name).await.expect("it is there");
    assert_eq!(table.newest_times(&gateways).await.expect("times").expect("in time"), BTreeMap::new());
    let own = [OWN_ROWS, b"x"].concat();
    for (row, family, time) in
        [(&b"1"[..], "a", 7), (b"2", "a", 9), (b"3", "a", 8), (b"2", "b", 1), (&own, "b", 99)]
    {
        server.put(&name, row, (family, b"q"), b"v", Some(time)).await.expect("put");
    }
    let expected = [("a".to_owned(), 9), ("b".to_owned(), 1)];
    assert_eq!(
        table.newest_times(&gateways).await.expect("times").expect("in time"),
        BTreeMap::from(expected)
    );
    // Without a time of its own, a cell has the server's.
    server.put(&name, b"4", ("b", b"q"), b"v", None).await.expect("put");
    let newest = table.newest_times(&gateways).await.expect("times").expect("in time");
    assert!((newest["b"] - now_ms()).abs() < 3_600_000, "{newest:?}");
}
