//! One container, from its start to its removal.
//!
//! testcontainers removes a container when its handle is dropped, which needs a process that is alive and
//! the async runtime that made the handle. Tests are killed, broker handles live in statics, and every
//! `#[tokio::test]` has a runtime of its own. So all calls go to one runtime that lives as long as the
//! process, and a *reaper*, a child that waits for the end of its input, removes the container when the
//! handle is dropped or the process is gone, however it went.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use testcontainers::core::client::ClientError;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt, TestcontainersError};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use crate::{Error, Result, processes};

/// A server that was told to stop and has not stopped by then is killed, and the stop has failed. On a busy
/// machine a broker needs some seconds.
const STOP_SECONDS_MAX: i32 = 60;

/// How long the engine may take to notice that a killed process is gone.
const GONE_MAX: Duration = Duration::from_secs(20);

/// 128 + 9: the process was killed.
const KILLED: i64 = 137;

/// The end of its log that an error quotes.
const LOG_LINES_MAX: usize = 40;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("containers")
        .enable_all()
        .build()
        .expect("threads for the container engine's client")
});

/// Runs a call to the engine on the runtime that outlives every test.
async fn on_engine<T: Send + 'static>(call: impl Future<Output = T> + Send + 'static) -> T {
    RUNTIME.spawn(call).await.expect("invariant: a call to the engine does not panic")
}

/// A running, paused or stopped container.
#[derive(Debug)]
pub(crate) struct Container {
    name: String,
    handle: Option<Arc<ContainerAsync<GenericImage>>>,
    reaper: Child,
}

impl Container {
    /// Starts `tidelock-test/{image}` on the host's network, set up by the arguments, variables and files
    /// of `set_up`.
    pub(crate) async fn start(
        image: &str,
        set_up: impl FnOnce(ContainerRequest<GenericImage>) -> ContainerRequest<GenericImage>,
    ) -> Result<Self> {
        let name = format!("tidelock-{image}-{:016x}", rand::random::<u64>());
        // Before the container: there must be no moment in which it is there and its reaper is not.
        let reaper = reap(&name)?;
        let generic = GenericImage::new(format!("tidelock-test/{image}"), "latest".to_owned());
        let request = set_up(generic.with_container_name(&name).with_network("host"));
        let started = on_engine(async move { request.start().await }).await;
        let mut container = Self { name, handle: None, reaper };
        let handle = started.map_err(|error| not_started(image, error))?;
        container.handle = Some(Arc::new(handle));
        Ok(container)
    }

