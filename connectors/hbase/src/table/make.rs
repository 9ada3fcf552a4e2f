//! Makes tables where they are not there.

use std::time::Duration;

use hbase_thrift::hbase::{AlreadyExists, ColumnDescriptor, THbaseSyncClient};
use tidelock::{Error, ErrorKind, Patience, Result, Retry};

use super::{Table, check_name};
use crate::config::HbaseConfig;
use crate::gateway::{CALLS_AGAIN, Gateways};

const MAKE: &str = "make a table";

/// A table that somebody makes is enabled within this time.
const MADE_WITHIN: Duration = Duration::from_secs(30);

/// Makes a table with these families where there is none of its name, for examples and for tests; one that is there stays as it is. The families have
/// HBase's defaults: one value of a cell, for ever. A gateway can give them no `KEEP_DELETED_CELLS`, which
/// [`Deletes::Markers`](crate::Deletes::Markers) wants: make such a table in the HBase shell.
///
/// ```no_run
/// # use tidelock_hbase::{HbaseConfig, make_table};
/// # async fn make() -> tidelock::Result<()> {
/// make_table(&HbaseConfig::new(["gateway-1.example:9090"]), "latest", &["f"]).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// Where a setting cannot work, no gateway can be reached, or HBase refuses, with what makes it in the shell.
pub async fn make_table(hbase: &HbaseConfig, name: &str, families: &[&str]) -> Result<()> {
    hbase.validate()?;
    there_or_made(&Gateways::new(hbase)?, name, families).await.map(drop)
}

/// Makes a table where there is none, and looks at it. Another process may be making it in this moment, and an answer may be lost: what counts is
/// that it is there then.
pub(crate) async fn there_or_made(gateways: &Gateways, name: &str, families: &[&str]) -> Result<Table> {
    check_name(name)?;
    let mut patience = Patience::new(CALLS_AGAIN, MADE_WITHIN);
    let mut made = None;
    loop {
        let error = match Table::look(gateways, name).await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        match (error.kind(), &made) {
            (ErrorKind::NotFound, None) => {
                made = Some(make(gateways, name, families).await);
                continue;
            }
            // While somebody makes it, it is there and disabled.
            (ErrorKind::NotFound, Some(Ok(()))) | (ErrorKind::Conflict, _) => {}
            _ => return Err(made.and_then(Result::err).unwrap_or(error)),
        }
        let again = patience.after(error.with_retry(Retry::Retry), name).await;
        again.map_err(|error| error.with_retry(Retry::Halt))?;
    }
}

async fn make(gateways: &Gateways, name: &str, families: &[&str]) -> Result<()> {
    let descriptors: Vec<_> = families.iter().map(|family| described(family)).collect();
    let wanted = name.as_bytes().to_vec();
    let made = gateways.call(MAKE, move |client| match client.create_table(wanted, descriptors) {
        Err(thrift::Error::User(error)) if error.is::<AlreadyExists>() => Ok(()),
        made => made,
    });
    made.await.map_err(|error: Error| {
        let families = families.iter().map(|family| format!(", {{NAME => '{family}', VERSIONS => 1}}"));
        let create = format!("create '{name}'{}", families.collect::<String>());
        error.with("table", name).with("remedy", format_args!("make it by hand in the HBase shell: {create}"))
    })
}

/// What is left out of it is zero at the gateway, and not its default.
fn described(family: &str) -> ColumnDescriptor {
    ColumnDescriptor {
        name: Some(format!("{family}:").into_bytes()),
        max_versions: Some(1),
        compression: Some("NONE".into()),
        in_memory: Some(false),
        bloom_filter_type: Some("ROW".into()),
        bloom_filter_vector_size: Some(0),
        bloom_filter_nb_hashes: Some(0),
        block_cache_enabled: Some(true),
        time_to_live: Some(i32::MAX),
    }
}
