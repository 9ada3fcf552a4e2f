//! A change as a request, which changes nothing where something newer is there.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure as OnFailure,
};
use tidelock::{Error, ErrorKind, Result, Retry};
use tidelock_aws::failed;

use super::merge::{Write, made_by};
use super::there::{Asked, There, Verdict, Wrong};
use super::version::{ItemVersion, Stamp};
use crate::change::{Change, ItemUpdate};
use crate::item::Item;
use crate::key::{Key, KeySchema};
use crate::requests::{Requests, Went, check_heard};
use crate::sink_config::DynamoSinkConfig;
use crate::wire::to_wire;

const OPERATION: &str = "write an item";

/// An item without a version is older than all: who wrote it knows nothing of versions.
const IF_OLDER: &str = "attribute_not_exists(#v) OR #v < :v";

/// A tombstone has no attributes that an update could leave as they are.
const IF_OLDER_AND_THERE: &str =
    "(attribute_not_exists(#v) OR #v < :v) AND (attribute_not_exists(#d) OR #d <> :d)";

/// Whoever puts an item into the place of a tombstone while an update is on its way there has attributes that the update leaves.
const IF_OLDER_AND_GONE: &str =
    "attribute_not_exists(#k) OR (attribute_not_exists(#v) OR #v < :v) AND #d = :d";

/// How often an item may be there and not be there while an update of it is asked for.
const TURNS_MAX: u32 = 50;

/// Sends the changes of a table, each by itself.
#[derive(Debug)]
pub(super) struct Sender {
    requests: Requests,
    schema: KeySchema,
    /// The attributes that are the sink's own.
    version: String,
    deleted: String,
    /// Where a tombstone says until when it stays, and how long that is.
    ttl: Option<(String, Duration)>,
}

/// What DynamoDB answered.
enum Answered {
    Done,
    /// The condition does not hold, because of what is there.
    Unmet(There),
}

impl Sender {
    pub(super) fn new(requests: Requests, schema: KeySchema, config: &DynamoSinkConfig) -> Self {
        let kept = Duration::from_millis(config.tombstones_kept_ms);
        Self {
            requests,
            schema,
            version: config.version_attribute.clone(),
            deleted: config.deleted_attribute.clone(),
            ttl: config.tombstone_ttl_attribute.clone().map(|attribute| (attribute, kept)),
        }
    }

    pub(super) fn table(&self) -> &str {
        &self.requests.table
    }

    pub(super) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Sends a change, again and again while that may help. When it returns, it is in the table, or something newer is.
    pub(super) async fn send(&self, key: &Key, write: &Write) -> Result<()> {
        let mut asked = match &write.change {
            Change::Update(_) => Asked::Part,
            Change::Put(_) | Change::Delete(_) => Asked::Whole,
        };
        // Between two requests nothing of ours is sent for this key, but somebody else may write there, and is not written over.
        for _ in 0..TURNS_MAX {
            asked = match self.try_send(key, write, asked).await? {
                Verdict::Anew => Asked::Anew,
                Verdict::There => Asked::Part,
                verdict => return self.settle(key, write.version, verdict),
            };
        }
        let why = "somebody else makes and deletes an item all the time, so that it cannot be updated";
        Err(self.named(key, Error::new(ErrorKind::Conflict, OPERATION, why)))
    }

    async fn try_send(&self, key: &Key, write: &Write, asked: Asked) -> Result<Verdict> {
        let answered = self.requests.again(|| self.ask(key, write, asked)).await;
        match answered.map_err(|error| self.named(key, error))? {
            Answered::Done => Ok(Verdict::Made),
            Answered::Unmet(there) => Ok(there.judge(write.version, asked)),
        }
    }

    async fn ask(&self, key: &Key, write: &Write, asked: Asked) -> Result<Went<Answered>> {
        let answered = match &write.change {
            Change::Put(item) => self.put(to_wire(item.clone()), write.version, asked).await,
            Change::Delete(_) => self.put(self.tombstone(key), write.version, asked).await,
            Change::Update(update) if asked == Asked::Anew => {
                self.put(to_wire(made_by(update)), write.version, asked).await
            }
            Change::Update(update) => self.update(key, update, write.version).await,
        };
        answered.map(Went::Whole)
    }