    async fn call<T, F>(
        &self,
        what: &str,
        call: impl FnOnce(Arc<ContainerAsync<GenericImage>>) -> F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = std::result::Result<T, TestcontainersError>> + Send + 'static,
    {
        let handle = self.handle.as_ref().expect("invariant: the handle is there until the drop");
        on_engine(call(Arc::clone(handle)))
            .await
            .map_err(|error| Error::new(format!("{what} {}", self.name), error))
    }

    /// Starts it again, with the files that it wrote before.
    pub(crate) async fn start_again(&self) -> Result<()> {
        self.call("start", |handle| async move { handle.start().await }).await
    }

    /// SIGTERM, and waits until it ended.
    pub(crate) async fn stop(&self) -> Result<()> {
        self.call("stop", |handle| async move { handle.stop_with_timeout(Some(STOP_SECONDS_MAX)).await })
            .await?;
        let code = self.call("stop", |handle| async move { handle.exit_code().await }).await?;
        if code == Some(KILLED) {
            let why = format!("it had not stopped after {STOP_SECONDS_MAX} s and was killed");
            return Err(Error::new(format!("stop {}", self.name), why));
        }
        Ok(())
    }

    /// SIGKILL, and waits until it is gone. The engine's `stop` without a time-out would not do: it sends
    /// SIGTERM first.
    pub(crate) async fn kill(&self) -> Result<()> {
        self.signal("KILL").await?;
        let deadline = Instant::now() + GONE_MAX;
        while self.is_running().await? {
            if Instant::now() > deadline {
                let why = format!("it still runs after {} s", GONE_MAX.as_secs());
                return Err(Error::new(format!("kill {}", self.name), why));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Freezes it, as if the machine had been suspended: connections stay, answers do not come. A signal to
    /// the server, because the engine's own `pause` gives up where the old freezer of cgroups is too slow.
    /// Returns when nothing of it runs any more: a signal is told to all threads one after another, and one that has
    /// not heard it may still give an answer.
    pub(crate) async fn pause(&self) -> Result<()> {
        // The first process first: it starts no more of them then.
        self.signal("STOP").await?;
        self.signal_others("STOP").await?;
        let deadline = Instant::now() + GONE_MAX;
        while processes::any_runs(self.first_process().await?) {
            if Instant::now() > deadline {
                let why = format!("something of it still runs after {} s", GONE_MAX.as_secs());
                return Err(Error::new(format!("pause {}", self.name), why));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// The number that the first process of the container has outside of it.
    pub(crate) async fn first_process(&self) -> Result<u32> {
        let operation = format!("look for the process of {}", self.name);
        let printed = docker(&operation, &["inspect", "--format", "{{.State.Pid}}", &self.name]).await?;
        printed.trim().parse().map_err(|error| Error::new(operation, error))
    }

    /// Ends the freeze.
    pub(crate) async fn unpause(&self) -> Result<()> {
        self.signal_others("CONT").await?;
        self.signal("CONT").await
    }

    /// The engine's signals go to the first process alone, and `PostgreSQL` answers each client from one of its own.
    async fn signal_others(&self, signal: &str) -> Result<()> {
        // Where there are no others, `kill` says so.
        self.run(&["sh", "-c", &format!("kill -{signal} -1 || true")]).await.map(drop)
    }

    async fn signal(&self, signal: &str) -> Result<()> {
        let operation = format!("send SIG{signal} to {}", self.name);
        docker(&operation, &["kill", "--signal", signal, &self.name]).await.map(drop)
    }

    /// Runs a command in it, and gives what it printed.
    pub(crate) async fn run(&self, command: &[&str]) -> Result<String> {
        let mut args = vec!["exec", self.name.as_str()];
        args.extend(command);
        let operation = format!("run {} in {}", command.first().unwrap_or(&"nothing"), self.name);
        docker(&operation, &args).await
    }

    pub(crate) async fn is_running(&self) -> Result<bool> {
        self.call("look at", |handle| async move { handle.is_running().await }).await
    }

    /// The end of what it printed.
    pub(crate) async fn log(&self) -> String {
        let printed = self.call("read the log of", |handle| async move {
            let mut all = handle.stdout_to_vec().await?;
            all.extend(handle.stderr_to_vec().await?);
            Ok(all)
        });
        match printed.await {
            Ok(printed) => {
                let text = String::from_utf8_lossy(&printed);
                let lines: Vec<&str> = text.lines().collect();
                lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
            }
            Err(error) => error.to_string(),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.reaper.stdin.take());
        // Waits until the container is gone: its memory belongs to the next test.
        let _gone = self.reaper.wait();
        let handle = self.handle.take();
        // testcontainers looks for the container once more, finds none, and needs a runtime for that.
        RUNTIME.spawn(async move { drop(handle) });
    }
}

/// Runs the engine's own command, and gives what it printed.
async fn docker(operation: &str, args: &[&str]) -> Result<String> {
    let wrong = |why: String| Error::new(operation, why);
    let ran = tokio::process::Command::new("docker").args(args).kill_on_drop(true).output().await;
    let ran = ran.map_err(|error| wrong(error.to_string()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if ran.status.success() {
        return Ok(text(&ran.stdout));
    }
    Err(wrong(text(&ran.stderr)))
}

/// Starts the reaper of the container with this name.
fn reap(name: &str) -> Result<Child> {
    use std::os::unix::process::CommandExt as _;
    Command::new("sh")
        .args(["-c", "read -r _; exec docker rm --force --volumes \"$0\"", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::null()) // an inherited one would keep the readers of our output waiting
        .stderr(Stdio::null())
        .process_group(0) // what ends our group must not end the reaper
        .spawn()
        .map_err(|error| Error::new(format!("start the reaper of {name}"), error))
}

fn not_started(image: &str, error: TestcontainersError) -> Error {
    let remedy = match &error {
        TestcontainersError::Client(ClientError::PullImage { .. }) => {
            format!("; is the image there? Make it: tests/containers/images {image}")
        }
        TestcontainersError::Client(_) => {
            "; does an engine answer? Start one: tests/containers/engine start".to_owned()
        }
        _ => String::new(),
    };
    Error::new(format!("start a container of tidelock-test/{image}"), format!("{error}{remedy}"))
}
