//! Waits until the connections that prepared something have let it go: see the trap of MariaDB in `wire`.

use std::time::Duration;

use tidelock::{Error, ErrorKind, Result, Retry};

use crate::client::Client;
use crate::error::{Class, Fault};
use crate::prepared::wire;
use crate::target::Target;

const OPERATION: &str = "wait for a closed connection";

/// A connection that was closed is gone within a moment, or something is wrong.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// What is waited where the report is cut off, which it is with thousands of transactions. A commit is looked after in any case.
const BLIND_WAIT: Duration = Duration::from_millis(200);

/// InnoDB's report wants a right.
pub(super) fn cannot_report(fault: Fault) -> Error {
    let is_refused = fault.class == Class::Refused;
    let error = fault.during(OPERATION);
    if !is_refused {
        return error;
    }
    error.with_retry(Retry::Halt).with(
        "remedy",
        "let an administrator grant it: GRANT PROCESS ON *.* TO our user. Only SHOW ENGINE INNODB STATUS shows when a \
         prepared transaction may be ended; or choose the mode `ledger`, which prepares nothing",
    )
}

/// Waits until the connection of this number holds nothing that is prepared. It was closed.
pub(super) async fn one(target: &Target, connection: u64) -> Result<()> {
    let mut client = target.pool.get().await?;
    if !free(&mut client, |holder, _| holder == connection).await? {
        let why = "the server does not let a transaction go whose connection was closed";
        return Err(Error::new(ErrorKind::Unavailable, OPERATION, why).with("connection", connection));
    }
    client.give_back();
    Ok(())
}

/// Waits for what processes of ours that ended had prepared. Where connections of our user hold something for longer, they are
/// open, and the server says so when it is asked to end what they hold.
pub(super) async fn ours(target: &Target, client: &mut Client) -> Result<()> {
    let user = format!(" {}", target.config.database.user);
    free(client, |_, told| told.contains(&user)).await.map(drop)
}

async fn free(client: &mut Client, concerns: impl Fn(u64, &str) -> bool) -> Result<bool> {
    let deadline = tokio::time::Instant::now() + WAIT_MAX;
    loop {
        let report = wire::report(client).await.map_err(cannot_report)?;
        match report.holders() {
            None => {
                tokio::time::sleep(BLIND_WAIT).await;
                return Ok(true);
            }
            Some(holders) if !holders.iter().any(|(number, told)| concerns(*number, told)) => {
                return Ok(true);
            }
            Some(_) if tokio::time::Instant::now() >= deadline => return Ok(false),
            Some(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
