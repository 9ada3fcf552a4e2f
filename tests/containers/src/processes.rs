//! The processes of a container, as the machine sees them.

use std::fs;
use std::path::Path;

/// Whether a thread of this process, or of one that it started, is not stopped.
pub(crate) fn any_runs(process: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return false };
    threads.flatten().any(|thread| {
        let thread = thread.path();
        !is_stopped(&thread) || children(&thread).into_iter().any(any_runs)
    })
}

/// What is gone does not run, either.
fn is_stopped(thread: &Path) -> bool {
    let Ok(stat) = fs::read_to_string(thread.join("stat")) else { return true };
    // The state stands behind the name, which may have anything in it.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('T' | 't' | 'Z' | 'X'))
}

fn children(thread: &Path) -> Vec<u32> {
    let listed = fs::read_to_string(thread.join("children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_stopped_when_all_that_it_started_is() {
        let mut parent = Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().expect("started");
        let signal = |signal: &str, process: u32| {
            let sent = Command::new("kill").args([signal, &process.to_string()]).status();
            assert!(sent.expect("sent").success());
        };
        let until = |what: &dyn Fn() -> bool| {
            while !what() {
                std::thread::yield_now();
            }
        };
        let own = || children(Path::new(&format!("/proc/{0}/task/{0}", parent.id())));
        until(&|| own().len() == 1);
        let child = own()[0];
        assert!(any_runs(parent.id()));
        signal("-STOP", parent.id());
        until(&|| is_stopped(Path::new(&format!("/proc/{0}/task/{0}", parent.id()))));
        assert!(any_runs(parent.id()), "its child does");
        signal("-STOP", child);
        until(&|| !any_runs(parent.id()));
        signal("-KILL", child);
        signal("-KILL", parent.id());
        parent.wait().expect("ended");
    }
}
