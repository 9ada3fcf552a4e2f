//! librdkafka's settings that touch data: each is chosen here, and none is left to a default that a newer librdkafka may
//! change. A user's `properties` replace them, but for those that the connector owns, which are refused.
//!
//! Not here, because the values of others decide: `transaction.timeout.ms`, `message.timeout.ms` and `linger.ms` of the
//! sink, `isolation.level` and `group.id` of the source.

use rdkafka::ClientConfig;

use crate::properties::Properties;

/// One choice.
pub(crate) struct Choice {
    pub(crate) name: &'static str,
    pub(crate) value: &'static str,
    /// What it is for.
    pub(crate) why: &'static str,
}

const fn choice(name: &'static str, value: &'static str, why: &'static str) -> Choice {
    Choice { name, value, why }
}

/// What every consumer is given.
pub(crate) const CONSUMER: &[Choice] = &[
    choice("auto.offset.reset", "error", "on_data_loss decides what a position that is gone means"),
    choice("enable.auto.commit", "false", "positions are in the snapshot alone"),
    choice("enable.auto.offset.store", "false", "positions are in the snapshot alone"),
    choice("enable.partition.eof", "true", "the end is where a position passes what no reader sees"),
    choice("check.crcs", "true", "a damaged batch is an error and never a record; librdkafka does not look"),
    choice("allow.auto.create.topics", "false", "a topic that was deleted must not come back by being read"),
    choice(
        "fetch.message.max.bytes",
        "1048576",
        "asked for at once; a larger record comes whole all the same",
    ),
    choice("queued.max.messages.kbytes", "16384", "what a partition has in memory that nobody took yet"),
    choice("fetch.queue.backoff.ms", "5", "how long a full queue is left alone: a second would empty it"),
    choice("fetch.error.backoff.ms", "50", "the pause after a fetch that failed"),
    choice(
        "topic.metadata.propagation.max.ms",
        "30000",
        "how long a topic may be unknown to a broker that begins",
    ),
];

/// What every producer is given, that of the sink and that of dead letters.
pub(crate) const PRODUCER: &[Choice] = &[
    choice("acks", "all", "delivered means in every replica that is in sync"),
    choice("enable.idempotence", "true", "a request that is repeated writes once, and keeps the order"),
    choice(
        "enable.gapless.guarantee",
        "false",
        "the first delivery that fails ends the attempt: nothing passes a gap",
    ),
    choice("partitioner", "murmur2_random", "Java's, by the key; a record without a key goes anywhere"),
    choice("compression.type", "none", "a choice of the user's"),
    choice("queuing.strategy", "fifo", "the order of the records is kept"),
    choice("queue.buffering.max.messages", "500000", "as many records as an epoch may wait with"),
    choice("queue.buffering.max.kbytes", "262144", "and as many bytes of them"),
    choice("message.max.bytes", "1000000", "larger ones are for on_unwritable to decide"),
    choice("batch.size", "1000000", "what one request may carry; compared with what the topic takes"),
];

/// Settings that librdkafka knows by two names. It keeps whichever of them it is told last.
const TWO_NAMES: [[&str; 2]; 9] = [
    ["acks", "request.required.acks"],
    ["bootstrap.servers", "metadata.broker.list"],
    ["compression.type", "compression.codec"],
    ["fetch.message.max.bytes", "max.partition.fetch.bytes"],
    ["linger.ms", "queue.buffering.max.ms"],
    ["max.in.flight.requests.per.connection", "max.in.flight"],
    ["message.send.max.retries", "retries"],
    ["message.timeout.ms", "delivery.timeout.ms"],
    ["sasl.mechanism", "sasl.mechanisms"],
];

/// Puts a user's settings in the place of ours, under whichever name they are given: a client is told its settings in no
/// order, so that both names of one would be decided by chance.
pub(crate) fn replace<'a>(properties: impl Iterator<Item = (&'a str, &'a str)>, client: &mut ClientConfig) {
    for (name, value) in properties {
        for other in TWO_NAMES.iter().filter(|names| names.contains(&name)).flatten() {
            client.remove(other);
        }
        client.set(name, value);
    }
}

/// One setting under both of its names, if there is one: which of them counts would be chance.
pub(crate) fn given_twice(properties: &Properties) -> Option<&'static str> {
    let twice = |names: &&[&str; 2]| names.iter().all(|name| properties.get(name).is_some());
    TWO_NAMES.iter().find(twice).map(|names| names[0])
}

/// Gives a client the choices.
pub(crate) fn apply(choices: &[Choice], client: &mut ClientConfig) {
    for Choice { name, value, why } in choices {
        debug_assert!(!why.is_empty(), "{name} has a reason");
        client.set(*name, *value);
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::BaseConsumer;
    use rdkafka::producer::BaseProducer;

    use super::*;

    /// What librdkafka has for a setting of a client with these choices.
    fn configured(choices: &[Choice]) -> ClientConfig {
        let mut config = ClientConfig::new();
        apply(choices, &mut config);
        config
    }

    #[test]
    fn librdkafka_knows_and_takes_every_choice() {
        // A client refuses a setting that it does not know, or a value that cannot be.
        let consumer: Result<BaseConsumer, _> = configured(CONSUMER).set("group.id", "g").create();
        assert!(consumer.is_ok(), "{:?}", consumer.err());
        let producer: Result<BaseProducer, _> = configured(PRODUCER).create();
        assert!(producer.is_ok(), "{:?}", producer.err());
        let native = configured(CONSUMER).create_native_config().expect("taken");
        for Choice { name, value, .. } in CONSUMER {
            assert_eq!(native.get(name).expect("known"), *value, "{name}");
        }
        let native = configured(PRODUCER).create_native_config().expect("taken");
        for Choice { name, value, .. } in PRODUCER.iter().filter(|choice| choice.name != "acks") {
            assert_eq!(native.get(name).expect("known"), *value, "{name}");
        }
    }

    #[test]
    fn a_user_replaces_a_choice_under_either_name() {
        for [ours, theirs] in TWO_NAMES {
            let mut config = ClientConfig::new();
            config.set(ours, "1");
            replace([(theirs, "2")].into_iter(), &mut config);
            assert_eq!((config.get(ours), config.get(theirs)), (None, Some("2")));
            replace([(ours, "3")].into_iter(), &mut config);
            assert_eq!((config.get(ours), config.get(theirs)), (Some("3"), None));
            let both = Properties::default().with(ours, "1").with(theirs, "2");
            assert_eq!(given_twice(&both), Some(ours));
        }
        assert_eq!(given_twice(&Properties::new("b:1").with("linger.ms", "3")), None);
    }

    #[test]
    fn no_setting_is_chosen_twice_and_each_has_a_reason() {
        for choices in [CONSUMER, PRODUCER] {
            let mut names: Vec<_> = choices.iter().map(|choice| choice.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), choices.len());
            assert!(choices.iter().all(|choice| !choice.why.is_empty()));
        }
    }
}
