//! Transactions: looked at, listed, ended, fenced.

use std::collections::HashMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_transactions_response::TransactionState as TransactionData;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, EndTxnRequest, InitProducerIdRequest, ListTransactionsRequest, ProducerId,
    WriteTxnMarkersRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::cluster::{Cluster, Coordinates, patiently};
use super::connection::Address;
use super::fault::Fault;
use super::names::{id_of, topic_name};

/// Transactional ids in one request: an answer of some 100 KiB.
const DESCRIBED_AT_ONCE: usize = 256;

/// Where a transaction stands, as its coordinator names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TransactionState {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
    /// Being aborted because its transactional id is initialised anew.
    PrepareEpochFence,
    /// A name that this build does not know, or a transactional id that is being forgotten.
    Other,
}

impl TransactionState {
    fn parse(name: &str) -> Self {
        match name {
            "Empty" => Self::Empty,
            "Ongoing" => Self::Ongoing,
            "PrepareCommit" => Self::PrepareCommit,
            "PrepareAbort" => Self::PrepareAbort,
            "CompleteCommit" => Self::CompleteCommit,
            "CompleteAbort" => Self::CompleteAbort,
            "PrepareEpochFence" => Self::PrepareEpochFence,
            _ => Self::Other,
        }
    }
}

/// The last transaction of a transactional id, as its coordinator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Where it stands.
    pub state: TransactionState,
    /// The producer id.
    pub producer_id: i64,
    /// The producer epoch.
    pub producer_epoch: i16,
    /// When it began, in milliseconds since 1970 by the coordinator's clock; negative where none did.
    pub start_time_ms: i64,
    /// How long it may last.
    pub timeout_ms: i32,
    /// Topic and partition of all that it wrote to, in order. Empty once it is complete.
    pub partitions: Vec<(String, i32)>,
}

#[cfg(test)]
impl Described {
    /// One of producer 7, for tests of decisions.
    pub(crate) fn example(state: TransactionState, producer_epoch: i16, start_time_ms: i64) -> Self {
        let (timeout_ms, partitions) = (60_000, Vec::new());
        Self { state, producer_id: 7, producer_epoch, start_time_ms, timeout_ms, partitions }
    }
}

/// One line of a list of transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The transactional id.
    pub transactional_id: String,
    /// The producer id.
    pub producer_id: i64,
    /// Where its last transaction stands.
    pub state: TransactionState,
}

/// What the broker said to a request to end a transaction.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its word: done, or the code that is neither success nor passing.
    pub(crate) outcome: Result<(), Fault>,
    /// A request was sent on the way and not answered: it may still arrive.
    pub(crate) unanswered: bool,
}

fn described(state: TransactionData) -> Described {
    let places = state
        .topics
        .iter()
        .flat_map(|data| data.partitions.iter().map(|partition| (data.topic.to_string(), *partition)));
    let mut partitions: Vec<_> = places.collect();
    partitions.sort();
    Described {
        state: TransactionState::parse(&state.transaction_state),
        producer_id: state.producer_id.0,
        producer_epoch: state.producer_epoch,
        start_time_ms: state.transaction_start_time_ms,
        timeout_ms: state.transaction_timeout_ms,
        partitions,
    }
}

impl Cluster {
    /// Describes the last transaction of a transactional id; `None` where the id is not known.
    pub(crate) async fn describe_transaction(
        &self,
        transactional_id: &str,
    ) -> Result<Option<Described>, Fault> {
        let request =
            DescribeTransactionsRequest::default().with_transactional_ids(vec![id_of(transactional_id)]);
        let answer = patiently(|| {
            self.ask_coordinator(Coordinates::Transaction, transactional_id, &request, 0, |answer| {
                answer.transaction_states.first().map_or(0, |state| state.error_code)
            })
        })
        .await;
        let answer = match answer {
            Err(Fault::Code(ResponseError::TransactionalIdNotFound)) => return Ok(None),
            answer => answer?,
        };
        Ok(answer.transaction_states.into_iter().next().map(described))
    }

