//! One request, and what it says of each of its records.

use std::sync::Arc;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, PutRecordsResultEntry};
use bytes::Bytes;
use tidelock::{Error, ErrorKind, Result, Retry};
use tidelock_aws::{Limit, failed, is_throttled, says_nothing};

const OPERATION: &str = "put records";

/// How requests go to a stream.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    pub(crate) client: Client,
    /// Its ARN.
    pub(crate) stream: Arc<str>,
    /// Shared by all writers of the sink in this process.
    pub(crate) limit: Limit,
}

/// What goes as one record of the stream.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) partition_key: String,
    pub(super) explicit_hash_key: Option<String>,
    pub(super) data: Bytes,
}

/// What became of a record.
#[derive(Debug)]
pub(super) enum Went {
    /// It is in the stream.
    Put { shard: String, sequence_number: String },
    /// Its shard takes no more now.
    Throttled(Error),
    /// It is not in the stream, or nobody knows.
    Refused(Error),
}

impl Requests {
    /// Puts records, of each by itself, when there is a place for the request.
    ///
    /// # Errors
    /// Where nothing is known of any of them.
    pub(super) async fn put(&self, entries: Vec<Entry>) -> Result<Vec<Went>> {
        let place = self.limit.place().await;
        let count = entries.len();
        let entries = entries.into_iter().map(wire).collect::<Result<Vec<_>>>()?;
        let request = self.client.put_records().stream_arn(&*self.stream).set_records(Some(entries));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let error = failed(OPERATION, error).with("stream", &self.stream);
                // Of the request as a whole: the stream's shards say it of each record.
                if is_throttled(&error) {
                    place.throttled();
                }
                return Err(error);
            }
        };
        let went = self.read(answer, count)?;
        place.went_well();
        Ok(went)
    }

    fn read(&self, answer: PutRecordsOutput, count: usize) -> Result<Vec<Went>> {
        // Taken for an answer it would say that all is put.
        if answer.records.len() != count {
            let error = says_nothing(OPERATION).with("stream", &self.stream);
            return Err(error.with("records", count).with("answered", answer.records.len()));
        }
        Ok(answer.records.into_iter().map(|record| self.went(record)).collect())
    }

    fn went(&self, record: PutRecordsResultEntry) -> Went {
        let PutRecordsResultEntry { sequence_number, shard_id, error_code, error_message, .. } = record;
        let is_there = |text: &String| !text.is_empty();
        let code = error_code.filter(is_there);
        match (code, shard_id.filter(is_there), sequence_number.filter(is_there)) {
            (None, Some(shard), Some(sequence_number)) => Went::Put { shard, sequence_number },
            (Some(code), ..) => {
                let is_throttled = code == "ProvisionedThroughputExceededException";
                let kind = if is_throttled { ErrorKind::RateLimited } else { ErrorKind::Unavailable };
                let said = error_message.unwrap_or_default();
                let error = Error::new(kind, OPERATION, format!("a record was refused: {said}"));
                let error = error.with_retry(Retry::Retry).with("code", code).with("stream", &self.stream);
                if is_throttled { Went::Throttled(error) } else { Went::Refused(error) }
            }
            (None, ..) => Went::Refused(says_nothing(OPERATION).with("stream", &self.stream)),
        }
    }
}

fn wire(entry: Entry) -> Result<PutRecordsRequestEntry> {
    let Entry { partition_key, explicit_hash_key, data } = entry;
    PutRecordsRequestEntry::builder()
        .partition_key(partition_key)
        .set_explicit_hash_key(explicit_hash_key)
        .data(Blob::new(Vec::from(data)))
        .build()
        .map_err(|error| Error::new(ErrorKind::Bug, OPERATION, "a request is not whole").because(error))
}
