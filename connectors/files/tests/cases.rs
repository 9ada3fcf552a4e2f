//! Small inputs that people met in practice, each with what is right: see the folder `cases`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{assert_names, permit, prepare, read_all, start, visible};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidelock::{ErrorKind, Result, Retry, SinkWriter};
use tidelock_files::{
    CsvQuotes, CsvReading, FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, OnBadRecord,
    SinkFormat, SourceFormat,
};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name)
}

fn config(name: &str, format: SourceFormat, policy: OnBadRecord) -> FilesSourceConfig {
    let mut config = FilesSourceConfig::new(case(name).to_str().unwrap(), format);
    config.on_bad_record = policy;
    config
}

async fn read<T: DeserializeOwned + Send + 'static>(config: FilesSourceConfig) -> Result<Vec<T>> {
    read_all(&FilesSource::new(config).unwrap()).await
}

async fn read_csv<T: DeserializeOwned + Send + 'static>(name: &str, policy: OnBadRecord) -> Result<Vec<T>> {
    read(config(name, SourceFormat::Csv(CsvReading::default()), policy)).await
}

#[derive(Debug, PartialEq, Deserialize)]
struct Note {
    id: u64,
    note: String,
}

fn notes(notes: &[(u64, &str)]) -> Vec<Note> {
    notes.iter().map(|(id, note)| Note { id: *id, note: (*note).into() }).collect()
}

#[tokio::test]
async fn a_quote_that_is_never_closed_is_a_bad_record_at_its_offset_and_takes_no_other_with_it() {
    let error = read_csv::<Note>("unclosed-quote", OnBadRecord::Fail).await.unwrap_err();
    assert_names(&error, ErrorKind::Data, &["a.csv", "offset=15", "line=3", "never closed"]);
    let rest: Vec<Note> = read_csv("unclosed-quote", OnBadRecord::Skip).await.unwrap();
    assert_eq!(rest, notes(&[(1, "fine"), (3, "lost"), (4, "lost too")]));
}

#[tokio::test]
async fn text_after_a_closing_quote_is_a_bad_record() {
    let error = read_csv::<Note>("quote-middle", OnBadRecord::Fail).await.unwrap_err();
    assert_names(&error, ErrorKind::Data, &["a.csv", "offset=12", "line=3", "after a closing quote"]);
    let rest: Vec<Note> = read_csv("quote-middle", OnBadRecord::Skip).await.unwrap();
    assert_eq!(rest, notes(&[(1, "a"), (3, "6 inch"), (4, "b"), (6, "say \"hi\"")]));
}

#[tokio::test]
async fn lenient_quotes_are_a_setting() {
    let mut csv = CsvReading::default();
    csv.quotes = CsvQuotes::Lenient;
    let read: Vec<Note> =
        read(config("quote-middle", SourceFormat::Csv(csv), OnBadRecord::Fail)).await.unwrap();
    assert_eq!(read[3], Note { id: 5, note: "7 wide".into() });
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Named {
    id: u64,
    name: String,
    value: Option<f64>,
}

#[tokio::test]
async fn a_missing_column_of_an_optional_field_is_a_fault_of_the_file_under_every_policy() {
    for policy in [OnBadRecord::Fail, OnBadRecord::Skip] {
        let error = read_csv::<Named>("missing-optional", policy).await.unwrap_err();
        assert_names(
            &error,
            ErrorKind::Data,
            &["a.csv", "column=value", "header=id,name,valeu", "optional_columns"],
        );
    }
    let mut csv = CsvReading::default();
    csv.optional_columns = vec!["value".into()];
    let read: Vec<Named> =
        read(config("missing-optional", SourceFormat::Csv(csv), OnBadRecord::Fail)).await.unwrap();
    assert_eq!(read[1], Named { id: 2, name: "b".into(), value: None });
}

#[tokio::test]
async fn two_columns_of_one_name_are_a_fault_of_the_file_under_every_policy() {
    for policy in [OnBadRecord::Fail, OnBadRecord::Skip] {
        for error in [
            read_csv::<Named>("dup-header", policy.clone()).await.unwrap_err(),
            read_csv::<BTreeMap<String, String>>("dup-header", policy.clone()).await.unwrap_err(),
        ] {
            assert_names(&error, ErrorKind::Data, &["a.csv", "column=name", "header=id,name,value,name"]);
        }
    }
    // One that the record type does not read may stand there as often as it likes.
    #[derive(Deserialize)]
    struct Id {
        id: u64,
    }
    assert_eq!(read_csv::<Id>("dup-header", OnBadRecord::Fail).await.unwrap()[0].id, 1);
}

#[tokio::test]
async fn what_json_has_no_form_for_cannot_be_written() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Number {
        id: u64,
        value: f64,
    }
    let rows: Vec<Number> = read_csv("nan-json", OnBadRecord::Fail).await.unwrap();
    assert!(rows[0].value.is_nan() && rows[1].value == f64::INFINITY && rows[2].value == f64::NEG_INFINITY);
    let folder = TempDir::new().unwrap();
    let config = FilesSinkConfig::new(folder.path().to_str().unwrap(), SinkFormat::JsonLines);
    let sink = FilesSink::new(config).unwrap();
    let mut writer = start(&sink, 1).await;
    for row in &rows[..3] {
        let error = writer.write(&mut vec![row.clone()]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt));
        let text = error.to_string();
        assert!(text.contains("the record cannot be written: field value: JSON has no form"), "{text}");
    }
    // Nothing of them is in the file.
    let pending = prepare(&mut writer, 1, 1, rows[3..].to_vec()).await.unwrap();
    tidelock::Sink::commit(&sink, &permit(1), pending).await.unwrap();
    assert_eq!(common::json_lines::<Number>(&visible(folder.path())), rows[3..]);
}

#[tokio::test]
async fn a_number_of_json_is_the_one_that_was_written() {
    #[derive(Deserialize)]
    struct Number<T> {
        value: T,
    }
    const VALUES: [f64; 6] =
        [31.245270191439438, 121.48791951161945, 0.1, f64::MAX, f64::MIN_POSITIVE, 8.39e-320];
    let json = || config("json-float", SourceFormat::JsonLines, OnBadRecord::Fail);
    let typed: Vec<Number<f64>> = read(json()).await.unwrap();
    let bits = |value: f64| value.to_bits();
    assert_eq!(typed.iter().map(|row| bits(row.value)).collect::<Vec<_>>(), VALUES.map(bits));
    let values: Vec<Number<serde_json::Value>> = read(json()).await.unwrap();
    let values: Vec<_> = values.iter().map(|row| bits(row.value.as_f64().unwrap())).collect();
    assert_eq!(values, VALUES.map(bits));
}

#[tokio::test]
async fn gzip_is_known_by_its_first_bytes_or_its_name_and_zeros_end_it() {
    for name in ["gz-zeros", "gz-noext", "gz-upper"] {
        let rows: Vec<BTreeMap<String, serde_json::Value>> =
            read(config(name, SourceFormat::JsonLines, OnBadRecord::Fail)).await.unwrap();
        assert!(!rows.is_empty() && rows[0].contains_key("id"), "{name}");
    }
}
