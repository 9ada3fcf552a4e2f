//! Reads a table of leases, as the start of a first run.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::Client;
use tidelock::{Error, ErrorKind, Result, Retry};
use tidelock_aws::{AwsConfig, load};

use super::config::LeasesConfig;
use super::lease::Lease;
use super::plan::Plan;
use super::reconcile::{self, Facts, ListedStream};
use super::table::{AGAIN_FOR, LeaseTable};
use crate::client::client;
use crate::source::api::Api;
use crate::source::now_ms;

const IMPORT: &str = "begin where KCL ended";

/// What stands in KCL's table of leases.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leases {
    /// The leases, in the order of their keys.
    pub leases: Vec<Lease>,
    /// How many rows are no leases, by what they are instead.
    pub others: BTreeMap<String, usize>,
    /// Who wrote to the table while it was watched: workers that are alive.
    pub writers: BTreeSet<String>,
}

impl Leases {
    /// Reads the table, and watches it for as long as the settings say, or until somebody writes to it. Nothing is changed.
    ///
    /// # Errors
    /// Where a setting cannot work, DynamoDB refuses or is away for long, or a row is none that KCL writes.
    pub async fn read(config: &LeasesConfig) -> Result<Self> {
        config.validate()?;
        let table = LeaseTable::new(Client::new(&load(&config.dynamodb).await?), &config.table);
        let (rows, writers) = table.watch(config.watch()).await?;
        let (leases, others) = rows.leases()?;
        Ok(Self { leases, others, writers })
    }

    /// Whether the leases say which stream they are of: those of an application that reads several do.
    pub fn name_streams(&self) -> bool {
        self.leases.iter().any(|lease| lease.stream.is_some())
    }

    /// What the leases mean for the shards of these streams, by their names or ARNs. Changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where nobody can tell of which stream the leases are, [`ErrorKind::NotFound`] where there is no such stream.
    pub async fn plan_of(
        &self,
        config: &LeasesConfig,
        kinesis: &AwsConfig,
        streams: &[String],
    ) -> Result<Plan> {
        self.plan_with(config, &Api::new(client(kinesis).await?, AGAIN_FOR), streams).await
    }

    /// The same with a service that is asked already.
    pub(crate) async fn plan_with(
        &self,
        config: &LeasesConfig,
        api: &Api,
        streams: &[String],
    ) -> Result<Plan> {
        let mut listed = Vec::with_capacity(streams.len());
        for stream in streams {
            let gone = || {
                let why = "there is no such stream";
                Error::new(ErrorKind::NotFound, IMPORT, why).with("stream", stream)
            };
            let summary = api.summary(stream).await?.map_err(|_| gone())?;
            let shards = api.shards(&summary.arn).await?.map_err(|_| gone())?;
            listed.push(ListedStream::of(&summary, &shards));
        }
        self.plan(config, &listed, now_ms())
    }

    fn plan(&self, config: &LeasesConfig, streams: &[ListedStream], now_ms: i64) -> Result<Plan> {
        let names_one = self.leases.iter().any(|lease| lease.stream.is_none());
        if names_one && (streams.len() != 1 || self.name_streams()) {
            let why = if self.name_streams() {
                "some leases name their stream, and some do not: the table is of two applications"
            } else {
                "the leases are of an application that reads one stream, and do not name it: let the source read that one alone"
            };
            return Err(Error::new(ErrorKind::Config, IMPORT, why).with("table", &config.table));
        }
        let with = Facts { initial: config.initial_position, now_ms };
        let plans = streams.iter().map(|stream| reconcile::plan(&self.leases, stream, with));
        Ok(plans.fold(Plan::default(), Plan::and))
    }

    /// # Errors
    /// [`ErrorKind::Conflict`] where a worker is alive, unless that is forced: it would process what we do.
    pub fn check_nobody_writes(&self, config: &LeasesConfig) -> Result<()> {
        if self.writers.is_empty() || config.force {
            return Ok(());
        }
        let writers: Vec<&str> = self.writers.iter().map(String::as_str).collect();
        let why = "a worker is alive: it writes to the table. End it, or take the table all the same with force = true";
        // It may be just about to end.
        let error = Error::new(ErrorKind::Conflict, IMPORT, why).with_retry(Retry::Halt);
        Err(error.with("table", &config.table).with("writers", writers.join(", ")))
    }
}
