//! A broker for tests of the control client: it answers what a test says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, MetadataResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::connection::Address;
use super::names::topic_name;
use crate::properties::Properties;

/// What a request is answered with.
pub(crate) enum Reply {
    /// This.
    With(BytesMut),
    /// A size, and nothing of what it promises.
    Size(u32),
}

impl Reply {
    pub(crate) fn of(answer: &impl Encodable, version: i16) -> Self {
        let mut body = BytesMut::new();
        answer.encode(&mut body, version).expect("an answer");
        Self::With(body)
    }
}

/// The request, its version and its body.
pub(crate) type Asked = (ApiKey, i16, Bytes);

#[derive(Default)]
struct Seen {
    asked: Mutex<Vec<ApiKey>>,
    open: AtomicUsize,
}

pub(crate) struct FakeBroker {
    pub(crate) address: Address,
    seen: Arc<Seen>,
}

impl FakeBroker {
    /// Listens, and answers every request but the one for versions as `answer` says.
    pub(crate) async fn start(answer: impl Fn(&Address, Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let address = Address { host: "127.0.0.1".to_owned(), port };
        let (seen, answer) = (Arc::new(Seen::default()), Arc::new(answer));
        let broker = Self { address: address.clone(), seen: Arc::clone(&seen) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer, address) = (Arc::clone(&seen), Arc::clone(&answer), address.clone());
                tokio::spawn(async move {
                    seen.open.fetch_add(1, Ordering::SeqCst);
                    // It ends when the client closes the connection.
                    let _ = serve(stream, &seen, |asked| answer(&address, asked)).await;
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        broker
    }

    pub(crate) fn properties(&self) -> Properties {
        Properties::new(self.address.to_string())
    }

    /// How often this was asked.
    pub(crate) fn count(&self, wanted: ApiKey) -> usize {
        let asked = self.seen.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|one| **one == wanted).count()
    }

    /// Returns when as many connections are open.
    pub(crate) async fn wait_for_connections(&self, count: usize) {
        while self.seen.open.load(Ordering::SeqCst) != count {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

async fn serve(mut stream: TcpStream, seen: &Seen, answer: impl Fn(Asked) -> Reply) -> std::io::Result<()> {
    loop {
        let size = stream.read_u32().await?;
        let mut frame = vec![0; size as usize];
        stream.read_exact(&mut frame).await?;
        let mut frame = Bytes::from(frame);
        let key = ApiKey::try_from((&frame[..2]).get_i16()).expect("a known request");
        let version = (&frame[2..4]).get_i16();
        let header =
            RequestHeader::decode(&mut frame, key.request_header_version(version)).expect("a header");
        let reply = match key {
            ApiKey::ApiVersions => Reply::of(&versions(), version),
            _ => {
                seen.asked.lock().unwrap_or_else(PoisonError::into_inner).push(key);
                answer((key, version, frame))
            }
        };
        let body = match reply {
            Reply::With(body) => body,
            Reply::Size(size) => {
                stream.write_u32(size).await?;
                continue;
            }
        };
        let mut whole = BytesMut::new();
        let header = ResponseHeader::default().with_correlation_id(header.correlation_id);
        header.encode(&mut whole, key.response_header_version(version)).expect("a header");
        whole.extend_from_slice(&body);
        stream.write_u32(u32::try_from(whole.len()).expect("small")).await?;
        stream.write_all(&whole).await?;
    }
}

/// It knows the first versions of what is asked in these tests.
fn versions() -> ApiVersionsResponse {
    let known = [
        (ApiKey::Metadata, 12),
        (ApiKey::FindCoordinator, 3),
        (ApiKey::DescribeProducers, 0),
        (ApiKey::DescribeTransactions, 0),
    ];
    let known = known.into_iter().map(|(key, newest)| {
        ApiVersion::default().with_api_key(key as i16).with_min_version(0).with_max_version(newest)
    });
    ApiVersionsResponse::default().with_api_keys(known.collect())
}

/// Metadata of brokers, of which the first leads all partitions of a topic `t`.
pub(crate) fn metadata(brokers: &[&Address], partitions: i32) -> MetadataResponse {
    let broker = |(node, address): (i32, &&Address)| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(node))
            .with_host(StrBytes::from_string(address.host.clone()))
            .with_port(i32::from(address.port))
    };
    let partition =
        |index| MetadataResponsePartition::default().with_partition_index(index).with_leader_id(BrokerId(0));
    let topic = MetadataResponseTopic::default()
        .with_name(Some(topic_name("t")))
        .with_partitions((0..partitions).map(partition).collect());
    MetadataResponse::default()
        .with_brokers((0..).zip(brokers).map(broker).collect())
        .with_topics(vec![topic])
}
