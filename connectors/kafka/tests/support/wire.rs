//! Requests that no client library sends, to a broker without security.

use std::io::{Read, Write};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    CreateAclsRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName, WriteTxnMarkersRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tidelock_kafka::KafkaCommittable;

fn ask<R: Request>(broker: &str, request: &R, version: i16) -> R::Response {
    let mut stream = std::net::TcpStream::connect(broker).expect("the broker");
    send(&mut stream, request, version);
    receive::<R>(&mut stream, version)
}

fn send<R: Request>(stream: &mut impl Write, request: &R, version: i16) {
    let header = RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
    let mut frame = BytesMut::new();
    header.encode(&mut frame, R::header_version(version)).expect("a header");
    request.encode(&mut frame, version).expect("a request");
    stream.write_all(&u32::try_from(frame.len()).expect("small").to_be_bytes()).expect("sent");
    stream.write_all(&frame).expect("sent");
}

fn receive<R: Request>(stream: &mut impl Read, version: i16) -> R::Response {
    let mut size = [0; 4];
    stream.read_exact(&mut size).expect("an answer");
    let mut answer = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).expect("an answer");
    let mut answer = Bytes::from(answer);
    ResponseHeader::decode(&mut answer, R::Response::header_version(version)).expect("a header");
    R::Response::decode(&mut answer, version).expect("an answer")
}

/// Aborts a transaction in one partition alone, behind its coordinator's back: what an operator's
/// `kafka-transactions.sh abort --start-offset` sends to the partition's leader, here the only broker.
pub(crate) fn abort_in_partition(
    broker: &str,
    (producer_id, producer_epoch): (i64, i16),
    topic: &str,
    partition: i32,
) {
    let topic = WritableTxnMarkerTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partition_indexes(vec![partition]);
    let marker = WritableTxnMarker::default()
        .with_producer_id(producer_id.into())
        .with_producer_epoch(producer_epoch)
        .with_transaction_result(false)
        .with_topics(vec![topic]);
    ask(broker, &WriteTxnMarkersRequest::default().with_markers(vec![marker]), 1);
}

/// Writes one record to the first partition, with a header of this name: bytes that need not be text.
pub(crate) fn produce_with_header(broker: &str, topic: &str, name: &[u8], value: &str) {
    let answer = ask(broker, &produce_request(topic, batch(None, name, value.as_bytes())), PRODUCE);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

/// Writes one record to the first partition as each of so many idempotent producers, which the partition then knows.
pub(crate) fn produce_as_many(broker: &str, topic: &str, producers: i64) {
    // Brokers take what one connection sends one by one: requests are sent ahead of their answers.
    const AHEAD: i64 = 500;
    // Far above the ids that brokers give away.
    const FIRST: i64 = 1 << 40;
    let mut stream = std::net::TcpStream::connect(broker).expect("the broker");
    for first in (0..producers).step_by(AHEAD as usize) {
        let some = first..producers.min(first + AHEAD);
        let mut ahead = Vec::new();
        for producer in some.clone() {
            send(&mut ahead, &produce_request(topic, batch(Some(FIRST + producer), b"h", b"crowd")), PRODUCE);
        }
        stream.write_all(&ahead).expect("sent");
        for _ in some {
            let answer = receive::<ProduceRequest>(&mut stream, PRODUCE);
            assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        }
    }
}

/// The version of the request to produce.
const PRODUCE: i16 = 8;

fn produce_request(topic: &str, batch: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_index(0).with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic])
}

/// A batch of format 2 with one record, as the protocol's page describes it: the first one of a producer, or of none.
fn batch(producer: Option<i64>, name: &[u8], value: &[u8]) -> Bytes {
    let mut record = BytesMut::new();
    record.put_i8(0);
    varint(&mut record, 0);
    varint(&mut record, 0);
    varint(&mut record, -1);
    varint(&mut record, value.len() as i64);
    record.put_slice(value);
    varint(&mut record, 1);
    varint(&mut record, name.len() as i64);
    record.put_slice(name);
    varint(&mut record, 1);
    record.put_slice(b"1");

    let mut checked = BytesMut::new();
    checked.put_i16(0); // attributes
    checked.put_i32(0); // the last offset, from the first
    checked.put_i64(1_357_034_400_000); // first and last time
    checked.put_i64(1_357_034_400_000);
    checked.put_i64(producer.unwrap_or(-1));
    checked.put_i16(producer.map_or(-1, |_| 0)); // its epoch
    checked.put_i32(producer.map_or(-1, |_| 0)); // its first sequence number
    checked.put_i32(1);
    varint(&mut checked, record.len() as i64);
    checked.put_slice(&record);

    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32(i32::try_from(4 + 1 + 4 + checked.len()).expect("small"));
    batch.put_i32(-1);
    batch.put_i8(2);
    batch.put_u32(crc32c(&checked));
    batch.put_slice(&checked);
    batch.freeze()
}

fn varint(bytes: &mut BytesMut, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        bytes.put_u8((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    bytes.put_u8(zigzag as u8);
}

/// The checksum of batches, bit by bit: there are few.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let step = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ POLYNOMIAL };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// Who wrote a prepared transaction: producer id and producer epoch.
pub(crate) fn producer(ours: &KafkaCommittable) -> (i64, i16) {
    (ours.producer_id, ours.producer_epoch)
}

/// What a right is for, by the numbers of the protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Resource {
    Topic = 2,
    Group = 3,
    Cluster = 4,
    TransactionalId = 5,
}

/// What may be done, by the numbers of the protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Right {
    Read = 3,
    Write = 4,
    Describe = 8,
    ClusterAction = 9,
}

/// Names that begin so, or this name alone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named {
    Exactly = 3,
    Beginning = 4,
}

/// An entry of the access control list.
#[derive(Debug, Clone)]
pub(crate) struct Rule<'a> {
    pub(crate) principal: &'a str,
    pub(crate) resource: (Resource, Named, &'a str),
    pub(crate) right: Right,
    pub(crate) allowed: bool,
}

/// Adds entries to the access control list of the cluster.
pub(crate) fn add_rules(broker: &str, rules: &[Rule<'_>]) {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let creations = rules.iter().map(|Rule { principal, resource: (kind, named, name), right, allowed }| {
        AclCreation::default()
            .with_resource_type(*kind as i8)
            .with_resource_name(text(name))
            .with_resource_pattern_type(*named as i8)
            .with_principal(text(principal))
            .with_host(text("*"))
            .with_operation(*right as i8)
            .with_permission_type(if *allowed { 3 } else { 2 })
    });
    let request = CreateAclsRequest::default().with_creations(creations.collect());
    for made in ask(broker, &request, 2).results {
        assert_eq!(made.error_code, 0, "{:?}", made.error_message);
    }
}
