//! Why a subscription brings nothing, or nothing more: one table for what the call is answered with, and for what comes as an event.

use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::error::{ErrorMetadata, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardError;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError as EventError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::event_stream::RawMessage;
use tidelock::Error;
use tidelock_aws::{Answer, failed};

/// What is done here, for a person.
pub(super) const SUBSCRIBE: &str = "subscribe to a shard";

/// What is wrong.
#[derive(Debug)]
pub(super) enum Fault {
    /// Another subscription has the place of this one, or had it a moment ago.
    Taken(Error),
    /// There is no such consumer, or no such shard.
    Missing(Error),
    /// The service takes no such place in a shard.
    Place(Error),
    /// Anything else: whether trying again helps is in it.
    Other(Error),
}

impl Fault {
    /// Of a call.
    pub(super) fn of_call(answer: Answer<SubscribeToShardError>) -> Self {
        let code = answer.as_service_error().and_then(|error| error.code());
        let of: fn(Error) -> Self = match code.map(|code| code.rsplit('#').next().unwrap_or(code)) {
            Some("ResourceInUseException") => Self::Taken,
            Some("ResourceNotFoundException") => Self::Missing,
            Some("InvalidArgumentException" | "ValidationException") => Self::Place,
            _ => Self::Other,
        };
        of(failed(SUBSCRIBE, answer))
    }

    /// Of an event.
    pub(super) fn of_event(error: SdkError<EventError, RawMessage>) -> Self {
        Self::of_call(answer_of(error))
    }
}

/// The same as if the call had been answered with it: an event has no status, and often no code beside its name.
fn answer_of(error: SdkError<EventError, RawMessage>) -> Answer<SubscribeToShardError> {
    match error {
        SdkError::ServiceError(service) => {
            let error = service.into_err();
            let mut said = ErrorMetadata::builder();
            if let Some(code) = name_of(&error).or_else(|| error.code()) {
                said = said.code(code);
            }
            if let Some(message) = error.message() {
                said = said.message(message);
            }
            Answer::service_error(SubscribeToShardError::generic(said.build()), response(400))
        }
        SdkError::DispatchFailure(failure) => Answer::DispatchFailure(failure),
        SdkError::TimeoutError(timeout) => Answer::TimeoutError(timeout),
        // What comes by the connection is no event: it was cut, or is none of the service's.
        other => Answer::response_error(other.to_string(), response(200)),
    }
}

fn response(status: u16) -> HttpResponse {
    HttpResponse::new(status.try_into().expect("invariant: a status"), SdkBody::empty())
}

/// The code that stands for an event of this name.
fn name_of(error: &EventError) -> Option<&'static str> {
    Some(match error {
        EventError::ResourceNotFoundException(_) => "ResourceNotFoundException",
        EventError::ResourceInUseException(_) => "ResourceInUseException",
        EventError::KmsDisabledException(_) => "KMSDisabledException",
        EventError::KmsInvalidStateException(_) => "KMSInvalidStateException",
        EventError::KmsAccessDeniedException(_) => "KMSAccessDeniedException",
        EventError::KmsNotFoundException(_) => "KMSNotFoundException",
        EventError::KmsOptInRequired(_) => "KMSOptInRequired",
        EventError::KmsThrottlingException(_) => "KMSThrottlingException",
        EventError::InternalFailureException(_) => "InternalFailureException",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::error::ConnectorError;
    use aws_sdk_kinesis::types::error::{
        InternalFailureException, KmsDisabledException, KmsThrottlingException, ResourceInUseException,
        ResourceNotFoundException,
    };
    use tidelock::{ErrorKind, Retry};

    use super::*;

    fn event(error: EventError) -> Fault {
        Fault::of_event(SdkError::service_error(error, RawMessage::Invalid(None)))
    }

    #[test]
    fn an_event_means_what_the_same_answer_to_the_call_means() {
        let taken = ResourceInUseException::builder().message("another one").build();
        let Fault::Taken(error) = event(EventError::ResourceInUseException(taken)) else { panic!() };
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Retry));
        let missing = ResourceNotFoundException::builder().build();
        assert!(matches!(event(EventError::ResourceNotFoundException(missing)), Fault::Missing(_)));
        let said = ErrorMetadata::builder().code("ns#ResourceInUseException").build();
        let call = Answer::service_error(SubscribeToShardError::generic(said), response(400));
        assert!(matches!(Fault::of_call(call), Fault::Taken(_)));
    }

    #[test]
    fn what_passes_is_told_from_what_a_person_must_mend() {
        let of = |error| match event(error) {
            Fault::Other(error) => (error.kind(), error.retry()),
            other => panic!("{other:?}"),
        };
        let failure = EventError::InternalFailureException(InternalFailureException::builder().build());
        assert_eq!(of(failure), (ErrorKind::Unavailable, Retry::Retry));
        let slow = EventError::KmsThrottlingException(KmsThrottlingException::builder().build());
        assert_eq!(of(slow), (ErrorKind::RateLimited, Retry::Retry));
        let disabled = EventError::KmsDisabledException(KmsDisabledException::builder().build());
        assert_eq!(of(disabled), (ErrorKind::Auth, Retry::Halt));
        // One that this build does not know.
        let unknown = ErrorMetadata::builder().code("NewException").build();
        assert_eq!(of(EventError::generic(unknown)), (ErrorKind::Other, Retry::Restart));
    }

    #[test]
    fn a_connection_that_was_cut_is_made_anew() {
        for cut in [
            SdkError::dispatch_failure(ConnectorError::io("reset by peer".into())),
            SdkError::response_error("half an event", RawMessage::Invalid(None)),
        ] {
            let Fault::Other(error) = Fault::of_event(cut) else { panic!() };
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Retry), "{error}");
        }
    }
}
