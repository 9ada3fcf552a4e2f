//! What the sink and its writers share: the cluster, the settings, and who uses them.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientConfig;
use tidelock::{Error, ErrorKind, Result, SinkAttempt};

use crate::committable::KafkaCommittable;
use crate::config::{Guarantee, KafkaSinkConfig, refuse};
use crate::control::cluster::Cluster;
use crate::control::fault::Fault;
use crate::defaults;
use crate::librdkafka::set_backoff;
use crate::sweep::{Owner, Sweeper};

/// How long a delivery may take before the attempt ends and recovers: as long as the control client waits for
/// a broker. A producer of librdkafka was seen to send nothing any more after its broker was away, and to say
/// nothing; the next attempt has producers of its own.
const DELIVERY_MS_MAX: i32 = 60_000;

/// librdkafka's `message.max.bytes` and `batch.size` where they are not given.
const MESSAGE_BYTES_DEFAULT: usize = 1_000_000;

/// What sink and writers share.
pub(crate) struct Target {
    pub(crate) config: KafkaSinkConfig,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) cluster_id: String,
    pub(crate) timeout_ms: i32,
    pub(crate) sweeper: Sweeper,
    /// Whether brokers can hold transactions of ours: those before Kafka 3.0 never did.
    pub(crate) may_have_leftovers: bool,
    /// Whether a sweep will follow the last commit.
    pub(crate) will_sweep: AtomicBool,
    /// The attempt that this process runs, once known.
    pub(crate) attempt: Mutex<Option<SinkAttempt>>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Target {
    /// Which attempt uses the sink now.
    pub(crate) fn run_by(&self, attempt: &SinkAttempt) {
        *self.attempt.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempt.clone());
    }

    pub(crate) fn attempt(&self) -> Option<SinkAttempt> {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn owner<'a>(&'a self, attempt: &'a SinkAttempt) -> Owner<'a> {
        Owner { cluster: &self.cluster, attempt, timeout_ms: self.timeout_ms }
    }

    /// Committables name their cluster: another one under the same address knows nothing of them.
    pub(crate) fn check_cluster(&self, ours: &KafkaCommittable) -> Result<()> {
        if ours.cluster_id == self.cluster_id {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Config, "commit to Kafka", "what is pending is in another cluster")
            .with("transactional_id", &ours.transactional_id)
            .with("prepared_in", &ours.cluster_id)
            .with("connected_to", &self.cluster_id))
    }

    /// Looks at a topic before the first record goes there. Recovery asks its partitions for their
    /// producers: without the right to, a job would write well and fail when it recovers.
    pub(crate) async fn check_topic(&self, topic: &str) -> Result<()> {
        if self.config.guarantee == Guarantee::AtLeastOnce {
            return Ok(());
        }
        let looked = async {
            let found = self.cluster.topics(Some(&[topic.to_owned()])).await?;
            // One that does not exist yet may be made with the first record.
            match found.first().and_then(|found| found.partitions.first()) {
                Some(partition) => self.cluster.producers(&[(topic, *partition)]).await.map(drop),
                None => Ok(()),
            }
        };
        looked.await.map_err(|fault: Fault| fault.into_error("write to Kafka").with("topic", topic))
    }

    /// The largest record that a topic takes.
    pub(crate) async fn record_bytes_max(&self, topic: &str) -> Result<usize> {
        let given = |name: &str| self.config.properties.get(name).and_then(|text| text.parse::<usize>().ok());
        let message = given("message.max.bytes").unwrap_or(MESSAGE_BYTES_DEFAULT);
        let batch = given("batch.size").unwrap_or(MESSAGE_BYTES_DEFAULT).min(message);
        let setting = self.cluster.topic_setting(topic, "max.message.bytes").await;
        let setting = setting.map_err(|fault| fault.into_error("write to Kafka").with("topic", topic))?;
        let Some(allowed) = setting.and_then(|text| text.parse::<usize>().ok()) else { return Ok(message) };
        if batch > allowed {
            // Many small records would make a batch that the broker refuses, and with it the epoch.
            let why = "larger than what a topic takes, its max.message.bytes";
            return Err(refuse("batch.size", why).with("topic", topic).with("max.message.bytes", allowed));
        }
        Ok(message.min(allowed))
    }

    /// librdkafka's settings: ours where the user gives none.
    pub(crate) fn producer_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        defaults::apply(defaults::PRODUCER, &mut config);
        set_backoff(&mut config);
        if self.config.guarantee == Guarantee::AtLeastOnce {
            // A record is visible when it is sent, so little of it.
            config.set("linger.ms", "1");
            config.set("message.timeout.ms", DELIVERY_MS_MAX.to_string());
        } else {
            // Nobody sees a record before its epoch is committed, and a barrier ends it.
            config.set("linger.ms", "50");
            config.set("transaction.timeout.ms", self.timeout_ms.to_string());
            // A record cannot be waited for longer than its transaction lasts.
            config.set("message.timeout.ms", self.timeout_ms.min(DELIVERY_MS_MAX).to_string());
            // Never left to librdkafka: see TIMEOUT_MS_MAX.
            config.set("socket.timeout.ms", (self.timeout_ms - 100).min(60_000).to_string());
        }
        let given = self.config.properties.iter().filter(|(name, _)| *name != "transaction.timeout.ms");
        defaults::replace(given, &mut config);
        config
    }
}
