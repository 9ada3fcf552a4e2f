//! One table: what a service of AWS answers, and what it means to us.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use tidelock::{Error, ErrorKind, Retry};

/// What became of a request, where it did not go well.
pub type Answer<E> = SdkError<E, HttpResponse>;

/// What an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// The service asks to slow down.
    Throttled,
    /// The service cannot do it now, or it was not reached, or its answer was not. Whether it was done is unknown.
    Away,
    /// Somebody else is at it; it passes.
    Busy,
    /// A right is missing, or the credentials are none.
    Refused,
    /// The credentials are not good any more, or the signature is of another time: others may come.
    Expired,
    /// A table or a stream is not there.
    Missing,
    /// What we hold of the service is not good any more: another one is to be had.
    Stale,
    /// What was to be read was thrown away.
    Gone,
    /// What we sent can never be taken.
    Invalid,
    /// A condition of ours does not hold. Who sends one looks at it before this table.
    Unmet,
    /// Nothing of the above.
    Other,
}

/// What the codes mean, of whichever service.
const CODES: &[(&str, Class)] = &[
    ("ProvisionedThroughputExceededException", Class::Throttled),
    ("ThrottlingException", Class::Throttled),
    ("ThrottledException", Class::Throttled),
    ("Throttling", Class::Throttled),
    ("RequestLimitExceeded", Class::Throttled),
    ("LimitExceededException", Class::Throttled),
    ("TooManyRequestsException", Class::Throttled),
    ("KMSThrottlingException", Class::Throttled),
    ("InternalServerError", Class::Away),
    ("InternalFailure", Class::Away),
    ("InternalFailureException", Class::Away),
    ("InternalError", Class::Away),
    ("ServiceUnavailable", Class::Away),
    ("ServiceUnavailableException", Class::Away),
    ("RequestTimeout", Class::Away),
    ("RequestTimeoutException", Class::Away),
    ("ResourceInUseException", Class::Busy),
    ("TransactionConflictException", Class::Busy),
    ("TransactionInProgressException", Class::Busy),
    ("ReplicatedWriteConflictException", Class::Busy),
    ("AccessDeniedException", Class::Refused),
    ("AccessDenied", Class::Refused),
    ("UnrecognizedClientException", Class::Refused),
    ("InvalidClientTokenId", Class::Refused),
    ("InvalidSignatureException", Class::Refused),
    ("SignatureDoesNotMatch", Class::Refused),
    ("IncompleteSignature", Class::Refused),
    ("IncompleteSignatureException", Class::Refused),
    ("MissingAuthenticationToken", Class::Refused),
    ("MissingAuthenticationTokenException", Class::Refused),
    ("OptInRequired", Class::Refused),
    ("KMSAccessDeniedException", Class::Refused),
    ("KMSDisabledException", Class::Refused),
    ("KMSInvalidStateException", Class::Refused),
    ("KMSNotFoundException", Class::Refused),
    ("KMSOptInRequired", Class::Refused),
    ("ExpiredToken", Class::Expired),
    ("ExpiredTokenException", Class::Expired),
    ("RequestExpired", Class::Expired),
    ("RequestTimeTooSkewed", Class::Expired),
    ("ResourceNotFoundException", Class::Missing),
    ("TableNotFoundException", Class::Missing),
    ("ExpiredIteratorException", Class::Stale),
    ("ExpiredNextTokenException", Class::Stale),
    ("TrimmedDataAccessException", Class::Gone),
    ("ValidationException", Class::Invalid),
    ("ValidationError", Class::Invalid),
    ("SerializationException", Class::Invalid),
    ("InvalidArgumentException", Class::Invalid),
    ("ItemCollectionSizeLimitExceededException", Class::Invalid),
    ("UnknownOperationException", Class::Invalid),
    ("IdempotentParameterMismatchException", Class::Unmet),
    ("ConditionalCheckFailedException", Class::Unmet),
    ("TransactionCanceledException", Class::Unmet),
];

/// How much of a message is kept. That of a wrong signature has the whole request behind its first line, its token included.
const MESSAGE_MAX: usize = 300;

