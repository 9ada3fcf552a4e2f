//! What the source promises, on a local folder.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;

use common::{Row, assert_names, first_run, read_all, read_split, row};
use flate2::{Compression, write::GzEncoder};
use serde::Deserialize;
use tempfile::TempDir;
use tidelock::{ErrorKind, Known, Source, Split, SplitReader, Stored};
use tidelock_files::{CsvReading, FilesSource, FilesSourceConfig, OnBadRecord, OnChangedFile, SourceFormat};

const ROWS: u64 = 1000;

fn rows() -> Vec<Row> {
    (0..ROWS).map(row).collect()
}

fn csv_of(rows: &[Row], crlf: bool) -> Vec<u8> {
    let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
    let mut writer = csv::WriterBuilder::new().terminator(terminator).from_writer(Vec::new());
    rows.iter().for_each(|row| writer.serialize(row).unwrap());
    writer.into_inner().unwrap()
}

fn json_lines_of(rows: &[Row]) -> Vec<u8> {
    rows.iter()
        .flat_map(|row| serde_json::to_string(row).unwrap().into_bytes().into_iter().chain(*b"\n"))
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // Two members, as programs leave them that append to a compressed file.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    [first, second]
        .into_iter()
        .flat_map(|part| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(part).unwrap();
            encoder.finish().unwrap()
        })
        .collect()
}

fn csv() -> SourceFormat {
    SourceFormat::Csv(CsvReading::default())
}

fn config(folder: &Path, format: SourceFormat) -> FilesSourceConfig {
    let mut config = FilesSourceConfig::new(folder.to_str().unwrap(), format);
    config.batch_records_max = 64;
    config
}

fn source<T>(config: FilesSourceConfig) -> FilesSource<T> {
    FilesSource::new(config).unwrap()
}

#[tokio::test]
async fn every_format_resumes_after_every_batch_with_the_exact_rest() {
    let rows = rows();
    let cases = [
        ("plain.csv", csv(), csv_of(&rows, false)),
        ("crlf.csv", csv(), csv_of(&rows, true)),
        ("packed.csv.gz", csv(), gzip(&csv_of(&rows, false))),
        ("plain.jsonl", SourceFormat::JsonLines, json_lines_of(&rows)),
        ("packed.jsonl.gz", SourceFormat::JsonLines, gzip(&json_lines_of(&rows))),
    ];
    for (name, format, content) in cases {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(name), content).unwrap();
        let source: FilesSource<Row> = source(config(folder.path(), format));
        let split = source.discover(&first_run()).await.unwrap().new.remove(0);
        let batches = read_split(&source, split).await.unwrap();
        assert_eq!(batches.len(), (ROWS as usize).div_ceil(64), "{name}");
        let mut seen = Vec::new();
        for (records, resume) in batches {
            seen.extend(records);
            // Through the stored form, as a restore does.
            let resume = Stored::encode(&resume).unwrap().decode().unwrap();
            let rest = read_split(&source, resume).await.unwrap();
            let rest: Vec<Row> = rest.into_iter().flat_map(|(records, _)| records).collect();
            assert_eq!(rest, rows[seen.len()..], "{name} after {} rows", seen.len());
        }
        assert_eq!(seen, rows, "{name}");
    }
}

#[tokio::test]
async fn a_batch_ends_by_bytes_too() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.jsonl"), json_lines_of(&rows())).unwrap();
    let mut config = config(folder.path(), SourceFormat::JsonLines);
    config.batch_bytes_max = 1;
    let source: FilesSource<Row> = source(config);
    let split = source.discover(&first_run()).await.unwrap().new.remove(0);
    assert_eq!(read_split(&source, split).await.unwrap().len(), ROWS as usize);
}

#[tokio::test]
async fn lines_are_strings_with_or_without_a_last_line_end() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.txt"), "\u{feff}one\r\n\r\ntwo").unwrap();
    fs::write(folder.path().join("b.txt"), "three\n").unwrap();
    let source: FilesSource<String> = source(config(folder.path(), SourceFormat::Lines));
    assert_eq!(read_all(&source).await.unwrap(), ["one", "", "two", "three"]);
}

