//! A server that speaks as Kinesis does, as a process on this machine: kinesis-mock, which `tests/checks/kinesis_server` installs.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::{PATIENCE, Port};

/// Names another folder than the one that it is installed in.
const FOLDER: &str = "TIDELOCK_TEST_KINESIS";

/// How often it is looked whether it serves.
const LOOK: Duration = Duration::from_millis(20);

/// Starts the server, waits for the end of its own input, and kills the server then: so it ends also with a test that is killed.
const UNTIL_WE_END: &str = r#""$@" & read -r _; kill -9 $!; wait"#;

/// What the service takes seconds for is done at once.
const SETTINGS: [(&str, &str); 9] = [
    ("CREATE_STREAM_DURATION", "5ms"),
    ("DELETE_STREAM_DURATION", "5ms"),
    ("SPLIT_SHARD_DURATION", "5ms"),
    ("MERGE_SHARDS_DURATION", "5ms"),
    ("UPDATE_SHARD_COUNT_DURATION", "5ms"),
    ("REGISTER_STREAM_CONSUMER_DURATION", "5ms"),
    ("DEREGISTER_STREAM_CONSUMER_DURATION", "5ms"),
    ("SHARD_LIMIT", "100000"),
    ("LOG_LEVEL", "ERROR"),
];

/// A server that keeps everything in memory. It ends when it is dropped.
#[derive(Debug)]
pub struct KinesisServer {
    port: Port,
    shell: Child,
    input: Option<ChildStdin>,
}

impl KinesisServer {
    /// Starts one, and waits until it serves.
    ///
    /// # Panics
    /// Where there is no such program, or it does not serve in time.
    #[must_use]
    pub fn start() -> Self {
        let folder = Self::installed().unwrap_or_else(|missing| panic!("{missing}"));
        let (port, encrypted) = (Port::reserve(), Port::reserve());
        let mut command = Command::new("sh");
        command.args(["-c", UNTIL_WE_END, "kinesis", "node", "--require"]);
        command.arg(folder.join("loopback.js")).arg("main.js").envs(SETTINGS);
        command.env("KINESIS_MOCK_PLAIN_PORT", port.number().to_string());
        command.env("KINESIS_MOCK_TLS_PORT", encrypted.number().to_string());
        command.current_dir(folder.join(MODULE)).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut shell = command.spawn().expect("a shell");
        let input = shell.stdin.take();
        let server = Self { port, shell, input };
        let mut waited = Duration::ZERO;
        while TcpStream::connect(server.address()).is_err() {
            assert!(waited < PATIENCE, "{} does not serve", folder.display());
            std::thread::sleep(LOOK);
            waited += LOOK;
        }
        server
    }

    /// The folder of what is started.
    ///
    /// # Errors
    /// Where it was looked for in vain, and what to do.
    pub fn installed() -> Result<PathBuf, String> {
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/kinesis");
        let folder = std::env::var_os(FOLDER).map_or_else(beside, PathBuf::from);
        if folder.join(MODULE).join("main.js").is_file() {
            return Ok(std::path::absolute(&folder).unwrap_or(folder));
        }
        let (shown, installed) = (folder.display(), "target/tools/kinesis");
        Err(format!(
            "no {shown}: run `tests/checks/kinesis_server {installed}`, or name another folder with {FOLDER}"
        ))
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.number()))
    }

    /// Where it is, as a URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }
}

const MODULE: &str = "node_modules/kinesis-local";

impl Drop for KinesisServer {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.shell.wait();
    }
}
