//! The one error type: what went wrong, whether trying again helps, and the evidence.
//!
//! Connectors keep a table `vendor error -> Error` in their `error.rs`; no vendor's type appears here.
//! The default advice is [`Retry::Restart`]: an error is indefinite unless it is proven otherwise, and
//! a restart from the last snapshot is right for every indefinite error.

use std::fmt;

/// The result of everything that can fail in Tidelock.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is wrong or two settings contradict each other.
    Config,
    /// The other system refuses our credentials, or they lack a right.
    Auth,
    /// Something that must exist does not: a topic, a folder, a snapshot.
    NotFound,
    /// A newer attempt owns the job. This one must end.
    Fenced,
    /// The target is in a state that the operation cannot start from.
    Conflict,
    /// The other system asks us to slow down.
    RateLimited,
    /// The other system cannot be reached or did not answer in time.
    Unavailable,
    /// Stored bytes are damaged, or of a version that this build does not know.
    Corrupt,
    /// Prepared data or a position was thrown away by the system that held it.
    Expired,
    /// A record cannot be read or written as it is.
    Data,
    /// A defect of ours or of a user's function.
    Bug,
    /// Nothing of the above.
    Other,
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Retry {
    /// Ask again here: the same call may succeed later.
    Retry,
    /// End this attempt and recover from the newest snapshot.
    Restart,
    /// A person must look. Neither trying again nor restarting helps.
    Halt,
}

/// One error: kind, retry advice, the operation, context as key and value, and the cause.
///
/// `Display` is one line for logs; `Debug` prints every cause.
///
/// ```
/// use tidelock::{Error, ErrorKind, Retry};
/// let error = Error::new(ErrorKind::Expired, "commit", "the broker aborted the transaction")
///     .with_retry(Retry::Halt)
///     .with("transactional_id", "orders/out/7/0");
/// assert_eq!(error.retry(), Retry::Halt);
/// assert!(error.to_string().contains("transactional_id=orders/out/7/0"));
/// ```
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    retry: Retry,
    operation: &'static str,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A new error. Its retry advice follows from the kind until [`Error::with_retry`] says otherwise:
    /// what a person must mend (configuration, rights, damaged or expired data, a defect, fencing) halts,
    /// everything else restarts.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        use ErrorKind as K;
        let retry = match kind {
            K::Config | K::Auth | K::NotFound | K::Fenced | K::Corrupt | K::Expired | K::Data | K::Bug => {
                Retry::Halt
            }
            K::RateLimited | K::Conflict | K::Unavailable | K::Other => Retry::Restart,
        };
        Self {
            inner: Box::new(Inner {
                kind,
                retry,
                operation,
                message: message.into(),
                context: Vec::new(),
                source: None,
            }),
        }
    }

    /// Replaces the retry advice.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.inner.retry = retry;
        self
    }

    /// Adds one fact. Never a secret: context is printed.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.inner.context.push((key, value.to_string()));
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// What to do about it.
    pub fn retry(&self) -> Retry {
        self.inner.retry
    }

    /// The operation that failed, as a short verb phrase.
    pub fn operation(&self) -> &'static str {
        self.inner.operation
    }

    /// The message without operation and context.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The facts that were added with [`Error::with`], in their order.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.inner.context.iter().map(|(key, value)| (*key, value.as_str()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { operation, message, context, .. } = &*self.inner;
        write!(f, "{operation}: {message}")?;
        if let Some(((first_key, first), rest)) = context.split_first() {
            write!(f, " [{first_key}={first}")?;
            for (key, value) in rest {
                write!(f, ", {key}={value}")?;
            }
            write!(f, "]")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({:?}, {:?})", self.inner.kind, self.inner.retry)?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, "\n  because: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_ref().map(|source| &**source as _)
    }
}