/// The error of an operation that did not go well.
pub fn failed<E>(operation: &'static str, answer: Answer<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let (class, message) = match &answer {
        SdkError::TimeoutError(_) => {
            (Class::Away, "no answer in time: whether it was done is unknown".to_owned())
        }
        SdkError::DispatchFailure(failure) => {
            let why = failure.as_connector_error().map(|error| causes(error)).unwrap_or_default();
            (Class::Away, format!("the service was not reached, or its answer was not: {why}"))
        }
        SdkError::ResponseError(_) => {
            (Class::Away, "the answer cannot be read: whether it was done is unknown".to_owned())
        }
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let said = answer.message().map(first_line).unwrap_or_else(|| format!("HTTP {status}"));
            let class = match class_of(answer.code(), status) {
                Class::Refused if is_late(&said) => Class::Expired,
                class => class,
            };
            (class, format!("the service refused: {said}"))
        }
        other => (Class::Invalid, format!("the request could not be made: {}", causes(other))),
    };
    let mut error = class.error(operation, message);
    if let Some(code) = answer.code() {
        error = error.with("code", first_line(code));
    }
    if let Some(id) = answer.meta().request_id() {
        error = error.with("request_id", first_line(id));
    }
    error
}

/// The error of an answer that says that all is well, and lacks what every answer to this operation has: that is none of the service's. An empty body
/// is read as such a one. Taken for an answer it would be the end of a table, or a key that nobody has.
pub fn says_nothing(operation: &'static str) -> Error {
    Class::Away
        .error(operation, "the answer says nothing: it lacks what every answer of the service has".to_owned())
}

/// Whether the service asked to slow down.
pub fn is_throttled(error: &Error) -> bool {
    error.kind() == ErrorKind::RateLimited
}

/// A signature is good for five minutes, and a process that was paused between signing and sending, or whose clock is about to be set, makes another
/// one. It has the code of one that is wrong.
fn is_late(said: &str) -> bool {
    said.starts_with("Signature expired") || said.starts_with("Signature not yet current")
}

fn class_of(code: Option<&str>, status: u16) -> Class {
    // Some servers name the namespace, too.
    let name = code.map(|code| code.rsplit('#').next().unwrap_or(code)).unwrap_or_default();
    match CODES.iter().find(|(known, _)| *known == name) {
        Some((_, class)) => *class,
        // What stands between us and the service has no codes.
        None if status == 429 => Class::Throttled,
        None if status >= 500 => Class::Away,
        // What says that all is well, and cannot be read, is none of the service's.
        None if (200..300).contains(&status) => Class::Away,
        None => Class::Other,
    }
}

impl Class {
    fn error(self, operation: &'static str, message: String) -> Error {
        let (kind, retry) = match self {
            Self::Throttled => (ErrorKind::RateLimited, Retry::Retry),
            Self::Away => (ErrorKind::Unavailable, Retry::Retry),
            Self::Busy => (ErrorKind::Conflict, Retry::Retry),
            Self::Refused => (ErrorKind::Auth, Retry::Halt),
            Self::Expired => (ErrorKind::Auth, Retry::Retry),
            Self::Missing => (ErrorKind::NotFound, Retry::Halt),
            Self::Stale => (ErrorKind::Expired, Retry::Retry),
            Self::Gone => (ErrorKind::Expired, Retry::Halt),
            Self::Invalid => (ErrorKind::Data, Retry::Halt),
            Self::Unmet => (ErrorKind::Conflict, Retry::Restart),
            Self::Other => (ErrorKind::Other, Retry::Restart),
        };
        Error::new(kind, operation, message).with_retry(retry)
    }
}

/// An error and what caused it, in one line.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let all: Vec<String> = chain.map(|error| error.to_string()).collect();
    first_line(&all.join(": "))
}

