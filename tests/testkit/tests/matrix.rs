//! Every check against every double: a correct double passes all of them, and a broken one fails the
//! check that is there for it, and no other but those that its row in the table names.

use std::collections::BTreeSet;

use tidelock_testkit::check::Verdict;
use tidelock_testkit::conformance::{idempotent, rejecting, sink, source, values};
use tidelock_testkit::doubles::{
    Fails, MemorySinkHarness, MemorySourceHarness, MemoryValuesHarness, PickyHarness, RejectingDefect,
    SinkDefect, SourceDefect, TableDefect, TableHarness, ValuesDefect,
};

async fn failed_sink_checks(defect: Option<SinkDefect>) -> BTreeSet<&'static str> {
    let mut failed = BTreeSet::new();
    for name in sink::CHECKS {
        let harness = MemorySinkHarness::new(defect);
        match Box::pin(sink::check(name, &harness)).await.expect("a check of this name") {
            Ok(verdict) => assert_eq!(verdict, Verdict::Passed, "{name}: a double has every facet"),
            Err(failure) => {
                println!("{defect:?} fails {name}: {failure}");
                failed.insert(*name);
            }
        }
    }
    failed
}

async fn failed_source_checks(defect: Option<SourceDefect>) -> BTreeSet<&'static str> {
    let mut failed = BTreeSet::new();
    for name in source::CHECKS {
        let harness = MemorySourceHarness::new(defect);
        match Box::pin(source::check(name, &harness)).await.expect("a check of this name") {
            Ok(verdict) => assert_eq!(verdict, Verdict::Passed, "{name}: a double has every facet"),
            Err(failure) => {
                println!("{defect:?} fails {name}: {failure}");
                failed.insert(*name);
            }
        }
    }
    failed
}

async fn failed_idempotent_checks(defect: Option<TableDefect>) -> BTreeSet<&'static str> {
    let mut failed = BTreeSet::new();
    for name in idempotent::CHECKS {
        let harness = TableHarness::new(defect);
        match Box::pin(idempotent::check(name, &harness)).await.expect("a check of this name") {
            Ok(verdict) => assert_eq!(verdict, Verdict::Passed, "{name}: a double has every facet"),
            Err(failure) => {
                println!("{defect:?} fails {name}: {failure}");
                failed.insert(*name);
            }
        }
    }
    failed
}

async fn failed_rejecting_checks(defect: Option<RejectingDefect>) -> BTreeSet<&'static str> {
    let mut failed = BTreeSet::new();
    for name in rejecting::CHECKS {
        let harness = PickyHarness::new(defect);
        match Box::pin(rejecting::check(name, &harness)).await.expect("a check of this name") {
            Ok(verdict) => assert_eq!(verdict, Verdict::Passed, "{name}: a double has every facet"),
            Err(failure) => {
                println!("{defect:?} fails {name}: {failure}");
                failed.insert(*name);
            }
        }
    }
    failed
}

async fn failed_values_checks(defect: Option<ValuesDefect>) -> BTreeSet<&'static str> {
    let mut failed = BTreeSet::new();
    for name in values::CHECKS {
        let harness = MemoryValuesHarness::new(defect);
        match Box::pin(values::check(name, &harness)).await.expect("a check of this name") {
            Ok(verdict) => assert_eq!(verdict, Verdict::Passed, "{name}: a double holds every value"),
            Err(failure) => {
                println!("{defect:?} fails {name}: {failure}");
                failed.insert(*name);
            }
        }
    }
    failed
}

/// What a row of the table says, against what happened.
fn compare(defect: &str, fails: Fails, failed: &BTreeSet<&str>) -> Option<String> {
    let documented: BTreeSet<&str> = fails.also.iter().copied().chain([fails.check]).collect();
    let explained = fails.also.is_empty() == fails.because.is_empty();
    let unique = documented.len() == fails.also.len() + 1;
    (documented != *failed || !explained || !unique)
        .then(|| format!("{defect} must fail {documented:?} and fails {failed:?}"))
}

// Time is virtual, so that a check that waits for a call that hangs loses its patience at once.
#[tokio::test(start_paused = true)]
async fn correct_doubles_pass_every_check() {
    assert_eq!(failed_sink_checks(None).await, BTreeSet::new());
    assert_eq!(failed_source_checks(None).await, BTreeSet::new());
    assert_eq!(failed_idempotent_checks(None).await, BTreeSet::new());
    assert_eq!(failed_rejecting_checks(None).await, BTreeSet::new());
    assert_eq!(failed_values_checks(None).await, BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn every_broken_rejecting_sink_fails_its_check_and_passes_the_others() {
    let mut wrong = Vec::new();
    for defect in RejectingDefect::ALL {
        let failed = failed_rejecting_checks(Some(*defect)).await;
        wrong.extend(compare(&format!("{defect:?}"), defect.fails(), &failed));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn every_broken_sink_fails_its_check_and_passes_the_others() {
    let mut wrong = Vec::new();
    for defect in SinkDefect::ALL {
        let failed = failed_sink_checks(Some(*defect)).await;
        wrong.extend(compare(&format!("{defect:?}"), defect.fails(), &failed));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn every_broken_source_fails_its_check_and_passes_the_others() {
    let mut wrong = Vec::new();
    for defect in SourceDefect::ALL {
        let failed = failed_source_checks(Some(*defect)).await;
        wrong.extend(compare(&format!("{defect:?}"), defect.fails(), &failed));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn every_broken_table_sink_fails_its_check_and_passes_the_others() {
    let mut wrong = Vec::new();
    for defect in TableDefect::ALL {
        let failed = failed_idempotent_checks(Some(*defect)).await;
        wrong.extend(compare(&format!("{defect:?}"), defect.fails(), &failed));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn every_sink_that_changes_values_fails_its_check_and_passes_the_others() {
    let mut wrong = Vec::new();
    for defect in ValuesDefect::ALL {
        let failed = failed_values_checks(Some(*defect)).await;
        wrong.extend(compare(&format!("{defect:?}"), defect.fails(), &failed));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_check_has_a_double_that_fails_it() {
    let broken: BTreeSet<&str> = SinkDefect::ALL.iter().map(|defect| defect.fails().check).collect();
    assert_eq!(broken, sink::CHECKS.iter().copied().collect());
    let broken: BTreeSet<&str> = SourceDefect::ALL.iter().map(|defect| defect.fails().check).collect();
    assert_eq!(broken, source::CHECKS.iter().copied().collect());
    let broken: BTreeSet<&str> = TableDefect::ALL.iter().map(|defect| defect.fails().check).collect();
    assert_eq!(broken, idempotent::CHECKS.iter().copied().collect());
    let broken: BTreeSet<&str> = RejectingDefect::ALL.iter().map(|defect| defect.fails().check).collect();
    assert_eq!(broken, rejecting::CHECKS.iter().copied().collect());
    let broken: BTreeSet<&str> = ValuesDefect::ALL.iter().map(|defect| defect.fails().check).collect();
    assert_eq!(broken, values::CHECKS.iter().copied().collect());
}
