//! The ledger's table: its items are read, and changed by compare-and-set of their text.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, TransactWriteItem, Update};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidelock::{Error, ErrorKind, Result};
use tidelock_aws::failed;

use super::action::built;
use super::place::Place;
use super::state::{of_text, to_text};
use crate::error::setting;
use crate::key::{KeyAttribute, KeyKind, KeySchema};
use crate::make::there_or_made;
use crate::requests::{Requests, Went, check_heard};
use crate::table::Table;

/// The key of the table, and the attribute with the text.
const ID: &str = "id";
const STATE: &str = "state";

const READ: &str = "read the ledger";
const CHANGE: &str = "change the ledger";

/// One other process at most changes an item at a time, and a few times in an attempt.
const TRIES_MAX: u32 = 50;

/// An item, as it stands in the table.
#[derive(Debug, Clone)]
pub(super) struct Seen<T> {
    pub(super) state: T,
    /// What a change of it is compared with.
    pub(super) text: String,
}

/// The ledger's table.
#[derive(Debug, Clone)]
pub(super) struct Items {
    /// To the table of the ledger.
    pub(super) requests: Requests,
}

impl Items {
    /// By requests to the table of the sink, which have the same bounds.
    pub(super) fn new(of_sink: &Requests, ledger: &str) -> Self {
        Self { requests: Requests::new(of_sink.client.clone(), ledger, of_sink.limit.clone()) }
    }

    /// Whether the table is there, and is one.
    pub(super) async fn is_there(&self) -> Result<bool> {
        match Table::look(&self.requests.client, &self.requests.table).await {
            Ok(table) => check(&table).map(|()| true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.with("setting", "ledger_table")),
        }
    }

    /// Makes the table where there is none.
    pub(super) async fn ensure(&self) -> Result<()> {
        let key = KeySchema { partition: KeyAttribute { name: ID.into(), kind: KeyKind::S }, sort: None };
        let table = there_or_made(&self.requests.client, &self.requests.table, &key).await;
        check(&table.map_err(|error| error.with("setting", "ledger_table"))?)
    }

    /// Reads an item. `None`: there is none.
    pub(super) async fn read<T: DeserializeOwned>(&self, place: &Place, id: &str) -> Result<Option<Seen<T>>> {
        let found = self.requests.again(async || {
            let get = self.requests.client.get_item().table_name(&*self.requests.table).consistent_read(true);
            let get = get.return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = get.key(ID, AttributeValue::S(id.to_owned())).send().await;
            let answer = answer.map_err(|error| place.named(failed(READ, error)))?;
            let heard = check_heard(READ, &answer, answer.consumed_capacity().is_some());
            heard.map_err(|error| place.named(error))?;
            self.requests.consumed_reading(answer.consumed_capacity());
            Ok(Went::Whole(answer.item))
        });
        let Some(item) = found.await? else { return Ok(None) };
        let text = item.get(STATE).and_then(|value| value.as_s().ok());
        let seen = text.and_then(|text| Some(Seen { state: of_text(text)?, text: text.clone() }));
        seen.map(Some).ok_or_else(|| place.damaged(id))
    }

    /// Lets `decide` look at an item until it wants no change, or its change was made. Returns the item as it is then.
    pub(super) async fn change<T: Clone + Serialize + DeserializeOwned>(
        &self,
        place: &Place,
        id: &str,
        decide: impl Fn(Option<&T>) -> Option<T>,
    ) -> Result<Option<Seen<T>>> {
        for _ in 0..TRIES_MAX {
            let seen = self.read::<T>(place, id).await?;
            let Some(state) = decide(seen.as_ref().map(|seen| &seen.state)) else { return Ok(seen) };
            if let Some(changed) = self.swap(place, id, seen.as_ref().map(|seen| &*seen.text), state).await? {
                return Ok(Some(changed));
            }
        }
        let why = "somebody else changes an item of the ledger all the time";
        Err(place.named(Error::new(ErrorKind::Conflict, CHANGE, why)))
    }

    /// Puts a text into the place of another one. `None`: something else stands there, such as this one, where an answer was lost.
    pub(super) async fn swap<T: Serialize>(
        &self,
        place: &Place,
        id: &str,
        before: Option<&str>,
        state: T,
    ) -> Result<Option<Seen<T>>> {
        let text = to_text(&state)?;
        let condition = if before.is_some() { "#s = :before" } else { "attribute_not_exists(#s)" };
        let is_changed = self.requests.again(async || {
            let update = self.requests.client.update_item().table_name(&*self.requests.table);
            let update = update.key(ID, AttributeValue::S(id.to_owned()));
            let update = update.update_expression("SET #s = :after").condition_expression(condition);
            let update = update.expression_attribute_names("#s", STATE);
            let update = update.expression_attribute_values(":after", AttributeValue::S(text.clone()));
            let update = match before {
                Some(before) => {
                    update.expression_attribute_values(":before", AttributeValue::S(before.to_owned()))
                }
                None => update,
            };
            match update.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await {
                Ok(answer) => {
                    let heard = check_heard(CHANGE, &answer, answer.consumed_capacity().is_some());
                    heard.map_err(|error| place.named(error))?;
                    self.requests.consumed(answer.consumed_capacity());
                    Ok(Went::Whole(true))
                }
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
                {
                    Ok(Went::Whole(false))
                }
                Err(error) => Err(place.named(failed(CHANGE, error))),
            }
        });
        Ok(is_changed.await?.then_some(Seen { state, text }))
    }

    /// The same as an action of a transaction.
    pub(super) fn swapping(&self, id: &str, before: &str, after: &str) -> Result<TransactWriteItem> {
        let update =
            Update::builder().table_name(&*self.requests.table).key(ID, AttributeValue::S(id.to_owned()));
        let update = update.update_expression("SET #s = :after").condition_expression("#s = :before");
        let update = update.expression_attribute_names("#s", STATE);
        let update = update.expression_attribute_values(":before", AttributeValue::S(before.to_owned()));
        let update = update.expression_attribute_values(":after", AttributeValue::S(after.to_owned()));
        Ok(TransactWriteItem::builder().update(built(CHANGE, update.build())?).build())
    }
}

/// Whether a table can be the ledger's.
fn check(table: &Table) -> Result<()> {
    let refuse = |why: &str| Err(setting("ledger_table", why).with("table", &table.name));
    let is_own =
        table.key.sort.is_none() && table.key.partition.name == ID && table.key.partition.kind == KeyKind::S;
    if !is_own {
        return refuse(
            "the table is none that this sink made: a ledger has the partition key `id` of the kind S, and no sort key",
        );
    }
    check_region(table).map_err(|error| error.with("setting", "ledger_table"))
}

/// Whether all that a transaction writes to the table is in one place.
pub(super) fn check_region(table: &Table) -> Result<()> {
    if table.replicas.is_empty() {
        return Ok(());
    }
    let why = "the table has replicas in other regions, where others may write what a transaction here does not see, and where the ledger and the \
               items arrive one by one: take a table without, or the mode `versioned`";
    let replicas = table.replicas.join(", ");
    Err(Error::new(ErrorKind::Config, "look at the table", why)
        .with("table", &table.name)
        .with("replicas", replicas))
}
