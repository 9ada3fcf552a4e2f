//! A client of a gateway without anything of ours: it fills tables, and shows the traps.

use std::collections::BTreeMap;
use std::net::TcpStream;

use hbase_thrift::hbase::{
    BatchMutation, HbaseSyncClient, Mutation, THbaseSyncClient as _, TRowResult, TScan,
};
use thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol};
use thrift::transport::{
    ReadHalf, TBufferedReadTransport, TBufferedWriteTransport, TIoChannel as _, TTcpChannel, WriteHalf,
};

type Input = TBinaryInputProtocol<TBufferedReadTransport<ReadHalf<TTcpChannel>>>;
type Output = TBinaryOutputProtocol<TBufferedWriteTransport<WriteHalf<TTcpChannel>>>;

/// How many rows are written at once.
const ROWS_AT_ONCE: usize = 2_000;

/// A row to write: its key, and values by column.
pub(crate) type NewRow = (Vec<u8>, Vec<(String, Vec<u8>)>);

/// One connection.
pub(crate) struct Bare(HbaseSyncClient<Input, Output>);

impl Bare {
    pub(crate) fn connect(gateway: &str) -> Self {
        let stream = TcpStream::connect(gateway).unwrap();
        stream.set_nodelay(true).unwrap();
        let (read, write) = TTcpChannel::with_stream(stream).split().unwrap();
        Self(HbaseSyncClient::new(
            TBinaryInputProtocol::new(TBufferedReadTransport::new(read), true),
            TBinaryOutputProtocol::new(TBufferedWriteTransport::new(write), true),
        ))
    }

    /// Writes rows with one timestamp.
    pub(crate) fn put(&mut self, table: &str, rows: impl IntoIterator<Item = NewRow>, timestamp: i64) {
        let mut batch = Vec::new();
        let mut rows = rows.into_iter().peekable();
        while let Some((key, values)) = rows.next() {
            let mutation = |(column, value): (String, Vec<u8>)| Mutation {
                is_delete: Some(false),
                column: Some(column.into_bytes()),
                value: Some(value),
                write_to_w_a_l: Some(true),
            };
            let mutations = values.into_iter().map(mutation).collect();
            batch.push(BatchMutation { row: Some(key), mutations: Some(mutations) });
            if batch.len() == ROWS_AT_ONCE || rows.peek().is_none() {
                let batch = std::mem::take(&mut batch);
                self.0.mutate_rows_ts(table.as_bytes().to_vec(), batch, timestamp, BTreeMap::new()).unwrap();
            }
        }
    }

    /// A scan of everything, with this change.
    pub(crate) fn open(&mut self, table: &str, change: impl FnOnce(&mut TScan)) -> thrift::Result<i32> {
        let mut scan = TScan {
            start_row: None,
            stop_row: None,
            timestamp: None,
            columns: None,
            caching: Some(100),
            filter_string: None,
            batch_size: None,
            sort_columns: None,
            reversed: None,
            cache_blocks: None,
        };
        change(&mut scan);
        self.0.scanner_open_with_scan(table.as_bytes().to_vec(), scan, BTreeMap::new())
    }

    pub(crate) fn read(&mut self, scanner: i32, rows: i32) -> thrift::Result<Vec<TRowResult>> {
        self.0.scanner_get_list(scanner, rows)
    }

    pub(crate) fn close(&mut self, scanner: i32) -> thrift::Result<()> {
        self.0.scanner_close(scanner)
    }
}

/// The keys of an answer.
pub(crate) fn keys(rows: Vec<TRowResult>) -> Vec<Vec<u8>> {
    rows.into_iter().map(|row| row.row.unwrap()).collect()
}
