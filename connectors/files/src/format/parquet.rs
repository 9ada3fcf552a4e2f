//! Apache Parquet, by way of Arrow. A file is readable only with its footer, which the last bytes are: so
//! a file is always closed at a barrier.

use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_arrow::ArrayBuilder;
use serde_arrow::schema::{SchemaLike, SerdeArrowSchema, TracingOptions};
use tidelock::{Error, ErrorKind, Result};

use crate::error::setting;
use crate::format::faithful::{Form, Watch, unwritable};

/// After how many records what was gathered is encoded, column by column.
const ROWS: usize = 4096;

/// The same, after how many bytes of values: rows may be large, and many files open.
const GATHERED_BYTES: usize = 1 << 20;

/// After how many bytes a row group ends: it bounds the memory of an open file.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// Makes a Parquet file.
pub(crate) struct ParquetEncoder {
    rows: ArrayBuilder,
    /// Where each record is tried: a column that refuses its value leaves those before it one longer.
    trial: Option<Trial>,
    rows_len: usize,
    /// About how many bytes the values of these rows take.
    rows_bytes: usize,
    watch: Watch,
    /// Begun with the first rows, which know the schema in Arrow's form.
    writer: Option<ArrowWriter<Vec<u8>>>,
}

/// The same rows as were gathered, which nobody writes.
struct Trial {
    schema: SerdeArrowSchema,
    rows: ArrayBuilder,
    rows_len: usize,
}

impl Trial {
    fn new(schema: SerdeArrowSchema) -> serde_arrow::Result<Self> {
        Ok(Self { rows: ArrayBuilder::new(schema.clone())?, schema, rows_len: 0 })
    }

    fn push<T: Serialize>(&mut self, record: &T) -> serde_arrow::Result<()> {
        let pushed = self.rows.push(record);
        self.rows_len += 1;
        if pushed.is_err() {
            self.clear()?;
        }
        pushed
    }

    fn clear(&mut self) -> serde_arrow::Result<()> {
        (self.rows, self.rows_len) = (ArrayBuilder::new(self.schema.clone())?, 0);
        Ok(())
    }
}

impl ParquetEncoder {
    pub(crate) fn new(columns: &serde_json::Value, careful: bool) -> Result<Self> {
        let wrong = |error: serde_arrow::Error| {
            setting("format", format!("these are no columns of Parquet: {error}")).because(error)
        };
        let schema = SerdeArrowSchema::from_value(columns).map_err(wrong)?;
        let rows = ArrayBuilder::new(schema.clone()).map_err(wrong)?;
        let trial = careful.then(|| Trial::new(schema)).transpose().map_err(wrong)?;
        Ok(Self { rows, trial, rows_len: 0, rows_bytes: 0, watch: Watch::new(Form::Parquet), writer: None })
    }

    pub(crate) fn push<T: Serialize>(&mut self, record: &T) -> Result<()> {
        if let Some(trial) = &mut self.trial
            && let Err(error) = trial.push(&self.watch.record(record))
        {
            self.watch.refused();
            self.watch.take_weight();
            return Err(unwritable("Parquet", error));
        }
        // It is weighed when it is written.
        self.watch.take_weight();
        let pushed = self.rows.push(self.watch.record(record));
        self.watch.written();
        self.rows_bytes += self.watch.take_weight();
        pushed.map_err(|error| unwritable("Parquet", error))?;
        self.rows_len += 1;
        if self.rows_len >= ROWS || self.rows_bytes >= GATHERED_BYTES { self.encode() } else { Ok(()) }
    }

    /// How many bytes there are to be taken.
    pub(crate) fn ready(&self) -> usize {
        self.writer.as_ref().map_or(0, |writer| writer.inner().len())
    }

    /// About how many bytes the file grows by that are not yet to be taken.
    pub(crate) fn gathered(&self) -> usize {
        self.rows_bytes + self.writer.as_ref().map_or(0, ArrowWriter::in_progress_size)
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        // What is tried is there twice.
        let rows = self.rows_bytes * if self.trial.is_some() { 2 } else { 1 };
        self.ready() + rows + self.writer.as_ref().map_or(0, ArrowWriter::memory_size)
    }

    /// Ends the row group, so that its bytes are to be taken.
    pub(crate) fn end_group(&mut self) -> Result<()> {
        self.encode()?;
        self.writer.as_mut().map_or(Ok(()), |writer| writer.flush().map_err(broken))
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        // The writer counts its bytes itself, so that it does not miss those that are taken away.
        self.writer.as_mut().map(|writer| std::mem::take(writer.inner_mut())).unwrap_or_default()
    }

    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.encode()?;
        match self.writer {
            Some(writer) => writer.into_inner().map_err(broken),
            None => Err(Error::new(ErrorKind::Bug, "write Parquet", "a file without rows")),
        }
    }

    fn encode(&mut self) -> Result<()> {
        if self.rows_len == 0 {
            return Ok(());
        }
        let rows = self.rows.to_record_batch().map_err(|error| unwritable("Parquet", error))?;
        (self.rows_len, self.rows_bytes) = (0, 0);
        if let Some(trial) = &mut self.trial {
            trial.clear().map_err(|error| unwritable("Parquet", error))?;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
                let writer =
                    ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).map_err(broken)?;
                none.insert(writer)
            }
        };
        writer.write(&rows).map_err(broken)?;
        if writer.memory_size() >= ROW_GROUP_BYTES {
            writer.flush().map_err(broken)?;
        }
        Ok(())
    }
}

/// The columns that hold a record type, in the form that [`ParquetEncoder::new`] reads.
pub(crate) fn columns_of<T: DeserializeOwned>() -> Result<serde_json::Value> {
    let options = TracingOptions::default()
        .map_as_struct(false)
        .strings_as_large_utf8(false)
        .sequence_as_large_list(false)
        .bytes_as_large_binary(false)
        .enums_without_data_as_strings(true);
    let wrong = |error: String| {
        setting("format", format!("no columns of Parquet follow from the record type: {error}; state them"))
            .with("type", std::any::type_name::<T>())
    };
    let columns =
        SerdeArrowSchema::from_type::<T>(options).map_err(|error| wrong(error.to_string()).because(error))?;
    serde_json::to_value(&columns).map_err(|error| wrong(error.to_string()))
}

fn broken(error: parquet::errors::ParquetError) -> Error {
    Error::new(ErrorKind::Bug, "write Parquet", error.to_string()).because(error)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Row {
        text: String,
    }

    #[test]
    fn what_is_tried_takes_no_more_memory_than_what_is_gathered() {
        const ROW_BYTES: usize = 100_000;
        let mut encoder = ParquetEncoder::new(&columns_of::<Row>().unwrap(), true).unwrap();
        for _ in 0..100 {
            encoder.push(&Row { text: "x".repeat(ROW_BYTES) }).unwrap();
            let tried = encoder.trial.as_ref().map_or(0, |trial| trial.rows_len);
            assert!(tried * ROW_BYTES <= GATHERED_BYTES, "{tried} rows are held");
        }
    }
}
