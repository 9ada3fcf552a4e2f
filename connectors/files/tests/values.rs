//! What each format makes of extreme values: what is read back is what was written, or it was refused by name.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::fmt;

use async_trait::async_trait;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tempfile::TempDir;
use tidelock::Result;
use tidelock_files::{
    CsvReading, CsvWriting, FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, SinkFormat,
    SourceFormat,
};
use tidelock_testkit::conformance;
use tidelock_testkit::harness::{Value, ValuesHarness};

/// Bytes that are serialized as bytes, and not as a list of numbers.
#[derive(Debug, Clone, Default, PartialEq)]
struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl<'de> Visitor<'de> for Bytes {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.to_vec()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element()? {
                    bytes.push(byte);
                }
                Ok(Raw(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// A record with a field of each type; `kind` says which of them counts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Flat {
    kind: Kind,
    f32: f32,
    f64: f64,
    i64: i64,
    u64: u64,
    text: String,
    bytes: Raw,
    maybe_text: Option<String>,
    maybe_bytes: Option<Raw>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
enum Kind {
    #[default]
    F32,
    F64,
    I64,
    U64,
    Text,
    Bytes,
    MaybeText,
    MaybeBytes,
    Timestamp,
}

impl Flat {
    fn of(value: &Value) -> Option<Self> {
        let flat = Self::default();
        Some(match value.clone() {
            Value::F32(f32) => Self { kind: Kind::F32, f32, ..flat },
            Value::F64(f64) => Self { kind: Kind::F64, f64, ..flat },
            Value::I64(i64) => Self { kind: Kind::I64, i64, ..flat },
            Value::U64(u64) => Self { kind: Kind::U64, u64, ..flat },
            Value::Text(text) => Self { kind: Kind::Text, text, ..flat },
            Value::Bytes(bytes) => Self { kind: Kind::Bytes, bytes: Raw(bytes), ..flat },
            Value::MaybeText(maybe_text) => Self { kind: Kind::MaybeText, maybe_text, ..flat },
            Value::MaybeBytes(bytes) => Self { kind: Kind::MaybeBytes, maybe_bytes: bytes.map(Raw), ..flat },
            Value::Timestamp(i64) => Self { kind: Kind::Timestamp, i64, ..flat },
            _ => return None,
        })
    }

    fn value(self) -> Value {
        match self.kind {
            Kind::F32 => Value::F32(self.f32),
            Kind::F64 => Value::F64(self.f64),
            Kind::I64 => Value::I64(self.i64),
            Kind::U64 => Value::U64(self.u64),
            Kind::Text => Value::Text(self.text),
            Kind::Bytes => Value::Bytes(self.bytes.0),
            Kind::MaybeText => Value::MaybeText(self.maybe_text),
            Kind::MaybeBytes => Value::MaybeBytes(self.maybe_bytes.map(|Raw(bytes)| bytes)),
            Kind::Timestamp => Value::Timestamp(self.i64),
        }
    }
}

/// A folder that is written in one format.
struct Folder {
    folder: TempDir,
    format: SinkFormat,
}

impl Folder {
    fn new(format: SinkFormat) -> Self {
        Self { folder: TempDir::new().unwrap(), format }
    }

    fn location(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }
}

#[async_trait]
impl ValuesHarness for Folder {
    type Sink = FilesSink<Flat>;

    async fn sink(&self) -> Result<FilesSink<Flat>> {
        FilesSink::new(FilesSinkConfig::new(self.location(), self.format.clone()))
    }

    fn record(&self, value: &Value) -> Option<Flat> {
        Flat::of(value)
    }

    async fn visible(&self) -> Result<Vec<Value>> {
        let format = match &self.format {
            SinkFormat::Csv(_) => SourceFormat::Csv(CsvReading::default()),
            SinkFormat::JsonLines => SourceFormat::JsonLines,
            #[cfg(feature = "parquet")]
            _ => return Ok(parquet::read(self.folder.path())),
            #[cfg(not(feature = "parquet"))]
            _ => panic!("no such format"),
        };
        let mut reading = FilesSourceConfig::new(self.location(), format);
        reading.allow_empty = true;
        let flats: Vec<Flat> = common::read_all(&FilesSource::new(reading)?).await?;
        Ok(flats.into_iter().map(Flat::value).collect())
    }
}

mod json_lines {
    use super::*;

    async fn boot() -> Result<Option<Folder>> {
        Ok(Some(Folder::new(SinkFormat::JsonLines)))
    }

    conformance::values!(boot);
}

mod csv {
    use super::*;

    async fn boot() -> Result<Option<Folder>> {
        Ok(Some(Folder::new(SinkFormat::Csv(CsvWriting::default()))))
    }

    conformance::values!(boot);
}

#[cfg(feature = "parquet")]
mod parquet {
    use std::path::Path;

    use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use bytes::Bytes;

    use super::*;

    async fn boot() -> Result<Option<Folder>> {
        Ok(Some(Folder::new(SinkFormat::parquet::<Flat>()?)))
    }

    pub(super) fn read(folder: &Path) -> Vec<Value> {
        let mut values = Vec::new();
        for content in common::visible(folder).into_values() {
            let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(content)).unwrap();
            for batch in reader.build().unwrap() {
                let flats: Vec<Flat> = serde_arrow::from_record_batch(&batch.unwrap()).unwrap();
                values.extend(flats.into_iter().map(Flat::value));
            }
        }
        values
    }

    conformance::values!(boot);
}
