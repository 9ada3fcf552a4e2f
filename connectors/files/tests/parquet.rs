//! Parquet, written by the sink and read by the library's own reader.
#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use bytes::Bytes;
use common::{Row, permit, prepare, row, start, visible};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;
use tempfile::TempDir;
use tidelock::{ErrorKind, Sink};
use tidelock_files::{FilesSink, FilesSinkConfig, SinkFormat};

#[tokio::test]
async fn parquet_files_hold_every_record_and_roll_by_size() {
    let columns = json!([
        {"name": "id", "data_type": "U64"},
        {"name": "name", "data_type": "Utf8"},
        {"name": "delay", "data_type": "F64", "nullable": true},
    ]);
    let folder = TempDir::new().unwrap();
    let mut config = FilesSinkConfig::new(folder.path().to_str().unwrap(), SinkFormat::Parquet(columns));
    config.file_bytes_max = 400_000;
    let sink = FilesSink::new(config).unwrap();
    let mut writer = start(&sink, 1).await;
    let rows: Vec<Row> = (0..100_000).map(row).collect();
    for (epoch, rows) in [(1, &rows[..99_999]), (2, &rows[99_999..])] {
        let pending = prepare(&mut writer, 1, epoch, rows.to_vec()).await.unwrap();
        assert!(pending.len() > 1 || epoch == 2);
        sink.commit(&permit(epoch), pending).await.unwrap();
    }
    let mut read: Vec<Row> = Vec::new();
    for (name, content) in visible(folder.path()) {
        assert!(name.ends_with(".parquet"));
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(content)).unwrap().build().unwrap();
        for batch in reader {
            read.extend(serde_arrow::from_record_batch::<Vec<Row>>(&batch.unwrap()).unwrap());
        }
    }
    assert!(read == rows);
}

/// The rows of a folder of Parquet files, and how many row groups each file has.
fn read(folder: &std::path::Path) -> (Vec<Row>, Vec<usize>) {
    let (mut rows, mut groups) = (Vec::new(), Vec::new());
    for content in visible(folder).into_values() {
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(content)).unwrap();
        groups.push(reader.metadata().num_row_groups());
        for batch in reader.build().unwrap() {
            rows.extend(serde_arrow::from_record_batch::<Vec<Row>>(&batch.unwrap()).unwrap());
        }
    }
    rows.sort_by_key(|row| row.id);
    (rows, groups)
}

#[tokio::test]
async fn columns_follow_from_the_record_type() {
    let format = SinkFormat::parquet::<Row>().unwrap();
    let SinkFormat::Parquet(columns) = &format else { unreachable!() };
    let text = columns.to_string();
    for column in ["id", "name", "delay"] {
        assert!(text.contains(&format!("\"name\":\"{column}\"")), "{text}");
    }
    let folder = TempDir::new().unwrap();
    let sink = FilesSink::new(FilesSinkConfig::new(folder.path().to_str().unwrap(), format)).unwrap();
    let mut writer = start(&sink, 1).await;
    let rows: Vec<Row> = (0..1000).map(row).collect();
    let pending = prepare(&mut writer, 1, 1, rows.clone()).await.unwrap();
    sink.commit(&permit(1), pending).await.unwrap();
    assert_eq!(read(folder.path()).0, rows);
}

#[tokio::test]
async fn large_rows_are_gathered_by_their_bytes_also_in_many_open_files() {
    let folder = TempDir::new().unwrap();
    let format = SinkFormat::parquet::<Row>().unwrap();
    let mut config = FilesSinkConfig::new(folder.path().to_str().unwrap(), format);
    config.file_bytes_max = 8 << 20;
    let sink = FilesSink::new(config).unwrap();
    let sink = sink.with_bucket(|row: &Row, name| name.push_str(&format!("mod={}", row.id % 2)));
    let mut writer = start(&sink, 1).await;
    // A tenth of the rows that were gathered once, whatever they weighed; of text that no codec makes smaller.
    let name = |id: u64| {
        let mut state = id + 1;
        let letters = (0..64 << 10).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'!' + (state % 90) as u8)
        });
        letters.collect()
    };
    let rows: Vec<Row> = (0..400).map(|id| Row { id, name: name(id), delay: None }).collect();
    let mut pending = prepare(&mut writer, 1, 1, rows[..399].to_vec()).await.unwrap();
    assert!(pending.len() > 2, "what is gathered counts as bytes of the file: {} files", pending.len());
    pending.extend(prepare(&mut writer, 1, 2, rows[399..].to_vec()).await.unwrap());
    sink.commit(&permit(2), pending).await.unwrap();
    assert!(read(folder.path()).0 == rows);
}

#[test]
fn columns_that_cannot_be_are_refused_before_any_io() {
    let config =
        FilesSinkConfig::new("out", SinkFormat::Parquet(json!([{"name": "id", "data_type": "Nonsense"}])));
    let error = FilesSink::<Row>::new(config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
