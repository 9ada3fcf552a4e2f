//! An epoch, applied to the table chunk by chunk.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use futures::future::try_join_all;
use serde::Serialize;
use tidelock::write_ahead::{Apply, Version, Writes};
use tidelock::{Error, ErrorKind, JobId, Result, Retry, Uid};
use tidelock_aws::failed;

use super::action::action;
use super::ahead::{Ahead, Found};
use super::book::Book;
use super::cancel::{Cancelled, cancelled};
use super::decide::{Stand, Who};
use super::items::{Items, Seen};
use super::place::{APPLY, GIVE_UP, Place};
use super::plan::{Chunk, Plan};
use super::state::{Head, Lane, Lanes, to_text};
use crate::change::{Change, ItemChange};
use crate::key::KeySchema;
use crate::requests::{Requests, Went, check_heard};

/// Somebody else is faster once or twice; each time is a step of the epoch, or a newer attempt.
const TRIES_MAX: u32 = 50;

/// Applies epochs to the table of a sink.
pub(super) struct Ledger {
    pub(super) book: Arc<Book>,
}

#[async_trait]
impl Apply for Ledger {
    type Record = ItemChange;

    async fn newest(&self, job: &JobId, uid: &Uid) -> Result<Option<Version>> {
        let (place, items) = (self.book.place(job, uid), self.book.items().await?);
        if !items.is_there().await? {
            return Ok(None);
        }
        let head = items.read::<Head>(&place, &place.head()).await?;
        Ok(head.and_then(|head| head.state.begun).map(|begun| begun.version))
    }

    fn check(&self, record: &ItemChange) -> Result<()> {
        let Some(ready) = self.book.target.ready() else {
            let why = "a record is checked before its writer was opened";
            return Err(Error::new(ErrorKind::Bug, "write an item", why));
        };
        let key = ready.checks.check(record)?;
        match &record.change {
            Change::Update(update)
                if update.set.is_empty() && update.remove.is_empty() && update.add.is_empty() =>
            {
                let why = "an update changes nothing: a transaction takes none that does not";
                let error =
                    Error::new(ErrorKind::Data, "write an item", why).with("table", &ready.table.name);
                Err(error.with("key", key))
            }
            _ => Ok(()),
        }
    }

    async fn apply(&self, writes: Writes<ItemChange>) -> Result<()> {
        let place = self.book.place(&writes.job, &writes.uid);
        let (items, requests) = (self.book.items().await?, self.book.target.requests().await?);
        let schema = self.book.schema().await?;
        let ours = self.book.ours(&writes.job, &writes.uid);
        let (version, batches) = (writes.version, writes.batch_count() as u64);
        let who = Who { place: &place, ours, version, batches };
        let applying = Applying { book: &self.book, items, requests, schema: &schema, who };
        let applied = applying.all(Ahead::new(writes.batches())).await;
        applying.requests.tell();
        applied
    }
}

/// What DynamoDB does not take now it does not take with the next start either: the epoch is in the job's log.
fn with_remedy(error: Error) -> Error {
    if error.retry() != Retry::Halt || error.kind() == ErrorKind::Auth {
        return error;
    }
    let remedy = format!(
        "the epoch is kept: mend the item in the table, so that the change can be made, and start the job again; it goes on where it was. Or {GIVE_UP}"
    );
    error.with("remedy", remedy)
}

/// An epoch that is being applied.
struct Applying<'a> {
    book: &'a Book,
    items: Items,
    /// To the table.
    requests: Requests,
    schema: &'a KeySchema,
    who: Who<'a>,
}

