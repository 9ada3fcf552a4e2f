//! Where a service is, and who asks.

use std::fmt;
use std::time::Duration;

use aws_credential_types::Credentials;
use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result};
use url::Url;

/// Where a service is, and how it is asked.
///
/// Credentials are no setting. They come from where AWS's own tools look for them: the environment, the profile, a web identity, the container or
/// the instance.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AwsConfig {
    /// The region, such as `eu-central-1`. Where it is not given it comes from the profile that is named here, the environment (`AWS_REGION`), the
    /// environment's profile or the instance.
    pub region: Option<String>,
    /// Another address than AWS's own, as a URL: of a server for tests, or of an endpoint within a network. It is used for every service that the
    /// settings are for. Where it is not given it comes from the environment (`AWS_ENDPOINT_URL`, or that of the service) or the profile, and else it is
    /// AWS's own.
    pub endpoint: Option<String>,
    /// The profile of AWS's configuration files whose credentials and region are used, whatever is in the environment: one that is not there, or has no
    /// credentials, is refused. Where it is not given, credentials and region come from the environment, and where it has none from the profile that
    /// `AWS_PROFILE` names, which is else `default`.
    pub profile: Option<String>,
    /// How long a connection may take. Default 3,000.
    pub connect_timeout_ms: u64,
    /// How long a request may take until its answer is there. What is cut off here may still be done. Default 10,000.
    pub call_timeout_ms: u64,
    /// Instead of the usual ones, for tests.
    #[serde(skip)]
    pub(crate) credentials: Option<Credentials>,
}

impl Default for AwsConfig {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            profile: None,
            connect_timeout_ms: 3_000,
            call_timeout_ms: 10_000,
            credentials: None,
        }
    }
}

/// Eleven days.
const MILLIS_MAX: u64 = 1_000_000_000;

impl AwsConfig {
    /// AWS itself, with every setting at its default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the setting. What stands there for an endpoint is not repeated: it may be a URL with a password.
    pub fn validate(&self) -> Result<()> {
        let refuse = |name: &str, why: &str| Err(setting(name, why));
        for (name, text) in [("region", &self.region), ("profile", &self.profile)] {
            if text.as_deref().is_some_and(|text| text.trim().is_empty() || text.contains(char::is_control)) {
                return refuse(name, "must not be empty: leave it out, and it comes from the environment");
            }
        }
        if self.endpoint.as_deref().is_some_and(|endpoint| address_of(endpoint).is_none()) {
            let why = "an endpoint is http://host:port or https://host:port, without user, password, query or fragment";
            return refuse("endpoint", why);
        }
        for (name, value) in
            [("connect_timeout_ms", self.connect_timeout_ms), ("call_timeout_ms", self.call_timeout_ms)]
        {
            if !(1..=MILLIS_MAX).contains(&value) {
                return Err(setting(name, format!("must be between 1 and {MILLIS_MAX}")));
            }
        }
        Ok(())
    }

    /// These credentials, and not the usual ones.
    #[doc(hidden)]
    #[must_use]
    pub fn with_credentials(mut self, access_key_id: &str, secret_access_key: &str) -> Self {
        let name = "given by a test";
        self.credentials = Some(Credentials::new(access_key_id, secret_access_key, None, None, name));
        self
    }

    /// Whether requests go unencrypted, to an endpoint that was given so.
    pub(crate) fn is_plain(&self) -> bool {
        let address = self.endpoint.as_deref().and_then(address_of);
        address.is_some_and(|address| address.scheme() == "http")
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }
}

/// An address that is nothing but one.
fn address_of(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare).then_some(url)
}

/// The error of a setting that cannot work.
pub(crate) fn setting(name: &str, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, "configure AWS", why).with("setting", name)
}

/// Without credentials, and without what is no endpoint: it may be a URL with a password.
impl fmt::Debug for AwsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &String| address_of(text).map_or_else(|| "(no endpoint)".to_owned(), String::from);
        f.debug_struct("AwsConfig")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint.as_ref().map(shown))
            .field("profile", &self.profile)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("call_timeout_ms", &self.call_timeout_ms)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused_by_name_and_no_secret_is_shown() {
        AwsConfig::new().validate().expect("the defaults");
        let endpoint = |text: &str| AwsConfig { endpoint: Some(text.into()), ..AwsConfig::new() };
        for good in [
            "http://127.0.0.1:8000",
            "https://vpce-1.dynamodb.eu-central-1.vpce.amazonaws.com",
            "http://[::1]:1/path",
        ] {
            endpoint(good).validate().expect(good);
        }
        for (wrong, named) in [
            (endpoint(""), "endpoint"),
            (endpoint("127.0.0.1:8000"), "endpoint"),
            (endpoint("ftp://a"), "endpoint"),
            (endpoint("http://me:s3cret@a:1"), "endpoint"),
            (endpoint("http://s3cret@a:1"), "endpoint"),
            (endpoint("http://a?key=s3cret"), "endpoint"),
            (AwsConfig { region: Some(String::new()), ..AwsConfig::new() }, "region"),
            (AwsConfig { profile: Some(" ".into()), ..AwsConfig::new() }, "profile"),
            (AwsConfig { connect_timeout_ms: 0, ..AwsConfig::new() }, "connect_timeout_ms"),
            (AwsConfig { call_timeout_ms: u64::MAX, ..AwsConfig::new() }, "call_timeout_ms"),
        ] {
            let wrong = wrong.with_credentials("s3cret", "s3cret");
            let error = wrong.validate().expect_err(named);
            assert!(
                error.kind() == ErrorKind::Config && error.to_string().contains(&format!("setting={named}")),
                "{error}"
            );
            let shown = format!("{error:?} {wrong:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        let stored =
            serde_json::to_string(&AwsConfig::new().with_credentials("s3cret", "s3cret")).expect("JSON");
        assert!(!stored.contains("s3cret"), "{stored}");
    }

    #[test]
    fn what_is_not_said_has_its_default_and_what_is_unknown_is_refused() {
        let read = |json: serde_json::Value| serde_json::from_value::<AwsConfig>(json);
        assert_eq!(read(serde_json::json!({})).expect("legal"), AwsConfig::new());
        let said =
            read(serde_json::json!({ "region": "eu-central-1", "call_timeout_ms": 7 })).expect("legal");
        assert_eq!((said.region.as_deref(), said.call_timeout_ms), (Some("eu-central-1"), 7));
        for unknown in ["secret_access_key", "credentials", "access_key"] {
            assert!(read(serde_json::json!({ unknown: "x" })).is_err(), "{unknown}");
        }
    }

    #[test]
    fn only_an_endpoint_that_was_given_so_is_asked_unencrypted() {
        let endpoint = |text: &str| AwsConfig { endpoint: Some(text.into()), ..AwsConfig::new() };
        assert!(endpoint("http://127.0.0.1:1").is_plain());
        assert!(!endpoint("https://127.0.0.1:1").is_plain() && !AwsConfig::new().is_plain());
    }
}
