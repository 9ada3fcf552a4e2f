//! The brokers of a cluster, the connections to them, and who of them is to be asked.
//!
//! A request takes an idle connection or opens one, and gives it back only when its answer was read
//! whole: a request that is given up half-way can never leave its answer to the next one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{FindCoordinatorRequest, MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::{Request, StrBytes};
use tidelock::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::connection::{Address, Connection};
use super::dial::dial;
use super::fault::Fault;
use super::names::topic_name;
use super::security::Security;
use crate::properties::{BOOTSTRAP_SERVERS, Properties};
use crate::told::TOLD_AFTER;

/// Requests under way at once, so also connections: for all brokers together.
const REQUESTS_MAX: usize = 32;

/// Requests that one task has under way at once: it leaves as many to others.
pub(crate) const AT_ONCE: usize = REQUESTS_MAX / 2;

/// Connections kept open to one broker while nothing is asked.
const IDLE_MAX: usize = 4;

/// How long passing faults are waited out before the attempt ends and recovers.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The version of requests for metadata that was tried.
pub(crate) const METADATA_NEWEST: i16 = 12;

/// What a coordinator coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Coordinates {
    Group = 0,
    Transaction = 1,
}

/// The brokers of one cluster.
pub(crate) struct Cluster {
    security: Security,
    client_id: Arc<str>,
    bootstrap: Vec<Address>,
    requests: Semaphore,
    known: Mutex<Known>,
}

/// What was learned, and may be out of date at any time.
#[derive(Default)]
struct Known {
    brokers: HashMap<i32, Address>,
    coordinators: HashMap<(Coordinates, String), Address>,
    leaders: HashMap<(String, i32), i32>,
    idle: HashMap<Address, Vec<Connection>>,
}

impl Known {
    /// Forgets what leads to brokers that are gone, and closes connections that nobody would use again.
    fn trim(&mut self, bootstrap: &[Address], now: Instant) {
        let brokers: HashSet<_> = self.brokers.values().chain(bootstrap).collect();
        self.coordinators.retain(|_, address| brokers.contains(address));
        self.idle.retain(|address, connections| {
            connections.retain(|connection| connection.is_usable(now));
            brokers.contains(address) && !connections.is_empty()
        });
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}

/// Asks until the fault is not a passing one, with growing, jittered pauses, for a minute. Says so once where that takes
/// longer than two seconds.
pub(crate) async fn patiently<T, F, Fut>(ask: F) -> Result<T, Fault>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Fault>>,
{
    let pauses = ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(2))
        .with_max_delay(Duration::from_millis(500))
        .with_total_delay(Some(PATIENCE))
        .without_max_times();
    let (begun, mut is_told) = (Instant::now(), false);
    let tell = |fault: &Fault, _: Duration| {
        if !is_told && begun.elapsed() > TOLD_AFTER {
            is_told = true;
            let left = PATIENCE.saturating_sub(begun.elapsed()).as_secs();
            tracing::warn!("Kafka is asked again, for another {left} s at most: {fault}");
        }
    };
    ask.retry(pauses).when(Fault::is_passing).notify(tell).await
}

