//! A sink of single values, in memory: correct, or changing one kind of value without a word.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::{
    CommitPermit, Committable, Committed, Epoch, Error, ErrorKind, Pending, Prepared, Result, Sink,
    SinkAttempt, SinkWriter, Versioned, WriterId, unknown_version,
};

use super::ValuesDefect as D;
use crate::harness::{Value, ValuesHarness};

/// The values of an epoch: they travel in the snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ValuesCommittable(Vec<Shape>);

/// A value as it is stored: floats by their bits, because JSON has no form for all of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Shape {
    F32(u32),
    F64(u64),
    Other(Value),
}

impl Versioned for ValuesCommittable {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

impl Committable for ValuesCommittable {}

/// A sink of values.
#[derive(Debug, Clone, Default)]
pub struct ValuesSink {
    visible: Arc<Mutex<Vec<Value>>>,
    defect: Option<D>,
}

/// The writer of a [`ValuesSink`].
#[derive(Debug)]
pub struct ValuesWriter {
    written: Vec<Shape>,
    defect: Option<D>,
}

#[async_trait]
impl Sink for ValuesSink {
    type Record = Value;
    type Committable = ValuesCommittable;
    type Writer = ValuesWriter;

    async fn recover(&self, _attempt: &SinkAttempt, _pending: &[Pending<ValuesCommittable>]) -> Result<()> {
        Ok(())
    }

    async fn open(&self, _attempt: &SinkAttempt, _writer: WriterId) -> Result<ValuesWriter> {
        Ok(ValuesWriter { written: Vec::new(), defect: self.defect })
    }

    async fn commit(
        &self,
        _permit: &CommitPermit,
        committables: Vec<Pending<ValuesCommittable>>,
    ) -> Result<Committed> {
        let mut visible = self.visible.lock().expect("invariant: nobody panics while holding the values");
        for shape in committables.into_iter().flat_map(|pending| pending.committable.0) {
            visible.push(match shape {
                Shape::F32(bits) => Value::F32(f32::from_bits(bits)),
                Shape::F64(bits) => Value::F64(f64::from_bits(bits)),
                Shape::Other(value) => value,
            });
        }
        Ok(Committed::default())
    }
}

#[async_trait]
impl SinkWriter for ValuesWriter {
    type Record = Value;
    type Committable = ValuesCommittable;

    async fn write(&mut self, records: &mut Vec<Value>) -> Result<()> {
        if self.defect == Some(D::RefusesFloats)
            && records.iter().any(|value| matches!(value, Value::F32(_) | Value::F64(_)))
        {
            return Err(Error::new(ErrorKind::Data, "write", "a float"));
        }
        self.written.extend(records.drain(..).map(|value| match change(value, self.defect) {
            Value::F32(value) => Shape::F32(value.to_bits()),
            Value::F64(value) => Shape::F64(value.to_bits()),
            value => Shape::Other(value),
        }));
        Ok(())
    }

    async fn prepare(&mut self, _epoch: Epoch) -> Result<Vec<Prepared<ValuesCommittable>>> {
        Ok(vec![Prepared::lasting(ValuesCommittable(std::mem::take(&mut self.written)))])
    }

    async fn settled(&mut self, _epoch: Epoch, _reinit: bool) -> Result<()> {
        Ok(())
    }
}

/// What a broken sink makes of a value.
fn change(value: Value, defect: Option<D>) -> Value {
    match (defect, value) {
        (Some(D::LosesTheSignOfZero), Value::F64(value)) => Value::F64(value + 0.0),
        (Some(D::CountsInFloats), Value::U64(value)) => Value::U64(value as f64 as u64),
        (Some(D::EndsTextsAtNul), Value::Text(text)) => {
            Value::Text(text.split('\0').next().unwrap_or_default().to_owned())
        }
        (Some(D::TakesBytesForText), Value::Bytes(bytes)) => {
            Value::Bytes(String::from_utf8_lossy(&bytes).into_owned().into_bytes())
        }
        (Some(D::TakesEmptyForMissing), Value::MaybeText(text)) => {
            Value::MaybeText(text.filter(|text| !text.is_empty()))
        }
        (Some(D::TakesZeroForNow), Value::Timestamp(0)) => Value::Timestamp(1_764_374_400_000),
        (_, value) => value,
    }
}

/// Plugs [`ValuesSink`] into the suite.
#[derive(Debug, Default)]
pub struct MemoryValuesHarness(ValuesSink);

impl MemoryValuesHarness {
    /// A harness with an empty target, for a sink that is correct or broken in one way.
    pub fn new(defect: Option<D>) -> Self {
        Self(ValuesSink { defect, ..ValuesSink::default() })
    }
}

#[async_trait]
impl ValuesHarness for MemoryValuesHarness {
    type Sink = ValuesSink;

    async fn sink(&self) -> Result<ValuesSink> {
        Ok(self.0.clone())
    }

    fn record(&self, value: &Value) -> Option<Value> {
        Some(value.clone())
    }

    async fn visible(&self) -> Result<Vec<Value>> {
        Ok(self.0.visible.lock().expect("invariant: nobody panics while holding the values").clone())
    }
}
