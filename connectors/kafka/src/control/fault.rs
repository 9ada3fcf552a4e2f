//! How a request to a broker fails, and which of the failures may pass by themselves.

use std::fmt;

use kafka_protocol::ResponseError;
use tidelock::{Error, ErrorKind, Retry};

/// Why one request has no good answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It was not sent: nobody was reached.
    NotSent(Error),
    /// It was sent, or may have been, and no answer came. What it asked for may still happen, also late.
    NoAnswer(Error),
    /// The broker answered with an error code.
    Code(ResponseError),
    /// The broker answered with more than is read of one answer.
    TooLarge {
        /// Who it is.
        broker: String,
        /// So large is the answer.
        bytes: usize,
        /// So much is read.
        bytes_max: usize,
    },
    /// Asking again cannot help.
    Final(Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) | Self::NoAnswer(error) | Self::Final(error) => error.fmt(f),
            Self::Code(code) => write!(f, "the broker answers {code}"),
            Self::TooLarge { broker, bytes, .. } => write!(f, "{broker} answers with {bytes} bytes"),
        }
    }
}

impl Fault {
    /// The fault for an error code of a response. `None` for 0.
    pub(crate) fn of_code(code: i16) -> Option<Self> {
        ResponseError::try_from_code(code).map(Self::Code)
    }

    /// Turns an error code of a response into a result.
    pub(crate) fn check(code: i16) -> Result<(), Self> {
        Self::of_code(code).map_or(Ok(()), Err)
    }

    /// Whether the same request may succeed a moment later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::NoAnswer(_) => true,
            Self::Code(code) => *code == ResponseError::ConcurrentTransactions || code.is_retriable(),
            Self::TooLarge { .. } | Self::Final(_) => false,
        }
    }

    /// Whether whom we asked may be the wrong one now.
    pub(crate) fn asks_to_look_again(&self) -> bool {
        use ResponseError as E;
        match self {
            Self::NotSent(_) | Self::NoAnswer(_) => true,
            Self::Code(code) => matches!(
                code,
                E::NotCoordinator
                    | E::CoordinatorNotAvailable
                    | E::NotLeaderOrFollower
                    | E::LeaderNotAvailable
                    | E::UnknownTopicOrPartition
                    | E::FencedLeaderEpoch
                    | E::UnknownLeaderEpoch
            ),
            Self::TooLarge { .. } | Self::Final(_) => false,
        }
    }

    /// The error that a user sees.
    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        match self {
            Self::NotSent(error) | Self::NoAnswer(error) | Self::Final(error) => error,
            Self::TooLarge { broker, bytes, bytes_max } => {
                let why = "a broker's answer is larger than what is read of one answer";
                let error = Error::new(ErrorKind::Config, operation, why).with("broker", broker);
                error.with("bytes", bytes).with("bytes_max", bytes_max)
            }
            Self::Code(code) => code_error(operation, code),
        }
    }
}

/// What an error code that no caller has a special meaning for says: one table.
pub(crate) fn code_error(operation: &'static str, code: ResponseError) -> Error {
    use ResponseError as E;
    let kind = match code {
        E::TopicAuthorizationFailed
        | E::GroupAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::TransactionalIdAuthorizationFailed
        | E::SaslAuthenticationFailed
        | E::UnsupportedSaslMechanism
        | E::IllegalSaslState => ErrorKind::Auth,
        E::UnknownTopicOrPartition | E::UnknownTopicId | E::TransactionalIdNotFound => ErrorKind::NotFound,
        E::InvalidTransactionTimeout
        | E::InvalidTopicException
        | E::UnsupportedVersion
        | E::InvalidRequest
        | E::InvalidConfig => ErrorKind::Config,
        E::MessageTooLarge | E::InvalidRecord | E::RecordListTooLarge => ErrorKind::Data,
        E::ProducerFenced | E::InvalidProducerEpoch | E::InvalidTxnState | E::InvalidProducerIdMapping => {
            ErrorKind::Conflict
        }
        _ if code.is_retriable() => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    };
    let error = Error::new(kind, operation, format!("the broker answers {code}")).with("code", code.code());
    match kind {
        ErrorKind::Other => error.with_retry(Retry::Restart),
        _ => error,
    }
}