impl Cluster {
    /// Reads the settings; connects to nobody yet.
    pub(crate) fn new(properties: &Properties) -> Result<Self> {
        let servers = properties.get_any(&BOOTSTRAP_SERVERS).unwrap_or("");
        let bootstrap = servers.split(',').map(parse_address).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            security: Security::from_properties(properties)?,
            client_id: properties.get("client.id").unwrap_or("tidelock").into(),
            bootstrap,
            requests: Semaphore::new(REQUESTS_MAX),
            known: Mutex::default(),
        })
    }

    /// The brokers that the settings name, to be shown.
    pub(crate) fn named(&self) -> String {
        self.bootstrap.iter().map(Address::to_string).collect::<Vec<_>>().join(",")
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // What is known is corrected by the next answer, so a panic elsewhere spoils nothing.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `ask` on a connection to `address`.
    pub(crate) async fn on<T>(
        &self,
        address: &Address,
        ask: impl AsyncFnOnce(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let _permit = self.requests.acquire().await.expect("invariant: the semaphore is never closed");
        let mut connection = match self.take_idle(address) {
            Some(connection) => connection,
            None => dial(address, &self.security, &self.client_id).await?,
        };
        let answer = ask(&mut connection).await;
        if !matches!(answer, Err(Fault::NoAnswer(_) | Fault::NotSent(_) | Fault::TooLarge { .. })) {
            let mut known = self.known();
            let idle = known.idle.entry(address.clone()).or_default();
            if idle.len() < IDLE_MAX {
                idle.push(connection);
            }
        }
        answer
    }

    fn take_idle(&self, address: &Address) -> Option<Connection> {
        let now = Instant::now();
        let mut known = self.known();
        let idle = known.idle.get_mut(address)?;
        idle.retain(|connection| connection.is_usable(now));
        idle.pop()
    }

    /// Every broker that is known: those of the cluster, or those to begin with.
    fn candidates(&self) -> Vec<Address> {
        let mut brokers: Vec<_> = self.known().brokers.values().cloned().collect();
        brokers
            .extend(self.bootstrap.iter().filter(|one| !brokers.contains(one)).cloned().collect::<Vec<_>>());
        brokers
    }

    /// Asks whoever answers first: for what every broker knows.
    pub(crate) async fn ask_any<R: Request>(&self, request: &R, newest: i16) -> Result<R::Response, Fault> {
        let mut last = None;
        for address in self.candidates() {
            match self.on(&address, async |connection| connection.call(request, newest).await).await {
                Err(fault) if fault.is_passing() => last = Some(fault),
                done => return done,
            }
        }
        Err(last.unwrap_or_else(|| {
            Fault::Final(Error::new(ErrorKind::Config, "ask Kafka", "no broker is configured"))
        }))
    }

    /// Asks the coordinator of `key` once; `code` finds the error code in the answer.
    pub(crate) async fn ask_coordinator<R: Request>(
        &self,
        coordinates: Coordinates,
        key: &str,
        request: &R,
        newest: i16,
        code: impl FnOnce(&R::Response) -> i16,
    ) -> Result<R::Response, Fault> {
        let address = self.coordinator(coordinates, key).await?;
        let answer = self
            .on(&address, async |connection| {
                let answer = connection.call(request, newest).await?;
                Fault::check(code(&answer)).map(|()| answer)
            })
            .await;
        if answer.as_ref().is_err_and(Fault::asks_to_look_again) {
            self.forget_coordinator(coordinates, key);
        }
        answer
    }

    pub(crate) fn forget_coordinator(&self, coordinates: Coordinates, key: &str) {
        self.known().coordinators.remove(&(coordinates, key.to_owned()));
    }

    async fn coordinator(&self, coordinates: Coordinates, key: &str) -> Result<Address, Fault> {
        let name = (coordinates, key.to_owned());
        if let Some(address) = self.known().coordinators.get(&name) {
            return Ok(address.clone());
        }
        let request = FindCoordinatorRequest::default()
            .with_key(StrBytes::from_string(key.to_owned()))
            .with_key_type(coordinates as i8);
        // Whoever is asked first may be down: a fault here means only that the commit itself was not sent.
        let answer = self.ask_any(&request, 3).await.map_err(|fault| match fault {
            Fault::NoAnswer(error) => Fault::NotSent(error),
            other => other,
        })?;
        Fault::check(answer.error_code)?;
        let address = address(&answer.host, answer.port)?;
        self.known().coordinators.insert(name, address.clone());
        Ok(address)
    }

    /// Asks for metadata and remembers brokers and leaders. `None` asks for all topics.
    pub(crate) async fn metadata(&self, topics: Option<&[String]>) -> Result<MetadataResponse, Fault> {
        let answer = self.ask_any(&metadata_request(topics), METADATA_NEWEST).await?;
        Fault::check(answer.error_code)?;
        let mut known = self.known();
        known.brokers.clear();
        for broker in &answer.brokers {
            known.brokers.insert(broker.node_id.0, address(&broker.host, broker.port)?);
        }
        for topic in &answer.topics {
            let Some(name) = &topic.name else { continue };
            for partition in &topic.partitions {
                let place = (name.to_string(), partition.partition_index);
                known.leaders.insert(place, partition.leader_id.0);
            }
        }
        known.trim(&self.bootstrap, Instant::now());
        drop(known);
        Ok(answer)
    }

    /// Where a broker listens, as the last metadata said.
    pub(crate) fn node(&self, node: i32) -> Option<Address> {
        self.known().brokers.get(&node).cloned()
    }

    /// The brokers of the cluster, freshly asked for.
    pub(crate) async fn brokers(&self) -> Result<Vec<Address>, Fault> {
        self.metadata(Some(&[])).await?;
        Ok(self.known().brokers.values().cloned().collect())
    }

    /// Asks the leader of a partition once; `code` finds the error code in the answer.
    pub(crate) async fn ask_leader<R: Request>(
        &self,
        topic: &str,
        partition: i32,
        request: &R,
        newest: i16,
        code: impl FnOnce(&R::Response) -> i16,
    ) -> Result<R::Response, Fault> {
        let leader = self.leader(topic, partition).await?;
        self.ask_leader_of(&[(topic, partition)], &leader, request, newest, code).await
    }

    /// Asks the leader of these partitions once; `code` finds an error code in the answer.
    pub(crate) async fn ask_leader_of<R: Request>(
        &self,
        places: &[(&str, i32)],
        leader: &Address,
        request: &R,
        newest: i16,
        code: impl FnOnce(&R::Response) -> i16,
    ) -> Result<R::Response, Fault> {
        let answer = self
            .on(leader, async |connection| {
                let answer = connection.call(request, newest).await?;
                Fault::check(code(&answer)).map(|()| answer)
            })
            .await;
        if answer.as_ref().is_err_and(Fault::asks_to_look_again) {
            let mut known = self.known();
            for (topic, partition) in places {
                known.leaders.remove(&((*topic).to_owned(), *partition));
            }
        }
        answer
    }

    /// Partitions by their leaders.
    pub(crate) async fn by_leader<'a>(
        &self,
        places: &[(&'a str, i32)],
    ) -> Result<BTreeMap<Address, Vec<(&'a str, i32)>>, Fault> {
        let mut leaders: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for &(topic, partition) in places {
            // Metadata name the leaders of a whole topic: at most one request for each.
            let leader = self.leader(topic, partition).await?;
            leaders.entry(leader).or_default().push((topic, partition));
        }
        Ok(leaders)
    }

    async fn leader(&self, topic: &str, partition: i32) -> Result<Address, Fault> {
        let place = (topic.to_owned(), partition);
        let remembered =
            |known: &Known| known.leaders.get(&place).and_then(|node| known.brokers.get(node)).cloned();
        if let Some(address) = remembered(&self.known()) {
            return Ok(address);
        }
        let answer = self.metadata(Some(std::slice::from_ref(&place.0))).await?;
        for found in &answer.topics {
            Fault::check(found.error_code)?;
        }
        let address = remembered(&self.known());
        // No leader: an election is under way, or the partition does not exist yet on this broker.
        address.ok_or(Fault::Code(kafka_protocol::ResponseError::LeaderNotAvailable))
    }
}

/// Asks for metadata of these topics, or of all, and makes none of them.
pub(crate) fn metadata_request(topics: Option<&[String]>) -> MetadataRequest {
    let named = |name: &String| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    MetadataRequest::default()
        .with_topics(topics.map(|topics| topics.iter().map(named).collect()))
        .with_allow_auto_topic_creation(false)
}

fn address(host: &str, port: i32) -> Result<Address, Fault> {
    let wrong = || {
        let why = "the cluster names a broker with a port that is none";
        Fault::NotSent(Error::new(ErrorKind::Unavailable, "ask Kafka", why).with("port", port))
    };
    Ok(Address { host: host.to_owned(), port: u16::try_from(port).map_err(|_| wrong())? })
}

/// Reads `host:port`, `[v6]:port`, `host` (port 9092), with an optional `protocol://` before it.
fn parse_address(text: &str) -> Result<Address> {
    let refuse = || {
        Error::new(
            ErrorKind::Config,
            "configure Kafka",
            "bootstrap.servers has a broker that is not host:port",
        )
        .with("broker", format!("{text:?}"))
    };
    let plain = text.trim();
    let plain = plain.split_once("://").map_or(plain, |(_, rest)| rest);
    let (host, port) = match plain.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        _ => (plain, "9092"),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(refuse());
    }
    Ok(Address { host: host.to_owned(), port: port.parse().map_err(|_| refuse())? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fake::{FakeBroker, Reply, metadata};

    #[test]
    fn brokers_are_read_as_librdkafka_reads_them() {
        let read = |text| parse_address(text).expect("an address").to_string();
        assert_eq!(read(" b1:19092 "), "b1:19092");
        assert_eq!(read("b1"), "b1:9092");
        assert_eq!(read("PLAINTEXT://b1:1"), "b1:1");
        assert_eq!(read("[::1]:19092"), "::1:19092");
        assert!(parse_address("b1:port").is_err() && parse_address("").is_err());
    }

    #[test]
    fn a_cluster_without_a_broker_is_refused_before_anything_connects() {
        assert!(Cluster::new(&Properties::default()).is_err());
    }

    #[tokio::test]
    async fn connections_to_a_broker_that_is_gone_are_closed() {
        // Whoever is asked lists these.
        let listed: Arc<Mutex<Vec<Address>>> = Arc::default();
        let start = async || {
            let listed = Arc::clone(&listed);
            let answer = move |_: &Address, (_, version, _)| {
                let listed = listed.lock().expect("no panic");
                Reply::of(&metadata(&listed.iter().collect::<Vec<_>>(), 0), version)
            };
            FakeBroker::start(answer).await
        };
        let (stays, gone) = (start().await, start().await);
        *listed.lock().expect("no panic") = vec![stays.address.clone(), gone.address.clone()];
        let cluster = Cluster::new(&stays.properties()).expect("settings");
        assert_eq!(cluster.brokers().await.expect("an answer").len(), 2);
        let request = metadata_request(Some(&[]));
        let asked = async |connection: &mut Connection| connection.call(&request, METADATA_NEWEST).await;
        cluster.on(&gone.address, asked).await.expect("an answer");
        gone.wait_for_connections(1).await;

        listed.lock().expect("no panic").pop();
        assert_eq!(cluster.brokers().await.expect("an answer"), std::slice::from_ref(&stays.address));
        gone.wait_for_connections(0).await;
        stays.wait_for_connections(1).await;
    }
}
