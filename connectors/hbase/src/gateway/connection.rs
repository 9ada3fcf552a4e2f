//! One connection to a gateway, of which it is known that it is one of Thrift 1.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use hbase_thrift::hbase::{THbaseSyncClient, TThriftServerType};
use thrift::ApplicationErrorKind;
use tokio::time::Instant;

use super::address::Address;
use super::cut::Cut;
use super::line::{Line, TooLarge};
use super::wire::{self, Client};
use crate::config::{HbaseConfig, Protocol, Transport};
use crate::error::{Class, Fault};

/// How long another way of speaking has to be understood, where the one of the settings was not.
const OTHER_WAYS_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to a gateway that has answered.
pub(super) struct Connection {
    client: Client,
    line: Arc<Line>,
    /// Which of the gateways it is to.
    pub(super) gateway: usize,
    used: Instant,
}

/// What became of a call.
pub(super) enum Outcome<T> {
    Answer(T),
    /// The gateway refused; the connection is as good as before.
    Refused(Fault),
    /// The request, or the answer, is larger than it may be.
    TooLarge(TooLarge),
    /// The connection is of no use any more.
    Broken(Fault),
}

impl Connection {
    /// Connects, and asks what is there. With `is_known`, that gateway has answered before in this way.
    pub(super) fn open(
        config: &HbaseConfig,
        (gateway, address): (usize, &Address),
        is_known: bool,
        cut: &Cut,
    ) -> Result<Self, Fault> {
        let (transport, protocol) = (config.transport, config.protocol);
        let mut connection =
            Self::connect(config, (gateway, address), config.connect_timeout(), (transport, protocol), cut)?;
        let fault = match connection.client.get_thrift_server_type() {
            Ok(TThriftServerType::ONE) => {
                connection.used = Instant::now();
                return Ok(connection);
            }
            Ok(_) => {
                let why = "this gateway is one of Thrift 2, and Thrift 1 is spoken here: start it with `hbase thrift start`";
                return Err(Fault::new(Class::Impossible, why));
            }
            Err(thrift::Error::Application(fault)) if fault.kind == ApplicationErrorKind::UnknownMethod => {
                let why = "this gateway cannot say whether it is one of Thrift 1 or 2: it is too old for the call getThriftServerType";
                return Err(Fault::new(Class::Impossible, why));
            }
            Err(error) => Fault::from(error),
        };
        drop(connection);
        if is_known || cut.is_over() {
            return Err(fault);
        }
        Err(match Self::other_way(config, (gateway, address), cut) {
            Some((transport, protocol)) => {
                let why = format!(
                    "this gateway speaks otherwise: set transport = \"{transport}\" and protocol = \"{protocol}\""
                );
                Fault::new(Class::Impossible, why)
            }
            None => {
                let why = format!(
                    "something took the connection, and did not say that it is a Thrift gateway: it hangs, or is something else ({})",
                    fault.message
                );
                Fault::new(Class::Gone, why)
            }
        })
    }

    fn connect(
        config: &HbaseConfig,
        (gateway, address): (usize, &Address),
        patience: Duration,
        (transport, protocol): (Transport, Protocol),
        cut: &Cut,
    ) -> Result<Self, Fault> {
        let until = Instant::now() + patience;
        let stream = connect(address, until)?;
        let line = Line::new(stream, until);
        if !cut.on(&line, None) {
            return Err(given_up());
        }
        let client = wire::client(&line, transport, protocol, config);
        Ok(Self { client, line, gateway, used: Instant::now() })
    }

    /// How else the gateway is understood: another way of speaking than its own makes it hang, or close the connection.
    fn other_way(
        config: &HbaseConfig,
        gateway: (usize, &Address),
        cut: &Cut,
    ) -> Option<(Transport, Protocol)> {
        let ways = [Transport::Buffered, Transport::Framed]
            .into_iter()
            .flat_map(|transport| [(transport, Protocol::Binary), (transport, Protocol::Compact)]);
        ways.filter(|&way| way != (config.transport, config.protocol)).find(|&way| {
            let connected = Self::connect(config, gateway, OTHER_WAYS_TIMEOUT, way, cut);
            connected.is_ok_and(|mut connection| connection.client.get_thrift_server_type().is_ok())
        })
    }

    /// Whether it was used a short while ago.
    pub(super) fn is_young(&self, idle_max: Duration) -> bool {
        self.used.elapsed() < idle_max
    }

    /// The same, and nobody closed it since.
    pub(super) fn is_fresh(&self, idle_max: Duration) -> bool {
        self.is_young(idle_max) && self.line.is_quiet()
    }

    /// Makes a call on it.
    pub(super) fn call<T>(
        &mut self,
        patience: Duration,
        cut: &Cut,
        call: impl FnOnce(&mut Client) -> thrift::Result<T>,
    ) -> Outcome<T> {
        self.line.begin(Instant::now() + patience);
        if !cut.on(&self.line, Some(self.gateway)) {
            return Outcome::Broken(given_up());
        }
        let answer = call(&mut self.client);
        let is_whole = cut.off();
        self.used = Instant::now();
        match (answer, self.line.too_large()) {
            _ if !is_whole => Outcome::Broken(given_up()),
            (Ok(answer), _) => Outcome::Answer(answer),
            (Err(_), Some(what)) => Outcome::TooLarge(what),
            (Err(error), None) if Fault::is_answer(&error) => Outcome::Refused(error.into()),
            (Err(error), None) => Outcome::Broken(error.into()),
        }
    }
}

fn given_up() -> Fault {
    Fault::new(
        Class::Gone,
        "the call was given up, as its gateway fell silent: whether it was done is unknown",
    )
}

/// Any of the host's addresses.
fn connect(address: &Address, until: Instant) -> Result<TcpStream, Fault> {
    let away = |why: String| Fault::new(Class::Gone, why);
    let resolved = (address.host.as_str(), address.port).to_socket_addrs();
    let resolved = resolved.map_err(|error| away(format!("the gateway's name has no address: {error}")))?;
    let mut last = away("the gateway's name has no address".into());
    for address in resolved {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                let set = stream.set_nodelay(true);
                return set
                    .map(|()| stream)
                    .map_err(|error| away(format!("a socket cannot be set up: {error}")));
            }
            Err(error) => last = away(format!("the gateway cannot be reached: {error}")),
        }
    }
    Err(last)
}
