//! One connection to one broker: frames, versions, one request at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tidelock::{Error, ErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::fault::Fault;

/// An answer that takes longer counts as missing. Above the 5 s that a broker itself waits for the
/// replicas of its transaction log.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// A larger answer is not read. The largest ones describe producers: 37 bytes for each that a partition knows.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// `UNSUPPORTED_VERSION`: a broker older than the newest `ApiVersions` answers it in the oldest form.
const UNSUPPORTED_VERSION: i16 = 35;

/// A connection that was idle for longer is not used again: brokers close idle ones (after ten minutes
/// by default), and a commit that meets the closing would count as unanswered.
const IDLE_LIFETIME: Duration = Duration::from_secs(60);

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

/// What frames travel over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
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
    /// Whether another request may go here.
    pub(crate) fn is_usable(&self, now: Instant) -> bool {
        self.used_at + IDLE_LIFETIME > now && self.usable_until.is_none_or(|end| end > now)
    }

    /// A connection of which nothing is known yet.
    pub(super) fn over(stream: Box<dyn Stream>, address: Address, client_id: Arc<str>) -> Self {
        let (versions, used_at) = (BTreeMap::new(), Instant::now());
        Self { stream, address, client_id, versions, correlation: 0, used_at, usable_until: None }
    }

    /// Asks which requests the broker knows: the first thing that is asked.
    pub(super) async fn learn_versions(&mut self) -> Result<(), Fault> {
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
                return Ok(Err(size));
            }
            let mut answer = BytesMut::zeroed(size);
            self.stream.read_exact(&mut answer).await?;
            Ok(Ok(answer.freeze()))
        });
        let answer = match answered.await {
            Ok(answer) => answer.map_err(lost)?.map_err(|size| self.too_large(size))?,
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

    /// Before anything was answered: the other side does not speak this protocol (a TLS listener that is asked
    /// without TLS, for one).
    fn too_large(&self, bytes: usize) -> Fault {
        if self.versions.is_empty() {
            return Fault::NoAnswer(unreachable(&self.address, "the answer is no answer of a Kafka broker"));
        }
        Fault::TooLarge { broker: self.address.to_string(), bytes, bytes_max: ANSWER_BYTES_MAX }
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

pub(super) fn unreachable(address: &Address, why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, "ask Kafka", why).with("broker", address)
}
