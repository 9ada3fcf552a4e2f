//! How the control client proves who it is, from the same settings as librdkafka.
//!
//! A security setting that is not understood here is refused: with a control client that connects
//! differently from librdkafka a job would write well and fail when it recovers.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tidelock::{Error, ErrorKind, Result};

use crate::properties::Properties;

/// How to connect.
#[derive(Clone)]
pub(crate) struct Security {
    /// TLS, where the protocol asks for it.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// SASL, where the protocol asks for it.
    pub(crate) sasl: Option<Sasl>,
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security").field("tls", &self.tls.is_some()).field("sasl", &self.sasl).finish()
    }
}

/// A mechanism with its credentials.
#[derive(Clone)]
pub(crate) struct Sasl {
    pub(crate) mechanism: &'static str,
    pub(crate) username: String,
    pub(crate) password: String,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// The security settings that the control client understands. Others under the same prefixes are
/// refused.
const KNOWN: [&str; 13] = [
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.pem",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
];

const SECURITY_PREFIXES: [&str; 7] =
    ["security.", "sasl.", "ssl.", "ssl_", "https.", "enable.ssl.", "enable.sasl."];

fn refuse(setting: &str, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, "configure Kafka", why).with("setting", setting)
}

impl Security {
    /// Reads the security settings. Files are read now, so that a missing one is found at start.
    pub(crate) fn from_properties(properties: &Properties) -> Result<Self> {
        for (name, _) in properties.iter() {
            if SECURITY_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !KNOWN.contains(&name) {
                return Err(refuse(
                    name,
                    "the control client, which commits and recovers, does not know this security setting",
                ));
            }
        }
        let protocol = properties.get("security.protocol").unwrap_or("plaintext").to_ascii_lowercase();
        let (tls, sasl) = match protocol.as_str() {
            "plaintext" => (false, false),
            "ssl" => (true, false),
            "sasl_plaintext" => (false, true),
            "sasl_ssl" => (true, true),
            other => {
                let why = format!("{other:?} is none of plaintext, ssl, sasl_plaintext, sasl_ssl");
                return Err(refuse("security.protocol", why));
            }
        };
        Ok(Self {
            tls: tls.then(|| tls_config(properties)).transpose()?,
            sasl: sasl.then(|| sasl_config(properties)).transpose()?,
        })
    }
}

fn sasl_config(properties: &Properties) -> Result<Sasl> {
    let wanted = properties.get_any(&["sasl.mechanism", "sasl.mechanisms"]).unwrap_or("GSSAPI");
    let Some(mechanism) = MECHANISMS.into_iter().find(|known| wanted.eq_ignore_ascii_case(known)) else {
        let why = format!("{wanted:?} is none of {MECHANISMS:?}, which the control client knows");
        return Err(refuse("sasl.mechanism", why));
    };
    let needed = |name: &str| {
        let value = properties.get(name).ok_or_else(|| refuse(name, "SASL needs this setting"))?;
        Ok::<_, Error>(value.to_owned())
    };
    Ok(Sasl { mechanism, username: needed("sasl.username")?, password: needed("sasl.password")? })
}

