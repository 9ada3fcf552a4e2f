//! What a check answers, and what every check needs: patience, a crash inside a call.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tidelock::Error;

/// How long one call to a connector may take before the check says that it hangs: far longer than any
/// healthy system needs, so that a loaded machine never fails a check.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of a check that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Verdict {
    /// The promise was kept.
    Passed,
    /// The harness lacks the facet of this name, so nothing was checked.
    Skipped(&'static str),
}

/// A broken promise, with the evidence.
#[derive(Debug)]
pub struct CheckFailure {
    message: String,
    error: Option<Error>,
}

impl CheckFailure {
    /// A failure that is explained by its message alone.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), error: None }
    }

    /// The error of a call that must succeed, with what was tried.
    pub fn because(message: impl Into<String>, error: Error) -> Self {
        Self { message: message.into(), error: Some(error) }
    }
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.error {
            Some(error) => write!(f, ": {error:?}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CheckFailure {}

/// The answer of a check.
pub type Checked<T = Verdict> = Result<T, CheckFailure>;

/// Awaits one call that must succeed, and names it where it does not or hangs.
pub(crate) async fn must<T>(
    what: &'static str,
    call: impl Future<Output = tidelock::Result<T>>,
) -> Checked<T> {
    patient(what, call).await?.map_err(|error| CheckFailure::because(format!("{what} failed"), error))
}

/// Awaits one call that may fail, and names it where it hangs.
pub(crate) async fn patient<T>(what: &'static str, call: impl Future<Output = T>) -> Checked<T> {
    let hangs = |_| CheckFailure::new(format!("{what} did not return within {PATIENCE:?}"));
    tokio::time::timeout(PATIENCE, call).await.map_err(hangs)
}

/// Fails the check with `message` unless `holds`.
pub(crate) fn ensure(holds: bool, message: impl FnOnce() -> String) -> Checked<()> {
    if holds { Ok(()) } else { Err(CheckFailure::new(message())) }
}

/// Polls a call `polls` times and then drops it where it stands: the process died inside it. Returns
/// what the call returned, if it ended before.
pub(crate) async fn crash_inside<T>(polls: usize, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut left = polls;
    poll_fn(move |context| {
        if let Poll::Ready(output) = call.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        left = left.saturating_sub(1);
        if left == 0 { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

/// Runs one check on a fresh harness: the body of each test that the conformance macros make.
///
/// `boot` gives `None` where the system is not there on this machine; nothing is checked then, and it says so.
///
/// # Panics
/// Where the promise is broken, the harness cannot boot, or the check does not apply and was not left out: that is
/// how a test fails.
pub fn run<H, B, F>(suite: &str, name: &str, boot: B, check: impl AsyncFnOnce(&H) -> Checked)
where
    B: FnOnce() -> F,
    F: Future<Output = tidelock::Result<Option<H>>>,
{
    settle(name, async {
        let Some(harness) = booted(boot()).await? else {
            println!("{name}: nothing checked: the system is not there");
            return Ok(());
        };
        match check(&harness).await? {
            Verdict::Passed => Ok(()),
            Verdict::Skipped(facet) => Err(CheckFailure::new(format!(
                "the harness lacks the facet `{facet}`, so nothing was checked; give it the facet, or say that the \
                 system has none: conformance::{suite}!(boot, without [{facet}])"
            ))),
        }
    });
}

/// Runs each check whose facet is left out, on a harness of its own: it must not apply, or a promise that the
/// connector could keep would go unchecked. `facets` names what the suite's checks need.
///
/// # Panics
/// Where a check applies, or the harness cannot boot.
pub fn left_out<H, B, F>(
    boot: B,
    left_out: &[&str],
    facets: &[(&str, &str)],
    check: impl AsyncFn(&str, &H) -> Option<Checked>,
) where
    B: Fn() -> F,
    F: Future<Output = tidelock::Result<Option<H>>>,
{
    settle("what is left out does not apply", async {
        for (name, facet) in facets.iter().filter(|(_, facet)| left_out.contains(facet)) {
            let Some(harness) = booted(boot()).await? else {
                println!("nothing checked: the system is not there");
                return Ok(());
            };
            let answer = check(name, &harness).await.expect("invariant: facets are of the suite's checks");
            // A check that applies may fail as well: then it has all the more to say.
            ensure(matches!(answer, Ok(Verdict::Skipped(lacking)) if lacking == *facet), || {
                format!("`{name}` applies: the harness has the facet `{facet}`, so it cannot be left out")
            })?;
        }
        Ok(())
    });
}

async fn booted<H>(boot: impl Future<Output = tidelock::Result<Option<H>>>) -> Checked<Option<H>> {
    boot.await.map_err(|error| CheckFailure::because("the harness does not boot", error))
}

/// Runs what a test does, and fails the test with what it found.
#[allow(clippy::panic)]
fn settle(name: &str, test: impl Future<Output = Checked<()>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    if let Err(failure) = runtime.expect("a test can start threads").block_on(test) {
        panic!("{name}: {failure}");
    }
}
