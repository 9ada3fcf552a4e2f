//! One connection to one broker: frames, versions, one request at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use rustls::pki_types::ServerName;
use tidelock::{Error, ErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::fault::Fault;
use super::sasl;
use super::security::Security;

/// Reaching a broker, TLS and SASL together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer that takes longer counts as missing. Above the 5 s that a broker itself waits for the
/// replicas of its transaction log.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// No answer to the control client comes near this. A larger size means that the other side does not
/// speak this protocol (an answer of a TLS listener to a plain connection, for one).
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// `UNSUPPORTED_VERSION`: a broker older than the newest `ApiVersions` answers it in the oldest form.
const UNSUPPORTED_VERSION: i16 = 35;

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that is set up: its versions are known and it is authenticated.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    address: Address,
    client_id: Arc<str>,
    versions: BTreeMap<i16, (i16, i16)>,
    correlation: i32,
    /// When its last answer came.
    pub(crate) used_at: Instant,
    /// When the broker ends the session, where it does.
    pub(crate) usable_until: Option<Instant>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects, learns the broker's versions, and authenticates.
    pub(crate) async fn open(
        address: &Address,
        security: &Security,
        client_id: &Arc<str>,
    ) -> Result<Self, Fault> {
        match timeout(CONNECT_TIMEOUT, Self::set_up(address, security, client_id)).await {
            Ok(Ok(connection)) => Ok(connection),
            // Nothing but the setting up was asked for, so no request of the caller was sent.
            Ok(Err(Fault::NoAnswer(error))) => Err(Fault::NotSent(error)),
            Ok(Err(fault)) => Err(fault),
            Err(_) => Err(Fault::NotSent(unreachable(address, "the connection is not set up in time"))),
        }
    }

    async fn set_up(address: &Address, security: &Security, client_id: &Arc<str>) -> Result<Self, Fault> {
        let no_connection =
            |error| Fault::NotSent(unreachable(address, "the broker cannot be reached").because(error));
        let tcp = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(no_connection)?;
        tcp.set_nodelay(true).map_err(no_connection)?;
        let stream: Box<dyn Stream> = match &security.tls {
            None => Box::new(tcp),
            Some(config) => {
                let name = ServerName::try_from(address.host.clone()).map_err(|error| {
                    Fault::Final(unreachable(address, "TLS needs a host name").because(error))
                })?;
                let tls = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await;
                Box::new(tls.map_err(|error| {
                    Fault::NotSent(unreachable(address, "TLS cannot be set up").because(error))
                })?)
            }
        };
        let mut connection = Self {
            stream,
            address: address.clone(),
            client_id: Arc::clone(client_id),
            versions: BTreeMap::new(),
            correlation: 0,
            used_at: Instant::now(),
            usable_until: None,
        };
        connection.learn_versions().await?;
        if let Some(credentials) = &security.sasl {
            sasl::authenticate(&mut connection, credentials).await?;
        }
        Ok(connection)
    }

    async fn learn_versions(&mut self) -> Result<(), Fault> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("tidelock"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut answer = self.exchange(&request, 3).await?;
        if answer.error_code == UNSUPPORTED_VERSION {
            answer = self.exchange(&request, 0).await?;
        }
        Fault::check(answer.error_code)?;
        self.versions =
            answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        Ok(())
    }

    /// Asks in the newest version that the broker knows and `newest` allows: what we do was tried with
    /// versions up to that one.
    pub(crate) async fn call<R: Request>(&mut self, request: &R, newest: i16) -> Result<R::Response, Fault> {
        let version = match self.versions.get(&R::KEY) {
            Some((oldest, broker_newest)) if *oldest <= newest => newest.min(*broker_newest),
            _ => {
                let why = "the broker does not know a request that is needed; Kafka 3.0 or newer is";
                let error = Error::new(ErrorKind::Config, "ask Kafka", why)
                    .with("broker", &self.address)
                    .with("request", R::KEY);
                return Err(Fault::Final(error));
            }
        };
        self.exchange(request, version).await
    }

    /// Whether the broker knows a request in one of these versions.
    pub(crate) fn knows<R: Request>(&self, oldest: i16, newest: i16) -> bool {
        let known = self.versions.get(&R::KEY);
        known.is_some_and(|(broker_oldest, broker_newest)| {
            *broker_oldest <= newest && oldest <= *broker_newest
        })
    }

    async fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, Fault> {
        self.correlation = self.correlation.wrapping_add(1);
        let frame = self.frame(request, version)?;
        let address = self.address.clone();
        let lost = move |error: std::io::Error| {
            Fault::NoAnswer(unreachable(&address, "the connection was lost").because(error))
        };
        let answered = timeout(ANSWER_TIMEOUT, async {
            self.stream.write_all(&frame).await?;
            self.stream.flush().await?;
            let size = self.stream.read_u32().await? as usize;
            if size > ANSWER_BYTES_MAX {
                return Err(std::io::Error::other("the answer is no answer of a Kafka broker"));
            }
            let mut answer = BytesMut::zeroed(size);
            self.stream.read_exact(&mut answer).await?;
            Ok(answer.freeze())
        });
        let answer = match answered.await {
            Ok(answer) => answer.map_err(lost)?,
            Err(_) => {
                return Err(Fault::NoAnswer(unreachable(
                    &self.address,
                    "the broker does not answer in time",
                )));
            }
        };
        self.used_at = Instant::now();
        self.decode::<R>(answer, version)
    }

    fn frame<R: Request>(&self, request: &R, version: i16) -> Result<Bytes, Fault> {
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_string(self.client_id.to_string())));
        let mut frame = BytesMut::new();
        frame.put_u32(0);
        header
            .encode(&mut frame, R::header_version(version))
            .and_then(|()| request.encode(&mut frame, version))
            .map_err(|error| {
                let why = "a request cannot be written in the version that the broker knows";
                Fault::Final(Error::new(ErrorKind::Bug, "ask Kafka", why).because(error.to_string()))
            })?;
        let size = u32::try_from(frame.len() - 4).expect("invariant: our requests are small");
        frame[..4].copy_from_slice(&size.to_be_bytes());
        Ok(frame.freeze())
    }

    fn decode<R: Request>(&self, mut answer: Bytes, version: i16) -> Result<R::Response, Fault> {
        let unreadable = |why: String| {
            Fault::NoAnswer(unreachable(&self.address, "the broker's answer cannot be read").because(why))
        };
        // `ApiVersions` is answered in the oldest form where the broker does not know the version.
        let oldest_form = R::KEY == ApiVersionsRequest::KEY
            && answer.len() >= 6
            && (&answer[4..6]).get_i16() == UNSUPPORTED_VERSION;
        let version = if oldest_form { 0 } else { version };
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version))
            .map_err(|error| unreadable(error.to_string()))?;
        if header.correlation_id != self.correlation {
            return Err(unreadable("it belongs to another request".to_owned()));
        }
        R::Response::decode(&mut answer, version).map_err(|error| unreadable(error.to_string()))
    }
}

fn unreachable(address: &Address, why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, "ask Kafka", why).with("broker", address)
}
