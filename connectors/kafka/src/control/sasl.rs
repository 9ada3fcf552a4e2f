//! SASL over Kafka's own frames: a handshake names the mechanism, then the mechanism's messages travel
//! in `SaslAuthenticate` requests until both sides are satisfied.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use rsasl::prelude::{Mechname, SASLClient, SASLConfig, State};
use tidelock::{Error, ErrorKind};
use tokio::time::Instant;

use super::connection::Connection;
use super::fault::Fault;
use super::security::Sasl;

/// A mechanism that is not satisfied after so many messages never will be. SCRAM takes two.
const STEPS_MAX: usize = 8;

fn refused(sasl: &Sasl, why: impl Into<String>) -> Fault {
    let error = Error::new(ErrorKind::Auth, "authenticate with Kafka", why)
        .with("mechanism", sasl.mechanism)
        .with("username", &sasl.username);
    Fault::Final(error)
}

/// Authenticates a fresh connection.
pub(super) async fn authenticate(connection: &mut Connection, sasl: &Sasl) -> Result<(), Fault> {
    let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(sasl.mechanism));
    let answer = connection.call(&handshake, 1).await?;
    if answer.error_code != 0 {
        return Err(refused(sasl, "the broker does not offer this mechanism"));
    }
    // Errors of the mechanism itself are not printed in full: they might repeat what was exchanged.
    let config = SASLConfig::with_credentials(None, sasl.username.clone(), sasl.password.clone())
        .map_err(|_| refused(sasl, "the credentials cannot be used"))?;
    let name = Mechname::parse(sasl.mechanism.as_bytes())
        .map_err(|_| refused(sasl, "the mechanism's name is not legal"))?;
    let mut session = SASLClient::new(config)
        .start_suggested(&[name])
        .map_err(|_| refused(sasl, "the mechanism is not available"))?;

    let mut heard: Option<Bytes> = None;
    for _ in 0..STEPS_MAX {
        let mut said = Vec::new();
        let state = session
            .step(heard.as_deref(), &mut said)
            .map_err(|_| refused(sasl, "the broker did not prove that it knows the password"))?;
        let running = matches!(state, State::Running);
        if !running && said.is_empty() {
            return Ok(());
        }
        let request = SaslAuthenticateRequest::default().with_auth_bytes(said.into());
        let answer = connection.call(&request, 2).await?;
        if answer.error_code != 0 {
            let code =
                ResponseError::try_from_code(answer.error_code).unwrap_or(ResponseError::UnknownServerError);
            return Err(refused(sasl, format!("the broker refuses the credentials ({code})")));
        }
        if answer.session_lifetime_ms > 0 {
            // The broker ends the session then. Half of it, so that no request meets the end.
            let lifetime = Duration::from_millis(answer.session_lifetime_ms.unsigned_abs() / 2);
            connection.usable_until = Some(Instant::now() + lifetime);
        }
        if !running {
            return Ok(());
        }
        heard = Some(answer.auth_bytes);
    }
    Err(refused(sasl, "the exchange does not come to an end"))
}