impl Applying<'_> {
    fn place(&self) -> &Place {
        self.who.place
    }

    async fn all(&self, mut ahead: Ahead<'_>) -> Result<()> {
        let Some(lanes) = self.begin(&mut ahead).await? else { return Ok(()) };
        let mut plan = Plan::new(lanes, self.schema);
        while let Some(batch) = ahead.next().await? {
            let mut full = Vec::new();
            for change in batch {
                full.extend(plan.take(change)?);
            }
            self.send(lanes.count, full).await?;
        }
        self.send(lanes.count, plan.end()).await
    }

    /// Into which lanes the epoch is cut, as it stands in the head. `None`: it is applied.
    async fn begin(&self, ahead: &mut Ahead<'_>) -> Result<Option<Lanes>> {
        let mut found = None;
        for _ in 0..TRIES_MAX {
            let head = self.book.head(self.place(), &self.items).await?;
            match self.who.stand(&head.state)? {
                Stand::Applied => return Ok(None),
                Stand::Lanes(lanes) => return Ok(Some(lanes)),
                Stand::New => {}
            }
            let lanes_max = self.book.target.config.lanes_max;
            let found = match &mut found {
                Some(found) => found,
                none => none.insert(ahead.look(lanes_max, self.schema).await?),
            };
            let after = self.who.begun(&head.state, found.cut());
            let begun = match found {
                Found::Whole(chunk) => {
                    self.transaction((&self.place().head(), &head.text, after), &chunk.changes).await?
                }
                Found::Lanes(_) => {
                    // Before the head says so: each lane that it speaks of has an item, and where one is missing something is lost.
                    let (claim, new) = (after.claim, head.state.lanes..after.lanes);
                    self.book.claim_lanes(self.place(), &self.items, claim, new).await?;
                    self.items.swap(self.place(), &self.place().head(), Some(&head.text), after).await?
                }
            };
            self.book.keep_head(self.place(), begun);
        }
        Err(self.contended())
    }

    /// Applies chunks, those of each lane one after the other.
    async fn send(&self, lanes: u32, chunks: impl IntoIterator<Item = (usize, Chunk)>) -> Result<()> {
        let mut of_lanes: Vec<Vec<Chunk>> = (0..lanes).map(|_| Vec::new()).collect();
        for (lane, chunk) in chunks {
            of_lanes[lane].push(chunk);
        }
        let sent = (0..).zip(of_lanes).filter(|(_, chunks)| !chunks.is_empty());
        try_join_all(sent.map(|(lane, chunks)| self.send_lane(lane, chunks))).await.map(drop)
    }

    async fn send_lane(&self, lane: u32, chunks: Vec<Chunk>) -> Result<()> {
        let id = self.place().lane(lane);
        let mut seen = self.book.take_lane(&id);
        for chunk in chunks {
            seen = Some(self.send_chunk(&id, seen, &chunk).await?);
        }
        if let Some(seen) = seen {
            self.book.keep_lane(id, seen);
        }
        Ok(())
    }

    /// Applies a chunk, where it is not applied. Returns the lane as it is then.
    async fn send_chunk(&self, id: &str, mut seen: Option<Seen<Lane>>, chunk: &Chunk) -> Result<Seen<Lane>> {
        for _ in 0..TRIES_MAX {
            let lane = match seen.take() {
                Some(lane) => lane,
                None => {
                    let lane = self.items.read::<Lane>(self.place(), id).await?;
                    lane.ok_or_else(|| self.place().lost("a part of an epoch cannot be applied"))?
                }
            };
            let Some(after) = self.who.next(&lane.state, chunk)? else { return Ok(lane) };
            if let Some(applied) = self.transaction((id, &lane.text, after), &chunk.changes).await? {
                return Ok(applied);
            }
        }
        Err(self.contended())
    }

    /// Applies changes in one step with an item of the ledger, which says so. `None`: that item is not what it was, and nothing is done.
    async fn transaction<T: Serialize>(
        &self,
        (id, before, after): (&str, &str, T),
        changes: &[Change],
    ) -> Result<Option<Seen<T>>> {
        let text = to_text(&after)?;
        let is_done = self.requests.again(async || {
            let mut actions = vec![self.items.swapping(id, before, &text)?];
            for change in changes {
                actions.push(action(&self.requests.table, change)?);
            }
            let call = self.requests.client.transact_write_items().set_transact_items(Some(actions));
            let error = match call.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await {
                Ok(answer) => {
                    let heard = check_heard(APPLY, &answer, !answer.consumed_capacity().is_empty());
                    heard.map_err(|error| self.place().named(error))?;
                    for of_one in [&self.requests, &self.items.requests] {
                        of_one.consumed(answer.consumed_capacity());
                    }
                    return Ok(Went::Whole(true));
                }
                Err(error) => error,
            };
            let Some(TransactWriteItemsError::TransactionCanceledException(why)) = error.as_service_error()
            else {
                let error = self.place().named(failed(APPLY, error));
                // It is about the request as a whole, or about one of its changes: nobody says which.
                return Err(match error.kind() {
                    ErrorKind::Data => with_remedy(self.with_key(error, "first_key", changes.first())),
                    _ => error,
                });
            };
            match cancelled(why.cancellation_reasons()) {
                Cancelled::Moved => Ok(Went::Whole(false)),
                Cancelled::Failed(error, at) => {
                    let change = at.and_then(|at| changes.get(at));
                    let error = self.with_key(self.place().named(error), "key", change);
                    Err(with_remedy(error.with("version", self.who.version)))
                }
            }
        });
        if !is_done.await? {
            return Ok(None);
        }
        self.requests.written(changes.len());
        Ok(Some(Seen { state: after, text }))
    }

    /// Names the item that an error is about.
    fn with_key(&self, error: Error, name: &'static str, change: Option<&Change>) -> Error {
        let of_change = |change: &Change| match change {
            Change::Put(item) | Change::Delete(item) => self.schema.key_of(item),
            Change::Update(update) => self.schema.key_of(&update.key),
        };
        match change.map(of_change) {
            Some(Ok(key)) => error.with(name, key),
            _ => error,
        }
    }

    fn contended(&self) -> Error {
        let why = "somebody else changes an item of the ledger all the time";
        self.place().named(Error::new(ErrorKind::Conflict, APPLY, why))
    }
}
