//! The sink: opens writers, commits what they prepared, recovers what a crash left.
//!
//! ```text
//!   writer                         coordinator of the job                     broker
//!   records ──────── librdkafka ────────────────────────────────────> open transaction
//!   prepare: all delivered; DescribeTransactions ───────────────────> Ongoing, who and since when
//!        └── committable ──────> snapshot entry durable
//!                                commit: EndTxn by the control client ──> committed
//!                                DescribeProducers ─────────────────────> visible in every partition
//!   settled <─── a later entry no longer lists it
//!   librdkafka's own commit finds it done; the slot may begin again
//! ```
//!
//! There is one commit path: a fresh process that recovers does what a healthy one does at every
//! checkpoint. Recovery looks at everything before it changes anything (I6, I7).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use tidelock::{CommitPermit, Committed, ErrorKind, Pending, Result, Retry, Sink, SinkAttempt, WriterId};

use crate::client::Transactions;
use crate::committable::{KafkaCommittable, SlotName};
use crate::config::{Guarantee, KafkaSinkConfig, refuse};
use crate::control::cluster::{AT_ONCE, Cluster};
use crate::control::fault::Fault;
use crate::finish::finish;
use crate::librdkafka::Librdkafka;
use crate::record::ProducerRecord;
use crate::slots::Slots;
use crate::sweep::Sweeper;
use crate::target::Target;
use crate::verdict::{Examined, Verdict, cannot_commit};
use crate::writer::{KafkaWriter, Mode, Transactional};

/// From a commit to the look for what an older attempt began meanwhile. It hides what is committed no longer.
const SWEEP_PAUSE: Duration = Duration::from_secs(5);

/// `transaction.max.timeout.ms` of a broker that does not tell us: Kafka's default.
const TIMEOUT_MS_UNTOLD: i32 = 900_000;

/// The timeout of an id that is fenced where nothing is begun: the shortest that is surely allowed.
const TIMEOUT_MS_FENCING: i32 = 60_000;

/// Writes records to Kafka, exactly once for readers with `read_committed`.
#[derive(Debug)]
pub struct KafkaSink {
    target: Arc<Target>,
}

impl KafkaSink {
    /// Connects to the cluster and checks what can be checked before records flow: the settings, that
    /// the control client gets through with them, that the brokers know the requests that recovery
    /// needs, and the transaction timeout.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] or [`ErrorKind::Auth`] with what is wrong; [`ErrorKind::Unavailable`] where no
    /// broker answers.
    pub async fn connect(config: KafkaSinkConfig) -> Result<Self> {
        config.validate()?;
        let cluster = Cluster::new(&config.properties)?;
        let failed = |fault: Fault| fault.into_error("connect to Kafka");
        let cluster_id = cluster.cluster_id().await.map_err(failed)?;
        let is_exact = config.guarantee == Guarantee::ExactlyOnce;
        let may_have_leftovers = match cluster.check_features().await {
            Err(Fault::Final(_)) if !is_exact => false,
            checked => checked.map(|()| true).map_err(failed)?,
        };
        let timeout_ms = if is_exact {
            let allowed = cluster.broker_setting("transaction.max.timeout.ms").await.map_err(failed)?;
            timeout_of(config.transaction_timeout_ms()?, allowed.and_then(|text| text.parse().ok()))?
        } else {
            TIMEOUT_MS_FENCING
        };
        let target = Target {
            config,
            cluster: Arc::new(cluster),
            cluster_id,
            timeout_ms,
            sweeper: Sweeper::default(),
            may_have_leftovers,
            will_sweep: AtomicBool::new(false),
            attempt: Mutex::default(),
        };
        Ok(Self { target: Arc::new(target) })
    }

    /// What became of a pending transaction.
    async fn look(&self, ours: &KafkaCommittable) -> Result<Examined> {
        self.target.check_cluster(ours)?;
        Transactions::on(Arc::clone(&self.target.cluster)).examine(ours).await
    }