/// What is in flight is bounded by it, however large the lines are.
#[tokio::test]
async fn a_reader_says_how_much_it_read() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("lines"), format!("{}\nb\n", "a".repeat(1_000))).unwrap();
    let mut config = config(folder.path(), SourceFormat::Lines);
    config.batch_records_max = 1;
    let source: FilesSource<String> = source(config);
    let split = source.discover(&first_run()).await.unwrap().new.remove(0);
    let mut reader = source.open(split).await.unwrap();
    for bytes in [1_001, 2] {
        assert_eq!(reader.next().await.unwrap().unwrap().records.len(), 1);
        assert_eq!(reader.heap_bytes(), bytes);
    }
}

#[tokio::test]
async fn files_without_records_end_at_once() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("empty.csv"), "").unwrap();
    fs::write(folder.path().join("header.csv"), "id,name,delay\n").unwrap();
    fs::write(folder.path().join("mark.csv"), "\u{feff}id,name,delay\n7,x,\n").unwrap();
    let source: FilesSource<Row> = source(config(folder.path(), csv()));
    let read = read_all(&source).await.unwrap();
    assert_eq!(read, [Row { id: 7, name: "x".into(), delay: None }]);
}

#[tokio::test]
async fn a_null_value_is_a_missing_one() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.csv"), "id,name,delay\n1,NA,NA\n2,NAB,0.5\n").unwrap();
    let source: FilesSource<Row> =
        source(config(folder.path(), SourceFormat::Csv(CsvReading::with_null("NA"))));
    let read = read_all(&source).await.unwrap();
    assert_eq!(read[0], Row { id: 1, name: String::new(), delay: None });
    assert_eq!(read[1], Row { id: 2, name: "NAB".into(), delay: Some(0.5) });
}

#[tokio::test]
async fn files_are_found_in_the_order_of_names_once_and_hidden_ones_never() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("sub/.tidelock")).unwrap();
    for name in [
        "b.jsonl",
        "a.jsonl",
        ".hidden.jsonl",
        "_SUCCESS.jsonl",
        "c.csv",
        "sub/d.jsonl",
        "sub/.tidelock/e.jsonl",
    ] {
        fs::write(path(name), json_lines_of(&[row(1)])).unwrap();
    }
    let mut config = config(folder.path(), SourceFormat::JsonLines);
    config.glob = "**/*.jsonl".into();
    config.bounded = false;
    let source: FilesSource<Row> = source(config);
    let names = |known: Known<_>| {
        let source = &source;
        async move {
            let found = source.discover(&known).await.unwrap();
            assert!(!found.complete && found.forget.is_empty());
            found.new.iter().map(|split| split.id().to_string()).collect::<Vec<_>>()
        }
    };
    assert_eq!(names(first_run()).await, ["a.jsonl", "b.jsonl", "sub/d.jsonl"]);
    assert_eq!(names(first_run()).await.len(), 3, "discovery is idempotent");
    let mut found = source.discover(&first_run()).await.unwrap().new;
    fs::write(path("0.jsonl"), json_lines_of(&[row(1)])).unwrap();
    let ended = found.pop().unwrap();
    let known = Known { finished: vec![ended.id()], ended: vec![ended], active: found, first_run: false };
    assert_eq!(names(known).await, ["0.jsonl"], "only the new file is new");
}

#[tokio::test]
async fn a_bounded_source_is_complete_and_refuses_to_find_nothing() {
    let folder = TempDir::new().unwrap();
    let mut with = config(folder.path(), csv());
    with.glob = "*.cvs".into();
    let error = source::<Row>(with.clone()).discover(&first_run()).await.unwrap_err();
    assert_names(&error, ErrorKind::NotFound, &["glob=*.cvs", "allow_empty"]);
    with.allow_empty = true;
    assert!(source::<Row>(with).discover(&first_run()).await.unwrap().complete);
    let missing = config(&folder.path().join("missing"), csv());
    let error = source::<Row>(missing).discover(&first_run()).await.unwrap_err();
    assert_names(&error, ErrorKind::NotFound, &["missing"]);
}

