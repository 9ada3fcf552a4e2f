//! A connection to a gateway of HBase by the bare generated client.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::Duration;

use hbase_thrift::hbase::{
    BatchMutation, ColumnDescriptor, HbaseSyncClient, Mutation, THbaseSyncClient, TRowResult, TScan,
};
use thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol};
use thrift::transport::{
    ReadHalf, TBufferedReadTransport, TBufferedWriteTransport, TIoChannel, TTcpChannel, WriteHalf,
};

use crate::Failure;
use crate::clock::Clock;
use crate::reader::Stamp;
use crate::tables::Rows;

/// How a place is written: `hbase://GATEWAY:PORT?zookeeper=HOST:PORT`.
const SCHEME: &str = "hbase://";

const FAMILY: &str = "f";
const DUE: &str = "f:due";
const FILLER: &str = "f:filler";

/// What is read or written at once. The client's own 4 kB would be some forty calls of the system for a thousand rows.
const BUFFER_BYTES: usize = 64 << 10;

/// A gateway waits up to a minute for a server that is away.
const ANSWER_MAX: Duration = Duration::from_secs(75);

/// A gateway closes a connection that is idle for a minute.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Rows of one answer, and of one look.
const ANSWER_ROWS: i32 = 1_000;
const LOOK_ROWS: usize = 50_000;

type Client = HbaseSyncClient<
    TBinaryInputProtocol<TBufferedReadTransport<ReadHalf<TTcpChannel>>>,
    TBinaryOutputProtocol<TBufferedWriteTransport<WriteHalf<TTcpChannel>>>,
>;

/// The place of a server with a gateway.
pub(crate) fn place(gateway: &str, zookeeper: &str) -> String {
    format!("{SCHEME}{gateway}?zookeeper={zookeeper}")
}

pub(crate) struct Hbase {
    gateway: String,
    client: Client,
    used: Clock,
}

/// A row of the load with its key, as it is written.
pub(crate) fn row(stamp: Stamp, filler: &[u8]) -> BatchMutation {
    let put = |column: &str, value: Vec<u8>| Mutation {
        is_delete: Some(false),
        column: Some(column.into()),
        value: Some(value),
        write_to_w_a_l: Some(true),
    };
    let columns = vec![put(DUE, stamp.due.to_le_bytes().into()), put(FILLER, filler.to_vec())];
    BatchMutation { row: Some(stamp.number.to_be_bytes().into()), mutations: Some(columns) }
}

/// The stamp of a row that was read.
fn stamp(row: &TRowResult) -> Option<Stamp> {
    let number = row.row.as_deref()?.try_into().ok()?;
    let due = row.columns.as_ref()?.get(DUE.as_bytes())?.value.as_deref()?.try_into().ok()?;
    Some(Stamp { number: u64::from_be_bytes(number), due: u64::from_le_bytes(due) })
}

fn connect(gateway: &str) -> thrift::Result<Client> {
    let stream = TcpStream::connect(gateway)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let (reading, writing) = TTcpChannel::with_stream(stream).split()?;
    let reading = TBufferedReadTransport::with_capacity(BUFFER_BYTES, reading);
    let writing = TBufferedWriteTransport::with_capacity(BUFFER_BYTES, writing);
    Ok(Client::new(TBinaryInputProtocol::new(reading, true), TBinaryOutputProtocol::new(writing, true)))
}

impl Hbase {
    pub(crate) fn connect(url: &str) -> Result<Self, Failure> {
        let place = url.strip_prefix(SCHEME).unwrap_or(url);
        let gateway = place.split('?').next().unwrap_or(place).to_owned();
        let client = connect(&gateway).map_err(|error| failed("connect to the gateway", error))?;
        Ok(Self { gateway, client, used: Clock::start() })
    }

    /// Makes a call, on a new connection where the last one was long ago.
    fn call<T>(
        &mut self,
        operation: &str,
        call: impl FnOnce(&mut Client) -> thrift::Result<T>,
    ) -> Result<T, Failure> {
        if self.used.elapsed() > IDLE_MAX {
            self.client = connect(&self.gateway).map_err(|error| failed(operation, error))?;
        }
        let answer = call(&mut self.client).map_err(|error| failed(operation, error));
        self.used = Clock::start();
        answer
    }

