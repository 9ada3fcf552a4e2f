//! One table for each database: what it reports, and what it means to us.

use tidelock::{Error, ErrorKind, Retry};

/// The error of a setting that cannot work.
pub(crate) fn setting(name: &str, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, "configure SQL", why).with("setting", name)
}

/// What a fault of a database means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Somebody else has what is wanted: a deadlock, a lock, a serialization failure. The transaction is void, and
    /// succeeds when it is tried again.
    Contended,
    /// The connection is gone, or the server cannot take one now. Whether the last request was done is unknown.
    Gone,
    /// The server takes no writes now: it is a standby, or full.
    Unwilling,
    /// A right is missing, or the password is wrong.
    Refused,
    /// A table, a column or a database is not there.
    Missing,
    /// A row cannot be: a constraint is violated, or a value is out of its range.
    Violation,
    /// What is stored is damaged.
    Corrupt,
    /// What we ask for is not possible there.
    Impossible,
    /// Nothing of the above.
    Other,
}

/// What a database reported: never with a row, a value or a password in it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) class: Class,
    /// The vendor's code.
    pub(crate) code: String,
    pub(crate) message: String,
    /// The constraint or the index that a violation is of, where it is told.
    pub(crate) constraint: Option<String>,
    /// What a person can do about it, where it is known.
    pub(crate) remedy: Option<&'static str>,
}

impl Fault {
    pub(crate) fn new(class: Class, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class, code: code.into(), message: message.into(), constraint: None, remedy: None }
    }

    /// The connection is of no use any more.
    pub(crate) fn gone(message: impl Into<String>) -> Self {
        Self::new(Class::Gone, "", message)
    }

    /// A value was no text of its column's type, such as a label that an enum of PostgreSQL has not.
    pub(crate) fn is_no_value(&self) -> bool {
        self.class == Class::Violation && self.code.starts_with("22")
    }

    /// The error of an operation that met it. What passes by itself is tried again here, as the whole of it is repeatable.
    pub(crate) fn during(self, operation: &'static str) -> Error {
        let (kind, retry) = match self.class {
            Class::Contended => (ErrorKind::Conflict, Retry::Retry),
            Class::Gone | Class::Unwilling => (ErrorKind::Unavailable, Retry::Retry),
            Class::Refused => (ErrorKind::Auth, Retry::Halt),
            Class::Missing => (ErrorKind::NotFound, Retry::Halt),
            Class::Violation => (ErrorKind::Data, Retry::Halt),
            Class::Corrupt => (ErrorKind::Corrupt, Retry::Halt),
            Class::Impossible => (ErrorKind::Config, Retry::Halt),
            Class::Other => (ErrorKind::Other, Retry::Restart),
        };
        let mut error = Error::new(kind, operation, self.message).with_retry(retry);
        if !self.code.is_empty() {
            error = error.with("code", self.code);
        }
        if let Some(constraint) = self.constraint {
            error = error.with("constraint", constraint);
        }
        match self.remedy {
            Some(remedy) => error.with("remedy", remedy),
            None => error,
        }
    }
}

/// Said in place of what a trigger says, which may be the row.
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub(crate) const TRIGGER_REFUSES: &str = "a trigger or a function of the database refuses the row";

/// PostgreSQL's own classes of errors. Whatever has another one was raised by somebody's trigger or function.
#[cfg(feature = "postgres")]
const POSTGRES_CLASSES: &str = "00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 42 44 \
     53 54 55 57 58 72 F0 HV P0 XX";

/// Whether a trigger or a function of the database raised this on PostgreSQL: then the words are its own.
#[cfg(feature = "postgres")]
pub(crate) fn is_raised(code: &str) -> bool {
    match code.get(..2) {
        Some("P0" | "09" | "20" | "2F" | "38" | "39") => true,
        Some(class) => !POSTGRES_CLASSES.split(' ').any(|known| known == class),
        None => false,
    }
}

