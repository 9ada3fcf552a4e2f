//! Records that cannot be read: named where the job is to fail, and left out the same wherever reading begins.

use std::fs;

use serde::Deserialize;
use tempfile::TempDir;
use tidelock::{ErrorKind, Source, SplitReader};
use tidelock_files::{FilesSource, OnBadRecord, SourceFormat};

use super::common::{Row, assert_names, first_run, read_all, read_split};
use super::{config, csv, gzip, json_lines_of, rows, source};

#[tokio::test]
async fn a_record_that_cannot_be_read_names_file_offset_and_reason() {
    let cases = [
        ("a.csv", csv(), "id,name,delay\n1,x,\ntwo,y,\n3,z,\n", 19, 3, "column id: "),
        ("a.csv", csv(), "id,name,delay\n1,x,\n2,y\n3,z,\n", 19, 3, "2 fields"),
        ("a.csv", csv(), "id,name,delay\n1,x,\n2,y,slow\n", 19, 3, "column delay: "),
        ("a.csv", csv(), "\u{feff}id,name,delay\r\n\r\n1,x,\r\n\r\ntwo,y,\r\n", 28, 5, "column id: "),
        ("a.csv", csv(), "id,name,delay\n1,\"two\nlines\",\n2,\"x\"y,\n", 29, 4, "after a closing quote"),
        (
            "a.jsonl",
            SourceFormat::JsonLines,
            "{\"id\":1,\"name\":\"x\",\"delay\":null}\n{\"id\":\n",
            33,
            2,
            "EOF",
        ),
        ("a.txt", SourceFormat::JsonLines, "\r\n\n{}\n", 3, 3, "missing field"),
    ];
    for (name, format, content, offset, line, reason) in cases {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(name), content).unwrap();
        let source: FilesSource<Row> = source(config(folder.path(), format));
        let error = read_all(&source).await.unwrap_err();
        assert_names(&error, ErrorKind::Data, &[name, &format!("offset={offset}, line={line}]"), reason]);
    }
}

#[tokio::test]
async fn a_missing_column_names_file_and_column_whatever_the_policy() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.csv"), "id,delay\n1,\n").unwrap();
    for policy in [OnBadRecord::Fail, OnBadRecord::Skip] {
        let mut config = config(folder.path(), csv());
        config.on_bad_record = policy;
        let error = read_all(&source::<Row>(config)).await.unwrap_err();
        assert_names(&error, ErrorKind::Data, &["a.csv", "column=name", "header=id,delay"]);
    }
}

#[tokio::test]
async fn damaged_or_cut_gzip_is_an_error_that_names_the_file() {
    let whole = gzip(&json_lines_of(&rows()));
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 8].fill(0xFF);
    for content in [&whole[..whole.len() - 4], &whole[..whole.len() / 3], &damaged[..]] {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("a.jsonl.gz"), content).unwrap();
        let mut config = config(folder.path(), SourceFormat::JsonLines);
        config.on_bad_record = OnBadRecord::Skip;
        let error = read_all(&source::<Row>(config)).await.unwrap_err();
        assert_names(&error, ErrorKind::Data, &["a.jsonl.gz", "damaged or cut off"]);
    }
}

#[tokio::test]
async fn a_record_without_an_end_does_not_fill_the_memory() {
    let folder = TempDir::new().unwrap();
    for (format, begin) in [(csv(), "id,name,delay\n1,\""), (SourceFormat::JsonLines, "{\"name\":\"")] {
        let endless = format!("{begin}{}", "x".repeat(4 << 20));
        fs::write(folder.path().join("a.csv"), &endless).unwrap();
        let mut config = config(folder.path(), format);
        config.record_bytes_max = 1 << 20;
        config.on_bad_record = OnBadRecord::Skip;
        let rest = read_all(&source::<Row>(config.clone())).await.unwrap();
        assert_eq!(rest, [], "it is a bad record as any other");
        config.on_bad_record = OnBadRecord::Fail;
        let error = read_all(&source::<Row>(config)).await.unwrap_err();
        assert_names(&error, ErrorKind::Data, &["a.csv", "record_bytes_max=1048576"]);
    }
}

