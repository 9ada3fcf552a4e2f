//! The listeners with TLS: alone, with the client's certificate, and with SASL. A fresh authority, fresh
//! certificates, user and password for every cluster.

use tempfile::NamedTempFile;
use tidelock_processes::Port;

use super::Ports;
use super::paths::{AUTHORITY_PATH, KEYS_PATH};
use crate::Result;
use crate::certificates::{Certificates, LOCAL, stored};

const USER: &str = "tidelock";
const MECHANISMS: [&str; 3] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"];

/// How to reach the brokers by their listeners with TLS.
pub struct Secured {
    brokers: String,
    tls_brokers: String,
    mutual_brokers: String,
    certificates: Certificates,
    authority: NamedTempFile,
    client: NamedTempFile,
    password: String,
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secured").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl Secured {
    pub(super) fn new(ports: &[Ports]) -> Result<Self> {
        let addresses = |port: fn(&Ports) -> &Port| {
            ports.iter().map(|ports| port(ports).address()).collect::<Vec<_>>().join(",")
        };
        let certificates = Certificates::make(&LOCAL, USER)?;
        Ok(Self {
            brokers: addresses(|ports| &ports.secured),
            tls_brokers: addresses(|ports| &ports.tls),
            mutual_brokers: addresses(|ports| &ports.mutual),
            authority: stored(&certificates.authority)?,
            client: stored(&certificates.client)?,
            certificates,
            password: format!("{:032x}", rand::random::<u128>()),
        })
    }

    /// The listeners with SASL, as `bootstrap.servers` wants them.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The user of the listeners with SASL, as access control lists name it.
    #[must_use]
    pub fn principal(&self) -> String {
        format!("User:{USER}")
    }

    /// What a client of librdkafka must be told beside `bootstrap.servers`, for `SCRAM-SHA-512`,
    /// `SCRAM-SHA-256` or `PLAIN`.
    #[must_use]
    pub fn client_settings(&self, mechanism: &str) -> Vec<(&'static str, String)> {
        vec![
            ("security.protocol", "SASL_SSL".to_owned()),
            ("sasl.mechanism", mechanism.to_owned()),
            ("sasl.username", USER.to_owned()),
            ("sasl.password", self.password.clone()),
            ("ssl.ca.location", self.authority.path().display().to_string()),
        ]
    }

    /// All that a client of librdkafka must be told for the listener with TLS and nothing else.
    #[must_use]
    pub fn tls_settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("bootstrap.servers", self.tls_brokers.clone()),
            ("security.protocol", "SSL".to_owned()),
            ("ssl.ca.location", self.authority.path().display().to_string()),
        ]
    }

    /// The same for the listener that asks for a client's certificate.
    #[must_use]
    pub fn mutual_tls_settings(&self) -> Vec<(&'static str, String)> {
        let client = self.client.path().display().to_string();
        let mut settings = self.tls_settings();
        settings[0].1.clone_from(&self.mutual_brokers);
        settings.extend([("ssl.certificate.location", client.clone()), ("ssl.key.location", client)]);
        settings
    }

    /// The server's key and certificate, in one file of PEM.
    pub(super) fn server_keys(&self) -> Vec<u8> {
        self.certificates.server.clone().into_bytes()
    }

    /// The certificate of the authority that signed all others.
    pub(super) fn authority(&self) -> Vec<u8> {
        self.certificates.authority.clone().into_bytes()
    }

    pub(super) fn listener_settings(&self) -> String {
        let modules = "org.apache.kafka.common.security";
        let scram = format!("{modules}.scram.ScramLoginModule required;");
        let plain = format!("{modules}.plain.PlainLoginModule required user_{USER}=\"{}\";", self.password);
        let listener = "listener.name.secured";
        let mut settings = format!(
            "ssl.keystore.type=PEM\n\
             ssl.keystore.location={}\n\
             listener.name.mutual.ssl.client.auth=required\n\
             listener.name.mutual.ssl.truststore.type=PEM\n\
             listener.name.mutual.ssl.truststore.location={}\n\
             {listener}.sasl.enabled.mechanisms={}\n",
            KEYS_PATH,
            AUTHORITY_PATH,
            MECHANISMS.join(","),
        );
        for mechanism in MECHANISMS {
            let module = if mechanism == "PLAIN" { &plain } else { &scram };
            let mechanism = mechanism.to_lowercase();
            settings.push_str(&format!("{listener}.{mechanism}.sasl.jaas.config={module}\n"));
        }
        settings
    }

    /// As the command wants them that formats the storage; `PLAIN` has its user in the settings.
    pub(super) fn scram_users(&self) -> Vec<String> {
        let scram = MECHANISMS.iter().filter(|mechanism| mechanism.starts_with("SCRAM"));
        scram.map(|mechanism| format!("{mechanism}=[name={USER},password={}]", self.password)).collect()
    }
}
