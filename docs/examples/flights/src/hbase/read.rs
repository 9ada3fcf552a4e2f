//! Reads the rows back.

use tidelock::{Error, ErrorKind, Known, Result, Source as _, SplitReader as _};
use tidelock_hbase::{HbaseRow, HbaseScan, HbaseScanConfig};

use super::{DELIMITER, FAMILY, HbaseTable};
use crate::answer::Row;

/// Every row of the table: a source needs no job.
pub(crate) async fn read(table: &HbaseTable) -> Result<Vec<Row>> {
    let scan = HbaseScan::connect(HbaseScanConfig::new(table.hbase().clone(), table.name())).await?;
    let first_run = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    let mut rows = Vec::new();
    for split in scan.discover(&first_run).await?.new {
        let mut reader = scan.open(split).await?;
        while let Some(batch) = reader.next().await? {
            for row in &batch.records {
                rows.push(read_row(row).ok_or_else(|| no_row(row))?);
            }
        }
    }
    Ok(rows)
}

fn read_row(row: &HbaseRow) -> Option<Row> {
    let (origin, window_start) = std::str::from_utf8(&row.row).ok()?.split_once(DELIMITER)?;
    let number = |name: &str| row.text(&format!("{FAMILY}:{name}"))?.parse().ok();
    Some(Row {
        origin: origin.to_owned(),
        window_start: window_start.to_owned(),
        flights: number("flights")?,
        cancelled: number("cancelled")?,
        dep_delay_min: number("dep_delay_min")?,
        seats: number("seats")?,
        airlines: number("airlines")?,
    })
}

fn no_row(row: &HbaseRow) -> Error {
    let why = "a row of the table is none of ours";
    Error::new(ErrorKind::Data, "read for the comparison", why).with("row", String::from_utf8_lossy(&row.row))
}
