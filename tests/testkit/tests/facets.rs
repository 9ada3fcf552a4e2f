//! A harness that has no facets: the checks that need one are left out by name, and by nothing else.

use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use tidelock::Result;
use tidelock_testkit::check::{self, Checked, Verdict};
use tidelock_testkit::conformance::{self, idempotent, sink, source, values};
use tidelock_testkit::doubles::{
    BATCH_RECORDS_MAX, Change, MemorySink, MemorySinkHarness, MemorySource, MemorySourceHarness,
    MemoryValuesHarness, TableHarness, TableSink, ValuesSink,
};
use tidelock_testkit::harness::{
    IdempotentHarness, Row, Shape, SinkFacets, SinkHarness, SourceFacets, SourceHarness, Value, ValuesHarness,
};
use tidelock_testkit::oracle::Input;

/// The harness of a double, as that of a system that can do nothing more than it must.
struct Bare<H>(H);

#[async_trait]
impl SinkHarness for Bare<MemorySinkHarness> {
    type Sink = MemorySink;

    async fn sink(&self) -> Result<MemorySink> {
        self.0.sink().await
    }

    fn record(&self, row: &Row) -> Row {
        row.clone()
    }

    async fn visible(&self) -> Result<Vec<Row>> {
        self.0.visible().await
    }

    fn facets(&self) -> SinkFacets<'_> {
        SinkFacets::new(Shape::Bag)
    }
}

#[async_trait]
impl SourceHarness for Bare<MemorySourceHarness> {
    type Source = MemorySource;

    async fn source(&self) -> Result<MemorySource> {
        self.0.source().await
    }

    async fn append(&self, split: &str, places: Range<u64>) -> Result<()> {
        self.0.append(split, places).await
    }

    fn identify(&self, record: &Input) -> Input {
        record.clone()
    }

    fn facets(&self) -> SourceFacets<'_, MemorySource> {
        SourceFacets::new(BATCH_RECORDS_MAX).without_growth().without_newcomers()
    }
}

#[async_trait]
impl SinkHarness for Bare<TableHarness> {
    type Sink = TableSink;

    async fn sink(&self) -> Result<TableSink> {
        self.0.sink().await
    }

    fn record(&self, row: &Row) -> Change {
        self.0.record(row)
    }

    async fn visible(&self) -> Result<Vec<Row>> {
        self.0.visible().await
    }

    fn facets(&self) -> SinkFacets<'_> {
        self.0.facets()
    }
}

impl IdempotentHarness for Bare<TableHarness> {
    fn delete(&self, _row: &Row) -> Option<Change> {
        None
    }
}

/// It holds texts alone.
#[async_trait]
impl ValuesHarness for Bare<MemoryValuesHarness> {
    type Sink = ValuesSink;

    async fn sink(&self) -> Result<ValuesSink> {
        self.0.sink().await
    }

    fn record(&self, value: &Value) -> Option<Value> {
        matches!(value, Value::Text(_)).then(|| value.clone())
    }

    async fn visible(&self) -> Result<Vec<Value>> {
        self.0.visible().await
    }
}

async fn bare_sink() -> Result<Option<Bare<MemorySinkHarness>>> {
    Ok(Some(Bare(MemorySinkHarness::new(None))))
}

async fn bare_source() -> Result<Option<Bare<MemorySourceHarness>>> {
    Ok(Some(Bare(MemorySourceHarness::new(None))))
}

async fn bare_table() -> Result<Option<Bare<TableHarness>>> {
    Ok(Some(Bare(TableHarness::new(None))))
}

async fn bare_values() -> Result<Option<Bare<MemoryValuesHarness>>> {
    Ok(Some(Bare(MemoryValuesHarness::new(None))))
}

async fn whole_sink() -> Result<Option<MemorySinkHarness>> {
    Ok(Some(MemorySinkHarness::new(None)))
}

conformance::sink!(bare_sink, without [order, expiry, leftovers]);
conformance::source!(bare_source, without [growth, newcomers, endings, latest, retention]);
conformance::idempotent!(bare_table, without[delete]);
conformance::values!(bare_values, without [floats, integers, bytes, missing_values, timestamps]);

/// What each check that does not apply says that it lacks.
async fn skipped(
    checks: &[&'static str],
    check: impl AsyncFn(&str) -> Option<Checked>,
) -> BTreeMap<&'static str, &'static str> {
    let mut skipped = BTreeMap::new();
    for name in checks {
        match check(name).await.expect("a check of this name").expect("the doubles are correct") {
            Verdict::Skipped(facet) => drop(skipped.insert(*name, facet)),
            Verdict::Passed => {}
        }
    }
    skipped
}

fn listed(facets: &[(&'static str, &'static str)]) -> BTreeMap<&'static str, &'static str> {
    facets.iter().copied().collect()
}

#[tokio::test(start_paused = true)]
async fn exactly_the_checks_that_name_a_facet_need_it() {
    let answers = skipped(sink::CHECKS, async |name| {
        Box::pin(sink::check(name, &Bare(MemorySinkHarness::new(None)))).await
    });
    assert_eq!(answers.await, listed(sink::FACETS));
    let answers = skipped(source::CHECKS, async |name| {
        Box::pin(source::check(name, &Bare(MemorySourceHarness::new(None)))).await
    });
    assert_eq!(answers.await, listed(source::FACETS));
    let answers = skipped(idempotent::CHECKS, async |name| {
        Box::pin(idempotent::check(name, &Bare(TableHarness::new(None)))).await
    });
    assert_eq!(answers.await, listed(idempotent::FACETS));
    let mut all_but_texts = listed(values::FACETS);
    all_but_texts.remove("texts_are_what_was_written");
    let answers = skipped(values::CHECKS, async |name| {
        Box::pin(values::check(name, &Bare(MemoryValuesHarness::new(None)))).await
    });
    assert_eq!(answers.await, all_but_texts);
}

#[test]
#[should_panic(expected = "conformance::sink!(boot, without [expiry])")]
fn a_check_that_does_not_apply_fails_and_names_what_to_write() {
    check::run("sink", "commit_reports_data_that_is_gone", bare_sink, sink::commit_reports_data_that_is_gone);
}

#[test]
#[should_panic(expected = "`recovery_reports_data_that_is_gone` applies")]
fn a_check_that_applies_cannot_be_left_out() {
    let facets = &[("recovery_reports_data_that_is_gone", "expiry")];
    check::left_out(whole_sink, &["expiry"], facets, async |name, harness| {
        Box::pin(sink::check(name, harness)).await
    });
}
