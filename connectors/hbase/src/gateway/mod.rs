//! Calls to the Thrift gateways of HBase.
//!
//! ```text
//!   call ──> a place ──> a thread that may block ──> a connection ──> the answer
//!              │             │                          │ idle for too long, closed: another one
//!              │             │                          │ cannot be opened: the next gateway
//!              │             └── dropped by its caller: the socket is shut, and the thread ends
//!              └── `connections_max` calls at once, first come first served
//! ```
//!
//! The client of the library blocks, so a call runs on tokio's threads for that. Its socket ends it in time, whatever the other side does.
//!
//! - **Nothing is known of a call without an answer.** It is an error that says so, and not tried again here: who called knows whether
//!   the call may be repeated, and with which timestamps.
//! - **A connection is used again only after an answer**, be it a refusal. It is closed when it was idle for longer than a gateway lets it be,
//!   when the other side closed it, or when anything came that nobody asked for.
//! - **Each new connection asks first what is there** (`getThriftServerType`), with a short time limit: one of Thrift 2 would misunderstand, one with
//!   frames and one without would wait for each other, and one that is paused takes connections and says nothing.
//! - **A call that takes long is watched**: HBase lets a gateway wait for most of a minute while a region moves, and a gateway that hangs looks
//!   the same. So the gateway is asked again beside it, and the call is given up where that is not answered.
//!
//! What we purposely do not do: TLS and logins. The library has none, and the gateways' own are for Java's clients.

mod address;
mod connection;
mod cut;
mod line;
mod pool;
#[cfg(test)]
mod tests;
mod turns;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tidelock::{Error, ErrorKind, Result, Retry};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub(crate) use address::Address;
use connection::Connection;
use cut::{Cut, CutOnDrop};
use pool::Pool;
pub(crate) use pool::is_answer_too_large;
pub(crate) use wire::Client;

use crate::config::HbaseConfig;
use crate::error::{Class, Fault};

/// Calls that are made again, by table.
pub(crate) const CALLS_AGAIN: &str = "tidelock_hbase_calls_again_total";

/// The gateways of a cluster. A clone has the same connections.
#[derive(Clone)]
pub(crate) struct Gateways {
    pool: Arc<Pool>,
}

impl fmt::Debug for Gateways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateways").field("config", &self.pool.config).finish_non_exhaustive()
    }
}

impl Gateways {
    /// No I/O yet.
    pub(crate) fn new(config: &HbaseConfig) -> Result<Self> {
        Ok(Self { pool: Arc::new(Pool::new(config)?) })
    }