/// What a person needs of a message.
fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("without a word");
    match line.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}..", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    /// An error of a service, as the SDK has them.
    #[derive(Debug)]
    struct Service(ErrorMetadata);

    impl std::fmt::Display for Service {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("service error")
        }
    }

    impl std::error::Error for Service {}

    impl ProvideErrorMetadata for Service {
        fn meta(&self) -> &ErrorMetadata {
            &self.0
        }
    }

    fn response(status: u16) -> HttpResponse {
        HttpResponse::new(status.try_into().expect("a status"), SdkBody::empty())
    }

    fn answer(code: Option<&str>, message: &str, status: u16) -> Answer<Service> {
        let mut meta = ErrorMetadata::builder().message(message).custom("aws_request_id", "R-7");
        if let Some(code) = code {
            meta = meta.code(code);
        }
        SdkError::service_error(Service(meta.build()), response(status))
    }

    #[test]
    fn what_passes_by_itself_is_tried_again_and_what_a_person_must_mend_halts() {
        for (code, status, kind, retry) in [
            (Some("ThrottlingException"), 400, ErrorKind::RateLimited, Retry::Retry),
            (Some("ProvisionedThroughputExceededException"), 400, ErrorKind::RateLimited, Retry::Retry),
            (Some("InternalServerError"), 500, ErrorKind::Unavailable, Retry::Retry),
            (Some("TransactionInProgressException"), 400, ErrorKind::Conflict, Retry::Retry),
            (Some("AccessDeniedException"), 400, ErrorKind::Auth, Retry::Halt),
            (Some("UnrecognizedClientException"), 400, ErrorKind::Auth, Retry::Halt),
            (Some("ExpiredTokenException"), 400, ErrorKind::Auth, Retry::Retry),
            (Some("ResourceNotFoundException"), 400, ErrorKind::NotFound, Retry::Halt),
            (
                Some("com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"),
                400,
                ErrorKind::NotFound,
                Retry::Halt,
            ),
            (Some("ExpiredIteratorException"), 400, ErrorKind::Expired, Retry::Retry),
            (Some("TrimmedDataAccessException"), 400, ErrorKind::Expired, Retry::Halt),
            (Some("ValidationException"), 400, ErrorKind::Data, Retry::Halt),
            (Some("ConditionalCheckFailedException"), 400, ErrorKind::Conflict, Retry::Restart),
            (Some("SomethingNew"), 400, ErrorKind::Other, Retry::Restart),
            (Some("SomethingNew"), 503, ErrorKind::Unavailable, Retry::Retry),
            (None, 502, ErrorKind::Unavailable, Retry::Retry),
            (None, 429, ErrorKind::RateLimited, Retry::Retry),
            (None, 200, ErrorKind::Unavailable, Retry::Retry),
            (None, 404, ErrorKind::Other, Retry::Restart),
        ] {
            let error = failed("test", answer(code, "why", status));
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{code:?} {status}");
            assert_eq!(is_throttled(&error), kind == ErrorKind::RateLimited, "{code:?}");
        }
    }

    #[test]
    fn a_signature_of_another_time_is_made_anew_and_a_wrong_one_halts() {
        for (message, retry) in [
            (
                "Signature expired: 20261130T060000Z is now earlier than 20261130T061000Z (20261130T061500Z - 5 min.)",
                Retry::Retry,
            ),
            (
                "Signature not yet current: 20261130T060000Z is still later than 20261130T055000Z",
                Retry::Retry,
            ),
            ("The request signature we calculated does not match the signature you provided.", Retry::Halt),
        ] {
            let error = failed("test", answer(Some("InvalidSignatureException"), message, 400));
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, retry), "{message}");
        }
        let late = failed("test", answer(Some("RequestTimeTooSkewed"), "The difference is too large.", 403));
        assert_eq!((late.kind(), late.retry()), (ErrorKind::Auth, Retry::Retry));
    }

    #[test]
    fn of_what_was_not_answered_nothing_is_known_and_it_is_tried_again() {
        for answer in [
            Answer::<Service>::timeout_error("late"),
            Answer::dispatch_failure(ConnectorError::io("reset by peer".into())),
            Answer::response_error("no JSON", response(200)),
        ] {
            let error = failed("test", answer);
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Retry), "{error}");
        }
        let never = failed("test", Answer::<Service>::construction_failure("no key"));
        assert_eq!((never.kind(), never.retry()), (ErrorKind::Data, Retry::Halt));
        assert!(never.to_string().contains("no key"), "{never}");
    }

    #[test]
    fn an_error_names_its_code_and_request_and_of_its_message_only_the_first_line() {
        let message =
            format!("\nThe signature does not match.{}\n\nx-amz-security-token:s3cret", "é".repeat(1_000));
        let error = failed("put items", answer(Some("InvalidSignatureException"), &message, 400));
        let said = format!("{error:?}");
        assert!(said.contains("put items: the service refused: The signature does not match."), "{said}");
        assert!(said.contains("code=InvalidSignatureException") && said.contains("request_id=R-7"), "{said}");
        assert!(!said.contains("s3cret") && said.len() < 3 * MESSAGE_MAX, "{said}");
    }
}