#[tokio::test]
async fn a_finished_file_that_is_gone_is_forgotten_only_if_asked() {
    let folder = TempDir::new().unwrap();
    for name in ["here.jsonl", "gone.jsonl"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let before = source::<Row>(config(folder.path(), SourceFormat::JsonLines));
    let ended = before.discover(&first_run()).await.unwrap().new;
    fs::remove_file(folder.path().join("gone.jsonl")).unwrap();
    let finished = ended.iter().map(Split::id).collect();
    let known = Known { active: Vec::new(), finished, ended, first_run: false };
    for (forget_removed, forgotten) in [(false, vec![]), (true, vec!["gone.jsonl"])] {
        let mut config = config(folder.path(), SourceFormat::JsonLines);
        config.forget_removed = forget_removed;
        let found = source::<Row>(config).discover(&known).await.unwrap();
        assert!(found.new.is_empty());
        assert_eq!(found.forget.iter().map(ToString::to_string).collect::<Vec<_>>(), forgotten);
    }
}

#[tokio::test]
async fn a_file_that_is_not_the_one_found_is_an_error_that_names_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.jsonl");
    let original = json_lines_of(&rows());
    fs::write(&path, &original).unwrap();
    let source: FilesSource<Row> = source(config(folder.path(), SourceFormat::JsonLines));
    let split = source.discover(&first_run()).await.unwrap().new.remove(0);
    let resume = read_split(&source, split.clone()).await.unwrap().remove(3).1;

    for content in [&original[..100], &[&*original, b"{}\n"].concat()] {
        fs::write(&path, content).unwrap();
        for split in [split.clone(), resume.clone()] {
            let error = source.open(split).await.unwrap_err();
            assert_names(&error, ErrorKind::Expired, &["a.jsonl", "size_found"]);
        }
    }
    // Another content of the same size is told by the time of the last change.
    fs::write(&path, &original).unwrap();
    let later = fs::metadata(&path).unwrap().modified().unwrap() + std::time::Duration::from_secs(1);
    fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert_names(
        &source.open(resume.clone()).await.unwrap_err(),
        ErrorKind::Expired,
        &["a.jsonl", "version_now"],
    );

    fs::remove_file(&path).unwrap();
    assert_names(&source.open(resume).await.unwrap_err(), ErrorKind::NotFound, &["a.jsonl", "gone"]);
}

#[tokio::test]
async fn a_file_truncated_while_it_is_read_gives_an_error_and_no_record_of_the_wrong_content() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.jsonl");
    let content = json_lines_of(&(0..50_000).map(row).collect::<Vec<_>>());
    fs::write(&path, &content).unwrap();
    let source: FilesSource<Row> = source(config(folder.path(), SourceFormat::JsonLines));
    let split = source.discover(&first_run()).await.unwrap().new.remove(0);
    let mut reader = source.open(split).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap().records.len(), 64);
    fs::File::options().write(true).open(&path).unwrap().set_len(content.len() as u64 / 2).unwrap();
    assert_names(&reader.next().await.unwrap_err(), ErrorKind::Expired, &["a.jsonl"]);
}

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
async fn bad_records_are_left_out_and_dead_letters_are_written_once_however_often_they_are_replayed() {
    #[derive(Deserialize)]
    struct Letter {
        file: String,
        offset: u64,
        line: u64,
        reason: String,
        text: Option<String>,
        base64: Option<String>,
    }
    let folder = TempDir::new().unwrap();
    let (input, letters) = (folder.path().join("in"), folder.path().join("letters"));
    fs::create_dir_all(input.join("sub")).unwrap();
    fs::write(input.join("sub/a.csv"), b"id,name,delay\n1,x,\ntwo,\"y, z\",\n3,\xFF,\n4,z,\n").unwrap();
    let mut config = config(&input, csv());
    config.glob = "**".into();
    config.on_bad_record = OnBadRecord::Skip;
    let ids = |rows: Vec<Row>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(read_all(&source(config.clone())).await.unwrap()), [1, 4]);

    config.on_bad_record = OnBadRecord::DeadLetter(letters.to_str().unwrap().into());
    for _replay in 0..2 {
        assert_eq!(ids(read_all(&source(config.clone())).await.unwrap()), [1, 4]);
    }
    let written = common::visible(&letters);
    let names: Vec<_> =
        written.keys().map(|name| name.rsplit_once('.').unwrap().0.rsplit_once('.').unwrap().0).collect();
    assert_eq!(names, ["sub/a.csv-00000000000000000019", "sub/a.csv-00000000000000000031"]);
    let letters: Vec<Letter> =
        written.values().map(|letter| serde_json::from_slice(letter).unwrap()).collect();
    assert_eq!((&*letters[0].file, letters[0].offset, letters[0].line), ("sub/a.csv", 19, 3));
    assert!(letters[0].reason.contains("column id"), "{}", letters[0].reason);
    assert_eq!(letters[0].text.as_deref(), Some("two,\"y, z\",\n"));
    assert_eq!(letters[1].base64.as_deref(), Some("Myz/LAo="));
}

