//! A stream of a server of its own.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{Shard, StreamStatus};
use md5::{Digest as _, Md5};
use tidelock_kinesis::AwsConfig;
use tidelock_processes::{KinesisServer, PATIENCE};
use tokio::time::{Instant, sleep};

pub(crate) struct Stream {
    pub(crate) name: String,
    client: Client,
    server: KinesisServer,
}

impl Stream {
    /// A stream with so many shards.
    pub(crate) async fn make(shards: i32) -> Self {
        let server = KinesisServer::start();
        let client = Client::new(&tidelock_aws::load(&service(&server.endpoint())).await.unwrap());
        let stream = Self { name: "flights".into(), client, server };
        stream.client.create_stream().stream_name(&stream.name).shard_count(shards).send().await.unwrap();
        stream.is_active().await;
        stream
    }

    pub(crate) fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    pub(crate) fn service(&self) -> AwsConfig {
        service(&self.endpoint())
    }

    /// The same of another service.
    pub(crate) fn service_at(&self, endpoint: &str) -> AwsConfig {
        service(endpoint)
    }

    async fn is_active(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let summary = self.client.describe_stream_summary().stream_name(&self.name).send().await.unwrap();
            let summary = summary.stream_description_summary.unwrap();
            if summary.stream_status == StreamStatus::Active {
                return;
            }
            assert!(Instant::now() < deadline, "{summary:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn shard(&self, number: usize) -> Shard {
        let shards = self.client.list_shards().stream_name(&self.name).send().await.unwrap().shards.unwrap();
        shards.into_iter().find(|shard| shard.shard_id == format!("shardId-{number:012}")).unwrap()
    }

    /// A hash key in the middle of a shard.
    async fn middle(&self, shard: usize) -> u128 {
        let range = self.shard(shard).await.hash_key_range.unwrap();
        let key = |text: &str| text.parse::<u128>().unwrap();
        let (start, end) = (key(range.starting_hash_key()), key(range.ending_hash_key()));
        start + (end - start) / 2
    }

    /// Splits a shard in its middle. The numbers of its children.
    pub(crate) async fn split(&self, shard: usize) -> [usize; 2] {
        let (id, middle) = (self.shard(shard).await.shard_id, self.middle(shard).await.to_string());
        let split = self.client.split_shard().stream_name(&self.name).shard_to_split(id);
        split.new_starting_hash_key(middle).send().await.unwrap();
        self.is_active().await;
        let shards = self.client.list_shards().stream_name(&self.name).send().await.unwrap().shards.unwrap();
        [shards.len() - 2, shards.len() - 1]
    }

    /// Puts records, one after the other.
    pub(crate) async fn put(&self, shard: usize, data: &[&str]) {
        for data in data {
            self.put_one(shard, data.as_bytes().to_vec()).await;
        }
    }

    /// Puts records as one, as the Kinesis Producer Library puts them together.
    pub(crate) async fn put_together(&self, shard: usize, data: &[&str]) {
        let key = self.middle(shard).await.to_string();
        // Tables of one partition key and of one hash key, and records that name both by their places.
        let mut message = field(1, b"key");
        message.extend(field(2, key.as_bytes()));
        for data in data {
            let record = [vec![0x08, 0, 0x10, 0], field(3, data.as_bytes())].concat();
            message.extend(field(3, &record));
        }
        let sum: [u8; 16] = Md5::digest(&message).into();
        self.put_one(shard, [&[0xF3, 0x89, 0x9A, 0xC2], message.as_slice(), &sum].concat()).await;
    }

    async fn put_one(&self, shard: usize, data: Vec<u8>) {
        let put = self.client.put_record().stream_name(&self.name).partition_key("key").data(Blob::new(data));
        put.explicit_hash_key(self.middle(shard).await.to_string()).send().await.unwrap();
    }
}

/// A field of bytes in a message of Protocol Buffers.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).ok().filter(|length| *length < 128).expect("a short field");
    [&[number << 3 | 2, length], bytes].concat()
}

fn service(endpoint: &str) -> AwsConfig {
    let mut config = AwsConfig::new().with_credentials("test", "s3cret");
    config.region = Some("eu-central-1".into());
    config.endpoint = Some(endpoint.to_owned());
    config
}
