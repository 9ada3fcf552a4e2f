//! How a database is reached: read from a URL or from fields.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use tidelock::{Error, Result, choice};
use url::Url;

use crate::error::setting;
use crate::kind::{DatabaseKind, Secret, Tls};

/// How a database is reached: by a URL ([`SqlConfig::from_url`], or the field `url` where this is deserialized), by
/// fields, or by both where they do not say the same thing twice.
///
/// ```
/// # use tidelock_sql::SqlConfig;
/// # fn main() -> tidelock::Result<()> {
/// let one = SqlConfig::from_url("postgres://shop:s3cret@db.example:5433/orders?connections_max=2")?;
/// assert_eq!((&*one.host, one.port, &*one.name), ("db.example", Some(5433), "orders"));
/// assert!(!format!("{one:?}").contains("s3cret"));
/// let file = SqlConfig::from_url("sqlite:orders.db")?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Given")]
#[non_exhaustive]
pub struct SqlConfig {
    /// The kind of database: `postgres`, `mysql` (also `mariadb`) or `sqlite`. Required.
    pub kind: DatabaseKind,
    /// The server: a name, an address, or with a leading `/` a Unix socket (of PostgreSQL its folder). Default `localhost`.
    pub host: String,
    /// Its port. Default 5432 or 3306.
    pub port: Option<u16>,
    /// The database; of SQLite the path of its file, which a sink makes where it is not there. Required.
    pub name: String,
    /// Who we are there. Default: nobody, which is an error where the server wants to know.
    pub user: String,
    /// Proves it. Never printed, and left out where the settings are serialized.
    #[serde(skip_serializing)]
    pub password: Secret,
    /// Whether the connection is encrypted. Default: `auto`.
    pub tls: Tls,
    /// Certificates, in PEM, of those whom we trust to sign the server's. Default: those of the operating system.
    pub tls_ca_file: Option<PathBuf>,
    /// How many connections there are at once at most, of one sink, source or lookup in one process. Default 4.
    pub connections_max: u32,
    /// How long a connection may take until it can be used, in milliseconds. Default 10,000.
    pub connect_timeout_ms: u64,
    /// How long a statement may take, waiting for locks included, in milliseconds. Default 30,000.
    pub statement_timeout_ms: u64,
    /// A connection that was not used for so long is closed and not used again, in milliseconds: shorter than
    /// what servers and those between allow. Default 30,000.
    pub idle_max_ms: u64,
}

/// Eleven days: twice as long is counted by everybody in 32 bits.
const MILLIS_MAX: u64 = 1_000_000_000;

impl SqlConfig {
    /// The database of this name, with every other setting at its default.
    pub fn new(kind: DatabaseKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            host: "localhost".into(),
            port: None,
            name: name.into(),
            user: String::new(),
            password: Secret::default(),
            tls: Tls::Auto,
            tls_ca_file: None,
            connections_max: 4,
            connect_timeout_ms: 10_000,
            statement_timeout_ms: 30_000,
            idle_max_ms: 30_000,
        }
    }

    /// Reads a URL: `postgres://user:password@host:port/database`, the same with `mysql` or `mariadb`, or `sqlite:path`.
    /// Other settings follow as `?tls=off&connections_max=2`, under the names of the fields.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming what is wrong, and never repeating the URL.
    pub fn from_url(url: &str) -> Result<Self> {
        Given::of_url(url)?.into_config()
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        if self.name.is_empty() {
            return Err(setting("name", "the name of the database is required"));
        }
        if self.kind == DatabaseKind::Sqlite && (self.name == ":memory:" || self.name.starts_with("file:")) {
            return Err(setting(
                "name",
                "a file is required: a database in memory is gone with its connection, and with it what was committed",
            ));
        }
        for (name, value) in [
            ("connections_max", u64::from(self.connections_max)),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("statement_timeout_ms", self.statement_timeout_ms),
            ("idle_max_ms", self.idle_max_ms),
        ] {
            if value == 0 {
                return Err(setting(name, "must be greater than zero"));
            }
            if name != "connections_max" && value > MILLIS_MAX {
                return Err(setting(
                    name,
                    format!("must be at most {MILLIS_MAX}: servers and clients count no further"),
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms)
    }

    /// How long a server keeps a transaction on which nothing happens: what whoever began it holds, others wait for.
    pub(crate) fn idle_in_transaction(&self) -> Duration {
        // Longer than the connection may be idle between two of them.
        self.statement_timeout().saturating_mul(2).max(self.idle_max()) + Duration::from_secs(1)
    }

    pub(crate) fn idle_max(&self) -> Duration {
        Duration::from_millis(self.idle_max_ms)
    }

    /// Whether the server must prove who it is.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "mysql")),
        allow(dead_code, reason = "files have no server")
    )]
    pub(crate) fn verifies(&self) -> bool {
        match self.tls {
            Tls::Verify => true,
            Tls::Off => false,
            Tls::Auto => !is_local(&self.host),
        }
    }
}

