//! The floor: one transaction alone on the broker, from its begin until a reader sees it.
//!
//! Three producers take turns, because a transactional id that begins again at once waits for its markers.

use std::thread::sleep;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer};

use crate::Failure;
use crate::bench::Bench;
use crate::clock::Clock;
use crate::load::send;
use crate::outcome::{Outcome, Setting};
use crate::reader::{Reader, Stamp};
use crate::systems::System;

const PRODUCERS: usize = 3;

/// Any request of a healthy broker is answered long before.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Between two looks whether all records arrived: `flush` of the crate sleeps too long.
const PAUSE: Duration = Duration::from_micros(50);

/// Transactions before the measured ones, in milliseconds.
const WARM_UP_MS: u64 = 3_000;

/// Between two looks whether the last record was seen.
const LOOK: Duration = Duration::from_millis(10);

pub(crate) fn measure(bench: &Bench, setting: &Setting) -> Result<Outcome, Failure> {
    let failed = |error| Failure::new("run a transaction", error);
    let topic = bench.broker.make_topic("floor", setting.partitions, None)?;
    let clock = Clock::start();
    let reader = Reader::start(&bench.broker.address, &topic, setting.partitions, clock)?;
    let producers: Result<Vec<_>, _> =
        (0..PRODUCERS).map(|index| start(&bench.broker.address, &format!("{topic}-{index}"))).collect();
    let producers = producers.map_err(failed)?;
    // One transaction in each interval, with the records of that interval.
    let beat = setting.interval();
    let records = (setting.rate * setting.interval_ms / 1000).max(1);
    let warm_up = WARM_UP_MS / setting.interval_ms.max(1);
    let transactions = warm_up + setting.seconds * 1000 / setting.interval_ms.max(1);
    reader.measure(warm_up * records, transactions * records);
    let mut value = vec![b'x'; usize::try_from(setting.size).unwrap_or(usize::MAX)];
    // One more: the reader is done when it sees the first record after the measured ones.
    for (number, producer) in (0..=transactions).zip(producers.iter().cycle()) {
        let due = clock.nanos();
        for record in number * records..(number + 1) * records {
            Stamp { number: record, due }.write(&mut value);
            send(producer, &topic, record % u64::from(setting.partitions), &value).map_err(failed)?;
        }
        commit(producer).map_err(failed)?;
        let taken = clock.nanos() - due;
        sleep(beat.saturating_sub(Duration::from_nanos(taken)));
    }
    let deadline = clock.elapsed() + ANSWER_MAX;
    while !reader.is_done() && clock.elapsed() < deadline {
        sleep(LOOK);
    }
    let seen = reader.stop()?;
    bench.broker.delete_topics(&[&topic]);
    let missing = ((transactions - warm_up) * records).saturating_sub(seen.micros.len());
    Ok(Outcome { missing, wrong: seen.wrong, ..bench.outcome(System::Floor, setting, &seen.micros) })
}

fn start(brokers: &str, id: &str) -> Result<BaseProducer, KafkaError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("transactional.id", id).set("linger.ms", "0");
    let producer: BaseProducer = config.create()?;
    producer.init_transactions(ANSWER_MAX)?;
    producer.begin_transaction()?;
    Ok(producer)
}

fn commit(producer: &BaseProducer) -> Result<(), KafkaError> {
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::ZERO);
        sleep(PAUSE);
    }
    producer.commit_transaction(ANSWER_MAX)?;
    producer.begin_transaction()
}
