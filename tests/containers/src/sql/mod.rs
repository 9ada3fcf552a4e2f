//! One server of `PostgreSQL`, `MariaDB` or `MySQL`.

mod database;
mod options;
mod ready;

use std::path::Path;

use tempfile::NamedTempFile;
use testcontainers::ImageExt;
use testcontainers::core::Mount;
use tidelock_processes::Port;
use tokio::sync::OnceCell;

pub use database::Database;
pub use options::SqlOptions;

use crate::Result;
use crate::certificates::{Certificates, stored};
use crate::container::Container;

/// The user of every test. It may do anything.
const USER: &str = "tidelock";

/// Where a server keeps its data, as the images' start scripts expect.
const DATA_PATH: &str = "/tmp/tidelock";

/// Where the files are that it is started with, as the images' start scripts expect.
const FILES_PATH: &str = "/etc/tidelock";

/// A running server; dropped, it is gone with everything that it stored.
#[derive(Debug)]
pub struct SqlServer {
    database: Database,
    container: Container,
    port: Port,
    password: String,
    tls: Option<TlsFiles>,
}

/// What clients of a server with TLS need.
#[derive(Debug)]
struct TlsFiles {
    authority: NamedTempFile,
    client: NamedTempFile,
    stranger: NamedTempFile,
}

impl SqlServer {
    /// Starts a server and waits until it serves.
    ///
    /// # Errors
    /// Where no engine answers, the image is missing, or the server is not ready in time; with the end of
    /// its log.
    pub async fn start(options: SqlOptions) -> Result<Self> {
        let database = options.database;
        let port = Port::reserve();
        let password = format!("{:032x}", rand::random::<u128>());
        let certificates = options.tls.as_ref().map(|names| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Certificates::make(&names, USER)
        });
        let certificates = certificates.transpose()?;
        let tls = certificates.as_ref().map(TlsFiles::store).transpose()?;
        let mut files = database.files(&password, tls.is_some());
        if let Some(made) = certificates {
            files.push(("server.pem", made.server));
            files.push(("authority.pem", made.authority));
        }
        let arguments = database.arguments(port.number(), tls.is_some(), &options.settings);
        let container = Container::start(database.image(), |image| {
            let mut image = image.with_cmd(arguments);
            for (name, text) in files {
                image = image.with_copy_to(format!("{FILES_PATH}/{name}"), text.into_bytes());
            }
            if let Some(bytes) = options.memory_bytes {
                image = image.with_mount(Mount::tmpfs_mount(DATA_PATH).with_size_bytes(bytes));
            }
            if let Some(folder) = &options.folder {
                image = image.with_mount(Mount::bind_mount(folder.to_string_lossy(), DATA_PATH));
            }
            image
        });
        let server = Self { database, container: container.await?, port, password, tls };
        ready::wait(&server).await?;
        Ok(server)
    }

    /// One server of this kind with the default options, shared by all tests of the process that ask for it.
    /// Each keeps to a [`fresh_database`](Self::fresh_database) of its own, and lets it run.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn shared(database: Database) -> Result<&'static Self> {
        static SHARED: [OnceCell<SqlServer>; 3] = [const { OnceCell::const_new() }; 3];
        SHARED[database as usize].get_or_try_init(|| Self::start(SqlOptions::new(database))).await
    }

    /// Which kind of database it is.
    #[must_use]
    pub fn database(&self) -> Database {
        self.database
    }

    /// As `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// The port of 127.0.0.1 that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The user of the tests, who may do anything.
    #[must_use]
    pub fn user(&self) -> &str {
        USER
    }

    /// The user's password; another one for every server.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The URL of one of its databases, with user and password.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("{}://{USER}:{}@{}/{name}", self.database.scheme(), self.password, self.address())
    }

    /// Makes an empty database, and gives its name.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn fresh_database(&self) -> Result<String> {
        let name = format!("test_{:016x}", rand::random::<u64>());
        self.run(self.database.first_name(), &format!("CREATE DATABASE {name}")).await?;
        Ok(name)
    }

    /// What an operator does by hand: runs statements in the database of this name, with the client that is in the
    /// container, and gives what it printed: a line for each row, with tabs between the columns.
    ///
    /// # Errors
    /// Where the server does not answer or refuses; with its message.
    pub async fn run(&self, name: &str, statements: &str) -> Result<String> {
        let port = self.port.number().to_string();
        self.container.run(&self.database.client(&port, name, statements)).await
    }

    /// The certificate of the authority that signed the server's, where the options ask for TLS.
    #[must_use]
    pub fn authority(&self) -> Option<&Path> {
        self.tls.as_ref().map(|tls| tls.authority.path())
    }

    /// The certificate of an authority that signed nothing here, where the options ask for TLS.
    #[must_use]
    pub fn stranger(&self) -> Option<&Path> {
        self.tls.as_ref().map(|tls| tls.stranger.path())
    }

    /// A key and its certificate for the user, signed by the same authority, in one file of PEM.
    #[must_use]
    pub fn client_certificate(&self) -> Option<&Path> {
        self.tls.as_ref().map(|tls| tls.client.path())
    }

    /// Ends it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn kill(&self) -> Result<()> {
        self.container.kill().await
    }

    /// Ends it as an operator would, without waiting for its clients, and waits for its clean shutdown.
    ///
    /// # Errors
    /// Where it did not stop by itself within a minute.
    pub async fn stop(&self) -> Result<()> {
        self.container.stop().await
    }

    /// Starts it again on the data that it had, and waits until it serves.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_again(&self) -> Result<()> {
        self.container.start_again().await?;
        ready::wait(self).await
    }

    /// Whether it is there: one whose disk is full may end itself.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn is_running(&self) -> Result<bool> {
        self.container.is_running().await
    }

    /// Freezes it: its connections stay open and nothing is answered.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn pause(&self) -> Result<()> {
        self.container.pause().await
    }

    /// Ends the freeze.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn unpause(&self) -> Result<()> {
        self.container.unpause().await
    }
}

impl TlsFiles {
    fn store(made: &Certificates) -> Result<Self> {
        Ok(Self {
            authority: stored(&made.authority)?,
            client: stored(&made.client)?,
            stranger: stored(&made.stranger)?,
        })
    }
}