/// Where it is, for people: without user and password.
impl fmt::Display for SqlConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.port) {
            (DatabaseKind::Sqlite, _) => f.write_str(&self.name),
            (_, Some(port)) => write!(f, "{}:{port}/{}", self.host, self.name),
            (_, None) => write!(f, "{}/{}", self.host, self.name),
        }
    }
}

/// What was given of a [`SqlConfig`].
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Given {
    url: Option<Secret>,
    #[serde(deserialize_with = "some_choice")]
    kind: Option<DatabaseKind>,
    host: Option<String>,
    port: Option<u16>,
    name: Option<String>,
    user: Option<String>,
    password: Option<Secret>,
    #[serde(deserialize_with = "some_choice")]
    tls: Option<Tls>,
    tls_ca_file: Option<PathBuf>,
    connections_max: Option<u32>,
    connect_timeout_ms: Option<u64>,
    statement_timeout_ms: Option<u64>,
    idle_max_ms: Option<u64>,
}

/// A choice that is there.
fn some_choice<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Option<T>, D::Error> {
    choice(deserializer).map(Some)
}

/// Takes each field from the second where the first has none; one that both have is refused.
macro_rules! join {
    ($one:ident, $other:ident; $($field:ident)*) => {
        $(match (&$one.$field, $other.$field) {
            (Some(_), Some(_)) => {
                return Err(setting(stringify!($field), "it is in the URL and beside it: say it once"));
            }
            (None, given) => $one.$field = given,
            (Some(_), None) => {}
        })*
    };
}