#[tokio::test]
async fn files_of_one_name_in_two_folders_have_letters_of_their_own() {
    let folder = TempDir::new().unwrap();
    let letters = folder.path().join("letters");
    for name in ["monday", "tuesday"] {
        let input = folder.path().join(name);
        fs::create_dir(&input).unwrap();
        fs::write(input.join("a.jsonl"), format!("no {name}\n")).unwrap();
        let mut config = config(&input, SourceFormat::JsonLines);
        config.on_bad_record = OnBadRecord::DeadLetter(letters.to_str().unwrap().into());
        read_all(&source::<Row>(config)).await.unwrap();
    }
    let written = common::visible(&letters);
    assert_eq!(written.len(), 2, "{:?}", written.keys());
    for name in ["monday", "tuesday"] {
        let says = |letter: &Vec<u8>| String::from_utf8_lossy(letter).contains(&format!("no {name}"));
        assert_eq!(written.values().filter(|letter| says(letter)).count(), 1);
    }
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_written_is_an_error_that_names_the_path() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.jsonl"), "no\n").unwrap();
    fs::write(folder.path().join("letters"), "a file where a folder should be").unwrap();
    let mut config = config(folder.path(), SourceFormat::JsonLines);
    config.glob = "*.jsonl".into();
    config.on_bad_record = OnBadRecord::DeadLetter(folder.path().join("letters").to_str().unwrap().into());
    let error = read_all(&source::<Row>(config)).await.unwrap_err();
    assert_names(&error, ErrorKind::Config, &["letters", "folder"]);
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

/// As a job does with whole files: what is found is read to its end, and the snapshot knows how it ended.
async fn round(source: &FilesSource<String>, ended: &mut Vec<tidelock_files::FileSplit>) -> Vec<String> {
    let finished = ended.iter().map(Split::id).collect();
    let known = Known { active: Vec::new(), finished, ended: ended.clone(), first_run: false };
    let found = source.discover(&known).await.unwrap();
    ended.retain(|split| !found.forget.contains(&split.id()));
    let mut lines = Vec::new();
    for split in found.new {
        let mut last = split.clone();
        for (records, resume) in read_split(source, split).await.unwrap() {
            lines.extend(records);
            last = resume;
        }
        ended.push(last);
    }
    lines
}

#[cfg(unix)]
#[tokio::test]
async fn rotated_logs_are_read_once_each() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut config = config(folder.path(), SourceFormat::Lines);
    config.bounded = false;
    config.on_changed_file = OnChangedFile::ReadAgain;
    let mut ended = Vec::new();
    let mut lines = Vec::new();
    for log in 1..=4 {
        if log > 1 {
            for number in (1..log - 1).rev() {
                fs::rename(path(&format!("app.log.{number}")), path(&format!("app.log.{}", number + 1)))
                    .unwrap();
            }
            fs::rename(path("app.log"), path("app.log.1")).unwrap();
        }
        // Each a little longer: some file systems count time in steps.
        fs::write(path("app.log"), format!("{}\n", "x".repeat(log))).unwrap();
        for _ in 0..10 {
            // A fresh source each time: nothing is remembered but what the snapshot knows.
            lines.extend(round(&source(config.clone()), &mut ended).await);
        }
    }
    assert_eq!(lines, ["x", "xx", "xxx", "xxxx"]);
}

