//! Settings of the source and the sink.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use tidelock::{Result, choice};

use crate::error::setting;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The smallest part that object stores take before the last one.
const UPLOAD_PART_BYTES_MIN: usize = 5 * MIB;

/// How many parts a file may have. Stores take 10,000; the last is kept free, to ask whether an upload exists.
pub(crate) const UPLOAD_PARTS_MAX: u64 = 9_999;

/// Settings of a [`FilesSource`](crate::FilesSource).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FilesSourceConfig {
    /// Where the files are: a local folder, or a URL such as `s3://bucket/folder`. Required.
    pub folder: String,
    /// How records stand in the files. Default: JSON Lines.
    #[serde(deserialize_with = "choice")]
    pub format: SourceFormat,
    /// Which files are read, by their path below the folder: `*` matches within one folder level, `**`
    /// any levels. Files and folders whose names begin with `.` or `_`, and folders `lost+found`, are never
    /// read. Default `*`.
    pub glob: String,
    /// Whether links to folders are followed. A link that leads back to a folder above it is told and passed
    /// over; a folder with two names is read twice. Default false: they are told and passed over.
    pub follow_links: bool,
    /// Whether the files that are there at the first start are all there is. If not, new files are
    /// looked for as long as the job runs. Default true.
    pub bounded: bool,
    /// How the files are compressed. Default: by their first bytes and the end of the name.
    #[serde(deserialize_with = "choice")]
    pub compression: Compression,
    /// What to do with a record that cannot be read. Default: fail.
    #[serde(deserialize_with = "choice")]
    pub on_bad_record: OnBadRecord,
    /// Whether a bounded source without a single file is fine: if not, a mistyped glob is an error
    /// instead of a job that ends with nothing. Default false.
    pub allow_empty: bool,
    /// Whether a file that was read and is gone from the folder may be forgotten, so that the snapshot
    /// does not grow for ever. With it, a file that comes back under a name that was used before is
    /// read again. Default false.
    pub forget_removed: bool,
    /// What to do with a file that was read to its end, and is another one now: replaced under its name,
    /// rewritten, or appended to. Default: warn.
    #[serde(deserialize_with = "choice")]
    pub on_changed_file: OnChangedFile,
    /// Files, by their path below the folder, that are read no more: their splits leave the snapshot, and their positions
    /// with them. For a file that is gone for good and was not read to its end. One that is there after its name was
    /// taken off this list is read from its beginning. Default: none.
    pub drop_splits: BTreeSet<String>,
    /// How many records a batch has at most. Default 1,024.
    pub batch_records_max: usize,
    /// After how many bytes of input a batch ends. Default 1 MiB.
    pub batch_bytes_max: usize,
    /// How long a record may be, in bytes with its line ending; a longer one is a bad record. It bounds the
    /// memory where a quote is never closed. Default 16 MiB.
    pub record_bytes_max: usize,
    /// Options of the object store. Credentials are read from the environment where they are not here.
    #[serde(skip_serializing)]
    pub store_options: StoreOptions,
}

impl Default for FilesSourceConfig {
    fn default() -> Self {
        Self {
            folder: String::new(),
            format: SourceFormat::default(),
            glob: "*".into(),
            follow_links: false,
            bounded: true,
            compression: Compression::default(),
            on_bad_record: OnBadRecord::default(),
            allow_empty: false,
            forget_removed: false,
            on_changed_file: OnChangedFile::default(),
            drop_splits: BTreeSet::new(),
            batch_records_max: 1024,
            batch_bytes_max: MIB,
            record_bytes_max: 16 * MIB,
            store_options: StoreOptions::default(),
        }
    }
}

impl FilesSourceConfig {
    /// Every file directly in `folder`, with every other setting at its default.
    pub fn new(folder: impl Into<String>, format: SourceFormat) -> Self {
        Self { folder: folder.into(), format, ..Self::default() }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        if self.folder.is_empty() {
            return Err(setting("folder", "the folder of the files is required"));
        }
        for (name, value) in [
            ("batch_records_max", self.batch_records_max),
            ("batch_bytes_max", self.batch_bytes_max),
            ("record_bytes_max", self.record_bytes_max),
        ] {
            if value == 0 {
                return Err(setting(name, "must be greater than zero"));
            }
        }
        if let SourceFormat::Csv(csv) = &self.format {
            check_delimiter(csv.delimiter)?;
        }
        if matches!(&self.on_bad_record, OnBadRecord::DeadLetter(folder) if folder.is_empty()) {
            return Err(setting("on_bad_record", "dead letters need a folder"));
        }
        Ok(())
    }
}

/// How records stand in files that are read. In a configuration, a format alone is its name, such as `"csv"`; one with
/// settings is `{ csv = { delimiter = ";" } }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum SourceFormat {
    /// Comma-separated values. The first record of every file names the columns.
    Csv(CsvReading),
    /// One JSON value in each line. Empty lines are passed over.
    #[default]
    JsonLines,
    /// Each line is a record, without its line ending: for records of type `String`.
    Lines,
}