impl Given {
    /// Reads a URL. No part of it is repeated in an error: a password may be in any part of one that is mistyped.
    pub(crate) fn of_url(text: &str) -> Result<Self> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.contains('?') {
                return Err(setting("url", "the URL of a SQLite file has no settings: use fields"));
            }
            let name = Some(path.to_owned());
            return Ok(Self { kind: Some(DatabaseKind::Sqlite), name, ..Self::default() });
        }
        let url = Url::parse(text).map_err(|_| setting("url", "this is no URL"))?;
        let kind = match url.scheme() {
            "postgres" | "postgresql" => DatabaseKind::Postgres,
            "mysql" | "mariadb" => DatabaseKind::MySql,
            _ => {
                return Err(setting("url", "a URL begins with postgres://, mysql://, mariadb:// or sqlite:"));
            }
        };
        if !url.has_authority() {
            return Err(setting("url", "`//` and the server follow the first colon"));
        }
        let decoded = |part: &str| {
            let one = format!("x={}", part.replace('+', "%2B").replace('&', "%26"));
            url::form_urlencoded::parse(one.as_bytes()).next().map(|(_, value)| value.into_owned())
        };
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let mut given = Self {
            kind: Some(kind),
            // An IPv6 address stands in brackets in a URL, and in no other place.
            host: some(url.host_str().and_then(decoded)).map(|host| host.trim_matches(['[', ']']).to_owned()),
            port: url.port(),
            name: some(decoded(url.path().trim_start_matches('/'))),
            user: some(decoded(url.username())),
            password: url.password().and_then(decoded).map(Secret::from),
            ..Self::default()
        };
        for (name, value) in url.query_pairs() {
            given.set(&name, &value)?;
        }
        Ok(given)
    }

    /// A setting that follows the `?` of a URL.
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<Option<T>> {
            value.parse().map(Some).map_err(|_| setting(name, "a number is required"))
        }
        match name {
            "host" => self.host = Some(value.to_owned()),
            "tls" => {
                self.tls = Some(match value {
                    "auto" => Tls::Auto,
                    "verify" => Tls::Verify,
                    "off" => Tls::Off,
                    _ => return Err(setting(name, "one of auto, verify and off is required")),
                });
            }
            "tls_ca_file" => self.tls_ca_file = Some(value.into()),
            "connections_max" => self.connections_max = number(name, value)?,
            "connect_timeout_ms" => self.connect_timeout_ms = number(name, value)?,
            "statement_timeout_ms" => self.statement_timeout_ms = number(name, value)?,
            "idle_max_ms" => self.idle_max_ms = number(name, value)?,
            "sslmode" | "ssl-mode" | "ssl" => {
                return Err(setting("url", "TLS is chosen by tls=verify, tls=off or tls=auto"));
            }
            _ => return Err(setting("url", "a setting after the ? is unknown")),
        }
        Ok(())
    }

    pub(crate) fn into_config(mut self) -> Result<SqlConfig> {
        if let Some(url) = self.url.take() {
            let other = Self::of_url(url.expose())?;
            join!(self, other; kind host port name user password tls tls_ca_file connections_max
                connect_timeout_ms statement_timeout_ms idle_max_ms);
        }
        let kind = self.kind.ok_or_else(|| setting("kind", "the kind of database is required, or a url"))?;
        let default = SqlConfig::new(kind, self.name.unwrap_or_default());
        let config = SqlConfig {
            host: self.host.unwrap_or(default.host),
            port: self.port,
            user: self.user.unwrap_or(default.user),
            password: self.password.unwrap_or(default.password),
            tls: self.tls.unwrap_or(default.tls),
            tls_ca_file: self.tls_ca_file,
            connections_max: self.connections_max.unwrap_or(default.connections_max),
            connect_timeout_ms: self.connect_timeout_ms.unwrap_or(default.connect_timeout_ms),
            statement_timeout_ms: self.statement_timeout_ms.unwrap_or(default.statement_timeout_ms),
            idle_max_ms: self.idle_max_ms.unwrap_or(default.idle_max_ms),
            ..default
        };
        config.validate()?;
        Ok(config)
    }
}

impl TryFrom<Given> for SqlConfig {
    type Error = Error;

    fn try_from(given: Given) -> Result<Self> {
        given.into_config()
    }
}

