//! Connections to all gateways, that are used again.
//!
//! Whoever has one has it alone. It comes back only after an answer; everything else closes it, and with it all others to that gateway
//! which nobody uses: they are of the process that is gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hbase_thrift::hbase::THbaseSyncClient;
use tidelock::{Error, ErrorKind, Result, Retry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::address::Address;
use super::connection::{Connection, Outcome};
use super::cut::Cut;
use super::line::TooLarge;
use super::turns::Turns;
use super::wire::Client;
use crate::config::HbaseConfig;
use crate::error::{Class, Fault};

pub(super) struct Pool {
    pub(super) config: HbaseConfig,
    addresses: Vec<Address>,
    places: Arc<Semaphore>,
    state: Mutex<State>,
}

struct State {
    idle: Vec<Connection>,
    turns: Turns,
    clusters: Clusters,
}

/// Which cluster the gateways are of.
struct Clusters {
    /// As the first one said that could.
    id: Option<String>,
    /// Of which gateways it is known, or cannot be.
    known: Vec<bool>,
}

impl Pool {
    pub(super) fn new(config: &HbaseConfig) -> Result<Self> {
        config.validate()?;
        let addresses = config.addresses()?;
        let places = usize::try_from(config.connections_max).unwrap_or(Semaphore::MAX_PERMITS);
        Ok(Self {
            config: config.clone(),
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            state: Mutex::new(State {
                idle: Vec::new(),
                turns: Turns::of(addresses.len()),
                clusters: Clusters { id: None, known: vec![false; addresses.len()] },
            }),
            addresses,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn gateways(&self) -> usize {
        self.addresses.len()
    }

    /// Those that have never answered.
    pub(super) fn unknown(&self) -> Vec<usize> {
        let state = self.state();
        (0..self.addresses.len()).filter(|&gateway| !state.turns.is_known(gateway)).collect()
    }

    pub(super) fn address(&self, gateway: usize) -> &Address {
        &self.addresses[gateway]
    }

    /// Waits for a place, first come first served, and not for ever.
    pub(super) async fn place(&self, operation: &'static str) -> Result<OwnedSemaphorePermit> {
        match timeout(self.config.call_timeout(), Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => {
                let error = Error::new(ErrorKind::RateLimited, operation, "all connections are in use");
                Err(error.with_retry(Retry::Retry).with("connections_max", self.config.connections_max))
            }
        }
    }

    /// A connection that was used before, or a new one to the gateway whose turn it is, or to another one where that fails.
    pub(super) fn take(&self, operation: &'static str, cut: &Cut) -> Result<Connection> {
        while let Some(connection) = self.idle() {
            if connection.is_fresh(self.config.idle_max()) {
                return Ok(connection);
            }
        }
        self.open_any(operation, cut)
    }

    /// The one that was used last: what is before it is older still, and closed in time.
    fn idle(&self) -> Option<Connection> {
        self.state().idle.pop()
    }

    /// Opens a connection to the gateway whose turn it is, or to another one where that fails.
    pub(super) fn open_any(&self, operation: &'static str, cut: &Cut) -> Result<Connection> {
        let order = self.state().turns.order(Instant::now());
        let mut worst: Option<(usize, Fault)> = None;
        for gateway in order {
            match self.open(gateway, cut) {
                Ok(connection) => return Ok(connection),
                // One that may come back is waited for, also where another one is none.
                Err(fault) if worst.as_ref().is_none_or(|(_, worst)| worst.class == Class::Impossible) => {
                    worst = Some((gateway, fault));
                }
                Err(_) => {}
            }
        }
        let (gateway, fault) = worst.expect("invariant: there is a gateway");
        Err(self.error(fault, operation, gateway))
    }

    pub(super) fn open(&self, gateway: usize, cut: &Cut) -> Result<Connection, Fault> {
        let is_known = self.state().turns.is_known(gateway);
        let opened = Connection::open(&self.config, (gateway, &self.addresses[gateway]), is_known, cut)
            .and_then(|connection| self.of_our_cluster(connection, cut));
        match &opened {
            Ok(_) => {
                self.state().turns.answered(gateway);
                metrics::counter!("tidelock_hbase_connections_total").increment(1);
            }
            Err(_) if cut.is_over() => {}
            Err(fault) => self.failed(gateway, fault),
        }
        opened
    }

    /// Asks a gateway once which cluster it is of: rows of two clusters would be in neither of them whole. Where HBase is away it cannot say, and is
    /// asked again with its next connection.
    fn of_our_cluster(&self, mut connection: Connection, cut: &Cut) -> Result<Connection, Fault> {
        let gateway = connection.gateway;
        if self.gateways() == 1 || self.state().clusters.known[gateway] {
            return Ok(connection);
        }
        let asked = connection.call(self.config.connect_timeout(), cut, |client| client.get_cluster_id());
        let again = || Connection::open(&self.config, (gateway, &self.addresses[gateway]), true, cut);
        match asked {
            Outcome::Answer(id) => {
                let mut state = self.state();
                let ours = state.clusters.id.get_or_insert_with(|| id.clone());
                if *ours != id {
                    let why = format!("this gateway is of another cluster, {id}, than one before it, {ours}");
                    return Err(Fault::new(Class::Impossible, why));
                }
                state.clusters.known[gateway] = true;
                Ok(connection)
            }
            Outcome::Refused(_) => Ok(connection),
            Outcome::Broken(fault) => {
                // One that is too old for the call never says it.
                self.state().clusters.known[gateway] = fault.class == Class::Impossible;
                again()
            }
            Outcome::TooLarge(_) => again(),
        }
    }

    /// Makes a call on this connection. With what became of it, the connection, where it may be used again.
    pub(super) fn ask<T>(
        &self,
        operation: &'static str,
        mut connection: Connection,
        cut: &Cut,
        call: impl FnOnce(&mut Client) -> thrift::Result<T>,
    ) -> (Result<T>, Option<Connection>) {
        let gateway = connection.gateway;
        match connection.call(self.config.call_timeout(), cut, call) {
            Outcome::Answer(answer) => (Ok(answer), Some(connection)),
            Outcome::Refused(fault) => (Err(self.error(fault, operation, gateway)), Some(connection)),
            Outcome::TooLarge(what) => (Err(self.too_large(what, operation)), None),
            Outcome::Broken(fault) => {
                if fault.class == Class::Gone && !cut.is_over() {
                    self.failed(gateway, &fault);
                }
                (Err(self.error(fault, operation, gateway)), None)
            }
        }
    }

    pub(super) fn give_back(&self, connection: Connection) {
        let idle_max = self.config.idle_max();
        let mut state = self.state();
        state.idle.retain(|idle| idle.is_young(idle_max));
        // Those that were held, or only asked what they are, are more than are ever in use at once.
        if state.idle.len() >= self.config.connections_max as usize {
            state.idle.remove(0);
        }
        state.idle.push(connection);
    }

    /// A gateway failed: others come first for a while, and what is open to it is closed.
    pub(super) fn failed(&self, gateway: usize, fault: &Fault) {
        let (now, mut state) = (Instant::now(), self.state());
        let is_news = state.turns.failed_lately(gateway, now).is_none();
        state.turns.failed(gateway, now);
        state.idle.retain(|idle| idle.gateway != gateway);
        drop(state);
        let address = &self.addresses[gateway];
        metrics::counter!("tidelock_hbase_gateway_failures_total", "gateway" => address.to_string())
            .increment(1);
        if is_news {
            tracing::warn!(gateway = %address, fault = fault.message, "a gateway of HBase failed");
        }
    }

    pub(super) fn error(&self, fault: Fault, operation: &'static str, gateway: usize) -> Error {
        fault.during(operation).with("gateway", &self.addresses[gateway])
    }

    fn too_large(&self, what: TooLarge, operation: &'static str) -> Error {
        let (why, name, most) = match what {
            TooLarge::Request => {
                let why = "the request is too large, and nothing of it was sent";
                (why, REQUEST_BYTES_MAX, self.config.request_bytes_max())
            }
            TooLarge::Answer => ("the answer is too large", ANSWER_BYTES_MAX, self.config.answer_bytes_max()),
        };
        Error::new(ErrorKind::Data, operation, why).with("setting", name).with("bytes", most)
    }
}

const REQUEST_BYTES_MAX: &str = "request_bytes_max";
const ANSWER_BYTES_MAX: &str = "answer_bytes_max";

/// Whether it was the answer that was too large: one to a smaller question may not be.
pub(crate) fn is_answer_too_large(error: &Error) -> bool {
    error.context().any(|(key, value)| key == "setting" && value == ANSWER_BYTES_MAX)
}