#[tokio::test]
async fn a_record_may_be_as_long_as_the_limit_and_not_a_byte_longer_wherever_reading_begins() {
    const LIMIT: usize = 300_000;
    let long = |name_bytes: usize| {
        let csv = format!("1,{},\n", "x".repeat(name_bytes - 4));
        let json = format!("{{\"id\":1,\"name\":\"{}\",\"delay\":null}}\n", "x".repeat(name_bytes - 32));
        assert_eq!((csv.len(), json.len()), (name_bytes, name_bytes), "the whole line");
        (csv, json)
    };
    // A little too long, and so long that nothing of it is at hand any more when its end is found.
    for too_long in [LIMIT + 1, 5 * LIMIT] {
        let folder = TempDir::new().unwrap();
        let (good, bad) = (long(LIMIT), long(too_long));
        let csv_lines = format!("id,name,delay\n{0}{1}{0}{1}2,y,\n", good.0, bad.0);
        let json_lines = format!("{0}{1}{0}{1}{{\"id\":2,\"name\":\"y\",\"delay\":null}}\n", good.1, bad.1);
        for (name, format, content) in
            [("a.csv", csv(), csv_lines), ("a.jsonl", SourceFormat::JsonLines, json_lines)]
        {
            fs::write(folder.path().join(name), content).unwrap();
            let mut config = config(folder.path(), format);
            config.glob = name.into();
            config.record_bytes_max = LIMIT;
            config.batch_records_max = 1;
            config.on_bad_record = OnBadRecord::Skip;
            let source: FilesSource<Row> = source(config);
            let split = source.discover(&first_run()).await.unwrap().new.remove(0);
            let batches = read_split(&source, split.clone()).await.unwrap();
            let ids = |batches: &[(Vec<Row>, _)]| {
                batches.iter().flat_map(|(rows, _)| rows.iter().map(|row| row.id)).collect::<Vec<_>>()
            };
            assert_eq!(ids(&batches), [1, 1, 2], "{name}");
            assert_eq!(batches.len(), 5, "{name}: each of the five lines is a batch");
            for (at, (_, resume)) in batches.iter().enumerate() {
                let rest = read_split(&source, resume.clone()).await.unwrap();
                assert_eq!(ids(&rest), ids(&batches[at + 1..]), "{name} after {at}, {too_long} bytes");
            }
        }
    }
}

/// Records that are too long because a quote is never closed, one after the other: reading on before each of them.
#[tokio::test]
async fn a_quote_that_is_never_closed_ends_with_its_line_wherever_reading_begins() {
    const LIMIT: usize = 300_000;
    let folder = TempDir::new().unwrap();
    let filler = format!("{},{},\n", 7, "x".repeat(1_000)).repeat(700);
    let content = format!("id,name,delay\n1,\"open,\n3,\"open,\n{filler}");
    fs::write(folder.path().join("a.csv"), content).unwrap();
    let mut config = config(folder.path(), csv());
    config.record_bytes_max = LIMIT;
    config.batch_records_max = 1;
    config.on_bad_record = OnBadRecord::Skip;
    let source: FilesSource<Row> = source(config);
    let split = source.discover(&first_run()).await.unwrap().new.remove(0);
    let batches = read_split(&source, split).await.unwrap();
    for at in 0..4 {
        let rest = read_split(&source, batches[at].1.clone()).await.unwrap();
        assert_eq!(rest.len(), batches.len() - at - 1, "after {at}");
        assert!(rest.iter().map(|(rows, _)| rows).eq(batches[at + 1..].iter().map(|(rows, _)| rows)));
    }
    assert_eq!(batches.iter().map(|(rows, _)| rows.len()).sum::<usize>(), 700);
}

/// Bad and good records, empty lines and line endings of each kind, in any order: reading on after any batch
/// gives the rest, and the lines are right.
#[tokio::test]
async fn bad_records_lie_at_the_same_places_wherever_reading_begins() {
    let content = "id,name,delay\r\n1,\"a\nb\",\r\n2,\"x\"y,\r\n\r\n\u{feff}3,z,\n4,\"open,\n5,q,\n\n6,\"p\",0.5\nseven,r,\n8,s,";
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.csv"), content).unwrap();
    let mut skipping = config(folder.path(), csv());
    skipping.on_bad_record = OnBadRecord::Skip;
    skipping.batch_records_max = 1;
    let mut failing = skipping.clone();
    failing.on_bad_record = OnBadRecord::Fail;
    let (skipping, failing): (FilesSource<Row>, FilesSource<Row>) = (source(skipping), source(failing));
    let split = skipping.discover(&first_run()).await.unwrap().new.remove(0);
    let batches = read_split(&skipping, split.clone()).await.unwrap();
    let mut starts = vec![split];
    starts.extend(batches.iter().map(|(_, resume)| resume.clone()));
    let mut seen = Vec::new();
    for start in starts {
        let rest = read_split(&skipping, start.clone()).await.unwrap();
        assert_eq!(rest.len(), batches.len() - seen.len(), "from {start:?}");
        // The place of the next record, if that is a bad one.
        let mut reader = failing.open(start).await.unwrap();
        match reader.next().await {
            Ok(batch) => seen.push(batch.map(|batch| batch.records[0].id.to_string()).unwrap_or_default()),
            Err(error) => {
                let place =
                    error.context().filter(|(key, _)| *key != "file").map(|(_, value)| value.to_owned());
                seen.push(place.collect::<Vec<_>>().join("@"));
            }
        }
    }
    assert_eq!(seen, ["1", "25@4", "36@6", "44@7", "5", "6", "69@11", "8", ""]);
}

#[tokio::test]
async fn columns_that_break_the_record_type_are_a_fault_of_the_file() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its names count")]
    struct Strict {
        id: u64,
    }
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only its names count")]
    struct Aliased {
        #[serde(alias = "number")]
        id: u64,
    }
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.csv"), "id,number\n1,2\n").unwrap();
    let mut config = config(folder.path(), csv());
    config.on_bad_record = OnBadRecord::Skip;
    let unknown = read_all(&source::<Strict>(config.clone())).await.unwrap_err();
    assert_names(&unknown, ErrorKind::Data, &["unknown field `number`", "header=id,number"]);
    let twice = read_all(&source::<Aliased>(config)).await.unwrap_err();
    assert_names(&twice, ErrorKind::Data, &["duplicate field `id`", "header=id,number"]);
}
