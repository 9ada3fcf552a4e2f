//! One table: what a gateway reports, and what it means to us.
//!
//! A declared refusal of a gateway is an `IOError` with a whole stack trace, whatever went wrong behind it: the exceptions of HBase that
//! are named in it decide, the first in the table that is. Its field `canRetry` is true for what can never succeed, too, and is not looked at.

use hbase_thrift::hbase::{AlreadyExists, IOError, IllegalArgument};
use thrift::{ApplicationErrorKind, TransportErrorKind};
use tidelock::{Error, ErrorKind, Retry};

/// The error of a setting that cannot work.
pub(crate) fn setting(name: &str, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, "configure HBase", why).with("setting", name)
}

/// What a fault means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The connection is gone, or an answer did not come in time, or cannot be read. Whether the request was done is unknown.
    Gone,
    /// HBase cannot do it now: a region moves, a server starts. A part of the request may be done.
    Away,
    /// A right is missing.
    Refused,
    /// A table or a family is not there.
    Missing,
    /// A scanner is not known any more: another one goes on behind the last row.
    Scanner,
    /// What we sent can never be taken.
    Invalid,
    /// The gateway is not one that this client can speak to.
    Impossible,
    /// Nothing of the above.
    Other,
}

/// Which exceptions of HBase, or words of theirs, mean what, in the order in which they decide.
const EXCEPTIONS: &[(&str, Class)] = &[
    ("AccessDeniedException", Class::Refused),
    ("TableNotFoundException", Class::Missing),
    ("NamespaceNotFoundException", Class::Missing),
    ("NoSuchColumnFamilyException", Class::Missing),
    ("UnknownScannerException", Class::Scanner),
    ("ScannerResetException", Class::Scanner),
    ("OutOfOrderScannerNextException", Class::Scanner),
    ("LeaseException", Class::Scanner),
    // Somebody works on the table; it will be enabled again.
    ("TableNotEnabledException", Class::Away),
    ("RegionTooBusyException", Class::Away),
    ("NotServingRegionException", Class::Away),
    ("RegionMovedException", Class::Away),
    ("RegionOpeningException", Class::Away),
    ("NoServerForRegionException", Class::Away),
    ("ServerNotRunningYetException", Class::Away),
    ("RegionServerStoppedException", Class::Away),
    ("RegionServerAbortedException", Class::Away),
    ("CallTimeoutException", Class::Away),
    ("CallQueueTooBigException", Class::Away),
    ("FailedServerException", Class::Away),
    ("MasterNotRunningException", Class::Away),
    ("PleaseHoldException", Class::Away),
    ("ZooKeeperConnectionException", Class::Away),
    ("ConnectionLossException", Class::Away),
    ("SessionExpiredException", Class::Away),
    ("ConnectionClosedException", Class::Away),
    ("ConnectionClosingException", Class::Away),
    ("ConnectException", Class::Away),
    ("SocketTimeoutException", Class::Away),
    ("SocketException", Class::Away),
    ("TimeoutIOException", Class::Away),
    ("InterruptedIOException", Class::Away),
    ("QuotaExceededException", Class::Away),
    ("SpaceLimitingException", Class::Away),
    ("RpcThrottlingException", Class::Away),
    // These are told as what is never to be tried again, and pass.
    ("Zookeeper", Class::Away),
    ("Client already closed", Class::Away),
    ("DoNotRetryIOException", Class::Invalid),
    // One of those before, which does not say so: a timestamp that the server does not want, for example.
    ("FailedSanityCheckException", Class::Invalid),
    ("IllegalArgumentException", Class::Invalid),
    // What HBase tried again and again for as long as it was told to, and nothing above says why.
    ("RetriesExhausted", Class::Away),
];

/// How much of a message is kept: the rest is a stack trace.
const MESSAGE_MAX: usize = 300;

