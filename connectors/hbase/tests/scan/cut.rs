//! What is there is read once, however it is cut.

use tidelock_hbase::{HbaseKeyRange, HbaseScanRows};

use super::*;

/// Keys that are neighbours, have zeros at their ends, and are no text.
fn odd_keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = [
        &b"\0"[..],
        b"\0\0",
        b"a",
        b"a\0",
        b"a\0\0",
        b"a\0b",
        b"a\x01",
        b"b",
        b"b\x7f",
        b"b\x80",
        b"c\\x00",
        b"\xc3\xa9",
        b"\xff",
        b"\xff\0",
        b"\xff\xff",
    ]
    .map(<[u8]>::to_vec)
    .into();
    keys.extend((0..60).map(numbered));
    keys.sort_unstable();
    keys
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn rows_are_read_once_however_they_are_cut() {
    let place = Place::shared(&[b"a\0", b"b", b"n0000030", b"\xff"]).await;
    let all = odd_keys();
    place.fill(&all);
    let range = |start: &[u8], stop: &[u8]| HbaseKeyRange::new(start, stop);
    let ranges = vec![range(b"n0000030", b""), range(b"", b"a\0"), range(b"a\0\0", b"n0000030")];
    for (rows, splits, holds) in [
        (HbaseScanRows::All, 5, (|_| true) as fn(&[u8]) -> bool),
        (HbaseScanRows::Prefix(b"a".to_vec()), 2, |key| key.starts_with(b"a")),
        (HbaseScanRows::Prefix(b"n".to_vec()), 2, |key| key.starts_with(b"n")),
        (HbaseScanRows::Prefix(vec![0xff]), 1, |key| key.starts_with(b"\xff")),
        (HbaseScanRows::Prefix(b"nobody".to_vec()), 1, |key| key.starts_with(b"nobody")),
        (HbaseScanRows::Ranges(ranges), 3, |key| key != b"a\0"),
    ] {
        for (splits_max, batch_rows) in [(1_000, 1_000), (2, 7), (1, 1)] {
            let scan = place
                .scan(|config| {
                    (config.rows, config.splits_max, config.batch_rows) =
                        (rows.clone(), splits_max, batch_rows);
                })
                .await;
            if splits_max == 1_000 {
                assert_eq!(splits_of(&scan).await.len(), splits, "{rows:?}");
            }
            let mut read = keys(&read_all(&scan).await);
            read.sort_unstable();
            let expected: Vec<_> = all.iter().filter(|key| holds(key)).cloned().collect();
            assert_eq!(read, expected, "{rows:?} {splits_max} {batch_rows}");
        }
    }
}

/// A gateway that does not know yet where the regions of a table are looks for them by a key that is longer than the row's: with a zero
/// more it would be too long.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn reading_goes_on_after_the_longest_keys() {
    const LONGEST: usize = 32_767;
    let server = HbaseServer::shared().await.unwrap();
    let mut place = Place::on(server, &[]).await;
    let of = |byte: u8, length: usize, last: u8| [vec![byte; length - 1], vec![last]].concat();
    // The longest that a region can be looked for by, and longer ones.
    let looked_for = LONGEST - 16 - place.table.len();
    let all = [
        of(b'a', looked_for, b'a'),
        of(b'a', LONGEST, b'a'),
        of(b'a', LONGEST, b'b'),
        of(0xff, LONGEST, 0xff),
    ];
    // Before the long ones one by which the gateway learns where the region is.
    place.fill([b"a"]);
    place.fill(&all);
    let known = place.scan(|config| config.batch_rows = 1).await;
    let mut reader = known.open(only_split_of(&known).await).await.unwrap();
    let mut read = Vec::new();
    // Another gateway for each batch: none of them knows where the region is.
    while let Some(batch) = reader.next().await.unwrap() {
        read.extend(keys(&batch.records));
        let gateway = server.another_gateway(tidelock_containers::GatewayOptions::default()).await.unwrap();
        place.gateways = vec![gateway.address()];
        if read.len() == 2 {
            let mut next = read[1].clone();
            next.push(0);
            let mut bare = place.bare();
            let scanner = bare.open(&place.table, |scan| scan.start_row = Some(next)).unwrap();
            assert!(bare.read(scanner, 1).is_err(), "the trap is there");
        }
        let scan = place.scan(|config| config.batch_rows = 1).await;
        let mut other = scan.open(stored(&batch.resume)).await.unwrap();
        let after = next(&mut other).await;
        let expected = all.iter().find(|key| key[..] > batch.records[0].row[..]);
        assert!(keys(&after).first() == expected, "after a key of {} bytes", batch.records[0].row.len());
    }
    assert!(read[0] == b"a" && read[1..] == all, "each once, one by one");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn the_cut_is_decided_once_and_later_regions_change_nothing() {
    let server = HbaseServer::shared().await.unwrap();
    let place = Place::on(server, &[b"n0000040"]).await;
    place.fill((0..80).map(numbered));
    let scan = place.scan(|config| config.batch_rows = 10).await;
    let splits = splits_of(&scan).await;
    assert_eq!(splits.len(), 2);
    server.split(&place.table, b"n0000020").await.unwrap();
    let later = Known { active: splits.clone(), finished: Vec::new(), ended: Vec::new(), first_run: false };
    let discovery = scan.discover(&later).await.unwrap();
    assert!(discovery.new.is_empty() && discovery.complete);
    let mut read = Vec::new();
    for split in splits {
        read.extend(keys(&read_split(&scan, split).await.unwrap()));
    }
    assert_eq!(read, (0..80).map(numbered).collect::<Vec<_>>());
}
