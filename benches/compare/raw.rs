//! The bare loop: consume, produce or write rows, store the offsets, commit. What a careful user writes without a framework.

use std::fmt::Write as _;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::Failure;
use crate::args::RawLoop;
use crate::clock::Clock;
use crate::hbase::{self, Hbase};
use crate::load::offer;
use crate::raw_items;
use crate::reader::Stamp;
use crate::sql::Sql;
use crate::target::Target;

/// Any request of a healthy broker is answered long before.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Between two looks whether all records arrived: `flush` of the crate sleeps too long.
const PAUSE: Duration = Duration::from_micros(50);

/// Runs until it is killed.
pub(crate) fn run(arguments: &RawLoop) -> Result<(), Failure> {
    let Some(url) = arguments.database.as_deref() else {
        return copy(arguments).map_err(|error| Failure::new("copy", error));
    };
    match Target::of(Some(url)) {
        Target::Hbase => put(arguments, Hbase::connect(url)?),
        Target::Dynamodb => {
            let consumer = consumer(arguments).map_err(|error| Failure::new("consume", error))?;
            raw_items::run(arguments, url, &consumer)
        }
        Target::Kafka | Target::Postgres | Target::Mysql => insert(arguments, Sql::connect(url)?),
    }
}

fn consumer(arguments: &RawLoop) -> Result<BaseConsumer, KafkaError> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &arguments.brokers)
        .set("group.id", &arguments.to)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .create()?;
    consumer.subscribe(&[&arguments.from])?;
    Ok(consumer)
}

/// A transaction for each interval, which has its rows and the position behind them.
fn insert(arguments: &RawLoop, mut database: Sql) -> Result<(), Failure> {
    let failed = |error| Failure::new("consume", error);
    let RawLoop { to, interval, .. } = arguments;
    let consumer = consumer(arguments).map_err(failed)?;
    let clock = Clock::start();
    let (mut due, mut position) = (*interval, None);
    let mut rows = Rows { table: to, statement: String::new(), count: 0 };
    loop {
        let left = due.saturating_sub(clock.elapsed());
        if left.is_zero() {
            due = (due + *interval).max(clock.elapsed());
            if let Some(position) = position.take() {
                rows.send(&mut database)?;
                database.run(&format!("UPDATE {to}_position SET position = {position} WHERE slot = 0"))?;
                database.run("COMMIT")?;
            }
            continue;
        }
        let Some(message) = consumer.poll(left.min(Duration::from_millis(1))) else { continue };
        let message = message.map_err(failed)?;
        let Some(value) = message.payload() else { continue };
        let Some(stamp) = Stamp::read(value) else { continue };
        if position.replace(message.offset() + 1).is_none() {
            database.run("BEGIN")?;
        }
        rows.add(stamp, &value[16..]);
        if rows.count == ROWS_MAX {
            rows.send(&mut database)?;
        }
    }
}

/// Rows are written as they come, many in one call where many wait, and the position is stored at each interval.
fn put(arguments: &RawLoop, mut hbase: Hbase) -> Result<(), Failure> {
    let failed = |error| Failure::new("consume", error);
    let RawLoop { to, interval, .. } = arguments;
    let consumer = consumer(arguments).map_err(failed)?;
    let clock = Clock::start();
    let (mut due, mut is_stored, mut rows) = (*interval, true, Vec::new());
    loop {
        let patience = if rows.is_empty() { Duration::from_millis(1) } else { Duration::ZERO };
        if let Some(message) = consumer.poll(patience) {
            let message = message.map_err(failed)?;
            let Some(value) = message.payload() else { continue };
            let Some(stamp) = Stamp::read(value) else { continue };
            rows.push(hbase::row(stamp, &value[16..]));
            if rows.len() < ROWS_MAX {
                continue;
            }
        }
        if !rows.is_empty() {
            is_stored = false;
            hbase.put(to, std::mem::take(&mut rows), jiff::Timestamp::now().as_millisecond())?;
        }
        if clock.elapsed() >= due {
            due = (due + *interval).max(clock.elapsed());
            if !is_stored {
                consumer.commit_consumer_state(CommitMode::Async).map_err(failed)?;
                is_stored = true;
            }
        }
    }
}

/// An insert of many rows: beyond some hundreds it does not become faster.
struct Rows<'t> {
    table: &'t str,
    statement: String,
    count: usize,
}

const ROWS_MAX: usize = 1_000;

impl Rows<'_> {
    fn add(&mut self, Stamp { number, due }: Stamp, filler: &[u8]) {
        if self.count == 0 {
            self.statement = format!("INSERT INTO {} (number, due, filler) VALUES ", self.table);
        } else {
            self.statement.push(',');
        }
        // The load's filler has nothing that would have to be quoted.
        let filler = String::from_utf8_lossy(filler);
        let _ = write!(self.statement, "({number},{due},'{filler}')");
        self.count += 1;
    }

    fn send(&mut self, database: &mut Sql) -> Result<(), Failure> {
        if std::mem::take(&mut self.count) == 0 { Ok(()) } else { database.run(&self.statement) }
    }
}

fn copy(arguments: &RawLoop) -> Result<(), KafkaError> {
    let RawLoop { brokers, to, interval, .. } = arguments;
    let consumer = consumer(arguments)?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", to)
        .set("linger.ms", "0")
        .set("queue.buffering.max.messages", "1000000")
        .create()?;
    producer.init_transactions(ANSWER_MAX)?;
    producer.begin_transaction()?;
    let clock = Clock::start();
    let mut due = *interval;
    let mut offsets = TopicPartitionList::new();
    loop {
        let left = due.saturating_sub(clock.elapsed());
        if left.is_zero() {
            due = (due + *interval).max(clock.elapsed());
            commit(&consumer, &producer, &mut offsets)?;
            continue;
        }
        if let Some(message) = consumer.poll(left.min(Duration::from_millis(1))) {
            let message = message?;
            forward(&producer, to, &message)?;
            let next = Offset::Offset(message.offset() + 1);
            match offsets.find_partition(message.topic(), message.partition()) {
                Some(mut known) => known.set_offset(next)?,
                None => offsets.add_partition_offset(message.topic(), message.partition(), next)?,
            }
        }
        producer.poll(Duration::ZERO);
    }
}

fn forward(producer: &BaseProducer, to: &str, message: &impl Message) -> Result<(), KafkaError> {
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(to).partition(message.partition());
    record.key = message.key();
    record.payload = message.payload();
    offer(producer, record)
}

fn commit(
    consumer: &BaseConsumer,
    producer: &BaseProducer,
    offsets: &mut TopicPartitionList,
) -> Result<(), KafkaError> {
    if offsets.count() == 0 {
        return Ok(());
    }
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::ZERO);
        std::thread::sleep(PAUSE);
    }
    let Some(group) = consumer.group_metadata() else { return Ok(()) };
    producer.send_offsets_to_transaction(offsets, &group, ANSWER_MAX)?;
    producer.commit_transaction(ANSWER_MAX)?;
    producer.begin_transaction()?;
    *offsets = TopicPartitionList::new();
    Ok(())
}
