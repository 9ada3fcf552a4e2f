//! Which process is gone, where the connection to it breaks.
//!
//! ```text
//!   process 1 is killed ──> "timely:recv-1" panics: notes process 1 ──> its queues are poisoned ──> workers panic
//! ```
//!
//! Timely knows no other way to say it than panics: first of the thread that has the connection, then of all that wait
//! for it. None of them is a defect. So each of these threads is told beforehand whose connection it has, a hook
//! notes the first that breaks before anything follows from it, and a worker's panic that follows is an error that
//! names the process. The panics are not printed: the error says all that they do. Every other panic is left to the
//! hook that was there before.

use std::any::Any;
use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::sync::{Arc, Once, OnceLock};

use tidelock::{Error, ErrorKind};
use timely::communication::Hooks;

use crate::stop::message_of;

/// How the panic of a thread begins that has a connection.
const BROKEN: &str = "timely communication error:";

/// How the panics begin that follow from it, on workers and where threads are joined.
const FOLLOWING: [&str; 4] =
    ["MergeQueue poisoned", "MergeQueue mutex poisoned", "Send thread panic", "Recv thread panic"];

/// The first connection that broke, if one did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lost(Arc<OnceLock<Gone>>);

/// Whose connection broke, and how.
#[derive(Debug)]
struct Gone {
    process: usize,
    cause: String,
}

thread_local! {
    /// On a thread that has a connection: where it is noted that it broke, and the process at its other end.
    static CONNECTION: RefCell<Option<(Lost, usize)>> = const { RefCell::new(None) };
}

impl Lost {
    /// Has timely's threads say whose connections they have.
    pub(crate) fn watch(&self) -> Hooks {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if !follows_from_a_loss(panic) {
                    before(panic);
                }
            }));
        });
        let lost = self.clone();
        let log_fn = Arc::new(move |setup: timely::communication::logging::CommunicationSetup| {
            CONNECTION.set(setup.remote.map(|process| (lost.clone(), process)));
            None
        });
        Hooks { log_fn, ..Hooks::default() }
    }

    /// The error of a panic that was caught on a worker, where it follows from a connection that broke. `addresses` are
    /// those of the processes.
    pub(crate) fn error_of(
        &self,
        operation: &'static str,
        panic: &(dyn Any + Send),
        addresses: &[String],
    ) -> Option<Error> {
        let message = message_of(panic)?;
        let is_ours = message.starts_with(BROKEN) || FOLLOWING.iter().any(|begin| message.starts_with(begin));
        is_ours.then(|| {
            let why = "another process of the job is gone, or is cut off: its connection broke. Start all processes again";
            let error = Error::new(ErrorKind::Unavailable, operation, why);
            let Some(Gone { process, cause }) = self.0.get() else { return error };
            let error = error.with("process", process).with("cause", cause);
            match addresses.get(*process) {
                Some(address) => error.with("address", address),
                None => error,
            }
        })
    }
}

/// Notes a connection that broke. `false` for every panic that has another reason.
fn follows_from_a_loss(panic: &PanicHookInfo<'_>) -> bool {
    let Some(message) = message_of(panic.payload()) else { return false };
    if let Some(cause) = message.strip_prefix(BROKEN) {
        let noted = CONNECTION.try_with(|connection| {
            let connection = connection.try_borrow().ok()?;
            let (lost, process) = connection.as_ref()?;
            // The first one counts: when this process ends because of it, other connections break too.
            let _ = lost.0.set(Gone { process: *process, cause: cause.trim().to_owned() });
            Some(())
        });
        return matches!(noted, Ok(Some(())));
    }
    FOLLOWING.iter().any(|begin| message.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use tidelock::Retry;
    use timely::communication::logging::CommunicationSetup;

    use super::*;

    fn panic_of(message: &'static str) -> Box<dyn Any + Send> {
        catch_unwind(AssertUnwindSafe(|| std::panic::panic_any(message))).unwrap_err()
    }

    #[test]
    fn a_panic_that_follows_from_a_lost_process_names_it_and_others_are_left_alone() {
        let lost = Lost::default();
        let hooks = lost.watch();
        let connection = std::thread::spawn(move || {
            (hooks.log_fn)(CommunicationSetup { process: 0, sender: false, remote: Some(1) });
            std::panic::panic_any("timely communication error: reading data: socket closed");
        });
        assert!(connection.join().is_err());
        let addresses = ["a:1".to_owned(), "b:2".to_owned()];
        let error = lost.error_of("run", &*panic_of("MergeQueue poisoned."), &addresses).unwrap();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Restart));
        let told = error.to_string();
        for part in ["process=1", "address=b:2", "socket closed"] {
            assert!(told.contains(part), "{part:?} is missing in {told}");
        }
        // A user's function may panic at the same time.
        assert!(lost.error_of("run", &*panic_of("index out of bounds"), &addresses).is_none());
        let unknown = Lost::default().error_of("run", &*panic_of("MergeQueue poisoned."), &addresses);
        assert_eq!(unknown.unwrap().kind(), ErrorKind::Unavailable);
    }
}
