//! Offsets of partitions: by place, by time, and those that a consumer group committed.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    BrokerId, GroupId, ListOffsetsRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::cluster::{Cluster, Coordinates, patiently};
use super::fault::Fault;
use super::names::topic_name;
use crate::split::KafkaSplit;

/// What a consumer is, where the protocol asks for a replica.
pub(super) const NO_REPLICA: BrokerId = BrokerId(-1);

/// `read_committed` in the protocol.
pub(super) const READ_COMMITTED: i8 = 1;

/// A place in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its first record that still exists.
    Earliest,
    /// After its last record that is visible to the reader.
    Latest,
    /// Its first record that is as late as this, in milliseconds since 1970.
    Time(i64),
}

impl Cluster {
    /// The offset of a place. `None` where no record is as late as the given time.
    pub(crate) async fn offset(
        &self,
        topic: &str,
        partition: i32,
        place: Place,
        read_committed: bool,
    ) -> Result<Option<i64>, Fault> {
        let timestamp = match place {
            Place::Latest => -1,
            Place::Earliest => -2,
            Place::Time(time) => time.max(0),
        };
        let wanted = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(timestamp);
        let request = ListOffsetsRequest::default()
            .with_replica_id(NO_REPLICA)
            .with_isolation_level(if read_committed { READ_COMMITTED } else { 0 })
            .with_topics(vec![
                ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![wanted]),
            ]);
        let answer = patiently(|| {
            self.ask_leader(topic, partition, &request, 6, |answer| {
                let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
                partitions.next().map_or(0, |partition| partition.error_code)
            })
        })
        .await?;
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(partitions.next().map(|partition| partition.offset).filter(|offset| *offset >= 0))
    }

    /// What a consumer group committed: only partitions for which it did.
    pub(crate) async fn group_offsets(
        &self,
        group: &str,
        partitions: &[(String, i32)],
    ) -> Result<BTreeMap<(String, i32), i64>, Fault> {
        let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in partitions {
            by_topic.entry(topic).or_default().push(*partition);
        }
        let topics = by_topic.into_iter().map(|(topic, partitions)| {
            OffsetFetchRequestTopic::default().with_name(topic_name(topic)).with_partition_indexes(partitions)
        });
        // Offsets of a transaction that is not decided yet must not be taken for the group's last word.
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
            .with_topics(Some(topics.collect()))
            .with_require_stable(true);
        let answer = patiently(|| {
            self.ask_coordinator(Coordinates::Group, group, &request, 7, |answer| {
                let mut all = answer.topics.iter().flat_map(|topic| &topic.partitions);
                match answer.error_code {
                    0 => all.find(|one| one.error_code != 0).map_or(0, |one| one.error_code),
                    code => code,
                }
            })
        })
        .await;
        let answer = match answer {
            // Nobody ever committed under this name.
            Err(Fault::Code(ResponseError::GroupIdNotFound)) => return Ok(BTreeMap::new()),
            answer => answer?,
        };
        let found = answer.topics.into_iter().flat_map(|topic| {
            let name = topic.name.to_string();
            topic
                .partitions
                .into_iter()
                .map(move |one| ((name.clone(), one.partition_index), one.committed_offset))
        });
        Ok(found.filter(|(_, offset)| *offset >= 0).collect())
    }

    /// Commits positions to a consumer group, as a consumer that belongs to no group.
    pub(crate) async fn commit_group_offsets(&self, group: &str, splits: &[KafkaSplit]) -> Result<(), Fault> {
        let mut by_topic: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for split in splits {
            let place = OffsetCommitRequestPartition::default()
                .with_partition_index(split.partition)
                .with_committed_offset(split.offset)
                .with_committed_metadata(Some(StrBytes::from_static_str("")));
            by_topic.entry(&split.topic).or_default().push(place);
        }
        let topics = by_topic.into_iter().map(|(topic, partitions)| {
            OffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(partitions)
        });
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(topics.collect());
        patiently(|| {
            self.ask_coordinator(Coordinates::Group, group, &request, 7, |answer| {
                let mut all = answer.topics.iter().flat_map(|topic| &topic.partitions);
                all.find(|one| one.error_code != 0).map_or(0, |one| one.error_code)
            })
        })
        .await
        .map(drop)
    }
}