/// What a gateway reported, or what became of a call.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) class: Class,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }

    /// The error of an operation that met it. What passes by itself is tried again here, as every call is repeatable.
    pub(crate) fn during(self, operation: &'static str) -> Error {
        let (kind, retry) = match self.class {
            Class::Gone | Class::Away => (ErrorKind::Unavailable, Retry::Retry),
            Class::Refused => (ErrorKind::Auth, Retry::Halt),
            Class::Missing => (ErrorKind::NotFound, Retry::Halt),
            Class::Scanner => (ErrorKind::Expired, Retry::Retry),
            Class::Invalid => (ErrorKind::Data, Retry::Halt),
            Class::Impossible => (ErrorKind::Config, Retry::Halt),
            Class::Other => (ErrorKind::Other, Retry::Restart),
        };
        Error::new(kind, operation, self.message).with_retry(retry)
    }

    /// Whether the gateway answered: its connection is as good as before.
    pub(crate) fn is_answer(error: &thrift::Error) -> bool {
        matches!(error, thrift::Error::User(_))
    }
}

impl From<thrift::Error> for Fault {
    fn from(error: thrift::Error) -> Self {
        match error {
            thrift::Error::User(declared) => of_declared(&*declared),
            thrift::Error::Transport(fault) if fault.kind == TransportErrorKind::TimedOut => {
                Self::new(Class::Gone, "no answer in time: whether it was done is unknown")
            }
            thrift::Error::Transport(fault) => {
                Self::new(Class::Gone, format!("the connection is gone: {}", first_line(&fault.message)))
            }
            thrift::Error::Protocol(fault) => {
                Self::new(Class::Gone, format!("the answer cannot be read: {}", first_line(&fault.message)))
            }
            thrift::Error::Application(fault) if fault.kind == ApplicationErrorKind::UnknownMethod => {
                Self::new(
                    Class::Impossible,
                    format!("the gateway does not know this call: {}", first_line(&fault.message)),
                )
            }
            // Found out by the library: an answer that came twice, or to another question.
            thrift::Error::Application(fault)
                if matches!(
                    fault.kind,
                    ApplicationErrorKind::BadSequenceId
                        | ApplicationErrorKind::WrongMethodName
                        | ApplicationErrorKind::InvalidMessageType
                ) =>
            {
                Self::new(
                    Class::Gone,
                    "the answer is not that to the question: whether it was done is unknown",
                )
            }
            thrift::Error::Application(fault) => {
                Self::new(Class::Other, format!("the gateway failed: {}", first_line(&fault.message)))
            }
        }
    }
}

