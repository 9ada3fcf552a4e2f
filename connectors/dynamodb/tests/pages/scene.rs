//! A sink that writes epoch after epoch, by way of a proxy.

use tidelock::{
    CommitPermit, Epoch, Generation, JobId, Pending, Position, Sink as _, SinkAttempt, SinkWriter as _, Uid,
    WriterId,
};
use tidelock_dynamodb::{DynamoSink, DynamoSinkConfig, DynamoWriter, ItemChange};

pub(crate) struct Scene {
    pub(crate) config: DynamoSinkConfig,
    sink: DynamoSink,
    writer: DynamoWriter,
    attempt: SinkAttempt,
    epoch: u64,
}

fn attempt(number: u64) -> SinkAttempt {
    SinkAttempt {
        job: JobId::new("job").unwrap(),
        uid: Uid::new("out").unwrap(),
        number: Position(number),
        generation: Generation(1),
        chunks: None,
    }
}

async fn begun(config: &DynamoSinkConfig, attempt: &SinkAttempt) -> (DynamoSink, DynamoWriter) {
    let sink = DynamoSink::new(config.clone()).unwrap();
    sink.recover(attempt, &[]).await.unwrap();
    let writer = sink.open(attempt, WriterId(0)).await.unwrap();
    (sink, writer)
}

impl Scene {
    /// A job that has just begun.
    pub(crate) async fn new(config: DynamoSinkConfig) -> Self {
        let attempt = attempt(1);
        let (sink, writer) = begun(&config, &attempt).await;
        Self { config, sink, writer, attempt, epoch: 0 }
    }

    /// The job begins anew.
    pub(crate) async fn begin_again(&mut self) {
        self.attempt = attempt(self.attempt.number.0 + 1);
        (self.sink, self.writer) = begun(&self.config, &self.attempt).await;
    }

    /// Lets an epoch have these changes, until they are in the table.
    pub(crate) async fn epoch(&mut self, mut changes: Vec<ItemChange>) {
        self.epoch += 1;
        let epoch = Epoch(self.epoch);
        self.writer.write(&mut changes).await.unwrap();
        assert!(changes.is_empty());
        let prepared = self.writer.prepare(epoch).await.unwrap().into_iter();
        let attempt = self.attempt.number;
        let listed = |committable| Pending { epoch, attempt, writer: WriterId(0), committable };
        let listed = prepared.map(|one| listed(one.committable)).collect();
        let uid = self.attempt.uid.clone();
        let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid, epoch);
        self.sink.commit(&permit, listed).await.unwrap();
    }
}
