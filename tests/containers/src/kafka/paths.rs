//! Where a broker finds its files in the container.

/// Where a broker keeps its data, as the image's start script expects.
pub(super) const DATA_PATH: &str = "/tmp/tidelock";

/// Where the certificate and key of the listeners with TLS are put.
pub(super) const KEYS_PATH: &str = "/etc/tidelock/server.pem";

/// Where the certificate of the clients' authority is put.
pub(super) const AUTHORITY_PATH: &str = "/etc/tidelock/authority.pem";