fn of_declared(declared: &(dyn std::error::Error + Send + Sync + 'static)) -> Fault {
    if let Some(error) = declared.downcast_ref::<IOError>() {
        let text = error.message.as_deref().unwrap_or_default();
        return Fault::new(class_of(text), format!("HBase refused: {}", first_line(text)));
    }
    if let Some(error) = declared.downcast_ref::<IllegalArgument>() {
        let text = error.message.as_deref().unwrap_or_default();
        // A gateway that was started again knows no scanner of the one before.
        let class = if text.contains("scanner ID is invalid") { Class::Scanner } else { Class::Invalid };
        return Fault::new(class, format!("HBase refused: {}", first_line(text)));
    }
    if let Some(error) = declared.downcast_ref::<AlreadyExists>() {
        let text = error.message.as_deref().unwrap_or_default();
        return Fault::new(Class::Invalid, format!("it is there already: {}", first_line(text)));
    }
    Fault::new(Class::Other, "a gateway refused in a way that is not known")
}

fn class_of(text: &str) -> Class {
    let named = EXCEPTIONS.iter().find(|(exception, _)| text.contains(exception));
    named.map_or(Class::Other, |(_, class)| *class)
}

/// What a person needs of a message: not the stack trace.
fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("without a word");
    match line.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}..", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use thrift::{ApplicationError, ProtocolError, ProtocolErrorKind, TransportError};

    use super::*;

    fn io(message: &str) -> thrift::Error {
        // As gateways say it of everything.
        IOError::new(message.to_owned(), true).into()
    }

    #[test]
    fn what_passes_by_itself_is_tried_again_and_what_a_person_must_mend_halts() {
        for (class, kind, retry) in [
            (Class::Gone, ErrorKind::Unavailable, Retry::Retry),
            (Class::Away, ErrorKind::Unavailable, Retry::Retry),
            (Class::Refused, ErrorKind::Auth, Retry::Halt),
            (Class::Missing, ErrorKind::NotFound, Retry::Halt),
            (Class::Scanner, ErrorKind::Expired, Retry::Retry),
            (Class::Invalid, ErrorKind::Data, Retry::Halt),
            (Class::Impossible, ErrorKind::Config, Retry::Halt),
            (Class::Other, ErrorKind::Other, Retry::Restart),
        ] {
            let error = Fault::new(class, "what").during("test");
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{class:?}");
        }
    }

    #[test]
    fn refusals_have_the_class_of_the_exception_that_they_name() {
        for (message, class) in [
            ("org.apache.hadoop.hbase.TableNotFoundException: t\n\tat a.b", Class::Missing),
            (
                "Failed 1 action: org.apache.hadoop.hbase.regionserver.NoSuchColumnFamilyException: Column family x does not exist: 1 time\n\
                 \tat org.apache.hadoop.hbase.client.RetriesExhaustedWithDetailsException",
                Class::Missing,
            ),
            ("org.apache.hadoop.hbase.security.AccessDeniedException: no", Class::Refused),
            ("org.apache.hadoop.hbase.RegionTooBusyException: over memstore limit", Class::Away),
            ("org.apache.hadoop.hbase.client.RetriesExhaustedException: Can't get the location", Class::Away),
            ("org.apache.hadoop.hbase.UnknownScannerException: 7", Class::Scanner),
            ("org.apache.hadoop.hbase.DoNotRetryIOException: never", Class::Invalid),
            (
                "org.apache.hadoop.hbase.DoNotRetryIOException: Zookeeper LIST could not be completed in 10000 ms",
                Class::Away,
            ),
            ("something else", Class::Other),
            ("", Class::Other),
        ] {
            assert_eq!(Fault::from(io(message)).class, class, "{message}");
        }
        let illegal =
            |message: &str| Fault::from(thrift::Error::from(IllegalArgument::new(message.to_owned()))).class;
        assert_eq!(illegal("scanner ID is invalid"), Class::Scanner);
        assert_eq!(illegal("Row length 0 is <= 0"), Class::Invalid);
    }

    #[test]
    fn of_a_connection_that_broke_nothing_is_known_and_it_is_not_an_answer() {
        let transport = |kind| thrift::Error::Transport(TransportError::new(kind, "why"));
        let application = |kind| thrift::Error::Application(ApplicationError::new(kind, "why"));
        for (error, class, is_answer) in [
            (transport(TransportErrorKind::TimedOut), Class::Gone, false),
            (transport(TransportErrorKind::EndOfFile), Class::Gone, false),
            (
                thrift::Error::Protocol(ProtocolError::new(ProtocolErrorKind::BadVersion, "why")),
                Class::Gone,
                false,
            ),
            (application(ApplicationErrorKind::UnknownMethod), Class::Impossible, false),
            (application(ApplicationErrorKind::BadSequenceId), Class::Gone, false),
            (application(ApplicationErrorKind::InternalError), Class::Other, false),
            (io("TableNotFoundException"), Class::Missing, true),
        ] {
            assert_eq!(Fault::is_answer(&error), is_answer, "{error:?}");
            assert_eq!(Fault::from(error).class, class);
        }
    }

    #[test]
    fn a_message_is_one_line_of_a_bounded_length() {
        let fault = Fault::from(io(&format!("\n {}\n\tat org.apache.hadoop\n\tat b", "ö".repeat(1_000))));
        assert!(
            !fault.message.contains('\n') && fault.message.len() < 2 * MESSAGE_MAX + 50,
            "{}",
            fault.message
        );
    }
}
