//! What is told before anything is written: settings that do not go with the table, and tables that are not there.

use aws_sdk_dynamodb::types::{ScalarAttributeType, TimeToLiveSpecification};
use tidelock::{ErrorKind, Retry, Sink as _, WriterId};
use tidelock_dynamodb::{DynamoSink, Mode};

use super::common::NewTable;
use super::place::{KEY, Place, attempt};

#[tokio::test]
async fn a_table_that_is_not_there_is_told_by_name() {
    for mut place in [Place::versioned().await, Place::batched().await] {
        place.config.table = "nobody".into();
        let error = place.sink().recover(&attempt(1), &[]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error:?}");
        assert!(error.to_string().contains("table=nobody"), "{error}");
        // Every process finds out by itself.
        let error = place.sink().open(&attempt(1), WriterId(0)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    }
}

#[tokio::test]
async fn the_sinks_own_attributes_must_not_be_those_of_the_key() {
    for setting in ["version_attribute", "deleted_attribute", "tombstone_ttl_attribute"] {
        let mut place = Place::versioned().await;
        match setting {
            "version_attribute" => place.config.version_attribute = KEY.into(),
            "deleted_attribute" => place.config.deleted_attribute = KEY.into(),
            _ => place.config.tombstone_ttl_attribute = Some(KEY.into()),
        }
        let error = place.sink().recover(&attempt(1), &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.to_string().contains(&format!("setting={setting}")), "{error}");
    }
}

/// The first delete would halt the job, and not its start.
#[tokio::test]
async fn the_sinks_own_attributes_must_be_of_the_kind_that_an_index_wants() {
    let by = |name, kind| NewTable::fresh().indexed_by(name, kind);
    for (table, setting) in [
        (by("tidelock_version", ScalarAttributeType::N), Some("version_attribute")),
        (by("tidelock_deleted", ScalarAttributeType::S), Some("deleted_attribute")),
        (by("expires", ScalarAttributeType::S), Some("tombstone_ttl_attribute")),
        (by("tidelock_version", ScalarAttributeType::S), None),
        (by("expires", ScalarAttributeType::N), None),
    ] {
        let mut place = Place::with(table, Mode::Versioned).await;
        place.looks_at("expires").await;
        place.config.tombstone_ttl_attribute = Some("expires".into());
        let recovered = place.sink().recover(&attempt(1), &[]).await;
        let Some(setting) = setting else {
            recovered.unwrap();
            continue;
        };
        let error = recovered.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
        assert!(error.to_string().contains(&format!("setting={setting}")), "{error}");
    }
}

#[tokio::test]
async fn a_table_that_does_not_throw_away_what_was_deleted_is_told_before_it_fills() {
    let mut place = Place::versioned().await;
    place.config.tombstone_ttl_attribute = Some("expires".into());
    let error = place.sink().recover(&attempt(1), &[]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("setting=tombstone_ttl_attribute") && said.contains("looks_at=(none)"), "{said}");
    place.looks_at("other").await;
    let error = place.sink().recover(&attempt(1), &[]).await.unwrap_err();
    assert!(error.to_string().contains("looks_at=other"), "{error}");
    place.config.tombstone_ttl_attribute = Some("other".into());
    place.sink().recover(&attempt(1), &[]).await.unwrap();
}

#[test]
fn a_sink_that_cannot_work_is_none_and_no_secret_is_shown() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut place = runtime.block_on(Place::versioned());
    let shown = format!("{:?}", place.sink());
    assert!(shown.contains(place.table()) && !shown.contains("s3cret"), "{shown}");
    place.config.lanes_max = 0;
    let error = DynamoSink::new(place.config.clone()).unwrap_err();
    assert!(error.to_string().contains("setting=lanes_max"), "{error}");
}

impl Place {
    /// The table throws items away by this attribute.
    pub(crate) async fn looks_at(&self, attribute: &str) {
        let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute).build().unwrap();
        self.client
            .update_time_to_live()
            .table_name(self.table())
            .time_to_live_specification(ttl)
            .send()
            .await
            .unwrap();
    }
}
