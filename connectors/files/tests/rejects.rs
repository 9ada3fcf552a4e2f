//! Records that cannot be written: their files go on as if they had never been.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use common::{assert_names, permit, prepare, start, visible};
use serde::{Deserialize, Serialize, Serializer};
use tempfile::TempDir;
use tidelock::{ErrorKind, Rejecting, Rejects, Sink, SinkWriter};
use tidelock_files::{CsvWriting, FilesSink, FilesSinkConfig, SinkFormat};

/// Fields stand before and behind the one that may refuse to be written: half a record must not stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Picky {
    id: u64,
    #[serde(serialize_with = "refuse_thirteen")]
    value: u64,
    bucket: String,
}

fn refuse_thirteen<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    if *value == 13 { Err(serde::ser::Error::custom("thirteen")) } else { serializer.serialize_u64(*value) }
}

fn picky(id: u64) -> Picky {
    Picky { id, value: id, bucket: "good".into() }
}

fn unwritable(id: u64) -> Picky {
    Picky { value: 13, ..picky(id) }
}

fn misplaced(id: u64) -> Picky {
    Picky { bucket: "../elsewhere".into(), ..picky(id) }
}

fn sink(folder: &TempDir, format: SinkFormat) -> FilesSink<Picky> {
    let config = FilesSinkConfig::new(folder.path().to_str().unwrap(), format);
    FilesSink::new(config).unwrap().with_bucket(|record: &Picky, name| name.push_str(&record.bucket))
}

fn ids(rejected: Vec<(Picky, tidelock::Error)>) -> Vec<u64> {
    rejected.into_iter().map(|(record, _)| record.id).collect()
}

/// Bad records stand first in a file, among the good ones, last in the epoch, and alone in one.
async fn bad_records_leave_their_files_as_they_were(format: SinkFormat, read: impl Fn(&[u8]) -> Vec<Picky>) {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder, format);
    let mut writer = start(&sink, 1).await;
    let rejects = Rejects::kept();
    writer.reject_to(rejects.clone());
    let mixed = vec![
        unwritable(0),
        picky(1),
        misplaced(2),
        picky(3),
        unwritable(4),
        unwritable(5),
        picky(6),
        misplaced(7),
        unwritable(8),
    ];
    let pending = prepare(&mut writer, 1, 1, mixed).await.unwrap();
    assert_eq!(ids(rejects.take()), [0, 2, 4, 5, 7, 8]);
    sink.commit(&permit(1), pending).await.unwrap();
    let nothing = prepare(&mut writer, 1, 2, vec![unwritable(9), misplaced(10)]).await.unwrap();
    assert!(nothing.is_empty(), "no file without a record: {nothing:?}");
    assert_eq!(ids(rejects.take()), [9, 10]);
    sink.commit(&permit(2), nothing).await.unwrap();
    let pending = prepare(&mut writer, 1, 3, vec![picky(11), unwritable(12), picky(14)]).await.unwrap();
    sink.commit(&permit(3), pending).await.unwrap();
    assert_eq!(ids(rejects.take()), [12]);
    let files = visible(folder.path());
    assert_eq!(files.len(), 2);
    let records: Vec<Picky> = files.values().flat_map(|content| read(content)).collect();
    assert_eq!(records, [1, 3, 6, 11, 14].map(picky));
}

#[tokio::test]
async fn json_lines_go_on_without_bad_records() {
    bad_records_leave_their_files_as_they_were(SinkFormat::JsonLines, |content| {
        let lines = std::str::from_utf8(content).unwrap().lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    })
    .await;
}

#[tokio::test]
async fn csv_goes_on_without_bad_records() {
    bad_records_leave_their_files_as_they_were(SinkFormat::Csv(CsvWriting::default()), |content| {
        csv::Reader::from_reader(content).deserialize().map(Result::unwrap).collect()
    })
    .await;
}

#[cfg(feature = "parquet")]
#[tokio::test]
async fn parquet_goes_on_without_bad_records() {
    let columns = serde_json::json!([
        {"name": "id", "data_type": "U64"},
        {"name": "value", "data_type": "U64"},
        {"name": "bucket", "data_type": "Utf8"},
    ]);
    bad_records_leave_their_files_as_they_were(SinkFormat::Parquet(columns), |content| {
        let content = bytes::Bytes::copy_from_slice(content);
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(content);
        let batches = reader.unwrap().build().unwrap();
        batches
            .flat_map(|batch| serde_arrow::from_record_batch::<Vec<Picky>>(&batch.unwrap()).unwrap())
            .collect()
    })
    .await;
}

#[tokio::test]
async fn without_a_place_for_them_bad_records_halt_the_job_and_say_why() {
    for (bad, fact) in [(unwritable(1), "thirteen"), (misplaced(1), "../elsewhere")] {
        let folder = TempDir::new().unwrap();
        let mut writer = start(&sink(&folder, SinkFormat::JsonLines), 1).await;
        let error = writer.write(&mut vec![picky(0), bad]).await.unwrap_err();
        assert_names(&error, ErrorKind::Data, &[fact]);
    }
}
