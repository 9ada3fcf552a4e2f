//! What the shim is told to do, and what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

/// What goes wrong with a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The call is refused with this code.
    Refused(&'static str),
    /// The call is answered with nothing for ever.
    NoAnswer,
    /// After so many events this comes as one, and then nothing more.
    Exception(usize, &'static str),
    /// After so many events the connection is cut in the middle of one.
    Cut(usize),
    /// After so many events nothing comes any more, and the connection stays.
    Silent(usize),
    /// After so many events the service ends it.
    Ended(usize),
    /// After so many events there is one that has nothing in it.
    Empty(usize),
    /// After so many events there is one of a kind that nobody knows. The others follow.
    Unknown(usize),
}

/// Every kind of trouble, within the first events.
pub(crate) const TROUBLES: [Trouble; 16] = [
    Trouble::Refused("ResourceInUseException"),
    Trouble::Refused("LimitExceededException"),
    Trouble::Refused("InternalFailureException"),
    Trouble::Refused("ResourceNotFoundException"),
    Trouble::Exception(0, "ResourceInUseException"),
    Trouble::Exception(2, "ResourceInUseException"),
    Trouble::Exception(1, "InternalFailureException"),
    Trouble::Exception(1, "KMSThrottlingException"),
    Trouble::Exception(1, "ResourceNotFoundException"),
    Trouble::Cut(0),
    Trouble::Cut(3),
    Trouble::Silent(1),
    Trouble::Ended(2),
    Trouble::Empty(0),
    Trouble::Empty(2),
    Trouble::Unknown(1),
];

/// A consumer.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    pub(crate) arn: String,
    /// So many more looks say that it is not active yet.
    pub(crate) creating: usize,
}

/// A subscription that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) shard: String,
    /// The type of the place, and its number.
    pub(crate) kind: String,
    pub(crate) number: Option<String>,
    pub(crate) at: Instant,
    pub(crate) is_taken: bool,
}

/// What there is, and what is to be.
#[derive(Debug)]
pub(crate) struct Script {
    /// How long a subscription lives.
    pub(crate) life: Duration,
    /// What must lie between two of them.
    pub(crate) apart: Duration,
    /// How many records an event has at most.
    pub(crate) event_records: usize,
    /// Between two events, where nothing comes.
    pub(crate) beat: Duration,
    /// Whether the end of a shard names its children.
    pub(crate) names_children: bool,
    /// Whether the last records come in an event of their own, before the end.
    pub(crate) ends_apart: bool,
    /// The next subscriptions meet these.
    pub(crate) plan: VecDeque<Trouble>,
    /// When nothing is planned, one meets any trouble so often.
    pub(crate) chance: f64,
    pub(crate) random: StdRng,
    /// By the ARN of the stream, and the name.
    pub(crate) consumers: BTreeMap<(String, String), Registered>,
    /// How many looks say of a new one that it is not active yet.
    pub(crate) creating: usize,
    /// What was asked, by the name of the call.
    pub(crate) calls: BTreeMap<String, usize>,
    pub(crate) asked: Vec<Asked>,
    /// Of the subscriptions that live, by consumer and shard, the newest: its number, and when it began.
    pub(crate) live: BTreeMap<(String, String), (u64, Instant)>,
    /// How many events were given away, by shard: to the connection, and not to the reader.
    pub(crate) events: BTreeMap<String, usize>,
    /// How many subscriptions were given up by who had them, while they lived.
    pub(crate) given_up: usize,
    pub(crate) made: u64,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self {
            life: Duration::from_secs(300),
            apart: Duration::from_millis(20),
            event_records: 100,
            beat: Duration::from_millis(10),
            names_children: true,
            ends_apart: false,
            plan: VecDeque::new(),
            chance: 0.0,
            random: StdRng::seed_from_u64(0),
            consumers: BTreeMap::new(),
            creating: 0,
            calls: BTreeMap::new(),
            asked: Vec::new(),
            live: BTreeMap::new(),
            events: BTreeMap::new(),
            given_up: 0,
            made: 0,
        }
    }

    pub(crate) fn times_called(&self, call: &str) -> usize {
        self.calls.get(call).copied().unwrap_or_default()
    }

    pub(crate) fn trouble(&mut self) -> Option<Trouble> {
        let of_chance = |script: &mut Self| {
            let is_hit = script.random.random_bool(script.chance);
            is_hit.then(|| TROUBLES[script.random.random_range(0..TROUBLES.len())])
        };
        self.plan.pop_front().or_else(|| of_chance(self))
    }

    pub(crate) fn register(&mut self, stream: &str, name: &str) -> Result<Registered, &'static str> {
        let key = (stream.to_owned(), name.to_owned());
        if self.consumers.contains_key(&key) {
            return Err("ResourceInUseException");
        }
        self.made += 1;
        let arn = format!("{stream}/consumer/{name}:{}", self.made);
        let new = Registered { arn, creating: self.creating };
        self.consumers.insert(key, new.clone());
        Ok(new)
    }

    /// The consumer that a request names, by its ARN or by stream and name.
    pub(crate) fn key_of(&self, asked: &serde_json::Value) -> Option<(String, String)> {
        if let Some(arn) = asked["ConsumerARN"].as_str() {
            return self.consumers.iter().find(|(_, one)| one.arn == arn).map(|(key, _)| key.clone());
        }
        let text = |name: &str| asked[name].as_str().map(str::to_owned);
        Some((text("StreamARN")?, text("ConsumerName")?)).filter(|key| self.consumers.contains_key(key))
    }

    /// A subscription begins, and takes the place of the one before, unless that began a moment ago.
    pub(crate) fn begin(&mut self, consumer: &str, asked: Asked) -> Result<u64, &'static str> {
        let key = (consumer.to_owned(), asked.shard.clone());
        let is_early = self.live.get(&key).is_some_and(|(_, began)| began.elapsed() < self.apart);
        self.asked.push(Asked { is_taken: !is_early, ..asked });
        if is_early {
            return Err("ResourceInUseException");
        }
        self.made += 1;
        self.live.insert(key, (self.made, Instant::now()));
        Ok(self.made)
    }
}
