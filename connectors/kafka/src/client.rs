//! The control client, for people and tools: looks at transactions and ends them.

use std::sync::Arc;

use tidelock::{Error, Result};

use crate::committable::KafkaCommittable;
use crate::control::cluster::Cluster;
use crate::control::fault::Fault;
use crate::control::transactions::{Described, Listed};
use crate::finish::finish;
use crate::places::{Holds, look_at_places};
use crate::properties::Properties;
use crate::verdict::{Examined, Verdict, judge};

/// The transactions of a cluster.
#[derive(Debug, Clone)]
pub struct Transactions {
    cluster: Arc<Cluster>,
}

fn failed(fault: Fault) -> Error {
    fault.into_error("ask Kafka for transactions")
}

impl Transactions {
    /// Connects with the same settings as librdkafka.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) for a security setting that is not known here;
    /// [`ErrorKind::Unavailable`](tidelock::ErrorKind::Unavailable) where no broker answers.
    pub async fn connect(properties: &Properties) -> Result<Self> {
        let cluster = Cluster::new(properties)?;
        cluster.cluster_id().await.map_err(failed)?;
        Ok(Self::on(Arc::new(cluster)))
    }

    pub(crate) fn on(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// The name of the cluster.
    ///
    /// # Errors
    /// Where no broker answers.
    pub async fn cluster_id(&self) -> Result<String> {
        self.cluster.cluster_id().await.map_err(failed)
    }

    /// Every transactional id that we may see, with the state of its last transaction.
    ///
    /// # Errors
    /// Where any broker does not answer: a list with gaps would be taken for a whole one.
    pub async fn list(&self) -> Result<Vec<Listed>> {
        let listed = self.cluster.list_transactions(None, false).await.map_err(failed)?;
        Ok(listed.into_iter().map(|(_, listed)| listed).collect())
    }

    /// The last transaction of a transactional id; `None` where the id is not known.
    ///
    /// # Errors
    /// Where its coordinator does not answer or refuses.
    pub async fn describe(&self, transactional_id: &str) -> Result<Option<Described>> {
        self.cluster.describe_transaction(transactional_id).await.map_err(failed)
    }

    /// What became of a prepared transaction: its coordinator is asked, and where that one says that it
    /// is open, every partition.
    ///
    /// # Errors
    /// Where a broker does not answer or refuses.
    pub async fn examine(&self, ours: &KafkaCommittable) -> Result<Examined> {
        let described = self.describe(&ours.transactional_id).await?;
        let verdict = judge(ours, described.as_ref());
        if verdict == Verdict::Open {
            let places = look_at_places(&self.cluster, ours).await.map_err(failed)?;
            let torn = places.iter().filter(|place| !matches!(place.holds, Holds::Open(_)));
            // A topic that was deleted says more than one in which it was ended.
            if let Some(place) = torn.max_by_key(|place| place.holds == Holds::Deleted) {
                let not_open_in = Some((place.topic.to_owned(), place.partition));
                let is_deleted = place.holds == Holds::Deleted;
                return Ok(Examined { verdict: Verdict::Lost, described, not_open_in, is_deleted });
            }
        }
        Ok(Examined::new(verdict, described, None))
    }

    /// Commits a transaction, whatever became of it: [`Transactions::examine`] first. Returns when it is
    /// visible. Done again, it changes nothing, or finishes what a broker forgot.
    ///
    /// # Errors
    /// Where a broker does not answer or refuses.
    pub async fn commit(&self, ours: &KafkaCommittable) -> Result<()> {
        let KafkaCommittable { transactional_id, producer_id, producer_epoch, .. } = ours;
        let ended = self.cluster.end_transaction(transactional_id, *producer_id, *producer_epoch, true).await;
        ended.outcome.map_err(|fault| failed(fault).with("transactional_id", transactional_id))?;
        self.finish(ours).await
    }

    /// Returns when a transaction that its coordinator committed is visible. Writes a marker where the
    /// coordinator calls the commit complete and a partition holds it open: Kafka 4.3.1 can forget one
    /// when it is killed, and nobody else would ever write it.
    ///
    /// # Errors
    /// Where a broker does not answer; [`ErrorKind::Auth`](tidelock::ErrorKind::Auth) where a marker is
    /// missing and we may not write it.
    pub async fn finish(&self, ours: &KafkaCommittable) -> Result<()> {
        finish(&self.cluster, ours).await
    }

    /// Aborts what is open under a transactional id, and fences the producer that uses it.
    ///
    /// # Errors
    /// Where its coordinator does not answer or refuses.
    pub async fn fence(&self, transactional_id: &str) -> Result<()> {
        /// The shortest that is surely allowed: nothing is begun under it.
        const TIMEOUT_MS: i32 = 60_000;
        let fenced = self.cluster.fence(transactional_id, TIMEOUT_MS).await;
        fenced.map_err(|fault| failed(fault).with("transactional_id", transactional_id))
    }
}
