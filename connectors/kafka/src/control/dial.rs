//! Setting up a connection: TCP, TLS, the broker's versions, SASL.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connection::{Address, Connection, Stream, unreachable};
use super::fault::Fault;
use super::sasl;
use super::security::Security;

/// Reaching a broker, TLS and SASL together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects, learns the broker's versions, and authenticates.
pub(super) async fn dial(
    address: &Address,
    security: &Security,
    client_id: &Arc<str>,
) -> Result<Connection, Fault> {
    match timeout(CONNECT_TIMEOUT, set_up(address, security, client_id)).await {
        Ok(Ok(connection)) => Ok(connection),
        // Nothing but the setting up was asked for, so no request of the caller was sent.
        Ok(Err(Fault::NoAnswer(error))) => Err(Fault::NotSent(error)),
        Ok(Err(fault)) => Err(fault),
        Err(_) => Err(Fault::NotSent(unreachable(address, "the connection is not set up in time"))),
    }
}

async fn set_up(address: &Address, security: &Security, client_id: &Arc<str>) -> Result<Connection, Fault> {
    let no_connection =
        |error| Fault::NotSent(unreachable(address, "the broker cannot be reached").because(error));
    let tcp = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(no_connection)?;
    tcp.set_nodelay(true).map_err(no_connection)?;
    let stream: Box<dyn Stream> = match &security.tls {
        None => Box::new(tcp),
        Some(config) => {
            let name = ServerName::try_from(address.host.clone()).map_err(|error| {
                Fault::Final(unreachable(address, "TLS needs a host name").because(error))
            })?;
            let tls = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await;
            Box::new(tls.map_err(|error| {
                Fault::NotSent(unreachable(address, "TLS cannot be set up").because(error))
            })?)
        }
    };
    let mut connection = Connection::over(stream, address.clone(), Arc::clone(client_id));
    connection.learn_versions().await?;
    if let Some(credentials) = &security.sasl {
        sasl::authenticate(&mut connection, credentials).await?;
    }
    Ok(connection)
}