    /// Writes rows with a timestamp.
    pub(crate) fn put(
        &mut self,
        table: &str,
        rows: Vec<BatchMutation>,
        timestamp: i64,
    ) -> Result<(), Failure> {
        self.call("write rows", |client| {
            client.mutate_rows_ts(table.into(), rows, timestamp, BTreeMap::new())
        })
    }

    /// The first rows of a table, or the last ones, from a key on.
    fn scan(
        &mut self,
        table: &str,
        from: Option<u64>,
        is_reversed: bool,
        rows_max: usize,
    ) -> Result<Vec<Stamp>, Failure> {
        let answer_rows = i32::try_from(rows_max).unwrap_or(i32::MAX).min(ANSWER_ROWS);
        let scan = TScan {
            start_row: from.map(|number| number.to_be_bytes().into()),
            stop_row: None,
            timestamp: None,
            columns: Some(vec![DUE.into()]),
            caching: Some(answer_rows),
            filter_string: None,
            batch_size: None,
            sort_columns: Some(false),
            reversed: Some(is_reversed),
            cache_blocks: Some(true),
        };
        let rows = self.call("read what is visible", |client| {
            let scanner = client.scanner_open_with_scan(table.into(), scan, BTreeMap::new())?;
            let mut rows = Vec::new();
            loop {
                let more = client.scanner_get_list(scanner, answer_rows)?;
                let is_last = i32::try_from(more.len()).unwrap_or(i32::MAX) < answer_rows;
                rows.extend(more);
                if is_last || rows.len() >= rows_max {
                    break;
                }
            }
            client.scanner_close(scanner)?;
            Ok(rows)
        })?;
        let stamps: Option<Vec<Stamp>> = rows.iter().map(stamp).collect();
        stamps.ok_or_else(|| Failure::new("read what is visible", "a row is no stamp"))
    }
}

/// Whole stack traces of the server come as messages.
fn failed(operation: &str, error: thrift::Error) -> Failure {
    let text = error.to_string();
    Failure::new(operation, text.lines().next().unwrap_or_default())
}

impl Rows for Hbase {
    /// A row is visible by itself, and calls that are under way together end in any order.
    fn are_in_order(&self) -> bool {
        false
    }

    fn make(&mut self, table: &str) -> Result<(), Failure> {
        let family = ColumnDescriptor {
            name: Some(format!("{FAMILY}:").into()),
            max_versions: Some(1),
            compression: Some("NONE".into()),
            in_memory: Some(false),
            bloom_filter_type: Some("ROW".into()),
            bloom_filter_vector_size: Some(0),
            bloom_filter_nb_hashes: Some(0),
            block_cache_enabled: Some(true),
            time_to_live: Some(i32::MAX),
        };
        self.call("make a table", |client| client.create_table(table.into(), vec![family]))
    }

    fn remove(&mut self, table: &str) -> Result<(), Failure> {
        self.call("remove a table", |client| {
            if !client.get_table_names()?.iter().any(|name| name == table.as_bytes()) {
                return Ok(());
            }
            if client.is_table_enabled(table.into())? {
                client.disable_table(table.into())?;
            }
            client.delete_table(table.into())
        })
    }

    fn since(&mut self, table: &str, number: u64) -> Result<Vec<Stamp>, Failure> {
        self.scan(table, Some(number), false, LOOK_ROWS)
    }

    fn newest(&mut self, table: &str) -> Result<Option<u64>, Failure> {
        let newest = self.scan(table, None, true, 1)?;
        Ok(newest.first().map(|stamp| stamp.number))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hbase_thrift::hbase::TCell;

    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written_and_sorted_by_its_number() {
        let written = [255, 256].map(|number| row(Stamp { number, due: 7 }, b"xx"));
        assert!(written[0].row < written[1].row);
        let cells = written[0].mutations.iter().flatten().map(|mutation| {
            let cell = TCell { value: mutation.value.clone(), timestamp: Some(1) };
            (mutation.column.clone().unwrap_or_default(), cell)
        });
        let columns: BTreeMap<_, _> = cells.collect();
        let read = TRowResult { row: written[0].row.clone(), columns: Some(columns), sorted_columns: None };
        assert_eq!(stamp(&read), Some(Stamp { number: 255, due: 7 }));
        assert_eq!(stamp(&TRowResult { columns: None, ..read }), None);
    }
}
