//! A sink whose requests are metered.

use tidelock_dynamodb::{DynamoSinkConfig, ItemChange, Mode, Versions};

use super::figures::Figures;
use super::meter::{Cost, Meter};
use crate::common::{self, NewTable};
use crate::scene::Scene;

pub(crate) struct Counted {
    pub(crate) meter: Meter,
    scene: Scene,
}

impl Counted {
    /// A job that has just begun.
    pub(crate) async fn new(mode: Mode) -> Self {
        Self::with(mode, Versions::Attempt).await
    }

    pub(crate) async fn with(mode: Mode, versions: Versions) -> Self {
        let meter = Meter::start().await;
        let table = NewTable::fresh().make(&common::client(common::shared()).await).await;
        let mut config = DynamoSinkConfig::new(meter.config(), table.clone());
        (config.mode, config.versions) = (mode, versions);
        config.ledger_table = format!("ledger_{table}");
        Self { meter, scene: Scene::new(config).await }
    }

    /// What it costs that the job begins anew.
    pub(crate) async fn begin_again(&mut self) -> Cost {
        self.meter.take();
        self.scene.begin_again().await;
        self.meter.take()
    }

    /// What an epoch of these changes costs.
    pub(crate) async fn epoch(&mut self, changes: Vec<ItemChange>) -> Cost {
        self.meter.take();
        self.scene.epoch(changes).await;
        self.meter.take()
    }

    /// The same, where the metrics say so, too: of what was lost on the way they know nothing.
    pub(crate) async fn told_epoch(&mut self, changes: Vec<ItemChange>) -> Cost {
        let figures = Figures::default();
        let here = metrics::set_default_local_recorder(&figures);
        let cost = self.epoch(changes).await;
        drop(here);
        let tables = [&self.scene.config.table, &self.scene.config.ledger_table];
        let told = tables.map(|table| figures.of("tidelock_dynamodb_write_units_total", table));
        assert_eq!(told.iter().sum::<u64>() as f64, cost.write, "{told:?} of {tables:?}");
        cost
    }
}