/// How comma-separated values are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CsvReading {
    /// What stands between two fields: one ASCII character. Default `,`.
    pub delimiter: char,
    /// A field that stands for a missing value, such as `NA`: it is read as if it were empty, so as
    /// `None` where the record has an `Option`. Default: none but the empty field.
    pub null_value: Option<String>,
    /// What is done with quotes that are not right. Default: strict.
    #[serde(deserialize_with = "choice")]
    pub quotes: CsvQuotes,
    /// Columns that a file may lack although the record type reads them: the other names of a field with
    /// aliases, and fields that have a default. Any other that is missing is a fault of the file. Default: none.
    pub optional_columns: Vec<String>,
}

impl Default for CsvReading {
    fn default() -> Self {
        Self { delimiter: ',', null_value: None, quotes: CsvQuotes::Strict, optional_columns: Vec::new() }
    }
}

/// What is done with quotes that are not right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CsvQuotes {
    /// A quote that is never closed, and text after a closing quote, make a bad record. It ends with its line.
    #[default]
    Strict,
    /// Whatever comes is read: a quote that is never closed takes the rest of the file, and text after a closing
    /// quote belongs to the field.
    Lenient,
}

impl CsvReading {
    /// Comma-separated values where `null_value` stands for a missing one.
    pub fn with_null(null_value: impl Into<String>) -> Self {
        Self { null_value: Some(null_value.into()), ..Self::default() }
    }
}

/// How files are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Compression {
    /// Gzip where the first bytes say so, or the name ends in `.gz` in any case; else not compressed.
    #[default]
    Auto,
    /// Not compressed.
    None,
    /// Gzip, also of several members.
    Gzip,
}

/// What happens with a record that cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum OnBadRecord {
    /// The job ends with an error that names file, byte offset and reason.
    #[default]
    Fail,
    /// It is left out, counted and logged.
    Skip,
    /// It is left out, and written to this folder (a local path or a URL) with its provenance: one file
    /// for each record, named by job, uid, file and byte offset, so that a replay writes the same file again and no
    /// other job or source does.
    DeadLetter(String),
}

/// What happens with a file that was read to its end and is not the same any more, by size and time or the
/// entity tag. A local file that only got another name is none of these: it is known by its inode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnChangedFile {
    /// The job ends with an error that names the file.
    Fail,
    /// It is counted and logged, once, and not read.
    #[default]
    Warn,
    /// It is counted and logged, and read from its beginning as a new file: for logs that are begun again under
    /// one name. A local file that only grew is not read again, as that would double what was read: it is as with
    /// `warn`. An object that was written again with more in it, and a file in the place of which a longer one was put,
    /// are other ones: all that is in them is read.
    ReadAgain,
}

/// Settings of a [`FilesSink`](crate::FilesSink).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FilesSinkConfig {
    /// Where the files are written: a local folder, or a URL such as `s3://bucket/folder`. Required.
    pub folder: String,
    /// How records stand in the files. Default: JSON Lines.
    #[serde(deserialize_with = "choice")]
    pub format: SinkFormat,
    /// After how many bytes a file is closed before the epoch ends. Default 128 MiB.
    pub file_bytes_max: u64,
    /// How many files a writer has open at once, where records go to several buckets. One more, and
    /// the file that was opened first is closed. Default 64.
    pub open_files_max: usize,
    /// How many bytes are uploaded at once to an object store: at least 5 MiB. A file has at most
    /// 9,999 parts. Default 8 MiB.
    pub upload_part_bytes: usize,
    /// When the object store throws away an upload that was not completed, in milliseconds after it
    /// began: set it where the bucket has such a lifecycle rule. Azure does so after a week.
    /// Default: never.
    pub upload_expires_after_ms: Option<u64>,
    /// Options of the object store. Credentials are read from the environment where they are not here.
    #[serde(skip_serializing)]
    pub store_options: StoreOptions,
}

impl Default for FilesSinkConfig {
    fn default() -> Self {
        Self {
            folder: String::new(),
            format: SinkFormat::default(),
            file_bytes_max: 128 * MIB as u64,
            open_files_max: 64,
            upload_part_bytes: 8 * MIB,
            upload_expires_after_ms: None,
            store_options: StoreOptions::default(),
        }
    }
}

