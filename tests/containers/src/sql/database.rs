//! What differs between the kinds of servers.

use std::io::Write as _;
use std::process::Command;
use std::sync::LazyLock;

use futures::future::join_all;

use super::{FILES_PATH, USER};

/// The kinds of servers that are reached over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Database {
    /// `PostgreSQL`.
    Postgres,
    /// `MariaDB`.
    Mariadb,
    /// `MySQL`. Where no registry answers, its image is made from packages that move, and may not be there.
    Mysql,
}

impl Database {
    /// All kinds that tests can have here: those whose image is always made, and `MySQL` where it could be made. Where
    /// it could not, this says so past the test harness, which keeps what passed tests print to itself.
    #[must_use]
    pub fn there() -> Vec<Self> {
        static HAS_MYSQL: LazyLock<bool> = LazyLock::new(|| {
            let inspect = Command::new("docker").args(["image", "inspect", "tidelock-test/mysql"]).output();
            inspect.is_ok_and(|inspected| inspected.status.success())
        });
        let mut there = vec![Self::Postgres, Self::Mariadb];
        if *HAS_MYSQL {
            there.push(Self::Mysql);
        } else {
            let loud =
                "\n==== SKIPPED ON MYSQL: there is no image; make it: tests/containers/images mysql ====\n";
            let _nobody_to_tell = std::io::stderr().write_all(loud.as_bytes());
        }
        there
    }

    /// Does the same on every kind that is [`there`](Self::there), side by side: a server waits more than it works. What a
    /// failed test printed says where it passed.
    pub async fn each(test: impl AsyncFn(Self)) {
        Self::each_of(Self::there(), test).await;
    }

    /// The same on those of some kinds that are there.
    pub async fn each_of(kinds: impl IntoIterator<Item = Self>, test: impl AsyncFn(Self)) {
        let there = Self::there();
        let test = &test;
        let on_kind = |kind| {
            Box::pin(async move {
                test(kind).await;
                eprintln!("passed on {kind:?}");
            })
        };
        join_all(kinds.into_iter().filter(|kind| there.contains(kind)).map(on_kind)).await;
    }

    pub(super) fn image(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mariadb => "mariadb",
            Self::Mysql => "mysql",
        }
    }

    pub(super) fn scheme(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mariadb | Self::Mysql => "mysql",
        }
    }

    /// A database that is there from the beginning.
    pub(super) fn first_name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mariadb | Self::Mysql => "mysql",
        }
    }

    /// What the server is started with beside settings.
    pub(super) fn files(self, password: &str, tls: bool) -> Vec<(&'static str, String)> {
        match self {
            Self::Postgres => {
                let host = if tls { "hostssl" } else { "host" };
                let rules = format!("local all all trust\n{host} all all 127.0.0.1/32 scram-sha-256\n");
                vec![("password", password.to_owned()), ("hba.conf", rules)]
            }
            Self::Mariadb | Self::Mysql => {
                let user = format!(
                    "CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{password}';\n\
                     GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
                );
                vec![("users.sql", user)]
            }
        }
    }

    /// The arguments of the image's start script. The last of two equal settings counts, so what was asked for comes last.
    pub(super) fn arguments(self, port: u16, tls: bool, asked: &[(String, String)]) -> Vec<String> {
        let keys = format!("{FILES_PATH}/server.pem");
        let authority = format!("{FILES_PATH}/authority.pem");
        let mut settings = vec![("port".to_owned(), port.to_string())];
        let mut set = |name: &str, value: &str| settings.push((name.to_owned(), value.to_owned()));
        match self {
            // Zero is its default, and forbids to prepare a transaction.
            Self::Postgres => set("max_prepared_transactions", "64"),
            // The memory of a server that other tests share the machine with.
            Self::Mariadb => set("innodb_buffer_pool_size", "64M"),
            Self::Mysql => {
                set("innodb_buffer_pool_size", "64M");
                set("performance_schema", "OFF");
            }
        }
        if tls {
            let (own, certificate, key) = match self {
                Self::Postgres => ("ssl_ca_file", "ssl_cert_file", "ssl_key_file"),
                Self::Mariadb | Self::Mysql => ("ssl_ca", "ssl_cert", "ssl_key"),
            };
            set(own, &authority);
            set(certificate, &keys);
            set(key, &keys);
            match self {
                Self::Postgres => set("ssl", "on"),
                Self::Mariadb | Self::Mysql => set("require_secure_transport", "ON"),
            }
        }
        settings.extend(asked.iter().cloned());
        let argument = |(name, value): (String, String)| format!("--{name}={value}");
        settings.into_iter().map(argument).collect()
    }

    /// The command that runs statements, inside the container.
    pub(super) fn client<'a>(self, port: &'a str, name: &'a str, statements: &'a str) -> Vec<&'a str> {
        match self {
            Self::Postgres => vec![
                "/opt/tidelock/bin/psql",
                "--host=/tmp",
                "--port",
                port,
                "--username",
                USER,
                "--no-psqlrc",
                "--quiet",
                "--no-align",
                "--tuples-only",
                "--field-separator=\t",
                "--set=ON_ERROR_STOP=1",
                "--dbname",
                name,
                "--command",
                statements,
            ],
            Self::Mariadb | Self::Mysql => vec![
                if self == Self::Mariadb { "mariadb" } else { "mysql" },
                "--no-defaults",
                "--socket=/tmp/tidelock.sock",
                "--user=root",
                "--batch",
                "--skip-column-names",
                "--execute",
                statements,
                name,
            ],
        }
    }
}