    /// How long a call may take.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.pool.config.call_timeout()
    }

    /// How many bytes one request has at most.
    pub(crate) fn request_bytes_max(&self) -> usize {
        self.pool.config.request_bytes_max()
    }

    /// Asks each gateway what it is that was not asked yet, all at once, so that one which is none is told at once, and not when another one
    /// fails.
    ///
    /// # Errors
    /// Where one is none, or none of them answers. One that is away while another one is there is a warning.
    pub(crate) async fn check(&self, operation: &'static str) -> Result<()> {
        let unknown = self.pool.unknown();
        let mut is_there = unknown.len() < self.pool.gateways();
        let asked = unknown.into_iter().map(|gateway| {
            let pool = Arc::clone(&self.pool);
            self.on_thread(operation, move |cut| {
                let opened = pool.open(gateway, cut);
                cut.off();
                let opened = opened.map(|connection| pool.give_back(connection));
                Ok(opened.map_err(|fault| (fault.class, pool.error(fault, operation, gateway))))
            })
        });
        let mut away = None;
        for opened in join_all(asked).await {
            match opened? {
                Ok(()) => is_there = true,
                Err((Class::Impossible, error)) => return Err(error),
                Err((_, error)) => away = Some(error),
            }
        }
        match away {
            Some(error) if !is_there => Err(error),
            _ => Ok(()),
        }
    }

    /// One call on one connection, on a thread that may block.
    ///
    /// # Errors
    /// Where it has no answer, whether it was done is unknown, and the advice is [`Retry::Retry`]. What the server refuses has the
    /// advice of `error.rs`. A future that is dropped gives the call up: it may still be done.
    pub(crate) async fn call<T, F>(&self, operation: &'static str, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Client) -> thrift::Result<T> + Send + 'static,
    {
        let place = self.pool.place(operation).await?;
        let pool = Arc::clone(&self.pool);
        self.on_thread(operation, move |cut| {
            let connection = pool.take(operation, cut)?;
            let (answer, connection) = pool.ask(operation, connection, cut, call);
            if let Some(connection) = connection {
                pool.give_back(connection);
            }
            // Not before the connection is no more in use, also where nobody waits for the answer.
            drop(place);
            answer
        })
        .await
    }

    /// A connection for a scanner, whose id is good on its gateway alone. It is one more than `connections_max`.
    pub(crate) async fn hold(&self, operation: &'static str) -> Result<Held> {
        let pool = Arc::clone(&self.pool);
        let connection = self
            .on_thread(operation, move |cut| {
                let connection = pool.take(operation, cut)?;
                cut.off();
                Ok(connection)
            })
            .await?;
        Ok(Held { gateways: self.clone(), gateway: connection.gateway, connection: Some(connection) })
    }

    /// Runs what blocks, and ends it where the gateway falls silent or nobody waits any more.
    async fn on_thread<T, W>(&self, operation: &'static str, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Cut) -> Result<T> + Send + 'static,
    {
        let cut = Arc::new(Cut::default());
        let given_up = CutOnDrop(Arc::clone(&cut));
        let mut done = {
            let cut = Arc::clone(&cut);
            spawn_blocking(move || work(&cut))
        };
        let joined = loop {
            match timeout(self.pool.config.connect_timeout(), &mut done).await {
                Ok(joined) => break joined,
                Err(_) => {
                    if let Some((line, gateway)) = cut.call()
                        && !self.is_awake(gateway).await
                    {
                        cut.cut_call(&line);
                    }
                }
            }
        };
        drop(given_up);
        joined.unwrap_or_else(|_| {
            let why = "the answer could not be read: the thread of the call failed";
            Err(Error::new(ErrorKind::Other, operation, why).with_retry(Retry::Restart))
        })
    }

    /// Whether a gateway that lets us wait answers something that it needs nobody for.
    async fn is_awake(&self, gateway: usize) -> bool {
        let pool = Arc::clone(&self.pool);
        let cut = Arc::new(Cut::default());
        let _given_up = CutOnDrop(Arc::clone(&cut));
        let asked = spawn_blocking(move || pool.open(gateway, &cut).is_ok());
        asked.await.unwrap_or(false)
    }
}

/// A connection that is somebody's until it is dropped.
pub(crate) struct Held {
    gateways: Gateways,
    gateway: usize,
    /// None after anything but an answer.
    connection: Option<Connection>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("gateway", self.gateway()).finish_non_exhaustive()
    }
}

impl Held {
    /// Which gateway it is to.
    pub(crate) fn gateway(&self) -> &Address {
        self.gateways.pool.address(self.gateway)
    }

    /// One call on this connection.
    ///
    /// # Errors
    /// Those of [`Gateways::call`], and each further call after one that had no answer, or when the connection was idle for too long.
    pub(crate) async fn call<T, F>(&mut self, operation: &'static str, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Client) -> thrift::Result<T> + Send + 'static,
    {
        let pool = Arc::clone(&self.gateways.pool);
        // Where this future is dropped, the connection is closed by its thread.
        let fresh = self.connection.take().filter(|connection| connection.is_fresh(pool.config.idle_max()));
        let Some(connection) = fresh else {
            let fault = Fault::new(Class::Gone, "the connection of this scanner is closed");
            return Err(fault.during(operation).with("gateway", self.gateway()));
        };
        let asked =
            self.gateways.on_thread(operation, move |cut| Ok(pool.ask(operation, connection, cut, call)));
        let (answer, connection) = asked.await?;
        self.connection = connection;
        answer
    }

    /// Gives the connection back for other calls: nothing is open on it.
    pub(crate) fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            self.gateways.pool.give_back(connection);
        }
    }
}
