//! The input of the example: alarms in memory, as a bounded source with one split.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::{
    Batch, Discovery, Known, Result, Source, Split, SplitId, SplitReader, Versioned, unknown_version,
};

/// An alarm of a sensor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Alarm {
    /// Which sensor.
    pub(crate) sensor: String,
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: i64,
}

/// A few alarms.
pub(crate) struct Alarms(Vec<Alarm>);

impl Alarms {
    /// The boiler is nervous, the door was opened once.
    pub(crate) fn of_a_morning() -> Self {
        let minutes =
            [("boiler", 0), ("boiler", 2), ("door", 3), ("boiler", 9), ("boiler", 14), ("boiler", 15)];
        let alarm = |(sensor, minute): (&str, i64)| Alarm { sensor: sensor.into(), at_ms: minute * 60_000 };
        Self(minutes.map(alarm).into())
    }
}

/// All alarms, from one of them on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct From(usize);

impl Versioned for From {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

impl Split for From {
    fn id(&self) -> SplitId {
        SplitId::new("alarms")
    }
}

/// What remains to be read.
pub(crate) struct Remaining {
    from: usize,
    alarms: Vec<Alarm>,
}

#[async_trait]
impl Source for Alarms {
    type Record = Alarm;
    type Split = From;
    type Reader = Remaining;

    async fn discover(&self, known: &Known<From>) -> Result<Discovery<From>> {
        let is_new = known.active.is_empty() && known.finished.is_empty();
        let new = if is_new { vec![From(0)] } else { Vec::new() };
        Ok(Discovery { new, complete: true, ..Discovery::default() })
    }

    async fn open(&self, split: From) -> Result<Remaining> {
        Ok(Remaining { from: split.0, alarms: self.0[split.0..].to_vec() })
    }
}

#[async_trait]
impl SplitReader for Remaining {
    type Record = Alarm;
    type Split = From;

    async fn next(&mut self) -> Result<Option<Batch<Alarm, From>>> {
        if self.alarms.is_empty() {
            return Ok(None);
        }
        self.from += 1;
        Ok(Some(Batch { records: vec![self.alarms.remove(0)], resume: From(self.from) }))
    }
}
