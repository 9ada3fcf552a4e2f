//! Upserts that change a row only where they are newer.

use super::{Dialect, Upsert};

/// What the row that is there is called where the one that comes is `excluded`.
const THERE: &str = "tidelock_there";

impl Dialect {
    /// The table of an insert that [`Dialect::upsert_newer`] follows.
    pub(crate) fn upsert_target(&self, table: &str) -> String {
        match self.upsert {
            Upsert::OnConflict => format!("{table} AS {THERE}"),
            Upsert::OnDuplicateKey => table.to_owned(),
        }
    }

    /// Appends what makes an insert of these columns an upsert by this key that changes a row only where it is newer. `versions` are
    /// compared as one row, and are among the columns.
    pub(crate) fn upsert_newer(&self, sql: &mut String, columns: &[&str], key: &[String], versions: &[&str]) {
        let is_other = |column: &&str| !key.iter().any(|part| part == column) && !versions.contains(column);
        let others = columns.iter().copied().filter(is_other);
        // MySQL assigns from left to right, and what comes later sees what was assigned before. So the columns that are compared come
        // last, and of them the one that decides last: when the second is assigned, the first still says which row is newer; and when
        // the first is, the second matters only where both have the same first one.
        let assigned: Vec<&str> = others.chain(versions.iter().rev().copied()).collect();
        match self.upsert {
            Upsert::OnConflict => {
                sql.push_str(" ON CONFLICT (");
                self.names(sql, key.iter().map(String::as_str));
                sql.push_str(") DO UPDATE SET ");
                for (at, column) in assigned.iter().enumerate() {
                    if at > 0 {
                        sql.push_str(", ");
                    }
                    self.quote(sql, column);
                    sql.push_str("=excluded.");
                    self.quote(sql, column);
                }
                sql.push_str(" WHERE ");
                self.row_of(sql, "excluded.", versions);
                sql.push_str(" > ");
                self.row_of(sql, &format!("{THERE}."), versions);
            }
            Upsert::OnDuplicateKey => {
                let condition = self.comes_newer(versions);
                sql.push_str(" ON DUPLICATE KEY UPDATE ");
                for (at, column) in assigned.iter().enumerate() {
                    if at > 0 {
                        sql.push_str(", ");
                    }
                    self.quote(sql, column);
                    sql.push_str("=IF(");
                    sql.push_str(&condition);
                    sql.push_str(", VALUES(");
                    self.quote(sql, column);
                    sql.push_str("), ");
                    self.quote(sql, column);
                    sql.push(')');
                }
            }
        }
    }

    /// Whether a statement of so many upserts certainly changed or made every row, by the number that the database answered.
    pub(crate) fn all_were_newer(&self, answered: u64, rows: usize) -> bool {
        match self.upsert {
            Upsert::OnConflict => answered == rows as u64,
            // One for a row that is made, and one for a row that is left as it is: these two cannot be told apart.
            Upsert::OnDuplicateKey => answered == 2 * rows as u64,
        }
    }

    fn row_of(&self, sql: &mut String, prefix: &str, columns: &[&str]) {
        sql.push('(');
        for (at, column) in columns.iter().enumerate() {
            if at > 0 {
                sql.push_str(", ");
            }
            sql.push_str(prefix);
            self.quote(sql, column);
        }
        sql.push(')');
    }

    /// Says in MySQL's words that what comes is newer than what is there.
    fn comes_newer(&self, versions: &[&str]) -> String {
        let mut sql = String::new();
        for (at, version) in versions.iter().enumerate() {
            if at > 0 {
                sql.push_str(" OR ");
            }
            for equal in &versions[..at] {
                self.compare(&mut sql, equal, " = ");
                sql.push_str(" AND ");
            }
            self.compare(&mut sql, version, " > ");
        }
        sql
    }

    fn compare(&self, sql: &mut String, column: &str, how: &str) {
        sql.push_str("VALUES(");
        self.quote(sql, column);
        sql.push(')');
        sql.push_str(how);
        self.quote(sql, column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::DatabaseKind;

    fn end(kind: DatabaseKind, columns: &[&str], versions: &[&str]) -> String {
        let mut sql = String::new();
        Dialect::of(kind).upsert_newer(&mut sql, columns, &["id".to_owned()], versions);
        sql
    }

    #[test]
    fn a_row_is_changed_only_where_what_comes_is_newer() {
        for kind in [DatabaseKind::Postgres, DatabaseKind::Sqlite] {
            assert_eq!(
                end(kind, &["id", "a", "v", "w"], &["v", "w"]),
                " ON CONFLICT (\"id\") DO UPDATE SET \"a\"=excluded.\"a\", \"w\"=excluded.\"w\", \"v\"=excluded.\"v\" \
                 WHERE (excluded.\"v\", excluded.\"w\") > (tidelock_there.\"v\", tidelock_there.\"w\")"
            );
        }
        assert_eq!(
            end(DatabaseKind::Postgres, &["id", "v"], &["v"]),
            " ON CONFLICT (\"id\") DO UPDATE SET \"v\"=excluded.\"v\" WHERE (excluded.\"v\") > (tidelock_there.\"v\")"
        );
    }

    /// Were the versions assigned first, nothing after them would ever be newer; were the first of them assigned before the
    /// second, the second would be left as it was wherever it is the smaller one.
    #[test]
    fn mysql_assigns_what_decides_last() {
        let newer = "VALUES(`v`) > `v` OR VALUES(`v`) = `v` AND VALUES(`w`) > `w`";
        assert_eq!(
            end(DatabaseKind::MySql, &["id", "v", "w", "a"], &["v", "w"]),
            format!(
                " ON DUPLICATE KEY UPDATE `a`=IF({newer}, VALUES(`a`), `a`), `w`=IF({newer}, VALUES(`w`), `w`), \
                 `v`=IF({newer}, VALUES(`v`), `v`)"
            )
        );
    }

    #[test]
    fn what_was_certainly_written_is_read_from_what_the_database_answers() {
        let all = |kind, answered| Dialect::of(kind).all_were_newer(answered, 3);
        assert!(all(DatabaseKind::Postgres, 3) && !all(DatabaseKind::Postgres, 2));
        assert!(all(DatabaseKind::MySql, 6) && !all(DatabaseKind::MySql, 3) && !all(DatabaseKind::MySql, 5));
    }
}
