//! The listener with TLS and SASL: a fresh authority, certificate, user and password for every cluster.

use std::io::Write as _;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::NamedTempFile;

use super::{Ports, settings};
use crate::{Error, Result};

const USER: &str = "tidelock";
const MECHANISMS: [&str; 3] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"];

/// How to reach the brokers by their listeners with TLS and SASL.
pub struct Secured {
    brokers: String,
    authority: NamedTempFile,
    server_keys: String,
    password: String,
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secured").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl Secured {
    pub(super) fn new(ports: &[Ports]) -> Result<Self> {
        let addresses: Vec<String> = ports.iter().map(|ports| ports.secured.address()).collect();
        let (authority_pem, server_keys) =
            certificates().map_err(|error| Error::new("make certificates", error))?;
        let mut authority = NamedTempFile::new().map_err(|error| Error::new("store a certificate", error))?;
        authority
            .write_all(authority_pem.as_bytes())
            .map_err(|error| Error::new("store a certificate", error))?;
        let password = format!("{:032x}", rand::random::<u128>());
        Ok(Self { brokers: addresses.join(","), authority, server_keys, password })
    }

    /// The listeners, as `bootstrap.servers` wants them.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.brokers
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

    /// The server's key and certificate, in one file of PEM.
    pub(super) fn server_keys(&self) -> Vec<u8> {
        self.server_keys.clone().into_bytes()
    }

    pub(super) fn listener_settings(&self) -> String {
        let modules = "org.apache.kafka.common.security";
        let scram = format!("{modules}.scram.ScramLoginModule required;");
        let plain = format!("{modules}.plain.PlainLoginModule required user_{USER}=\"{}\";", self.password);
        let listener = "listener.name.secured";
        let mut settings = format!(
            "{listener}.ssl.keystore.type=PEM\n\
             {listener}.ssl.keystore.location={}\n\
             {listener}.sasl.enabled.mechanisms={}\n",
            settings::KEYS_PATH,
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

/// The authority's certificate, and the server's key with its certificate, which is valid for 127.0.0.1.
fn certificates() -> std::result::Result<(String, String), rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "Tidelock tests");
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let server_key = KeyPair::generate()?;
    let server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let server_pem = server.signed_by(&server_key, &issuer)?.pem();
    Ok((authority_pem, format!("{}{server_pem}", server_key.serialize_pem())))
}
