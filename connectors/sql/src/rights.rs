//! A right that is missing: what somebody who may grant it runs.

use tidelock::{Error, ErrorKind};

use crate::kind::DatabaseKind;

/// What the sink may need on a table of rows, whatever changes it is given.
pub(crate) const OF_ROWS: &str = "SELECT, INSERT, UPDATE, DELETE";

/// Says of an error what to do where a right on a table is what is missing, and what becomes of the rows meanwhile.
pub(crate) fn told(error: Error, kind: DatabaseKind, rights: &str, table: &str, meanwhile: &str) -> Error {
    if error.kind() != ErrorKind::Auth {
        return error;
    }
    match kind {
        DatabaseKind::Sqlite => error.with(
            "remedy",
            format_args!(
                "let the user of this process write the file and its folder, and start the job again: {meanwhile}"
            ),
        ),
        DatabaseKind::Postgres | DatabaseKind::MySql => error.with(
            "remedy",
            format_args!(
                "the message says which right is missing, and on what. Let somebody who may run: GRANT {rights} ON {table} TO our \
                 user; and start the job again: {meanwhile}"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_that_is_missing_is_told_with_its_statement_and_nothing_else_is() {
        let about = |error: ErrorKind, kind| {
            let error = Error::new(error, "apply an epoch", "permission denied for table log");
            told(error, kind, OF_ROWS, "\"log\"", "the epoch is kept").to_string()
        };
        let denied = about(ErrorKind::Auth, DatabaseKind::Postgres);
        assert!(denied.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON \"log\" TO our user"), "{denied}");
        assert!(denied.contains("the epoch is kept"), "{denied}");
        let file = about(ErrorKind::Auth, DatabaseKind::Sqlite);
        assert!(file.contains("folder") && !file.contains("GRANT"), "{file}");
        assert!(!about(ErrorKind::NotFound, DatabaseKind::Postgres).contains("remedy"));
    }
}
