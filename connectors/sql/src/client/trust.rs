//! Whom a connection trusts, and what is said where the two sides of it do not agree about TLS.

use std::fmt::Display;
use std::io;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, Error as TlsError};
use tidelock::Result;

use crate::database::SqlConfig;
use crate::error::{Class, Fault, setting};

/// The certificates of those who may sign the server's: those of the file, or those of the operating system, and no list that
/// was compiled in. It blocks.
pub(super) fn authorities(config: &SqlConfig) -> Result<Vec<CertificateDer<'static>>> {
    let Some(path) = &config.tls_ca_file else {
        let found = rustls_native_certs::load_native_certs().certs;
        if found.is_empty() {
            return Err(setting("tls_ca_file", "it is required: the operating system trusts nobody"));
        }
        return Ok(found);
    };
    let unreadable = |why: &dyn Display| {
        setting("tls_ca_file", "no certificates can be read from it")
            .with("path", path.display())
            .with("cause", why)
    };
    let read = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
    let found = read.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(&error))?;
    if found.is_empty() {
        return Err(unreadable(&"it has none"));
    }
    Ok(found)
}

/// The fault of a handshake that failed; `None` where the connection failed otherwise. No attempt by itself mends it, so it is not
/// one that passes.
pub(super) fn untrusted(error: &io::Error) -> Option<Fault> {
    use CertificateError as C;
    let error = error.get_ref()?.downcast_ref::<TlsError>()?;
    let (why, remedy) = match error {
        TlsError::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => (
            "nobody whom we trust signed the server's certificate",
            "let tls_ca_file name the certificates of those who sign it",
        ),
        TlsError::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => (
            "the server's certificate is for another name than that of the setting host",
            "let host be a name that stands in the certificate, or give the server a certificate for this one",
        ),
        TlsError::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => (
            "the server's certificate is out of date",
            "give the server a new one, and look whether the clock here is right",
        ),
        _ => (
            "the two sides do not agree about TLS",
            "give the server a certificate for this host of one whom tls_ca_file names; the cause says what is wrong with this one",
        ),
    };
    Some(Fault { remedy: Some(remedy), ..Fault::new(Class::Refused, "", format!("{why}: {error}")) })
}

/// The fault of a server that cannot do what we want.
pub(super) fn not_offered() -> Fault {
    let remedy = "switch TLS on at the server; or say tls = off, where nobody can listen on the way";
    Fault { remedy: Some(remedy), ..Fault::new(Class::Refused, "", "the server does not offer TLS") }
}

/// What to do where the server wants what we do not.
pub(super) const WANTED: &str = "the server lets nobody in without TLS: say tls = verify";

/// What to do where it may be that, or a wrong password.
#[cfg(feature = "mysql")]
pub(super) const PERHAPS_WANTED: &str =
    "give the right user and password; or, where the server lets nobody in without TLS, say tls = verify";
