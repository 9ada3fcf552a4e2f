//! A proxy in front of a broker hides all brokers from the metadata, as if they were fenced, and shows them again.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, BrokerId, MetadataResponse, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};
use tidelock_containers::{Kafka, KafkaOptions};
use tokio::sync::Notify;

use super::*;
use crate::config::{KafkaSourceConfig, Subscription};
use crate::consumer::{Consumer, Queue};
use crate::librdkafka::Librdkafka;
use crate::native::queue::Polled;
use crate::properties::Properties;
use crate::reader::tests::produce;
use crate::record::ProducerRecord;
use crate::split::KafkaSplit;
use crate::wire::Wire;

const PATIENCE: Duration = Duration::from_secs(30);

/// Of either kind. librdkafka alone stopped about every second one for ever.
const CLIENTS: usize = 6;

/// How many answers show no broker: more than clients.
const HIDDEN: u64 = 10 * CLIENTS as u64;

const TOPIC: &str = "hidden";

#[derive(Default)]
struct Proxy {
    hides: AtomicBool,
    hidden: AtomicU64,
}

impl Proxy {
    fn serve(self: Arc<Self>, listener: TcpListener, broker: String) {
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a client");
                let Ok(server) = TcpStream::connect(&broker) else { return };
                let (client_reads, server_reads) = (client.try_clone(), server.try_clone());
                // The versions of requests for metadata, by their numbers.
                let asked = Arc::new(Mutex::new(HashMap::new()));
                let (proxy, known) = (Arc::clone(&self), Arc::clone(&asked));
                std::thread::spawn(move || {
                    pass(client_reads.expect("a socket"), server, |frame| {
                        if frame[..2] == (ApiKey::Metadata as i16).to_be_bytes() {
                            let version = i16::from_be_bytes([frame[2], frame[3]]);
                            known.lock().expect("no panic").insert(frame[4..8].to_vec(), version);
                        }
                        frame
                    })
                });
                std::thread::spawn(move || {
                    pass(server_reads.expect("a socket"), client, |frame| {
                        let version = asked.lock().expect("no panic").remove(&frame[..4]);
                        match version.filter(|_| proxy.hides.load(Ordering::SeqCst)) {
                            Some(version) => proxy.without_brokers(frame, version),
                            None => frame,
                        }
                    })
                });
            }
        });
    }

    fn without_brokers(&self, frame: Vec<u8>, version: i16) -> Vec<u8> {
        let mut frame = Bytes::from(frame);
        let header_version = MetadataResponse::header_version(version);
        let header = ResponseHeader::decode(&mut frame, header_version).expect("a header");
        let mut answer = MetadataResponse::decode(&mut frame, version).expect("metadata");
        answer.brokers.clear();
        for partition in answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.leader_id = BrokerId(-1);
        }
        let mut changed = BytesMut::new();
        header.encode(&mut changed, header_version).expect("a header");
        answer.encode(&mut changed, version).expect("metadata");
        self.hidden.fetch_add(1, Ordering::SeqCst);
        changed.to_vec()
    }
}

/// Passes frames on until either side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    let mut size = [0; 4];
    while from.read_exact(&mut size).is_ok() {
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        if from.read_exact(&mut frame).is_err() {
            break;
        }
        let frame = change(frame);
        let size = u32::try_from(frame.len()).expect("small").to_be_bytes();
        if to.write_all(&size).and_then(|()| to.write_all(&frame)).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
}

fn reads(queue: &Queue, value: &str, until: Instant) -> bool {
    loop {
        match queue.poll() {
            Some(Polled::Record(message)) if message.payload() == Some(value.as_bytes()) => return true,
            Some(_) => {}
            None => std::thread::sleep(Duration::from_millis(5)),
        }
        if Instant::now() > until {
            return false;
        }
    }
}

async fn writes(wire: &mut Librdkafka, until: Instant) -> bool {
    let write = async {
        wire.send(&mut vec![ProducerRecord::new("written", "1")]).await?;
        wire.flush().await
    };
    let written = tokio::time::timeout_at(until, write).await;
    written.is_ok_and(|written| written.is_ok())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn no_client_stops_after_metadata_without_brokers() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let kafka = Kafka::start(KafkaOptions::default().with_proxy(&address)).await.expect("started");
    let proxy = Arc::new(Proxy::default());
    Arc::clone(&proxy).serve(listener, kafka.behind_proxy());
    produce(&kafka.brokers(), TOPIC, "1");

    let often = ("topic.metadata.refresh.interval.ms", "100");
    let properties = Properties::new(&address).with(often.0, often.1);
    let source = KafkaSourceConfig::new(properties, Subscription::Topics(vec![TOPIC.to_owned()]));
    let topic = TOPIC.to_owned();
    let split = KafkaSplit { topic, topic_id: String::new(), partition: 0, offset: 0, stop: None };
    let (mut readers, mut writers) = (Vec::new(), Vec::new());
    for number in 0..CLIENTS {
        let consumer = Consumer::start(&source).expect("a consumer");
        let queue = consumer.attach(&split, Arc::new(Notify::new())).expect("a queue");
        assert!(reads(&queue, "1", Instant::now() + PATIENCE));
        readers.push((queue, consumer));
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &address).set(often.0, often.1);
        config.set("transactional.id", format!("hidden-{number}"));
        let mut wire = Librdkafka::start(Arc::new(config)).await.expect("a producer");
        assert!(writes(&mut wire, Instant::now() + PATIENCE).await);
        writers.push(wire);
    }

    proxy.hides.store(true, Ordering::SeqCst);
    let until = Instant::now() + PATIENCE;
    while proxy.hidden.load(Ordering::SeqCst) < HIDDEN && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.hides.store(false, Ordering::SeqCst);
    let hidden = proxy.hidden.load(Ordering::SeqCst);
    assert!(hidden > 0, "no client asked");

    produce(&kafka.brokers(), TOPIC, "2");
    let until = Instant::now() + PATIENCE;
    let stopped = readers.iter().filter(|(queue, _)| !reads(queue, "2", until)).count();
    let mut silent = 0;
    for wire in &mut writers {
        silent += usize::from(!writes(wire, until).await);
    }
    assert_eq!((stopped, silent), (0, 0), "of {CLIENTS} readers and as many writers, after {hidden} answers");
}
