//! Certificates for servers with TLS: a fresh authority, and what it signed, for every server.

use std::io::Write as _;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::NamedTempFile;

use crate::{Error, Result};

/// The names of this machine.
pub(crate) const LOCAL: [&str; 2] = ["localhost", "127.0.0.1"];

/// What is made for a server, as PEM: a key stands before its certificate.
pub(crate) struct Certificates {
    pub(crate) authority: String,
    pub(crate) server: String,
    pub(crate) client: String,
    /// An authority that signed nothing of this.
    pub(crate) stranger: String,
}

impl Certificates {
    /// The server's certificate is valid for these names, the client's for a user of this name.
    pub(crate) fn make(names: &[&str], user: &str) -> Result<Self> {
        Self::signed(names, user).map_err(|error| Error::new("make certificates", error))
    }

    fn signed(names: &[&str], user: &str) -> std::result::Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "Tidelock tests");
        let stranger = authority.self_signed(&KeyPair::generate()?)?.pem();
        let authority_key = KeyPair::generate()?;
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);
        let signed = |names: &[&str]| {
            let key = KeyPair::generate()?;
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let pem = CertificateParams::new(names)?.signed_by(&key, &issuer)?.pem();
            Ok::<_, rcgen::Error>(format!("{}{pem}", key.serialize_pem()))
        };
        let (server, client) = (signed(names)?, signed(&[user])?);
        Ok(Self { authority: authority_pem, server, client, stranger })
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

/// A file for clients that want one.
pub(crate) fn stored(pem: &str) -> Result<NamedTempFile> {
    let failed = |error| Error::new("store a certificate", error);
    let mut file = NamedTempFile::new().map_err(failed)?;
    file.write_all(pem.as_bytes()).map_err(failed)?;
    Ok(file)
}