    /// Ends one transaction, and returns when it is visible. Says whether a request was left unanswered.
    async fn end(&self, ours: &KafkaCommittable) -> Result<bool> {
        self.target.check_cluster(ours)?;
        let cluster = &self.target.cluster;
        let id = &ours.transactional_id;
        let ended = cluster.end_transaction(id, ours.producer_id, ours.producer_epoch, true).await;
        let Err(fault) = ended.outcome else {
            finish(cluster, ours).await?;
            return Ok(ended.unanswered);
        };
        if !matches!(fault, Fault::Code(_)) {
            return Err(fault.into_error("commit to Kafka").with("transactional_id", id));
        }
        // The broker refuses. What became of the transaction says why, and whether it is done.
        let found = self.look(ours).await?;
        match found.verdict {
            Verdict::Done => {
                finish(cluster, ours).await?;
                Ok(ended.unanswered)
            }
            Verdict::Open => Err(fault.into_error("commit to Kafka").with("transactional_id", id)),
            Verdict::Lost | Verdict::Unknown => Err(cannot_commit(&found, ours, now_ms())),
        }
    }
}

/// Milliseconds since 1970, for timestamps and for the age in an error: nothing is decided by it.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The longest timeout that librdkafka can work with. Above it `socket.timeout.ms` cannot be given, and
/// the one that librdkafka derives overflows: requests then time out at random and are sent again.
const TIMEOUT_MS_MAX: i32 = i32::MAX - 100;

/// The timeout of our transactions: the user's, or the longest that the brokers allow.
fn timeout_of(wanted: Option<i32>, allowed: Option<i32>) -> Result<i32> {
    match (wanted, allowed) {
        (Some(wanted), _) if wanted > TIMEOUT_MS_MAX => {
            let why = format!("longer than librdkafka can work with, {TIMEOUT_MS_MAX}");
            Err(refuse("transaction.timeout.ms", why).with("value", wanted))
        }
        (Some(wanted), Some(allowed)) if wanted > allowed => {
            let why = format!("longer than the brokers' transaction.max.timeout.ms, {allowed}");
            Err(refuse("transaction.timeout.ms", why).with("value", wanted))
        }
        (Some(wanted), _) => Ok(wanted),
        (None, Some(allowed)) => Ok(allowed.min(TIMEOUT_MS_MAX)),
        (None, None) => {
            tracing::warn!(
                "we may not see transaction.max.timeout.ms of the brokers: Kafka's default is taken"
            );
            Ok(TIMEOUT_MS_UNTOLD)
        }
    }
}

#[async_trait]
impl Sink for KafkaSink {
    type Record = ProducerRecord;
    type Committable = KafkaCommittable;
    type Writer = KafkaWriter;

    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<KafkaCommittable>]) -> Result<()> {
        self.target.run_by(attempt);
        if self.target.config.guarantee == Guarantee::ExactlyOnce {
            self.check_rights(attempt).await?;
        }
        // Leftovers first, also where we halt afterwards: a halted job pins its readers with nothing
        // but what its snapshot lists. Also in at-least-once mode: the job may have written exactly once before.
        if self.target.may_have_leftovers {
            self.target.sweeper.sweep(self.target.owner(attempt), pending).await?;
        }
        let looks: Vec<_> = pending.iter().map(|one| self.look(&one.committable)).collect();
        let looks: Vec<_> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        // I7: one that is lost stops all, before anything is committed.
        for (one, found) in pending.iter().zip(&looks) {
            if matches!(found.verdict, Verdict::Lost | Verdict::Unknown) {
                return Err(cannot_commit(found, &one.committable, now_ms()));
            }
        }
        Ok(())
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<KafkaWriter> {
        let target = Arc::clone(&self.target);
        target.run_by(attempt);
        let config = target.producer_config();
        let mode = match target.config.guarantee {
            Guarantee::AtLeastOnce => Mode::AtLeastOnce(Box::new(Librdkafka::start(Arc::new(config)).await?)),
            Guarantee::ExactlyOnce => {
                target.sweeper.opens(attempt);
                let name = attempt.target_name(writer);
                let cluster = Arc::clone(&target.cluster);
                let mut slots = Slots::new(name, cluster, config, target.config.slots_max);
                slots.make_ready(target.config.slots_ready).await?;
                Mode::ExactlyOnce(Box::new(Transactional { slots, current: None }))
            }
        };
        Ok(KafkaWriter::new(target, mode))
    }

    /// The brokers abort a transaction that is older than its timeout.
    fn keeps_prepared(&self) -> Option<Duration> {
        let Target { config, timeout_ms, .. } = &*self.target;
        let timeout = Duration::from_millis(u64::try_from(*timeout_ms).unwrap_or(0));
        (config.guarantee == Guarantee::ExactlyOnce).then_some(timeout)
    }

    async fn commit(
        &self,
        _permit: &CommitPermit,
        mut committables: Vec<Pending<KafkaCommittable>>,
    ) -> Result<Committed> {
        // I5: what another owner of the job has open would hide it.
        self.target.sweeper.check_owner()?;
        let attempt = self.target.attempt();
        committables.sort_by_key(|one| one.epoch);
        let mut committed = Committed::default();
        // Epoch by epoch: nothing of a later one is visible before all of an earlier one was ended.
        for of_epoch in committables.chunk_by(|one, next| one.epoch == next.epoch) {
            let ends: Vec<_> = of_epoch.iter().map(|one| self.end(&one.committable)).collect();
            let unanswered: Vec<bool> = stream::iter(ends).buffered(AT_ONCE).try_collect().await?;
            let doubtful = of_epoch.iter().zip(unanswered).filter(|(one, unanswered)| {
                *unanswered && attempt.as_ref().is_some_and(|ours| ours.number == one.attempt)
            });
            committed.reinit.extend(doubtful.map(|(one, _)| one.writer));
        }
        if let Some(attempt) = attempt {
            self.sweep_soon(attempt);
        }
        Ok(committed)
    }
}