    /// What stays where an item was.
    fn tombstone(&self, key: &Key) -> HashMap<String, AttributeValue> {
        let mut item = to_wire(key.to_item(&self.schema));
        item.insert(self.deleted.clone(), AttributeValue::Bool(true));
        if let Some((attribute, kept)) = &self.ttl {
            let until = jiff::Timestamp::now().as_second().saturating_add_unsigned(kept.as_secs());
            item.insert(attribute.clone(), AttributeValue::N(until.to_string()));
        }
        item
    }

    async fn put(
        &self,
        mut item: HashMap<String, AttributeValue>,
        version: ItemVersion,
        asked: Asked,
    ) -> Result<Answered> {
        item.insert(self.version.clone(), version.to_value());
        let request = self.requests.client.put_item().table_name(self.table()).set_item(Some(item));
        let request = match asked {
            Asked::Anew => request
                .condition_expression(IF_OLDER_AND_GONE)
                .expression_attribute_names("#k", &self.schema.partition.name)
                .expression_attribute_names("#d", &self.deleted)
                .expression_attribute_values(":d", AttributeValue::Bool(true)),
            Asked::Whole | Asked::Part => request.condition_expression(IF_OLDER),
        };
        let sent = request
            .expression_attribute_names("#v", &self.version)
            .expression_attribute_values(":v", version.to_value())
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send();
        match sent.await {
            Ok(answer) => {
                check_heard(OPERATION, &answer, answer.consumed_capacity().is_some())?;
                self.requests.consumed(answer.consumed_capacity());
                Ok(Answered::Done)
            }
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(unmet)) => self.unmet(unmet.item()),
                _ => Err(failed(OPERATION, error)),
            },
        }
    }

    async fn update(&self, key: &Key, update: &ItemUpdate, version: ItemVersion) -> Result<Answered> {
        let Expression { text, names, values } = Expression::of(&update.set, &update.remove);
        let request = self.requests.client.update_item().table_name(self.table());
        let sent = request
            .set_key(Some(to_wire(key.to_item(&self.schema))))
            .update_expression(text)
            .condition_expression(IF_OLDER_AND_THERE)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .expression_attribute_names("#v", &self.version)
            .expression_attribute_names("#d", &self.deleted)
            .expression_attribute_values(":d", AttributeValue::Bool(true))
            .expression_attribute_values(":v", version.to_value())
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send();
        match sent.await {
            Ok(answer) => {
                check_heard(OPERATION, &answer, answer.consumed_capacity().is_some())?;
                self.requests.consumed(answer.consumed_capacity());
                Ok(Answered::Done)
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(unmet)) => self.unmet(unmet.item()),
                _ => Err(failed(OPERATION, error)),
            },
        }
    }

    fn unmet(&self, item: Option<&HashMap<String, AttributeValue>>) -> Result<Answered> {
        // I7: without the item nobody can say whether it is newer.
        let item = item.ok_or_else(|| {
            let why = "the server refused a condition and does not say what is there: it is not a DynamoDB that this sink can write to";
            Error::new(ErrorKind::Config, OPERATION, why)
        })?;
        Ok(Answered::Unmet(There::of(item, &self.version, &self.deleted)))
    }

    /// Counts what was written and what was passed over, and tells what is wrong.
    fn settle(&self, key: &Key, ours: ItemVersion, verdict: Verdict) -> Result<()> {
        match verdict {
            Verdict::Made => {
                self.requests.written(1);
                Ok(())
            }
            Verdict::Passed => {
                self.requests.passed();
                Ok(())
            }
            Verdict::Anew | Verdict::There => Err(self.wrong(key, ours, Wrong::Unfounded)),
            Verdict::Wrong(wrong) => Err(self.wrong(key, ours, wrong)),
        }
    }

    /// I5, I7: what would be passed over is told.
    fn wrong(&self, key: &Key, ours: ItemVersion, wrong: Wrong) -> Error {
        let (why, theirs, remedy) = match wrong {
            Wrong::NewerAttempt(theirs) => (
                "an item was written by an attempt that is newer than this one, so that this one changes nothing there: a newer attempt owns the job, \
                 or the item was written by a job with another log",
                Some(theirs),
                "start the job with the log that it ran with before. If that log is lost, and nobody else writes to the table, begin a new one when the \
                 clock is past the generation of the item",
            ),
            Wrong::OtherWriter(theirs) => (
                "an item has a version of this attempt that this writer has not given: another writer, or another sink of the job, has changes of the \
                 same key, or the job's log was made anew by a clock that is behind",
                Some(theirs),
                "let all changes of a key come to one writer of one sink: exchange by the key before the sink",
            ),
            Wrong::OtherKind => (
                "an item has a version that cannot be compared with ours: it was written with another setting of `versions`, or by somebody else, so that \
                 nothing would ever be written there",
                None,
                "choose the setting `versions` of before, or another version_attribute, or take that attribute away from the items",
            ),
            Wrong::Unfounded => {
                let why = "the server refused a condition that holds for the item that it gives back with the refusal";
                let error = Error::new(ErrorKind::Other, OPERATION, why).with("our_version", ours);
                return self.named(key, error);
            }
        };
        let error = Error::new(ErrorKind::Conflict, OPERATION, why).with_retry(Retry::Halt);
        let mut error = self.named(key, error).with("version_attribute", &self.version);
        if let Some(theirs) = theirs {
            error = error.with("its_version", theirs);
            error = clock_of(&theirs).into_iter().fold(error, |error, past| error.with("its_clock", past));
        }
        error.with("our_version", ours).with("remedy", remedy)
    }

    fn named(&self, key: &Key, error: Error) -> Error {
        error.with("table", self.table()).with("key", key)
    }
}