/// PostgreSQL: SQLSTATE.
#[cfg(feature = "postgres")]
pub(crate) fn postgres_class(code: &str) -> Class {
    match code {
        // Deadlock, serialization failure, lock not available, canceled by statement_timeout.
        "40P01" | "40001" | "55P03" | "57014" => Class::Contended,
        // Standbys, and disks that are full.
        "25006" | "53100" => Class::Unwilling,
        "42501" => Class::Refused,
        // Table, column, schema, database.
        "42P01" | "42703" | "3F000" | "3D000" => Class::Missing,
        // An upsert that meets a row twice.
        "21000" => Class::Violation,
        // Idle in a transaction for too long.
        "25P03" => Class::Gone,
        _ => match code.get(..2) {
            // Connection, shutdown, too many of something; the class of internal timeouts of the server.
            Some("08" | "57" | "53") => Class::Gone,
            Some("28") => Class::Refused,
            // 54: more than an index, a row or a value can have.
            Some("22" | "23" | "27" | "44" | "54") => Class::Violation,
            Some("40") => Class::Contended,
            Some("42" | "0A") => Class::Impossible,
            Some("XX") if matches!(code, "XX001" | "XX002") => Class::Corrupt,
            _ if is_raised(code) => Class::Violation,
            _ => Class::Other,
        },
    }
}

/// MySQL and MariaDB: the error's number.
#[cfg(feature = "mysql")]
pub(crate) fn mysql_class(code: u16) -> Class {
    match code {
        // Lock wait timeout, deadlock, XA deadlock, statement timeouts, a record that changed since it was read.
        1205 | 1213 | 1614 | 3024 | 1969 | 1020 => Class::Contended,
        // Too many connections, shutdown, aborted, killed, timeouts on the wire, the server is starting or gone.
        1040 | 1053 | 1080 | 1129 | 1152 | 1158..=1161 | 1203 | 1226 | 1317 | 1927 | 2006 | 2013 | 4031 => {
            Class::Gone
        }
        // A full disk, a full table; --read-only, and --super-read-only.
        1021 | 1114 | 1290 | 1836 | 1792 => Class::Unwilling,
        1044 | 1045 | 1130 | 1131 | 1142 | 1143 | 1227 | 1251 | 1698 | 3159 => Class::Refused,
        1049 | 1051 | 1054 | 1109 | 1146 => Class::Missing,
        // Null, duplicate, foreign keys, checks, lengths, ranges, texts that are no such value or have letters that the column has
        // not, a row that is too large, a division by zero, a trigger that signals.
        1022
        | 1048
        | 1062
        | 1118
        | 1169
        | 1216
        | 1217
        | 1263..=1265
        | 1292
        | 1364..=1367
        | 1406
        | 1411
        | 1416
        | 1441
        | 1451
        | 1452
        | 1526
        | 1557
        | 1586
        | 1644
        | 1690
        | 1748
        | 1761
        | 1762
        | 3140..=3158
        | 3819
        | 3854
        | 3988
        | 4025 => Class::Violation,
        1034 | 1035 | 1194 | 1712 => Class::Corrupt,
        // A packet that is too large, syntax, binlog formats that forbid the isolation.
        1153 | 1064 | 1295 | 1235 | 1665 | 1906 | 3105 => Class::Impossible,
        _ => Class::Other,
    }
}