impl FilesSinkConfig {
    /// Files in `folder`, with every other setting at its default.
    pub fn new(folder: impl Into<String>, format: SinkFormat) -> Self {
        Self { folder: folder.into(), format, ..Self::default() }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        if self.folder.is_empty() {
            return Err(setting("folder", "the folder of the files is required"));
        }
        if self.file_bytes_max == 0 {
            return Err(setting("file_bytes_max", "must be greater than zero"));
        }
        if self.open_files_max == 0 {
            return Err(setting("open_files_max", "must be greater than zero"));
        }
        if self.upload_part_bytes < UPLOAD_PART_BYTES_MIN {
            return Err(setting("upload_part_bytes", "object stores take no part under 5 MiB but the last"));
        }
        if self.file_bytes_max / self.upload_part_bytes as u64 >= UPLOAD_PARTS_MAX {
            return Err(setting(
                "file_bytes_max",
                "a file would have too many parts: raise upload_part_bytes",
            ));
        }
        if let SinkFormat::Csv(csv) = &self.format {
            check_delimiter(csv.delimiter)?;
        }
        Ok(())
    }
}

/// How records stand in files that are written. In a configuration, a format alone is its name, such as `"csv"`; one
/// with settings is `{ csv = { delimiter = ";" } }`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum SinkFormat {
    /// One JSON value in each line.
    #[default]
    JsonLines,
    /// Comma-separated values. The first record of every file names the columns.
    Csv(CsvWriting),
    /// Apache Parquet, compressed with Snappy. [`SinkFormat::parquet`] makes it for a record type. The value is
    /// the list of columns in the form that `serde_arrow` reads:
    /// `[{"name": "origin", "data_type": "Utf8", "nullable": true}, ...]`. Fields of the record that are no column
    /// are left out, and a number takes the type of its column.
    #[cfg(feature = "parquet")]
    Parquet(serde_json::Value),
}

impl SinkFormat {
    /// Apache Parquet with the columns that hold every value of record type `T`: by its fields, an `Option` as a
    /// column with nulls, an enum without values as text.
    ///
    /// ```
    /// # use tidelock_files::{FilesSinkConfig, SinkFormat};
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Departure {
    ///     origin: String,
    ///     delay: Option<f64>,
    /// }
    ///
    /// # fn main() -> tidelock::Result<()> {
    /// let config = FilesSinkConfig::new("out", SinkFormat::parquet::<Departure>()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) where the columns do not follow from the type, as with
    /// an untagged enum: state them then.
    #[cfg(feature = "parquet")]
    pub fn parquet<T: serde::de::DeserializeOwned>() -> Result<Self> {
        crate::format::parquet::columns_of::<T>().map(Self::Parquet)
    }

    /// How the names of files of this format end.
    pub(crate) fn extension(&self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Csv(_) => "csv",
            #[cfg(feature = "parquet")]
            Self::Parquet(_) => "parquet",
        }
    }
}

/// How comma-separated values are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CsvWriting {
    /// What stands between two fields: one ASCII character. Default `,`.
    pub delimiter: char,
    /// Whether an empty text in a `Some` may be written as an empty field, which is read back as `None`. If not,
    /// such a record cannot be written. Default false.
    pub empty_is_missing: bool,
}

impl Default for CsvWriting {
    fn default() -> Self {
        Self { delimiter: ',', empty_is_missing: false }
    }
}

/// Options of an object store, by the names that crate `object_store` gives them, such as
/// `aws_region` or `aws_endpoint`. They may hold secrets: they are not serialized, and values are not
/// printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct StoreOptions(pub BTreeMap<String, String>);

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.keys().map(|key| (key, "***"))).finish()
    }
}

