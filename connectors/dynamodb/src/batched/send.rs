//! A batch until all of it is processed.

use std::cmp::Ordering;

use aws_sdk_dynamodb::types::{DeleteRequest, PutRequest, ReturnConsumedCapacity, WriteRequest};
use tidelock::{Error, ErrorKind, Patience, Result, Retry};
use tidelock_aws::{failed, says_nothing};
use tokio_util::task::TaskTracker;

use super::batches::Write;
use crate::key::KeySchema;
use crate::requests::{AGAIN_FOR, Requests, Went};
use crate::table::CALLS_AGAIN;
use crate::wire::to_wire;

const OPERATION: &str = "write items";

/// So many items of a request were not processed.
fn unprocessed(items: usize) -> Error {
    let why = "DynamoDB did not process all items: the table takes no more now";
    let error = Error::new(ErrorKind::RateLimited, OPERATION, why).with_retry(Retry::Retry);
    error.with("unprocessed", items)
}

/// Sends batches to a table.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) requests: Requests,
    pub(super) schema: KeySchema,
    /// Where a request goes on when this is dropped: nobody can take it back, and the next attempt waits for its end.
    pub(super) under_way: TaskTracker,
}

impl Sender {
    /// Sends a batch, and what is not processed of it again, while that may help. When it returns, all of it is in the table.
    ///
    /// Nothing of a batch is done which has a write that is refused for ever: then each half of it is sent by itself, the first one first, until that write
    /// is alone.
    pub(super) async fn send(&self, batch: &[Write]) -> Result<()> {
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            match self.send_all(self.wire(part)?).await {
                Ok(()) => self.requests.written(part.len()),
                Err(error) if error.kind() == ErrorKind::Data && part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(error) => {
                    let error = error.with("table", &self.requests.table);
                    return Err(match part {
                        [one] => error.with("key", &one.key),
                        _ => error,
                    });
                }
            }
        }
        Ok(())
    }

    async fn send_all(&self, mut left: Vec<WriteRequest>) -> Result<()> {
        while !left.is_empty() {
            let rest = self.requests.again(|| self.ask(&left)).await?;
            left = rest;
            if !left.is_empty() {
                // It goes on, however slowly: a pause, and no end.
                let mut patience = Patience::new(CALLS_AGAIN, AGAIN_FOR);
                patience.after(unprocessed(left.len()), &self.requests.table).await?;
            }
        }
        Ok(())
    }

    /// Makes one request. Gives what was not processed of it.
    async fn ask(&self, batch: &[WriteRequest]) -> Result<Went<Vec<WriteRequest>>> {
        let table = self.requests.table.to_string();
        let request = self.requests.client.batch_write_item().request_items(table, batch.to_vec());
        let sent = request.return_consumed_capacity(ReturnConsumedCapacity::Total).send();
        let answer = self.under_way.spawn(sent).await.map_err(|error| {
            let why = "a request ended in the middle: whether it was done is unknown";
            Error::new(ErrorKind::Other, OPERATION, why).because(error)
        })?;
        let answer = answer.map_err(|error| failed(OPERATION, error))?;
        self.requests.consumed(answer.consumed_capacity());
        // Taken for an answer it would say that all of it is written.
        let left = answer.unprocessed_items.ok_or_else(|| says_nothing(OPERATION))?;
        let left: Vec<WriteRequest> = left.into_values().flatten().collect();
        if left.is_empty() {
            return Ok(Went::Whole(left));
        }
        self.requests.count("tidelock_dynamodb_unprocessed_total", left.len() as u64);
        match left.len().cmp(&batch.len()) {
            Ordering::Less => Ok(Went::InPart(left)),
            Ordering::Equal => Err(unprocessed(left.len())),
            Ordering::Greater => {
                let why = "the server says that more items are not processed than there were";
                Err(Error::new(ErrorKind::Other, OPERATION, why))
            }
        }
    }

    fn wire(&self, batch: &[Write]) -> Result<Vec<WriteRequest>> {
        batch.iter().map(|write| self.wire_of(write)).collect()
    }

    fn wire_of(&self, write: &Write) -> Result<WriteRequest> {
        let request = WriteRequest::builder();
        let built = match &write.item {
            Some(item) => {
                let put = PutRequest::builder().set_item(Some(to_wire(item.clone()))).build();
                put.map(|put| request.put_request(put).build())
            }
            None => {
                let key = to_wire(write.key.to_item(&self.schema));
                let delete = DeleteRequest::builder().set_key(Some(key)).build();
                delete.map(|delete| request.delete_request(delete).build())
            }
        };
        built.map_err(|error| Error::new(ErrorKind::Bug, OPERATION, "a request is not whole").because(error))
    }
}