    /// Describes the last transactions of ids that `coordinator` listed, in the same order; `None` where an id is
    /// not known any more. Many in one request: an old job has left thousands of ids.
    pub(crate) async fn describe_transactions(
        &self,
        coordinator: &Address,
        ids: &[String],
    ) -> Result<Vec<Option<Described>>, Fault> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(DESCRIBED_AT_ONCE) {
            let wanted = ids.iter().map(|id| id_of(id)).collect();
            let request = DescribeTransactionsRequest::default().with_transactional_ids(wanted);
            let answer = self.on(coordinator, async |connection| connection.call(&request, 0).await).await;
            let states = match answer {
                Ok(answer) => answer.transaction_states,
                // It may coordinate none of them any more.
                Err(fault) if fault.is_passing() => Vec::new(),
                Err(fault) => return Err(fault),
            };
            let mut states: HashMap<String, TransactionData> =
                states.into_iter().map(|one| (one.transactional_id.to_string(), one)).collect();
            for id in ids {
                found.push(match states.remove(id) {
                    Some(one) if one.error_code == 0 => Some(described(one)),
                    // Whoever coordinates it now is asked for it alone.
                    _ => self.describe_transaction(id).await?,
                });
            }
        }
        Ok(found)
    }

    /// Lists transactional ids of the whole cluster. Every broker must answer: one that does not may
    /// hold what we look for. `prefix` saves work where brokers can filter (Kafka 4.1 and newer): others
    /// list more. With `only_open` just those that are ongoing: a broker that knows many ids looks at the state
    /// before it compares names. Each comes with the broker that coordinates it.
    pub(crate) async fn list_transactions(
        &self,
        prefix: Option<&str>,
        only_open: bool,
    ) -> Result<Vec<(Address, Listed)>, Fault> {
        patiently(|| async {
            let mut found = Vec::new();
            for broker in self.brokers().await? {
                let answer = self
                    .on(&broker, async |connection| {
                        let filters = connection.knows::<ListTransactionsRequest>(2, 2);
                        let pattern = prefix
                            .filter(|_| filters)
                            .map(|prefix| StrBytes::from_string(format!("{}.*", regex::escape(prefix))));
                        let states = only_open.then(|| StrBytes::from_static_str("Ongoing"));
                        let request = ListTransactionsRequest::default()
                            .with_state_filters(states.into_iter().collect())
                            .with_transactional_id_pattern(pattern);
                        connection.call(&request, if filters { 2 } else { 0 }).await
                    })
                    .await?;
                Fault::check(answer.error_code)?;
                found.extend(answer.transaction_states.iter().map(|state| {
                    let listed = Listed {
                        transactional_id: state.transactional_id.to_string(),
                        producer_id: state.producer_id.0,
                        state: TransactionState::parse(&state.transaction_state),
                    };
                    (broker.clone(), listed)
                }));
            }
            Ok(found)
        })
        .await
    }

    /// Commits or aborts a transaction that any connection began. Idempotent while no other one begins
    /// on the same transactional id.
    ///
    /// Never in version 5: that one raises the producer epoch, behind the back of a producer that
    /// speaks the older protocol.
    pub(crate) async fn end_transaction(
        &self,
        transactional_id: &str,
        producer_id: i64,
        producer_epoch: i16,
        commit: bool,
    ) -> Ended {
        let request = EndTxnRequest::default()
            .with_transactional_id(id_of(transactional_id))
            .with_producer_id(ProducerId(producer_id))
            .with_producer_epoch(producer_epoch)
            .with_committed(commit);
        let unanswered = std::sync::atomic::AtomicBool::new(false);
        let outcome = patiently(|| async {
            let answer = self
                .ask_coordinator(Coordinates::Transaction, transactional_id, &request, 4, |answer| {
                    answer.error_code
                })
                .await;
            if matches!(answer, Err(Fault::NoAnswer(_))) {
                unanswered.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            answer.map(drop)
        })
        .await;
        Ended { outcome, unanswered: unanswered.into_inner() }
    }

    /// Writes the marker of a commit to one partition, as a coordinator does after it decided. For a
    /// commit that is proven and whose coordinator will not write it any more: it ends whatever the
    /// producer has open there.
    pub(crate) async fn write_commit_marker(
        &self,
        topic: &str,
        partition: i32,
        producer_id: i64,
        producer_epoch: i16,
        coordinator_epoch: i32,
    ) -> Result<(), Fault> {
        let place = WritableTxnMarkerTopic::default()
            .with_name(topic_name(topic))
            .with_partition_indexes(vec![partition]);
        let marker = WritableTxnMarker::default()
            .with_producer_id(ProducerId(producer_id))
            .with_producer_epoch(producer_epoch)
            .with_transaction_result(true)
            .with_coordinator_epoch(coordinator_epoch)
            .with_topics(vec![place]);
        let request = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
        patiently(|| {
            self.ask_leader(topic, partition, &request, 1, |answer| {
                let topics = answer.markers.iter().flat_map(|marker| &marker.topics);
                let mut partitions = topics.flat_map(|topic| &topic.partitions);
                partitions.next().map_or(0, |partition| partition.error_code)
            })
        })
        .await
        .map(drop)
    }

    /// Initialises a transactional id anew: aborts its open transaction and fences its producer.
    pub(crate) async fn fence(&self, transactional_id: &str, timeout_ms: i32) -> Result<(), Fault> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(id_of(transactional_id)))
            .with_transaction_timeout_ms(timeout_ms)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        patiently(|| {
            self.ask_coordinator(Coordinates::Transaction, transactional_id, &request, 4, |answer| {
                answer.error_code
            })
        })
        .await
        .map(drop)?;
        // Nobody asks for it again, and an old job has left thousands.
        self.forget_coordinator(Coordinates::Transaction, transactional_id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{
        ApiKey, DescribeTransactionsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
        TransactionalId,
    };
    use kafka_protocol::protocol::Decodable;

    use super::*;
    use crate::control::fake::{FakeBroker, Reply, metadata};

    #[tokio::test]
    async fn thousands_of_ids_are_described_in_few_requests_and_one_that_moved_is_asked_for_again() {
        const MOVED: &str = "a.out.1.0.300";
        let broker = FakeBroker::start(|own, (key, version, mut body)| match key {
            ApiKey::Metadata => Reply::of(&metadata(&[own], 0), version),
            ApiKey::FindCoordinator => {
                let asked = FindCoordinatorRequest::decode(&mut body, version).expect("a request");
                assert_eq!(&*asked.key, MOVED, "whoever listed an id coordinates it");
                let answer = FindCoordinatorResponse::default()
                    .with_host(StrBytes::from_string(own.host.clone()))
                    .with_port(i32::from(own.port));
                Reply::of(&answer, version)
            }
            ApiKey::DescribeTransactions => {
                let asked = DescribeTransactionsRequest::decode(&mut body, version).expect("a request");
                let is_alone = asked.transactional_ids.len() == 1;
                let state = |id: TransactionalId| {
                    let has_moved = &**id == MOVED && !is_alone;
                    let code = if has_moved { ResponseError::NotCoordinator.code() } else { 0 };
                    let data = TransactionData::default().with_transactional_id(id).with_error_code(code);
                    data.with_transaction_state(StrBytes::from_static_str("CompleteCommit"))
                };
                let states = asked.transactional_ids.into_iter().map(state).collect();
                Reply::of(&DescribeTransactionsResponse::default().with_transaction_states(states), version)
            }
            other => panic!("nobody asks for {other:?}"),
        })
        .await;
        let cluster = Cluster::new(&broker.properties()).expect("settings");
        let ids: Vec<String> = (0..2_000).map(|slot| format!("a.out.1.0.{slot}")).collect();
        let found = cluster.describe_transactions(&broker.address, &ids).await.expect("described");
        assert_eq!(found.len(), ids.len());
        assert!(found.iter().flatten().all(|one| one.state == TransactionState::CompleteCommit));
        assert_eq!(broker.count(ApiKey::DescribeTransactions), 2_000 / DESCRIBED_AT_ONCE + 2);
    }
}
