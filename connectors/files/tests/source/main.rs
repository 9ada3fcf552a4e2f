//! What the source promises, on a local folder.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;

mod bad;
mod changed;
mod finding;
mod letters;
#[cfg(unix)]
mod listing;
#[cfg(unix)]
mod rotation;

use std::fs;
use std::io::Write;
use std::path::Path;

use common::{Row, first_run, read_all, read_split, row};
use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;
use tidelock::{Source, SplitReader, Stored};
use tidelock_files::{CsvReading, FilesSource, FilesSourceConfig, SourceFormat};

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