/// As out of an archive: all of one size and one time, and each has the inode of the one before.
#[cfg(unix)]
#[tokio::test]
async fn files_that_come_one_by_one_and_are_removed_when_read_are_each_read() {
    let folder = TempDir::new().unwrap();
    let mut config = config(folder.path(), SourceFormat::Lines);
    config.bounded = false;
    let (mut ended, mut lines) = (Vec::new(), Vec::new());
    for number in 1..=5 {
        let path = folder.path().join(format!("{number}.txt"));
        fs::write(&path, format!("{number}\n")).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        lines.extend(round(&source(config.clone()), &mut ended).await);
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(lines, ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_file_that_is_replaced_under_its_name_is_read_as_the_policy_says() {
    for (policy, expected) in
        [(OnChangedFile::Warn, &["old"][..]), (OnChangedFile::ReadAgain, &["old", "newer"])]
    {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.txt");
        let mut config = config(folder.path(), SourceFormat::Lines);
        config.bounded = false;
        config.on_changed_file = policy;
        let (mut ended, mut lines) = (Vec::new(), Vec::new());
        for content in ["old\n", "newer\n"] {
            fs::write(folder.path().join(".new"), content).unwrap();
            fs::rename(folder.path().join(".new"), &path).unwrap();
            for _ in 0..3 {
                lines.extend(round(&source(config.clone()), &mut ended).await);
            }
        }
        assert_eq!(lines, expected);
        config.on_changed_file = OnChangedFile::Fail;
        fs::write(&path, "another\n").unwrap();
        let finished = ended.iter().map(Split::id).collect();
        let known = Known { active: Vec::new(), finished, ended, first_run: false };
        let error = source::<String>(config).discover(&known).await.unwrap_err();
        assert_names(&error, ErrorKind::Data, &["file=a.txt", "size_read", "size_now=8"]);
    }
}

/// What listing a folder must find, and pass over: what is told is tried in the crate.
#[cfg(unix)]
mod listing {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    async fn names(folder: &Path, glob: &str, follow_links: bool) -> tidelock::Result<Vec<String>> {
        let mut config = config(folder, SourceFormat::Lines);
        config.glob = glob.into();
        config.follow_links = follow_links;
        let found = source::<String>(config).discover(&first_run()).await?;
        Ok(found.new.iter().map(|split| split.id().to_string()).collect())
    }

    #[tokio::test]
    async fn discovery_looks_only_where_the_glob_can_match() {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        for folder in ["logs/2013", "lost+found", "secret"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        fs::write(path("logs/2013/a.csv"), "").unwrap();
        fs::write(path("lost+found/b.csv"), "").unwrap();
        fs::set_permissions(path("secret"), fs::Permissions::from_mode(0o000)).unwrap();
        let odd = OsStr::from_bytes(b"odd-\xFF.txt");
        fs::write(folder.path().join(odd), "").unwrap();
        fs::create_dir(folder.path().join(OsStr::from_bytes(b"folder-\xFF"))).unwrap();

        assert_eq!(names(folder.path(), "logs/*/*.csv", false).await.unwrap(), ["logs/2013/a.csv"]);
        assert_eq!(names(folder.path(), "l*/**/*.csv", false).await.unwrap(), ["logs/2013/a.csv"]);
        let error = names(folder.path(), "*.txt", false).await.unwrap_err();
        assert_names(&error, ErrorKind::Data, &["odd-", "not UTF-8"]);
        fs::set_permissions(path("secret"), fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[tokio::test]
    async fn links_to_folders_are_followed_if_asked_and_rings_are_noticed() {
        let folder = TempDir::new().unwrap();
        let elsewhere = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/x.txt"), "").unwrap();
        fs::write(elsewhere.path().join("y.txt"), "").unwrap();
        symlink(elsewhere.path(), folder.path().join("b")).unwrap();
        symlink(folder.path(), folder.path().join("a/ring")).unwrap();
        symlink(folder.path().join("nothing"), folder.path().join("dangling.txt")).unwrap();
        symlink(elsewhere.path().join("y.txt"), folder.path().join("linked.txt")).unwrap();
        assert_eq!(names(folder.path(), "**/*.txt", false).await.unwrap(), ["a/x.txt", "linked.txt"]);
        assert_eq!(
            names(folder.path(), "**/*.txt", true).await.unwrap(),
            ["a/x.txt", "b/y.txt", "linked.txt"]
        );
        assert_eq!(names(folder.path(), "b/*.txt", true).await.unwrap(), ["b/y.txt"]);
    }

    #[tokio::test]
    async fn a_link_that_leads_nowhere_is_an_error_only_where_the_glob_takes_it() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("a.txt"), "").unwrap();
        symlink("ring.log", folder.path().join("ring.log")).unwrap();
        assert_eq!(names(folder.path(), "*.txt", false).await.unwrap(), ["a.txt"]);
        let error = names(folder.path(), "*", false).await.unwrap_err();
        assert!(error.to_string().contains("ring.log"), "{error}");
    }
}