fn check_delimiter(delimiter: char) -> Result<()> {
    if !delimiter.is_ascii() || matches!(delimiter, '"' | '\n' | '\r') {
        return Err(setting("delimiter", "a delimiter is one ASCII character, and no quote or line end"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidelock::ErrorKind;

    use super::*;

    #[test]
    fn settings_are_read_with_defaults_and_unknown_ones_are_refused() {
        let config: FilesSourceConfig =
            serde_json::from_str(r#"{"folder": "in", "format": {"csv": {"null_value": "NA"}}}"#).unwrap();
        assert_eq!(config.batch_records_max, 1024);
        assert!(matches!(&config.format, SourceFormat::Csv(csv) if csv.null_value.as_deref() == Some("NA")));
        config.validate().unwrap();
        assert!(serde_json::from_str::<FilesSourceConfig>(r#"{"folder": "in", "blog": "*"}"#).is_err());
        assert!(serde_json::from_str::<FilesSinkConfig>(r#"{"format": {"csv": {"delim": ";"}}}"#).is_err());
    }

    #[test]
    fn a_format_alone_is_its_name_and_a_name_that_is_none_is_told_the_choices() {
        let source = |json: &str| serde_json::from_str::<FilesSourceConfig>(json);
        let sink = |json: &str| serde_json::from_str::<FilesSinkConfig>(json);
        let csv = SourceFormat::Csv(CsvReading::default());
        for form in [r#""csv""#, r#"{"csv": {}}"#] {
            assert_eq!(source(&format!(r#"{{"format": {form}}}"#)).unwrap().format, csv, "{form}");
            let written = sink(&format!(r#"{{"format": {form}}}"#)).unwrap().format;
            assert_eq!(written, SinkFormat::Csv(CsvWriting::default()), "{form}");
        }
        assert_eq!(source(r#"{"format": "lines"}"#).unwrap().format, SourceFormat::Lines);
        assert_eq!(source(r#"{"on_bad_record": "skip"}"#).unwrap().on_bad_record, OnBadRecord::Skip);
        for config in [
            FilesSourceConfig::new("in", csv),
            FilesSourceConfig::new("in", SourceFormat::Lines),
            FilesSourceConfig { on_bad_record: OnBadRecord::DeadLetter("x".into()), ..Default::default() },
        ] {
            assert_eq!(source(&serde_json::to_string(&config).unwrap()).unwrap(), config);
        }
        let told = |error: serde_json::Error, choices: &[&str]| {
            let error = error.to_string();
            assert!(choices.iter().all(|choice| error.contains(choice)), "{error}");
        };
        told(source(r#"{"format": "cvs"}"#).unwrap_err(), &["cvs", "csv", "json_lines", "lines"]);
        told(sink(r#"{"format": "cvs"}"#).unwrap_err(), &["cvs", "csv", "json_lines"]);
        told(source(r#"{"on_bad_record": "drop"}"#).unwrap_err(), &["drop", "fail", "skip", "dead_letter"]);
        // A folder has no default: an error, and no panic in whatever reads the configuration.
        assert!(source(r#"{"on_bad_record": "dead_letter"}"#).is_err());
    }

    /// The page on configuring is read with the library that it speaks of, which panics at what serde does not ask for.
    #[test]
    fn the_example_of_the_page_on_configuring_is_read() {
        #[derive(Deserialize)]
        struct Read {
            flights: FilesSourceConfig,
            rows: FilesSinkConfig,
        }
        let page = include_str!("../../../docs/configuring.md");
        let begin = page.find("[flights]").expect("the example of the source");
        let example = &page[begin..begin + page[begin..].find("```").expect("its end")];
        let read = |text: &str| {
            let text = config::File::from_str(text, config::FileFormat::Toml);
            config::Config::builder().add_source(text).build().unwrap().try_deserialize::<Read>()
        };
        let Read { flights, rows } = read(example).unwrap();
        assert_eq!(flights.format, SourceFormat::Csv(CsvReading::default()));
        assert_eq!(flights.on_bad_record, OnBadRecord::DeadLetter("/var/lib/letters".into()));
        assert_eq!(rows.format, SinkFormat::JsonLines);
        let settings = example.replacen(r#"format = "csv""#, r#"format = { csv = { delimiter = ";" } }"#, 1);
        assert!(
            matches!(read(&settings).unwrap().flights.format, SourceFormat::Csv(csv) if csv.delimiter == ';')
        );
        let wrong = read(&example.replacen(r#""csv""#, r#""cvs""#, 1)).err().unwrap().to_string();
        assert!(wrong.contains("`json_lines`"), "{wrong}");
    }

    #[test]
    fn a_wrong_setting_is_named_before_any_io() {
        let named = |error: tidelock::Error| {
            assert_eq!(error.kind(), ErrorKind::Config);
            error.context().next().map(|(_, setting)| setting.to_owned())
        };
        assert_eq!(named(FilesSourceConfig::default().validate().unwrap_err()).unwrap(), "folder");
        let mut source = FilesSourceConfig::new("in", SourceFormat::Csv(CsvReading::default()));
        source.batch_records_max = 0;
        assert_eq!(named(source.validate().unwrap_err()).unwrap(), "batch_records_max");
        source = FilesSourceConfig::new(
            "in",
            SourceFormat::Csv(CsvReading { delimiter: 'é', ..CsvReading::default() }),
        );
        assert_eq!(named(source.validate().unwrap_err()).unwrap(), "delimiter");
        let mut sink = FilesSinkConfig::new("out", SinkFormat::JsonLines);
        sink.upload_part_bytes = MIB;
        assert_eq!(named(sink.validate().unwrap_err()).unwrap(), "upload_part_bytes");
        sink = FilesSinkConfig::new("out", SinkFormat::JsonLines);
        sink.file_bytes_max = u64::MAX;
        assert_eq!(named(sink.validate().unwrap_err()).unwrap(), "file_bytes_max");
    }

    #[test]
    fn secrets_are_never_printed() {
        let mut config = FilesSinkConfig::new("s3://bucket/out", SinkFormat::JsonLines);
        config.store_options.0.insert("aws_secret_access_key".into(), "hunter2".into());
        let printed = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(printed.contains("aws_secret_access_key") && !printed.contains("hunter2"), "{printed}");
    }
}
