//! Streams on a server that all tests of a process share.
#![allow(dead_code, unreachable_pub, reason = "no test uses all of it")]

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Shard, StreamStatus};
use tidelock_aws::AwsConfig;
use tidelock_processes::KinesisServer;
use tokio::time::sleep;

/// It ends with the process.
static SERVER: LazyLock<KinesisServer> = LazyLock::new(KinesisServer::start);

/// The server that tests share which bounce none.
pub fn shared() -> SocketAddr {
    SERVER.address()
}

/// How the server at this address, or a proxy before one, is reached.
pub fn config(address: SocketAddr) -> AwsConfig {
    let mut config = AwsConfig::new().with_credentials("test", "s3cret");
    config.region = Some("eu-central-1".into());
    config.endpoint = Some(format!("http://{address}"));
    config
}

/// A client beside that of the connector.
pub async fn client(address: SocketAddr) -> Client {
    Client::new(&tidelock_aws::load(&config(address)).await.expect("a client"))
}

/// A name that no other stream has.
pub fn fresh_name() -> String {
    format!("test_{:016x}", rand::random::<u64>())
}

/// A stream of its own.
pub struct NewStream {
    pub client: Client,
    pub name: String,
}

impl NewStream {
    /// With so many shards.
    pub async fn make(address: SocketAddr, shards: i32) -> Self {
        let stream = Self { client: client(address).await, name: fresh_name() };
        stream.create(shards).await;
        stream
    }

    pub async fn create(&self, shards: i32) {
        self.client.create_stream().stream_name(&self.name).shard_count(shards).send().await.expect("made");
        self.until_active().await;
    }

    /// Changes of shards are refused until the one before is done.
    pub async fn until_active(&self) {
        loop {
            let answer = self.client.describe_stream_summary().stream_name(&self.name).send().await;
            let summary = answer.expect("described").stream_description_summary.expect("a description");
            if summary.stream_status == StreamStatus::Active {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn delete(&self) {
        self.client.delete_stream().stream_name(&self.name).send().await.expect("deleted");
        while self.client.describe_stream_summary().stream_name(&self.name).send().await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Puts texts under their keys, in their order, and returns their numbers.
    pub async fn put(&self, records: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
        let mut numbers = Vec::new();
        let records: Vec<(String, String)> = records.into_iter().collect();
        for records in records.chunks(400) {
            let entry = |(key, text): &(String, String)| {
                let entry =
                    PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(text.as_bytes()));
                entry.build().expect("whole")
            };
            let entries = records.iter().map(entry).collect();
            let answer =
                self.client.put_records().stream_name(&self.name).set_records(Some(entries)).send().await;
            let put = answer.expect("put").records;
            assert_eq!(put.len(), records.len());
            numbers.extend(put.into_iter().map(|one| one.sequence_number.expect("each was put")));
        }
        numbers
    }

    /// All shards that are there: a list has a hundred, or a thousand, at once.
    pub async fn shards(&self) -> Vec<Shard> {
        let (mut shards, mut token) = (Vec::new(), None::<String>);
        loop {
            let request = self.client.list_shards();
            // The token says which stream it is of, and a call with both is refused.
            let request = match token {
                Some(token) => request.next_token(token),
                None => request.stream_name(&self.name),
            };
            let page = request.send().await.expect("listed");
            shards.extend(page.shards.expect("a list"));
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return shards;
            }
        }
    }

    /// Those that nothing goes on from, in the order of their hash keys.
    pub async fn open_shards(&self) -> Vec<Shard> {
        let shards = self.shards().await;
        let is_parent = |id: &str| {
            shards
                .iter()
                .any(|one| one.parent_shard_id() == Some(id) || one.adjacent_parent_shard_id() == Some(id))
        };
        let mut open: Vec<Shard> =
            shards.iter().filter(|shard| !is_parent(shard.shard_id())).cloned().collect();
        open.sort_by_key(|shard| range_of(shard).0);
        open
    }

    /// Splits a shard in the middle of its hash keys.
    pub async fn split(&self, shard: &Shard) {
        let (start, end) = range_of(shard);
        let middle = (start + (end - start) / 2 + 1).to_string();
        let request = self.client.split_shard().stream_name(&self.name).shard_to_split(shard.shard_id());
        request.new_starting_hash_key(middle).send().await.expect("split");
        self.until_active().await;
    }

    /// Merges two shards that are beside each other.
    pub async fn merge(&self, one: &Shard, other: &Shard) {
        let request = self.client.merge_shards().stream_name(&self.name).shard_to_merge(one.shard_id());
        request.adjacent_shard_to_merge(other.shard_id()).send().await.expect("merged");
        self.until_active().await;
    }
}

/// The part of the hash keys that a shard has.
pub fn range_of(shard: &Shard) -> (u128, u128) {
    let range = shard.hash_key_range().expect("a range");
    let number = |text: &str| text.parse().expect("a number");
    (number(range.starting_hash_key()), number(range.ending_hash_key()))
}
