//! Apache Parquet, by way of Arrow. A file is readable only with its footer, which the last bytes are: so
//! a file is always closed at a barrier.

use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::Serialize;
use serde_arrow::ArrayBuilder;
use serde_arrow::schema::{SchemaLike, SerdeArrowSchema};
use tidelock::{Error, ErrorKind, Result};

use crate::error::setting;
use crate::format::encoder::unwritable;

/// How many records are gathered before they are encoded, column by column.
const ROWS: usize = 4096;

/// After how many bytes a row group ends: it bounds the memory of an open file.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// Makes a Parquet file.
pub(crate) struct ParquetEncoder {
    rows: ArrayBuilder,
    rows_len: usize,
    /// Begun with the first rows, which know the schema in Arrow's form.
    writer: Option<ArrowWriter<Vec<u8>>>,
}

impl ParquetEncoder {
    pub(crate) fn new(columns: &serde_json::Value) -> Result<Self> {
        let wrong = |error: serde_arrow::Error| {
            setting("format", format!("these are no columns of Parquet: {error}")).because(error)
        };
        let rows = ArrayBuilder::new(SerdeArrowSchema::from_value(columns).map_err(wrong)?).map_err(wrong)?;
        Ok(Self { rows, rows_len: 0, writer: None })
    }

    pub(crate) fn push<T: Serialize>(&mut self, record: &T) -> Result<()> {
        self.rows.push(record).map_err(|error| unwritable("Parquet", error))?;
        self.rows_len += 1;
        if self.rows_len >= ROWS { self.encode() } else { Ok(()) }
    }

    /// How many bytes there are to be taken.
    pub(crate) fn ready(&self) -> usize {
        self.writer.as_ref().map_or(0, |writer| writer.inner().len())
    }

    /// About how many bytes are not yet to be taken.
    pub(crate) fn in_progress(&self) -> usize {
        self.writer.as_ref().map_or(0, ArrowWriter::in_progress_size)
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
        self.rows_len = 0;
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
        if writer.in_progress_size() >= ROW_GROUP_BYTES {
            writer.flush().map_err(broken)?;
        }
        Ok(())
    }
}

fn broken(error: parquet::errors::ParquetError) -> Error {
    Error::new(ErrorKind::Bug, "write Parquet", error.to_string()).because(error)
}
