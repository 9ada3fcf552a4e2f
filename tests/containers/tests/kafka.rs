//! The containers do what the tests of other crates rely on.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidelock_containers::{Kafka, KafkaOptions, Secured};

/// What a busy machine may need for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Less than that, for an answer that must not come.
const GLANCE: Duration = Duration::from_secs(2);

fn plain(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

/// Makes a topic with one partition, however long the brokers need to agree.
async fn create_topic(brokers: &str, topic: &str, replicas: i32) {
    let admin: AdminClient<DefaultClientContext> = plain(brokers).create().expect("a client");
    let topic = NewTopic::new(topic, 1, TopicReplication::Fixed(replicas));
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    let made = admin.create_topics(&[topic], &options).await.expect("an answer");
    made.into_iter().for_each(|one| drop(one.expect("a topic")));
}

/// Writes in a transaction, acknowledged by all replicas.
fn produce(brokers: &str, topic: &str, value: &str) {
    let mut config = plain(brokers);
    let producer: BaseProducer = config.set("transactional.id", value).create().expect("a producer");
    producer.init_transactions(PATIENCE).expect("initialised");
    producer.begin_transaction().expect("begun");
    let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).payload(value);
    producer.send(record).map_err(|(error, _)| error).expect("sent");
    producer.flush(PATIENCE).expect("delivered");
    producer.commit_transaction(PATIENCE).expect("committed");
}

/// The first `count` committed values of the topic.
fn consume(brokers: &str, topic: &str, count: usize) -> Vec<String> {
    let mut config = plain(brokers);
    config.set("group.id", "test").set("isolation.level", "read_committed");
    let consumer: BaseConsumer = config.set("auto.offset.reset", "earliest").create().expect("a consumer");
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(topic, 0, rdkafka::Offset::Beginning).expect("a partition");
    consumer.assign(&list).expect("assigned");
    let value = || loop {
        // A client that saw its broker go reports that first, and connects again by itself.
        if let Ok(message) = consumer.poll(PATIENCE).expect("an answer in time") {
            return String::from_utf8(message.payload().expect("a value").to_vec()).expect("text");
        }
    };
    (0..count).map(|_| value()).collect()
}

fn answers(config: &ClientConfig, patience: Duration) -> KafkaResult<()> {
    let client: BaseConsumer = config.create()?;
    client.fetch_metadata(None, patience).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_broker_keeps_its_records_when_it_is_killed_stopped_and_paused() {
    let kafka = Kafka::start(KafkaOptions::default()).await.expect("started");
    assert_eq!(kafka.feature_level("transaction.version").await.expect("an answer"), 2);
    let brokers = kafka.brokers();
    let broker = kafka.broker(1).expect("the first");
    create_topic(&brokers, "t", 1).await;
    produce(&brokers, "t", "before");
    // Killed before it wrote the marker of this commit, the broker would forget it: Kafka 4.3.1 does.
    assert_eq!(consume(&brokers, "t", 1), ["before"]);

    broker.kill().await.expect("killed");
    assert!(answers(&plain(&brokers), GLANCE).is_err(), "nobody there");
    broker.start().await.expect("started again");
    produce(&brokers, "t", "between");

    broker.stop().await.expect("stopped cleanly");
    assert!(answers(&plain(&brokers), GLANCE).is_err(), "nobody there");
    broker.start().await.expect("started again");
    assert_eq!(consume(&brokers, "t", 2), ["before", "between"]);

    broker.pause().await.expect("paused");
    assert!(answers(&plain(&brokers), GLANCE).is_err(), "it does not answer");
    broker.unpause().await.expect("goes on");
    produce(&brokers, "t", "after");
    assert_eq!(consume(&brokers, "t", 3), ["before", "between", "after"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn the_secured_listeners_let_in_who_knows_the_password_or_has_the_certificate_and_nobody_else() {
    let options = KafkaOptions::default().with_secured_listener().with_transaction_version(1);
    let kafka = Kafka::start(options).await.expect("started");
    assert_eq!(kafka.feature_level("transaction.version").await.expect("an answer"), 1);
    let secured = kafka.secured().expect("asked for");
    for mechanism in ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] {
        answers(&client(secured, mechanism), PATIENCE).expect(mechanism);
        let mut wrong = client(secured, mechanism);
        wrong.set("sasl.password", "wrong");
        assert!(answers(&wrong, GLANCE).is_err(), "{mechanism} with a wrong password");
    }
    assert!(answers(&plain(secured.brokers()), GLANCE).is_err(), "without TLS");
    answers(&tls(secured.tls_settings()), PATIENCE).expect("TLS alone");
    answers(&tls(secured.mutual_tls_settings()), PATIENCE).expect("TLS with the client's certificate");
    let mut without_certificate = tls(secured.mutual_tls_settings());
    without_certificate.remove("ssl.certificate.location").remove("ssl.key.location");
    assert!(answers(&without_certificate, GLANCE).is_err(), "a client without a certificate");
    let mut stranger = client(secured, "PLAIN");
    stranger.remove("ssl.ca.location");
    assert!(answers(&stranger, GLANCE).is_err(), "a client that does not know the authority");
}

fn tls(settings: Vec<(&'static str, String)>) -> ClientConfig {
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn client(secured: &Secured, mechanism: &str) -> ClientConfig {
    let mut config = plain(secured.brokers());
    for (name, value) in secured.client_settings(mechanism) {
        config.set(name, value);
    }
    config
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn two_of_three_brokers_go_on_without_the_third() {
    let kafka = Kafka::start(KafkaOptions::default().with_brokers(3)).await.expect("started");
    let brokers = kafka.brokers();
    create_topic(&brokers, "t", 3).await;
    produce(&brokers, "t", "three");
    let first = kafka.broker(1).expect("the first");
    first.kill().await.expect("killed");
    produce(&brokers, "t", "two");
    first.start().await.expect("started again");
    assert_eq!(consume(&brokers, "t", 2), ["three", "two"]);
}

/// Starts a broker, says so, and waits to be killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing unless the test below starts it as a process of its own"]
async fn owner() {
    if std::env::var_os("TIDELOCK_OWNER").is_none() {
        return;
    }
    let kafka = Kafka::shared().await.expect("started");
    println!("BROKERS {}", kafka.brokers());
    tokio::time::sleep(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_container_does_not_outlive_the_process_that_started_it_even_killed() {
    let mut owner = Command::new(std::env::current_exe().expect("this program"))
        .args(["owner", "--exact", "--ignored", "--nocapture"])
        .env("TIDELOCK_OWNER", "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let lines = BufReader::new(owner.stdout.take().expect("its output")).lines();
    let brokers = lines
        .map(|line| line.expect("text"))
        .find_map(|line| line.split_once("BROKERS ").map(|(_, brokers)| brokers.to_owned()))
        .expect("the owner starts a broker");
    answers(&plain(&brokers), PATIENCE).expect("serves");

    owner.kill().expect("killed with signal 9");
    owner.wait().expect("ended");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::net::TcpStream::connect(&brokers).await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "the broker is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
