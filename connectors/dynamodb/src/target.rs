//! What a sink's writers and commits share: the client, the table and what it takes.

use std::sync::{Arc, PoisonError, RwLock};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::TimeToLiveStatus;
use tidelock::{Error, ErrorKind, Result, SinkAttempt};
use tidelock_aws::{Limit, failed};
use tokio::sync::{Mutex, OnceCell};
use tokio_util::task::TaskTracker;

use crate::check::Checks;
use crate::client::client;
use crate::error::setting;
use crate::key::{IndexKey, KeyKind};
use crate::requests::Requests;
use crate::sink_config::{DynamoSinkConfig, Mode, Versions};
use crate::table::Table;

/// What is known of the table in one attempt.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) table: Table,
    pub(crate) checks: Checks,
}

/// The table of a sink.
pub(crate) struct Target {
    pub(crate) config: DynamoSinkConfig,
    client: OnceCell<Client>,
    limit: Limit,
    /// Requests that go on when nobody waits for them any more, because an attempt ended: what they write must not come after what the next one writes.
    pub(crate) under_way: TaskTracker,
    /// The attempt that looked last in this process. Nobody looks beside it.
    looked: Mutex<Option<SinkAttempt>>,
    /// What it saw.
    ready: RwLock<Option<Arc<Ready>>>,
}

impl Target {
    /// Nothing is connected yet.
    pub(crate) fn new(config: DynamoSinkConfig) -> Result<Self> {
        config.validate()?;
        let limit = Limit::new(config.requests_in_flight_max);
        Ok(Self {
            config,
            client: OnceCell::new(),
            limit,
            under_way: TaskTracker::new(),
            looked: Mutex::default(),
            ready: RwLock::default(),
        })
    }

    pub(crate) async fn client(&self) -> Result<&Client> {
        self.client.get_or_try_init(|| client(&self.config.dynamodb)).await
    }

    /// How requests go to the table.
    pub(crate) async fn requests(&self) -> Result<Requests> {
        let client = self.client().await?.clone();
        Ok(Requests::new(client, &self.config.table, self.limit.clone()))
    }

    /// Looks at the table, once in an attempt and process, and whether the settings go with it. What the attempt before it left under way is
    /// answered then, or was given up.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where it is not there, and [`ErrorKind::Config`] naming the setting that does not go with it.
    pub(crate) async fn look(&self, attempt: &SinkAttempt) -> Result<Arc<Ready>> {
        let mut looked = self.looked.lock().await;
        if looked.as_ref() == Some(attempt)
            && let Some(ready) = self.ready()
        {
            return Ok(ready);
        }
        self.under_way.close();
        self.under_way.wait().await;
        self.under_way.reopen();
        let client = self.client().await?;
        let table = Table::look(client, &self.config.table).await?;
        self.check_settings(client, &table).await?;
        let checks = Checks::new(&self.config, &table);
        let ready = Arc::new(Ready { table, checks });
        *self.ready.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&ready));
        *looked = Some(attempt.clone());
        Ok(ready)
    }

    /// What was seen of the table by the attempt that looked last.
    pub(crate) fn ready(&self) -> Option<Arc<Ready>> {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn check_settings(&self, client: &Client, table: &Table) -> Result<()> {
        if self.config.mode != Mode::Versioned {
            return Ok(());
        }
        let ttl = self.config.tombstone_ttl_attribute.as_ref();
        let of_version = match self.config.versions {
            Versions::Attempt => KeyKind::S,
            Versions::Record => KeyKind::N,
        };
        // The mark is of a kind that no key has.
        let own = [
            ("version_attribute", &self.config.version_attribute, Some(of_version)),
            ("deleted_attribute", &self.config.deleted_attribute, None),
        ];
        let ttl_too = ttl.map(|attribute| ("tombstone_ttl_attribute", attribute, Some(KeyKind::N)));
        for (name, attribute, kind) in own.into_iter().chain(ttl_too) {
            let refuse = |why| setting(name, why).with("table", &table.name).with("attribute", attribute);
            if table.key.has(attribute) {
                let why = "this attribute belongs to the key of the table, and must be another one";
                return Err(refuse(why));
            }
            let is_other =
                |key: &&IndexKey| key.attribute.name == *attribute && Some(key.attribute.kind) != kind;
            if let Some(key) = table.index_keys.iter().find(is_other) {
                let why = "this attribute belongs to the key of an index, where it is of another kind than it is written";
                return Err(refuse(why).with("index", &key.index));
            }
        }
        match ttl {
            Some(attribute) => check_ttl(client, &table.name, attribute).await,
            None => Ok(()),
        }
    }
}

/// Whether what was deleted goes by this attribute. Where it does not it would stay for ever, and nobody would notice.
async fn check_ttl(client: &Client, table: &str, attribute: &str) -> Result<()> {
    const LOOK: &str = "look at the table's time to live";
    let answer = client.describe_time_to_live().table_name(table).send().await;
    let answer = answer.map_err(|error| failed(LOOK, error).with("table", table))?;
    let described = answer.time_to_live_description();
    let is_on = described
        .and_then(|ttl| ttl.time_to_live_status())
        .is_some_and(|status| matches!(status, TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
    let looks_at = described.and_then(|ttl| ttl.attribute_name()).filter(|_| is_on);
    if looks_at == Some(attribute) {
        return Ok(());
    }
    let why = "DynamoDB does not throw items of this table away by this attribute: what is deleted would stay for ever. Switch it on with `aws \
               dynamodb update-time-to-live`, or name the attribute that the table has for it, or none";
    Err(Error::new(ErrorKind::Config, LOOK, why)
        .with("setting", "tombstone_ttl_attribute")
        .with("table", table)
        .with("attribute", attribute)
        .with("looks_at", looks_at.unwrap_or("(none)")))
}
