//! Looks now and then whether the topics that are read are still the same ones.
//!
//! librdkafka goes on at the old offset in a topic that was deleted and made again, and says nothing; and it needs half a
//! minute to say that a topic is gone. One request for all topics of a source is asked instead.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::control::cluster::Cluster;
use crate::split::KafkaSplit;

/// Between two looks: for so long a topic that was made again may be read at the position of the old one, before it is
/// found out.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// The topics that a source reads.
pub(crate) struct Watch {
    cluster: Arc<Cluster>,
    topics: Arc<Topics>,
    is_started: AtomicBool,
}

#[derive(Default)]
struct Topics {
    /// How many looks there were.
    looks: AtomicU64,
    seen: Mutex<BTreeMap<String, Seen>>,
}

/// What the last look found of one topic.
#[derive(Default)]
struct Seen {
    readers: usize,
    /// Its id, or that it is not listed. `None`: not looked yet.
    id: Option<Option<String>>,
}

impl Topics {
    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self, cluster: &Cluster) {
        let names: Vec<String> = self.seen().keys().cloned().collect();
        if names.is_empty() {
            return;
        }
        let found = match cluster.topics(Some(&names)).await {
            Ok(found) => found,
            Err(fault) => return tracing::debug!(?fault, "the topics that are read were not looked at"),
        };
        let mut ids: BTreeMap<String, String> =
            found.into_iter().map(|topic| (topic.name, topic.id)).collect();
        let mut seen = self.seen();
        for name in names {
            let id = ids.remove(&name);
            if let Some(topic) = seen.get_mut(&name) {
                topic.id = Some(id);
            }
        }
        drop(seen);
        self.looks.fetch_add(1, Ordering::Release);
    }
}

impl Watch {
    pub(crate) fn new(cluster: &Arc<Cluster>) -> Self {
        Self { cluster: Arc::clone(cluster), topics: Arc::default(), is_started: AtomicBool::new(false) }
    }

    /// Looks at a topic for as long as the returned value lives.
    pub(crate) fn follow(&self, topic: &str) -> Followed {
        self.topics.seen().entry(topic.to_owned()).or_default().readers += 1;
        if !self.is_started.swap(true, Ordering::Relaxed) {
            let (cluster, topics) = (Arc::clone(&self.cluster), Arc::downgrade(&self.topics));
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(LOOK_PAUSE).await;
                    let Some(topics) = topics.upgrade() else { return };
                    topics.look(&cluster).await;
                }
            });
        }
        Followed { topics: Arc::clone(&self.topics), topic: topic.to_owned(), looks: 0 }
    }
}

/// One topic that is looked at.
pub(crate) struct Followed {
    topics: Arc<Topics>,
    topic: String,
    /// Looks of which the reader knows.
    looks: u64,
}

impl Followed {
    /// Whether a look, since this was asked last, found another topic than the split's, or none. Cheap.
    pub(crate) fn is_another(&mut self, split: &KafkaSplit) -> bool {
        let looks = self.topics.looks.load(Ordering::Acquire);
        if looks == self.looks {
            return false;
        }
        self.looks = looks;
        let seen = self.topics.seen();
        let found = seen.get(&self.topic).and_then(|topic| topic.id.as_ref());
        found.is_some_and(|found| !found.as_deref().is_some_and(|id| split.is_of(id)))
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let mut seen = self.topics.seen();
        if let Some(topic) = seen.get_mut(&self.topic) {
            topic.readers -= 1;
            if topic.readers == 0 {
                seen.remove(&self.topic);
            }
        }
    }
}
