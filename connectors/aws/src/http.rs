//! Requests by HTTP, whose errors say whom they went to: those of the SDK's own client do not.

use std::fmt;

use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use url::Url;

/// A client, with TLS unless everything it will ask is plain.
pub(crate) fn http_client(is_plain: bool) -> SharedHttpClient {
    let client = if is_plain {
        Builder::new().build_http()
    } else {
        Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
    };
    SharedHttpClient::new(Named(client))
}

/// A client whose errors name the endpoint.
#[derive(Debug)]
struct Named<C>(C);

impl HttpClient for Named<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Named(self.0.http_connector(settings, components)))
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

impl HttpConnector for Named<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let uri = request.uri().to_owned();
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move { answer.await.map_err(|error| named(error, &uri)) })
    }
}

/// The same error, and in it whom the request went to.
fn named(error: ConnectorError, uri: &str) -> ConnectorError {
    let (is_timeout, is_io, is_user) = (error.is_timeout(), error.is_io(), error.is_user());
    let kind = error.as_other();
    let source: BoxError = Unanswered { endpoint: endpoint_of(uri), source: error.into_source() }.into();
    if is_timeout {
        ConnectorError::timeout(source)
    } else if is_io {
        ConnectorError::io(source)
    } else if is_user {
        ConnectorError::user(source)
    } else {
        ConnectorError::other(source, kind)
    }
}

/// Host and port: the rest of an address may have a password in it, or what somebody asked for.
fn endpoint_of(uri: &str) -> String {
    let url = Url::parse(uri).ok();
    let place = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    place.map_or_else(|| "(no endpoint)".to_owned(), |(host, port)| format!("{host}:{port}"))
}

/// A request without an answer.
#[derive(Debug)]
struct Unanswered {
    endpoint: String,
    source: BoxError,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint)
    }
}

impl std::error::Error for Unanswered {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::causes;

    #[test]
    fn an_endpoint_is_host_and_port_and_never_what_stands_beside_them() {
        for (uri, endpoint) in [
            ("http://127.0.0.1:8000/", "127.0.0.1:8000"),
            ("https://dynamodb.eu-central-1.amazonaws.com/", "dynamodb.eu-central-1.amazonaws.com:443"),
            ("http://me:s3cret@[::1]:7/a?b=s3cret", "[::1]:7"),
            ("s3cret", "(no endpoint)"),
        ] {
            assert_eq!(endpoint_of(uri), endpoint, "{uri}");
        }
    }

    #[test]
    fn an_error_is_of_the_kind_that_it_was_and_says_where_and_why() {
        let away = |make: fn(BoxError) -> ConnectorError| {
            named(make("connection refused".into()), "http://me:s3cret@127.0.0.1:1/")
        };
        for (error, is_of_its_kind) in [
            (away(ConnectorError::timeout), ConnectorError::is_timeout as fn(&ConnectorError) -> bool),
            (away(ConnectorError::io), ConnectorError::is_io),
            (away(ConnectorError::user), ConnectorError::is_user),
            (away(|source| ConnectorError::other(source, None)), ConnectorError::is_other),
        ] {
            let said = causes(&error);
            assert!(is_of_its_kind(&error), "{said}");
            assert!(said.ends_with(": 127.0.0.1:1: connection refused"), "{said}");
        }
    }
}
