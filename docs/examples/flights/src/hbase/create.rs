//! Makes tables.

use std::net::TcpStream;
use std::time::Duration;

use hbase_thrift::hbase::{AlreadyExists, ColumnDescriptor, HbaseSyncClient, THbaseSyncClient as _};
use thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol};
use thrift::transport::{TBufferedReadTransport, TBufferedWriteTransport, TIoChannel as _, TTcpChannel};
use tidelock::{Error, ErrorKind, Result};

use super::{FAMILY, HbaseTable};

/// A master that is busy makes a table within seconds.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Makes a table where there is none of its name. One that is there stays as it is.
pub(super) async fn if_missing(table: &HbaseTable) -> Result<()> {
    let failed = |why: String| Error::new(ErrorKind::Unavailable, "make a table", why).with("table", table);
    let (gateways, name) = (table.hbase().gateways.clone(), table.name().to_owned());
    // The client of the gateways waits where it stands.
    let made = tokio::task::spawn_blocking(move || {
        let mut last = Ok(());
        for gateway in &gateways {
            last = make(gateway, &name);
            if last.is_ok() {
                break;
            }
        }
        last
    });
    made.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

fn make(gateway: &str, name: &str) -> thrift::Result<()> {
    let stream = TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    let (read, write) = TTcpChannel::with_stream(stream).split()?;
    let mut client = HbaseSyncClient::new(
        TBinaryInputProtocol::new(TBufferedReadTransport::new(read), true),
        TBinaryOutputProtocol::new(TBufferedWriteTransport::new(write), true),
    );
    // What is left out is zero at the gateway, and not its default.
    let family = ColumnDescriptor {
        name: Some(format!("{FAMILY}:").into_bytes()),
        max_versions: Some(1),
        compression: Some("NONE".into()),
        in_memory: Some(false),
        bloom_filter_type: Some("ROW".into()),
        bloom_filter_vector_size: Some(0),
        bloom_filter_nb_hashes: Some(0),
        block_cache_enabled: Some(true),
        time_to_live: Some(i32::MAX),
    };
    match client.create_table(name.as_bytes().to_vec(), vec![family]) {
        Err(thrift::Error::User(error)) if error.is::<AlreadyExists>() => Ok(()),
        made => made,
    }
}