impl KafkaSink {
    /// Looks a while after a commit for what older attempts began meanwhile, which hides it. Every epoch of the
    /// attempt ends with a commit, so it is looked for as long as the attempt lasts, and no longer. What fails here
    /// fails again, and loudly, where something depends on it.
    fn sweep_soon(&self, attempt: SinkAttempt) {
        let target = Arc::downgrade(&self.target);
        if !self.target.may_have_leftovers || self.target.will_sweep.swap(true, Ordering::SeqCst) {
            return;
        }
        tokio::spawn(async move {
            tokio::time::sleep(SWEEP_PAUSE).await;
            let Some(target) = target.upgrade() else { return };
            if target.attempt().as_ref() == Some(&attempt)
                && let Err(error) = target.sweeper.sweep_again(target.owner(&attempt)).await
            {
                tracing::warn!(%error, "what other attempts began may hide what is committed");
            }
            target.will_sweep.store(false, Ordering::SeqCst);
        });
    }

    /// Without the right to describe our ids they would be missing in lists of transactions, and
    /// leftovers with them: found out before anything depends on it.
    async fn check_rights(&self, attempt: &SinkAttempt) -> Result<()> {
        let target = attempt.target_name(WriterId(0));
        let id = SlotName { target, slot: 0 }.to_string();
        let described = self.target.cluster.describe_transaction(&id).await;
        described.map(drop).map_err(|fault| {
            let error = fault.into_error("recover in Kafka");
            let retry = if error.kind() == ErrorKind::Auth { Retry::Halt } else { error.retry() };
            error.with("transactional_id", id).with_retry(retry)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_is_the_longest_that_the_brokers_allow_and_never_longer() {
        assert_eq!(timeout_of(None, Some(i32::MAX)).expect("allowed"), TIMEOUT_MS_MAX);
        assert!(timeout_of(Some(i32::MAX), Some(i32::MAX)).is_err(), "librdkafka overflows");
        assert_eq!(timeout_of(None, Some(900_000)).expect("allowed"), 900_000);
        assert_eq!(timeout_of(Some(60_000), Some(900_000)).expect("allowed"), 60_000);
        assert_eq!(timeout_of(None, None).expect("allowed"), TIMEOUT_MS_UNTOLD);
        let error = timeout_of(Some(900_001), Some(900_000)).expect_err("refused").to_string();
        assert!(error.contains("900000") && error.contains("transaction.timeout.ms"), "{error}");
    }
}
