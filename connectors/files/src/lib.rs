#![doc = include_str!("../README.md")]

mod blocking;
mod changed;
mod committable;
mod config;
mod dead_letter;
mod discovery;
mod error;
mod evidence;
mod folder;
mod format;
mod gunzip;
mod input;
mod names;
mod reader;
mod selection;
mod sink;
mod source;
mod split;
mod target;
mod told;
mod writer;

pub use committable::{FileCommittable, Staged};
pub use config::{
    Compression, CsvQuotes, CsvReading, CsvWriting, FilesSinkConfig, FilesSourceConfig, OnBadRecord,
    OnChangedFile, SinkFormat, SourceFormat, StoreOptions,
};
pub use reader::FileReader;
pub use sink::FilesSink;
pub use source::FilesSource;
pub use split::{FileSplit, FileVersion};
pub use writer::FileWriter;
