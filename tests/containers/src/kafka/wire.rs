//! As much of Kafka's protocol as it takes to see that a broker serves.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Versions that every broker of Kafka 3 and 4 knows.
const METADATA_VERSION: i16 = 12;
const API_VERSIONS_VERSION: i16 = 3;

/// The answers list a few brokers or a few features. More means that somebody else answers.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// An answer, or why there is none.
pub(super) type Asked<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The ids of the brokers that the one at this address says are alive.
pub(super) async fn known_brokers(address: &str) -> Asked<Vec<i32>> {
    let request = MetadataRequest::default().with_topics(Some(Vec::new()));
    let answer = ask(address, &request, METADATA_VERSION).await?;
    Ok(answer.brokers.iter().map(|broker| broker.node_id.0).collect())
}

/// The level of a feature that the cluster has agreed on; 0 where it is off.
pub(super) async fn feature_level(address: &str, feature: &str) -> Asked<i16> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("tidelock-containers"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    let answer = ask(address, &request, API_VERSIONS_VERSION).await?;
    let agreed = answer.finalized_features.iter().find(|one| one.name.as_str() == feature);
    Ok(agreed.map_or(0, |one| one.max_version_level))
}

/// One question on a connection of its own.
async fn ask<R: Request>(address: &str, request: &R, version: i16) -> Asked<R::Response> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&frame(request, version)?).await?;
    let length = usize::try_from(stream.read_i32().await?)?;
    if length > ANSWER_BYTES_MAX {
        return Err(format!("an answer of {length} bytes is none of Kafka").into());
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    let mut answer = Bytes::from(answer);
    ResponseHeader::decode(&mut answer, R::Response::header_version(version))?;
    Ok(R::Response::decode(&mut answer, version)?)
}

fn frame<R: Request>(request: &R, version: i16) -> Asked<Bytes> {
    let header = RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
    let mut body = BytesMut::new();
    header.encode(&mut body, R::header_version(version))?;
    request.encode(&mut body, version)?;
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(body.len())?);
    frame.extend_from_slice(&body);
    Ok(frame.freeze())
}