/// Whether nobody can stand between us and the server.
pub(crate) fn is_local(host: &str) -> bool {
    host.starts_with('/')
        || host == "localhost"
        || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_and_fields_say_the_same() {
        let by_url = SqlConfig::from_url("mariadb://me:p%40ss+%26word@db:3307/shop?tls=off&idle_max_ms=7")
            .expect("legal");
        let by_fields = serde_json::json!({
            "kind": "mysql", "host": "db", "port": 3307, "name": "shop", "user": "me", "password": "p@ss+&word",
            "tls": "off", "idle_max_ms": 7,
        });
        assert_eq!(serde_json::from_value::<SqlConfig>(by_fields).expect("legal"), by_url);
        let by_both = serde_json::json!({ "url": "mysql://db:3307/shop", "user": "me", "password": "p@ss+&word",
            "tls": "off", "idle_max_ms": 7 });
        assert_eq!(serde_json::from_value::<SqlConfig>(by_both).expect("legal"), by_url);
    }

    #[test]
    fn the_path_of_a_file_is_taken_as_it_is() {
        for (url, path) in [
            ("sqlite:a b%20.db", "a b%20.db"),
            ("sqlite:///tmp/a.db", "/tmp/a.db"),
            ("sqlite://a.db", "a.db"),
        ] {
            assert_eq!(SqlConfig::from_url(url).expect("legal").name, path);
        }
    }

    #[test]
    fn an_address_of_ip_six_loses_its_brackets() {
        assert_eq!(SqlConfig::from_url("postgres://[::1]:5432/a").expect("legal").host, "::1");
    }

    #[test]
    fn what_is_said_twice_or_unknown_is_refused() {
        for wrong in [
            serde_json::json!({ "url": "mysql://db/shop", "name": "shop" }),
            serde_json::json!({ "kind": "sqlite", "name": "a", "nmae": "a" }),
            serde_json::json!({ "name": "a" }),
            serde_json::json!({ "kind": "sqlite" }),
        ] {
            assert!(serde_json::from_value::<SqlConfig>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_error_repeats_any_part_of_a_url() {
        for url in [
            "postgres:/me:s3cret@db/a",
            "pstgres://me:s3cret@db/a",
            "postgres://me:s3cret@db/a?pasword=s3cret",
            "postgres://me:s3cret@db/a?tls=s3cret",
            "postgres://me:s3cret@db/a?idle_max_ms=s3cret",
            "postgres://me:s3cret@db/a?sslmode=s3cret",
            "postgres://me:s3cret@db:port/a",
            "me:s3cret@db/a",
            "sqlite:a?key=s3cret",
        ] {
            match SqlConfig::from_url(url) {
                Ok(config) => assert!(!format!("{config:?}").contains("s3cret"), "{config:?}"),
                Err(error) => assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}"),
            }
            let by_field = serde_json::from_value::<SqlConfig>(serde_json::json!({ "url": url }));
            assert!(!format!("{by_field:?}").contains("s3cret"), "{by_field:?}");
        }
    }

    #[test]
    fn stored_settings_have_no_password() {
        let config = SqlConfig::from_url("postgres://me:s3cret@db/a").expect("legal");
        let stored = serde_json::to_string(&config).expect("settings");
        assert!(!stored.contains("s3cret") && serde_json::from_str::<SqlConfig>(&stored).is_ok(), "{stored}");
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let config = || SqlConfig::new(DatabaseKind::Sqlite, "a.db");
        assert!(config().validate().is_ok());
        for (wrong, named) in [
            (SqlConfig { name: String::new(), ..config() }, "name"),
            (SqlConfig { name: ":memory:".into(), ..config() }, "name"),
            (SqlConfig { connections_max: 0, ..config() }, "connections_max"),
            (SqlConfig { connect_timeout_ms: 0, ..config() }, "connect_timeout_ms"),
            (SqlConfig { statement_timeout_ms: 0, ..config() }, "statement_timeout_ms"),
            (SqlConfig { idle_max_ms: 0, ..config() }, "idle_max_ms"),
            (SqlConfig { statement_timeout_ms: u64::MAX, ..config() }, "statement_timeout_ms"),
        ] {
            let error = wrong.validate().expect_err(named).to_string();
            assert!(error.contains(&format!("setting={named}")), "{error}");
        }
    }

    #[test]
    fn only_a_server_on_this_machine_is_trusted_without_a_proof() {
        let verifies = |host: &str| {
            SqlConfig { host: host.into(), ..SqlConfig::new(DatabaseKind::Postgres, "a") }.verifies()
        };
        for here in ["localhost", "127.0.0.1", "::1", "/run/postgresql"] {
            assert!(!verifies(here), "{here}");
        }
        for elsewhere in ["db.example", "10.0.0.1", "localhost.example"] {
            assert!(verifies(elsewhere), "{elsewhere}");
        }
    }
}