/// SQLite: the extended code.
#[cfg(feature = "sqlite")]
pub(crate) fn sqlite_class(code: i32, message: &str) -> Class {
    // The low byte is the primary code.
    match code & 0xFF {
        5 | 6 | 9 => Class::Contended,     // BUSY, LOCKED, INTERRUPT
        10 | 13 | 22 => Class::Unwilling,  // IOERR, FULL, NOLFS
        3 | 8 | 14 | 23 => Class::Refused, // PERM, READONLY, CANTOPEN, AUTH
        18..=20 => Class::Violation,       // TOOBIG, CONSTRAINT, MISMATCH
        11 | 26 => Class::Corrupt,         // CORRUPT, NOTADB
        1 if message.starts_with("no such table")
            || message.contains("has no column")
            || message.starts_with("no such column") =>
        {
            Class::Missing
        }
        1 => Class::Impossible,
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_tried_again_and_what_a_person_must_mend_halts() {
        for (class, kind, retry) in [
            (Class::Contended, ErrorKind::Conflict, Retry::Retry),
            (Class::Gone, ErrorKind::Unavailable, Retry::Retry),
            (Class::Unwilling, ErrorKind::Unavailable, Retry::Retry),
            (Class::Refused, ErrorKind::Auth, Retry::Halt),
            (Class::Missing, ErrorKind::NotFound, Retry::Halt),
            (Class::Violation, ErrorKind::Data, Retry::Halt),
            (Class::Corrupt, ErrorKind::Corrupt, Retry::Halt),
            (Class::Impossible, ErrorKind::Config, Retry::Halt),
            (Class::Other, ErrorKind::Other, Retry::Restart),
        ] {
            let error = Fault::new(class, "code", "what").during("test");
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{class:?}");
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn postgres_codes_have_their_class() {
        for (code, class) in [
            ("40P01", Class::Contended),
            ("40001", Class::Contended),
            ("57014", Class::Contended),
            ("57P01", Class::Gone),
            ("57P03", Class::Gone),
            ("53300", Class::Gone),
            ("08006", Class::Gone),
            ("25006", Class::Unwilling),
            ("53100", Class::Unwilling),
            ("28P01", Class::Refused),
            ("42501", Class::Refused),
            ("42P01", Class::Missing),
            ("42703", Class::Missing),
            ("3D000", Class::Missing),
            ("23505", Class::Violation),
            ("23514", Class::Violation),
            ("22001", Class::Violation),
            ("P0001", Class::Violation),
            ("P0004", Class::Violation),
            ("U0001", Class::Violation),
            ("45000", Class::Violation),
            ("54000", Class::Violation),
            ("44000", Class::Violation),
            ("55000", Class::Other),
            ("42601", Class::Impossible),
            ("XX001", Class::Corrupt),
            ("XX000", Class::Other),
            ("", Class::Other),
        ] {
            assert_eq!(postgres_class(code), class, "{code}");
        }
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn mysql_codes_have_their_class() {
        for (code, class) in [
            (1213, Class::Contended),
            (1205, Class::Contended),
            (1969, Class::Contended),
            (4031, Class::Gone),
            (1927, Class::Gone),
            (1040, Class::Gone),
            (1290, Class::Unwilling),
            (1114, Class::Unwilling),
            (1045, Class::Refused),
            (1142, Class::Refused),
            (3159, Class::Refused),
            (1146, Class::Missing),
            (1054, Class::Missing),
            (1062, Class::Violation),
            (4025, Class::Violation),
            (3819, Class::Violation),
            (1366, Class::Violation),
            (1644, Class::Violation),
            (1118, Class::Violation),
            (1365, Class::Violation),
            (1416, Class::Violation),
            (3157, Class::Violation),
            (3988, Class::Violation),
            (1906, Class::Impossible),
            (1064, Class::Impossible),
            (1153, Class::Impossible),
            (1105, Class::Other),
        ] {
            assert_eq!(mysql_class(code), class, "{code}");
        }
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn sqlite_codes_have_their_class() {
        for (code, message, class) in [
            (5, "", Class::Contended),
            (517, "", Class::Contended),
            (13, "", Class::Unwilling),
            (1032, "", Class::Refused),
            (2067, "", Class::Violation),
            (1555, "", Class::Violation),
            (11, "", Class::Corrupt),
            (26, "", Class::Corrupt),
            (1, "no such table: a", Class::Missing),
            (1, "table a has no column named b", Class::Missing),
            (1, "near \"x\": syntax error", Class::Impossible),
            (21, "", Class::Other),
        ] {
            assert_eq!(sqlite_class(code, message), class, "{code} {message}");
        }
    }
}
