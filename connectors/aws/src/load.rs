//! The configuration of a client, with what is missing told now.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::client::error::{ImdsError, TokenError};
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tidelock::{Error, ErrorKind, Result, Retry};
use tokio::time::timeout;

use crate::config::{AwsConfig, setting};
use crate::error::{Answer, causes};
use crate::http::http_client;

const LOOK: &str = "look for credentials";

/// Looking for a region and for credentials takes less than this, unless what is asked for them hangs: a program of the profile's, or a service that
/// takes connections and answers nothing. A service that has them is asked a few times within it.
const LOAD_MAX: Duration = Duration::from_secs(60);

/// What every client of AWS's SDK is made of.
///
/// A request is tried once: whether, when and how often it is sent again is for the connector, which knows what a second one does.
///
/// # Errors
/// [`ErrorKind::Config`] where there is no region, or there are no credentials or they are refused to us, with where they were looked for.
pub async fn load(config: &AwsConfig) -> Result<SdkConfig> {
    config.validate()?;
    Box::pin(in_time(config, load_all(config))).await
}

async fn in_time<T>(config: &AwsConfig, loading: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(LOAD_MAX, loading).await.unwrap_or_else(|_| {
        let why = format!("there was no answer in time: {}", looked_for(config));
        let error = Error::new(ErrorKind::Unavailable, LOOK, why).with_retry(Retry::Restart);
        Err(error.with("waited", format_args!("{LOAD_MAX:?}")))
    })
}

async fn load_all(config: &AwsConfig) -> Result<SdkConfig> {
    let http = http_client(config.is_plain());
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(config.connect_timeout())
        .operation_timeout(config.call_timeout())
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .retry_config(RetryConfig::disabled())
        // A call has its time, body included: to watch each for how fast it comes takes work of every one.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(timeouts);
    if let Some(profile) = &config.profile {
        // What is in the environment would win over it: a setting that is written is meant.
        let region = region_beside(profile, config.region.as_deref(), &http).await;
        let providers = providers(&http).with_region(region.clone());
        let credentials = ProfileFileCredentialsProvider::builder().profile_name(profile);
        loader = loader.profile_name(profile).credentials_provider(credentials.configure(&providers).build());
        if let Some(region) = region {
            loader = loader.region(region);
        }
    } else if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
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
    check_credentials(config, &loaded).await?;
    Ok(loaded)
}

/// What looks for regions and credentials by itself.
fn providers(http: &SharedHttpClient) -> ProviderConfig {
    ProviderConfig::without_region().with_http_client(http.clone())
}

/// The region of who names a profile: the setting's, the profile's, and then what there is.
async fn region_beside(profile: &str, region: Option<&str>, http: &SharedHttpClient) -> Option<Region> {
    if let Some(region) = region {
        return Some(Region::new(region.to_owned()));
    }
    let of_profile =
        ProfileFileRegionProvider::builder().configure(&providers(http)).profile_name(profile).build();
    let of_instance = ImdsRegionProvider::builder().configure(&providers(http)).build();
    let chain = RegionProviderChain::first_try(of_profile);
    chain.or_else(EnvironmentVariableRegionProvider::new()).or_else(of_instance).region().await
}

async fn check_credentials(config: &AwsConfig, loaded: &SdkConfig) -> Result<()> {
    let looked_for = looked_for(config);
    let none = || {
        let why = format!("there are no credentials: {looked_for}");
        Error::new(ErrorKind::Config, LOOK, why)
    };
    let Some(provider) = loaded.credentials_provider() else { return Err(none()) };
    let error = match provider.provide_credentials().await {
        Ok(_) => return Ok(()),
        Err(CredentialsError::CredentialsNotLoaded(_)) => return Err(none()),
        Err(error) => error,
    };
    let said = causes(&error);
    if matches!(error, CredentialsError::InvalidConfiguration(_)) {
        let why = format!("the credentials cannot be read: {said}; {looked_for}");
        return Err(Error::new(ErrorKind::Config, LOOK, why));
    }
    // Where it is asked again it says the same: nobody has switched it on, or this machine is not to have any.
    if let Some(status) = refusal(&error) {
        let why = format!(
            "there are no credentials, and the metadata service of the instance, which was asked last, refuses to give any (HTTP {status}): {looked_for}"
        );
        return Err(Error::new(ErrorKind::Config, LOOK, why));
    }
    // A service that gives them is away.
    let why = format!("the credentials could not be had: {said}; {looked_for}");
    Err(Error::new(ErrorKind::Unavailable, LOOK, why).with_retry(Retry::Restart))
}

/// Where credentials were looked for, in this order, and what to do.
fn looked_for(config: &AwsConfig) -> String {
    match &config.profile {
        Some(profile) => format!(
            "they are looked for in the profile `{profile}` alone, because the setting `profile` names it, in the files ~/.aws/config and \
             ~/.aws/credentials or those that AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name. Without the setting they are looked for in the \
             environment first"
        ),
        None => "they are looked for in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), in the profile (AWS_PROFILE, or `default`, in \
                 ~/.aws), as a web identity (AWS_WEB_IDENTITY_TOKEN_FILE), and from the container or the instance that this runs on, unless \
                 AWS_EC2_METADATA_DISABLED is `true`"
            .to_owned(),
    }
}

/// With which status the metadata service of the instance refused, where it did so for good.
fn refusal(error: &CredentialsError) -> Option<u16> {
    let mut causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let status_of = |cause: &(dyn std::error::Error + 'static)| {
        if let Some(ImdsError::ErrorResponse(answer)) = cause.downcast_ref::<ImdsError>() {
            return Some(answer.response().status().as_u16());
        }
        let answer: &Answer<TokenError> = cause.downcast_ref()?;
        Some(answer.raw_response()?.status().as_u16())
    };
    // A token that is too old, an answer that is late, and one who asks too often: all of these pass.
    causes
        .find_map(status_of)
        .filter(|status| matches!(status, 400..500) && ![401, 408, 429].contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_given_up_and_it_is_told_where_credentials_were_looked_for() {
        for (profile, place) in [(None, "AWS_ACCESS_KEY_ID"), (Some("reader".to_owned()), "`reader`")] {
            let config = AwsConfig { profile, ..AwsConfig::new() };
            let error = in_time(&config, std::future::pending::<Result<()>>()).await.expect_err("it hangs");
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Restart));
            let said = error.to_string();
            assert!(said.contains(place) && said.contains("waited=60s"), "{said}");
        }
    }
}