/// A generation is a time, unless a clock was wrong.
fn clock_of(stamp: &Stamp) -> Option<jiff::Timestamp> {
    i64::try_from(stamp.generation).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
}

/// What an update does, with its names and values aside: a name may be a word of the language, and have any letters.
#[derive(Debug, PartialEq)]
struct Expression {
    text: String,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    /// Of an update, with the version that it sets.
    fn of(set: &Item, remove: &BTreeSet<String>) -> Self {
        let (mut text, mut names, mut values) = ("SET #v=:v".to_owned(), HashMap::new(), HashMap::new());
        for (at, (name, value)) in set.iter().enumerate() {
            text.push_str(&format!(",#s{at}=:s{at}"));
            names.insert(format!("#s{at}"), name.clone());
            values.insert(format!(":s{at}"), value.clone().into());
        }
        for (at, name) in remove.iter().enumerate() {
            text.push_str(if at == 0 { " REMOVE " } else { "," });
            text.push_str(&format!("#r{at}"));
            names.insert(format!("#r{at}"), name.clone());
        }
        Self { text, names, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::UPDATE_ATTRIBUTES_MAX;
    use crate::value::Value;

    #[test]
    fn names_and_values_stand_aside_whatever_they_are() {
        let set = [("ä.b[0]".to_owned(), Value::from("x")), ("SET".to_owned(), 1.into())].into();
        let Expression { text, names, values } =
            Expression::of(&set, &["last", "#v"].map(str::to_owned).into());
        assert_eq!(text, "SET #v=:v,#s0=:s0,#s1=:s1 REMOVE #r0,#r1");
        let name = |alias: &str| names[alias].as_str();
        assert_eq!((name("#s0"), name("#s1"), name("#r0"), name("#r1")), ("SET", "ä.b[0]", "#v", "last"));
        assert_eq!(values[":s1"], AttributeValue::S("x".into()));
        assert_eq!(Expression::of(&Item::new(), &[].into()).text, "SET #v=:v");
    }

    #[test]
    fn the_largest_update_has_an_expression_that_dynamodb_takes() {
        let set = (0..UPDATE_ATTRIBUTES_MAX).map(|at| (format!("a{at}"), Value::Null)).collect();
        assert!(Expression::of(&set, &[].into()).text.len() <= 4_096);
    }
}
