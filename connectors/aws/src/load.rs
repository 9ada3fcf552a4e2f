//! The configuration of a client, with what is missing told now.

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_http_client::Builder as HttpClient;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use tidelock::{Error, ErrorKind, Result, Retry};

use crate::config::{AwsConfig, setting};
use crate::error::causes;

/// What every client of AWS's SDK is made of.
///
/// A request is tried once: whether, when and how often it is sent again is for the connector, which knows what a second one does.
///
/// # Errors
/// [`ErrorKind::Config`] where there is no region or there are no credentials, with where they were looked for.
pub async fn load(config: &AwsConfig) -> Result<SdkConfig> {
    config.validate()?;
    let http = if config.is_plain() {
        HttpClient::new().build_http()
    } else {
        HttpClient::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
    };
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(config.connect_timeout())
        .operation_timeout(config.call_timeout())
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts);
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(credentials) = &config.credentials {
        loader = loader.credentials_provider(credentials.clone());
    }
    let loaded = loader.load().await;
    if loaded.region().is_none() {
        let why = "there is no region: set it here, as AWS_REGION in the environment, or in the profile";
        return Err(setting("region", why));
    }
    check_credentials(&loaded).await?;
    Ok(loaded)
}

async fn check_credentials(loaded: &SdkConfig) -> Result<()> {
    let Some(provider) = loaded.credentials_provider() else { return Err(no_credentials()) };
    match provider.provide_credentials().await {
        Ok(_) => Ok(()),
        Err(CredentialsError::CredentialsNotLoaded(_)) => Err(no_credentials()),
        Err(error @ CredentialsError::InvalidConfiguration(_)) => {
            let why = format!("the credentials cannot be read: {}", causes(&error));
            Err(Error::new(ErrorKind::Config, "look for credentials", why))
        }
        // A service that gives them is away.
        Err(error) => {
            let why = format!("the credentials could not be had: {}", causes(&error));
            Err(Error::new(ErrorKind::Unavailable, "look for credentials", why).with_retry(Retry::Restart))
        }
    }
}

fn no_credentials() -> Error {
    let why = "there are no credentials: they are looked for in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), in the profile, as a \
               web identity, and from the container or the instance that this runs on";
    Error::new(ErrorKind::Config, "look for credentials", why)
}
