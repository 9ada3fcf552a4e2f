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

#[test]
fn columns_that_cannot_be_are_refused_before_any_io() {
    let config =
        FilesSinkConfig::new("out", SinkFormat::Parquet(json!([{"name": "id", "data_type": "Nonsense"}])));
    let error = FilesSink::<Row>::new(config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
