//! The settings of librdkafka, by their own names: one map configures librdkafka and the control client.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The servers to begin with, by the names that librdkafka has for them.
pub(crate) const BOOTSTRAP_SERVERS: [&str; 2] = ["bootstrap.servers", "metadata.broker.list"];

/// Settings as librdkafka names them: `bootstrap.servers`, `security.protocol`, `linger.ms` and so on.
/// Printed with its secrets hidden.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// The settings for brokers that ask for no credentials: `host:port`, more of them with commas.
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self::default().with("bootstrap.servers", bootstrap_servers)
    }

    /// Adds or replaces one setting.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// The value of a setting, where it is given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value under any of the names that librdkafka knows for one setting.
    pub(crate) fn get_any(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }

    /// All settings.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Settings of security that are no secret.
const SHOWN: [&str; 9] = [
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
];

/// Whether a setting's value must never be printed. By its name, so that a secret that this build does
/// not know is hidden as well, and one whose name is mistyped.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let parts = ["sasl", "ssl", "pass", "secret", "token", "jaas", "oauth", "credential", ".pem"];
    !SHOWN.contains(&name.as_str()) && parts.iter().any(|part| name.contains(part))
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): (&'_ String, &'_ String)| {
            let value = if is_secret(name) { "(hidden)".to_owned() } else { value.clone() };
            (name.clone(), value)
        };
        f.debug_map().entries(self.0.iter().map(shown)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_every_secret_and_shows_the_rest() {
        let properties = Properties::new("b:9092")
            .with("sasl.password", "s3cret")
            .with("ssl.key.password", "s3cret")
            .with("ssl.key.pem", "s3cret")
            .with("sasl.oauthbearer.client.secret", "s3cret")
            .with("sasl.pasword", "s3cret")
            .with("linger.ms", "3");
        let shown = format!("{properties:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("b:9092") && shown.contains("linger.ms"), "{shown}");
    }
}
