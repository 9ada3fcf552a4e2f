//! One worker thread: builds the graph, steps it until the attempt ends, and drops it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tidelock::Result;
use tidelock::job::Restored;
use timely::worker::Worker;
use tokio::sync::mpsc;

use crate::book::Book;
use crate::dispatch::Built;
use crate::graph::Graph;
use crate::shared::Shared;
use crate::stop::{Place, panic_error};
use crate::time::Time;

/// Builds a job's graph. Called once on every worker, again for every attempt.
///
/// No type parameter: all that runs an attempt is compiled with this crate, and not anew in each crate that has a job.
pub(crate) type Build = dyn for<'s> Fn(&Graph<'s>) + Send + Sync;

/// The life of a worker. Errors end the attempt through [`Stop`].
pub(crate) fn run(
    worker: &mut Worker,
    shared: &Arc<Shared>,
    restored: Option<Restored>,
    build: &Build,
    built: &mpsc::Sender<Built>,
) {
    let stop = &shared.stop;
    stop.register_worker();
    if let Some(post) = &shared.post {
        post.install(worker);
    }
    let graph = worker.next_dataflow_index();
    match guard(shared, "build graph", || build_graph(worker, shared, restored, build)) {
        // The channel has a place for every worker; it is closed only when the attempt has ended.
        Some(Ok(plan)) => drop(built.try_send(plan)),
        Some(Err(error)) => stop.fail(None, error),
        None => {}
    }
    while !stop.is_set() {
        guard(shared, "run", || worker.step_or_park(None));
    }
    stop.worker_is_through();
    guard(shared, "drop graph", || worker.drop_dataflow(graph));
    // The last words to the other processes must still get out.
    while shared.post.as_ref().is_some_and(|post| !post.is_closed()) {
        if guard(shared, "say good-bye", || worker.step_or_park(Some(GOOD_BYE_STEP))).is_none() {
            break;
        }
    }
    guard(shared, "drop post", || {
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
    });
}

/// How often a worker that is done looks whether all has been said.
const GOOD_BYE_STEP: Duration = Duration::from_millis(5);

fn build_graph(
    worker: &mut Worker,
    shared: &Arc<Shared>,
    restored: Option<Restored>,
    build: &Build,
) -> Result<Built> {
    let index = u32::try_from(worker.index()).unwrap_or(u32::MAX);
    let book = Book::new(index, Arc::clone(&shared.outbox));
    let plan = worker.dataflow::<Time, _, _>(|scope| {
        let graph = Graph::new(scope, Arc::clone(shared), Arc::clone(&book), restored);
        build(&graph);
        graph.finish()
    });
    Ok(Built { worker: index, book, plan: plan? })
}

/// Calls what may run a user's function. A panic ends the attempt and names the place; or the process whose loss it
/// follows from.
fn guard<T>(shared: &Shared, operation: &'static str, logic: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(logic)) {
        Ok(result) => Some(result),
        Err(panic) => {
            let stop = &shared.stop;
            let place = Place::of_panic();
            let of_loss = shared.post.as_ref().and_then(|post| post.error_of_loss(operation, &*panic));
            match (of_loss, place) {
                (Some(error), _) => stop.fail(None, error),
                (None, Some(Place { uid, operator })) => {
                    stop.fail(Some(uid), panic_error(operation, &*panic).with("operator", operator));
                }
                (None, None) => stop.fail(None, panic_error(operation, &*panic)),
            }
            None
        }
    }
}
