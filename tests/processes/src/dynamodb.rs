//! A server that speaks as DynamoDB does, as a process on this machine: dynoxide, which `tests/checks/dynamodb_server` installs.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::{PATIENCE, Port};

/// Names another program than the installed one.
const PROGRAM: &str = "TIDELOCK_TEST_DYNAMODB";

/// How often it is looked whether it serves.
const LOOK: Duration = Duration::from_millis(5);

/// Starts the server, waits for the end of its own input, and kills the server then: so it ends also with a test that is killed.
const UNTIL_WE_END: &str = r#""$@" & read -r _; kill -9 $!; wait"#;

/// A server. It ends when it is dropped.
#[derive(Debug)]
pub struct DynamoServer {
    port: Port,
    file: Option<PathBuf>,
    running: Option<(Child, ChildStdin)>,
}

impl DynamoServer {
    /// Starts one that keeps everything in memory, and waits until it serves.
    ///
    /// # Panics
    /// Where there is no such program, or it does not serve in time.
    #[must_use]
    pub fn start() -> Self {
        Self::begin(None)
    }

    /// The same with its data in a file, so that it can be killed and started again.
    ///
    /// # Panics
    /// As above.
    #[must_use]
    pub fn on_disk(folder: &Path) -> Self {
        Self::begin(Some(folder.join("dynamodb.db")))
    }

    /// The program that is started.
    ///
    /// # Errors
    /// Where it was looked for in vain, and what to do.
    pub fn installed() -> Result<PathBuf, String> {
        let beside =
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/dynoxide/bin/dynoxide");
        let program = std::env::var_os(PROGRAM).map_or_else(beside, PathBuf::from);
        if program.is_file() {
            return Ok(program);
        }
        let (shown, folder) = (program.display(), "target/tools/dynoxide");
        Err(format!(
            "no {shown}: run `tests/checks/dynamodb_server {folder}`, or name another one with {PROGRAM}"
        ))
    }

    fn begin(file: Option<PathBuf>) -> Self {
        let mut server = Self { port: Port::reserve(), file, running: None };
        server.start_again();
        server
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

    /// Kills it with SIGKILL. What it had in memory is gone.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn kill(&mut self) {
        let (mut shell, input) = self.running.take().expect("a server that runs");
        drop(input);
        shell.wait().expect("a process of ours");
    }

    /// Starts it where it was, with what its file has.
    ///
    /// # Panics
    /// Where it runs already, or does not serve in time.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "it runs");
        let program = Self::installed().unwrap_or_else(|missing| panic!("{missing}"));
        let mut command = Command::new("sh");
        command.args(["-c", UNTIL_WE_END, "dynamodb"]).arg(&program).args(["--log", "quiet", "--port"]);
        command.arg(self.port.number().to_string()).stdin(Stdio::piped()).stdout(Stdio::null());
        if let Some(file) = &self.file {
            command.arg("--db-path").arg(file);
        }
        let mut shell = command.spawn().expect("a shell");
        let input = shell.stdin.take().expect("a pipe");
        self.running = Some((shell, input));
        let mut waited = Duration::ZERO;
        while TcpStream::connect(self.address()).is_err() {
            assert!(waited < PATIENCE, "{} does not serve", program.display());
            std::thread::sleep(LOOK);
            waited += LOOK;
        }
    }
}

impl Drop for DynamoServer {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn call(server: &DynamoServer, operation: &str, body: &str) -> String {
        let mut connection = TcpStream::connect(server.address()).expect("a connection");
        let length = body.len();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: DynamoDB_20120810.{operation}\r\nContent-Type: application/x-amz-json-1.0\r\n\
             X-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential=a/20260101/r/dynamodb/aws4_request, SignedHeaders=host, \
             Signature=b\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        connection.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer");
        answer
    }

    #[test]
    fn what_was_written_is_there_after_a_kill_where_there_is_a_file_and_gone_where_there_is_none() {
        let folder = std::env::temp_dir().join(format!("dynamodb-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).expect("a folder");
        for (mut server, tables) in
            [(DynamoServer::on_disk(&folder), r#"["kept"]"#), (DynamoServer::start(), "[]")]
        {
            let table = r#"{"TableName":"kept","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],
                            "AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]}"#;
            let answer = call(&server, "CreateTable", table);
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            server.kill();
            assert!(TcpStream::connect(server.address()).is_err(), "it is gone");
            server.start_again();
            let answer = call(&server, "ListTables", "{}");
            assert!(answer.contains(&format!(r#""TableNames":{tables}"#)), "{answer}");
        }
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