fn tls_config(properties: &Properties) -> Result<Arc<ClientConfig>> {
    if properties.get("enable.ssl.certificate.verification").is_some_and(|on| on != "true") {
        return Err(refuse("enable.ssl.certificate.verification", "certificates are always verified"));
    }
    if properties.get("ssl.endpoint.identification.algorithm").is_some_and(|name| name != "https") {
        return Err(refuse("ssl.endpoint.identification.algorithm", "host names are always verified: https"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse("security.protocol", "TLS cannot be set up").because(error))?
        .with_root_certificates(roots(properties)?);
    let config = match client_identity(properties)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            refuse("ssl.certificate.location", "certificate and key do not fit together").because(error)
        })?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// The certificate authorities that a broker's certificate must come from.
fn roots(properties: &Properties) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let given = match pem(properties, "ssl.ca.location", "ssl.ca.pem")? {
        Some((setting, text)) => certificates(setting, &text)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    for certificate in given {
        store.add(certificate).map_err(|error| {
            refuse("ssl.ca.location", "a certificate of an authority is not usable").because(error)
        })?;
    }
    if store.is_empty() {
        return Err(refuse("ssl.ca.location", "no certificate of an authority was found"));
    }
    Ok(store)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Our own certificate and key, for mutual TLS.
fn client_identity(properties: &Properties) -> Result<Option<Identity>> {
    let chain = pem(properties, "ssl.certificate.location", "ssl.certificate.pem")?;
    let key = pem(properties, "ssl.key.location", "ssl.key.pem")?;
    match (chain, key) {
        (None, None) => Ok(None),
        (Some((setting, text)), Some((key_setting, key_text))) => {
            let chain = certificates(setting, &text)?;
            // The cause is left out: it might repeat a part of the key.
            let key = PrivateKeyDer::from_pem_slice(&key_text)
                .map_err(|_| refuse(key_setting, "this is no unencrypted private key in PEM form"))?;
            Ok(Some((chain, key)))
        }
        (Some(_), None) => Err(refuse("ssl.key.location", "a certificate is given, but not its key")),
        (None, Some(_)) => Err(refuse("ssl.certificate.location", "a key is given, but not its certificate")),
    }
}

/// A PEM text that is given by the path of its file or itself, with the name of the setting.
fn pem<'a>(properties: &Properties, by_path: &'a str, itself: &'a str) -> Result<Option<(&'a str, Vec<u8>)>> {
    if let Some(text) = properties.get(itself) {
        return Ok(Some((itself, text.as_bytes().to_vec())));
    }
    let Some(path) = properties.get(by_path) else { return Ok(None) };
    let text = std::fs::read(path)
        .map_err(|error| refuse(by_path, "the file cannot be read").with("path", path).because(error))?;
    Ok(Some((by_path, text)))
}

fn certificates(setting: &str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|_| refuse(setting, "a certificate is not in PEM form"))?;
    if found.is_empty() {
        return Err(refuse(setting, "there is no certificate in it"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(properties: Properties) -> String {
        Security::from_properties(&properties).expect_err("refused").to_string()
    }

    #[test]
    fn a_security_setting_that_the_control_client_does_not_know_is_refused() {
        for setting in
            ["ssl.keystore.location", "sasl.kerberos.keytab", "ssl.key.password", "ssl.crl.location"]
        {
            let error = refused(Properties::new("b:1").with(setting, "x"));
            assert!(error.contains(setting), "{error}");
        }
    }

    #[test]
    fn mechanisms_without_support_are_refused_and_kerberos_is_not_taken_by_default() {
        let base = || Properties::new("b:1").with("security.protocol", "SASL_PLAINTEXT");
        assert!(refused(base()).contains("GSSAPI"));
        assert!(refused(base().with("sasl.mechanism", "OAUTHBEARER")).contains("OAUTHBEARER"));
        assert!(refused(base().with("sasl.mechanism", "PLAIN")).contains("sasl.username"));
    }

    #[test]
    fn the_settings_of_scram_are_understood_under_both_names_and_not_printed() {
        for name in ["sasl.mechanism", "sasl.mechanisms"] {
            let properties = Properties::new("b:1")
                .with("security.protocol", "sasl_plaintext")
                .with(name, "scram-sha-512")
                .with("sasl.username", "job")
                .with("sasl.password", "s3cret");
            let security = Security::from_properties(&properties).expect("understood");
            assert_eq!(security.sasl.as_ref().map(|sasl| sasl.mechanism), Some("SCRAM-SHA-512"));
            assert!(!format!("{security:?}").contains("s3cret"));
        }
    }

    #[test]
    fn switching_verification_off_is_refused_not_ignored() {
        let tls = || Properties::new("b:1").with("security.protocol", "ssl");
        assert!(refused(tls().with("enable.ssl.certificate.verification", "false")).contains("verif"));
        assert!(refused(tls().with("ssl.endpoint.identification.algorithm", "none")).contains("verif"));
        assert!(refused(tls().with("ssl.ca.location", "/nowhere/ca.pem")).contains("/nowhere/ca.pem"));
    }
}
