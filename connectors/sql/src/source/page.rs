//! The statements of a source: pages of rows, the edges of a key, and its places in between.

use std::fmt::Write as _;

use crate::dialect::Dialect;
use crate::value::SqlValue;

/// Between which keys rows are asked for: after the first, and up to the second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Between<'k> {
    pub(super) after: Option<&'k [SqlValue]>,
    pub(super) end: Option<&'k [SqlValue]>,
}

/// What is asked, and where in a row the answer stands.
pub(super) struct Pages {
    dialect: &'static Dialect,
    /// What stands behind FROM.
    from: String,
    /// The columns of the record, and behind them those of the key that it does not have.
    columns: Vec<String>,
    record_columns: usize,
    key: Vec<String>,
    /// Where in a row the columns of the key are.
    pub(super) key_at: Vec<usize>,
    /// Says of a row whether it is old enough.
    ripe: Ripe,
}

/// How a source knows that no smaller key than a row's will be committed any more.
#[derive(Debug, Clone, Default)]
pub(super) enum Ripe {
    /// It need not.
    #[default]
    Always,
    /// By the order itself: only such rows are asked for.
    Asked(String),
    /// By another column: it is told with each row, and the first that is not ends what may be read.
    Told(String),
}

/// A statement with its values.
pub(super) struct Asked {
    pub(super) statement: String,
    pub(super) values: Vec<SqlValue>,
}

impl Pages {
    pub(super) fn new(
        dialect: &'static Dialect,
        from: String,
        record: Vec<String>,
        key: Vec<String>,
        ripe: Ripe,
    ) -> Self {
        let (record_columns, mut columns) = (record.len(), record);
        let mut key_at = Vec::with_capacity(key.len());
        for name in &key {
            let at = columns.iter().position(|column| column == name).unwrap_or(columns.len());
            if at == columns.len() {
                columns.push(name.clone());
            }
            key_at.push(at);
        }
        Self { dialect, from, columns, record_columns, key, key_at, ripe }
    }

    /// The columns that are the record's: they come first in a row.
    pub(super) fn record(&self) -> &[String] {
        &self.columns[..self.record_columns]
    }

    /// Whether the last value of a row says if it is old enough.
    pub(super) fn tells_ripe(&self) -> bool {
        matches!(self.ripe, Ripe::Told(_))
    }

    /// The next rows.
    pub(super) fn page(&self, between: Between<'_>, rows: usize) -> Asked {
        let mut sql = "SELECT ".to_owned();
        self.dialect.names(&mut sql, self.columns.iter().map(String::as_str));
        if let Ripe::Told(ripe) = &self.ripe {
            let _infallible = write!(sql, ", {ripe}");
        }
        let mut asked = self.between(sql, between);
        self.order(&mut asked.statement, false);
        let _infallible = write!(asked.statement, " LIMIT {rows}");
        asked
    }

    /// The first key, or the last one.
    pub(super) fn edge(&self, is_last: bool) -> Asked {
        let mut asked = self.between(self.key_of(), Between::default());
        self.order(&mut asked.statement, is_last);
        asked.statement.push_str(" LIMIT 1");
        asked
    }

    /// The key that stands so many places after another.
    pub(super) fn step(&self, between: Between<'_>, places: u64) -> Asked {
        let mut asked = self.between(self.key_of(), between);
        self.order(&mut asked.statement, false);
        let _infallible = write!(asked.statement, " LIMIT 1 OFFSET {}", places.saturating_sub(1));
        asked
    }

    pub(super) fn count(&self) -> Asked {
        self.between("SELECT count(*)".into(), Between::default())
    }

    /// Finds a row with a key of which a part is missing.
    pub(super) fn incomplete(&self) -> Asked {
        let mut asked = self.between("SELECT 1".into(), Between::default());
        for (at, name) in self.key.iter().enumerate() {
            asked.statement.push_str(if at == 0 { " WHERE " } else { " OR " });
            self.dialect.quote(&mut asked.statement, name);
            asked.statement.push_str(" IS NULL");
        }
        asked.statement.push_str(" LIMIT 1");
        asked
    }

    /// Finds a key that several rows have, as the server compares them.
    pub(super) fn doubled(&self) -> Asked {
        let mut asked = self.between(self.key_of(), Between::default());
        asked.statement.push_str(" GROUP BY ");
        self.dialect.names(&mut asked.statement, self.key.iter().map(String::as_str));
        asked.statement.push_str(" HAVING count(*) > 1 LIMIT 1");
        asked
    }

    fn key_of(&self) -> String {
        let mut sql = "SELECT ".to_owned();
        self.dialect.names(&mut sql, self.key.iter().map(String::as_str));
        sql
    }

    fn order(&self, sql: &mut String, is_last: bool) {
        sql.push_str(" ORDER BY ");
        for (at, name) in self.key.iter().enumerate() {
            if at > 0 {
                sql.push_str(", ");
            }
            self.dialect.quote(sql, name);
            if is_last {
                sql.push_str(" DESC");
            }
        }
    }

    /// Appends what is read, and between which keys.
    fn between(&self, mut sql: String, Between { after, end }: Between<'_>) -> Asked {
        let _infallible = write!(sql, " FROM {}", self.from);
        let mut values = Vec::new();
        let mut word = " WHERE ";
        for (bound, key) in [(Bound::After, after), (Bound::UpTo, end)] {
            let Some(key) = key else { continue };
            sql.push_str(word);
            self.bound(&mut sql, &mut values, bound, key);
            word = " AND ";
        }
        if let Ripe::Asked(ripe) = &self.ripe {
            sql.push_str(word);
            sql.push_str(ripe);
        }
        Asked { statement: sql, values }
    }

    fn bound(&self, sql: &mut String, values: &mut Vec<SqlValue>, bound: Bound, key: &[SqlValue]) {
        if key.len() == 1 {
            return self.compare(sql, values, &self.key[0], bound.last(), &key[0]);
        }
        if self.dialect.orders_rows {
            sql.push('(');
            self.dialect.names(sql, self.key.iter().map(String::as_str));
            let _infallible = write!(sql, ") {} ", bound.last());
            self.dialect.places(sql, values.len(), key.len(), true);
            values.extend(key.iter().cloned());
            return;
        }
        // (a > 1 OR (a = 1 AND (b > 2 OR (b = 2 AND c > 3)))): in this form an index finds them.
        for (at, (name, value)) in self.key.iter().zip(key).enumerate() {
            if at + 1 == key.len() {
                self.compare(sql, values, name, bound.last(), value);
                break;
            }
            sql.push('(');
            self.compare(sql, values, name, bound.other(), value);
            sql.push_str(" OR (");
            self.compare(sql, values, name, "=", value);
            sql.push_str(" AND ");
        }
        sql.push_str(&"))".repeat(key.len() - 1));
    }

    fn compare(
        &self,
        sql: &mut String,
        values: &mut Vec<SqlValue>,
        name: &str,
        sign: &str,
        value: &SqlValue,
    ) {
        self.dialect.quote(sql, name);
        let _infallible = write!(sql, " {sign} ");
        values.push(value.clone());
        self.dialect.place(sql, values.len());
    }
}

/// One side of a range.
#[derive(Clone, Copy)]
enum Bound {
    After,
    UpTo,
}

impl Bound {
    /// How the last column of a key is compared.
    fn last(self) -> &'static str {
        match self {
            Self::After => ">",
            Self::UpTo => "<=",
        }
    }

    /// How those before it are.
    fn other(self) -> &'static str {
        match self {
            Self::After => ">",
            Self::UpTo => "<",
        }
    }
}

/// How many rows a page asks for: of a few sizes, so that each connection prepares a few statements. Where rows are so large
/// that a page is cut, fewer are asked for, and more again when they are small.
#[derive(Debug)]
pub(super) struct PageSize {
    rows_max: usize,
    bytes_max: usize,
    rows: usize,
}

/// From one size to the next.
const STEP: usize = 4;

impl PageSize {
    pub(super) fn new(rows_max: usize, bytes_max: usize) -> Self {
        Self { rows_max, bytes_max, rows: rows_max }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// A page of so many bytes came.
    pub(super) fn came(&mut self, rows: usize, bytes: usize, is_cut: bool) {
        if is_cut {
            while self.rows > rows.max(1) {
                self.rows = (self.rows / STEP).max(1);
            }
        } else if rows == self.rows && bytes.saturating_mul(2 * STEP) < self.bytes_max {
            self.rows = self.rows.saturating_mul(STEP).min(self.rows_max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::DatabaseKind;

    fn pages(kind: DatabaseKind, record: &[&str], key: &[&str], ripe: Ripe) -> Pages {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Pages::new(Dialect::of(kind), "t".into(), owned(record), owned(key), ripe)
    }

    fn ints(values: &[i64]) -> Vec<SqlValue> {
        values.iter().map(|&value| SqlValue::I64(value)).collect()
    }

    #[test]
    fn a_page_is_what_follows_a_key_up_to_another() {
        let (after, end) = (ints(&[1]), ints(&[9]));
        let between = Between { after: Some(&after), end: Some(&end) };
        let one = pages(DatabaseKind::Postgres, &["v"], &["id"], Ripe::Always);
        let asked = one.page(between, 7);
        let expected = r#"SELECT "v", "id" FROM t WHERE "id" > $1 AND "id" <= $2 ORDER BY "id" LIMIT 7"#;
        assert_eq!(asked.statement, expected);
        assert!(asked.values == ints(&[1, 9]));
        assert_eq!((one.record(), &one.key_at[..]), (&["v".to_owned()][..], &[1][..]));
        assert_eq!(
            one.page(Between::default(), 7).statement,
            r#"SELECT "v", "id" FROM t ORDER BY "id" LIMIT 7"#
        );
        let has_it = pages(DatabaseKind::Postgres, &["id", "v"], &["id"], Ripe::Always);
        assert_eq!((has_it.record().len(), &has_it.key_at[..]), (2, &[0][..]), "it is not asked for twice");
    }

    #[test]
    fn keys_of_several_columns_are_compared_as_one_row() {
        let (after, end) = (ints(&[1, 2, 3]), ints(&[7, 8, 9]));
        let between = Between { after: Some(&after), end: Some(&end) };
        let rows = pages(DatabaseKind::Postgres, &["a"], &["a", "b", "c"], Ripe::Always).page(between, 5);
        assert_eq!(
            rows.statement,
            r#"SELECT "a", "b", "c" FROM t WHERE ("a", "b", "c") > ($1, $2, $3) AND ("a", "b", "c") <= ($4, $5, $6) ORDER BY "a", "b", "c" LIMIT 5"#
        );
        assert!(rows.values == ints(&[1, 2, 3, 7, 8, 9]));
        let rows = pages(DatabaseKind::MySql, &["a"], &["a", "b", "c"], Ripe::Always).page(between, 5);
        assert_eq!(
            rows.statement,
            "SELECT `a`, `b`, `c` FROM t WHERE (`a` > ? OR (`a` = ? AND (`b` > ? OR (`b` = ? AND `c` > ?)))) \
             AND (`a` < ? OR (`a` = ? AND (`b` < ? OR (`b` = ? AND `c` <= ?)))) ORDER BY `a`, `b`, `c` LIMIT 5"
        );
        assert!(rows.values == ints(&[1, 1, 2, 2, 3, 7, 7, 8, 8, 9]));
    }

    #[test]
    fn rows_that_are_too_young_are_not_asked_for_or_told() {
        let after = ints(&[1]);
        let between = Between { after: Some(&after), end: None };
        let asked = pages(DatabaseKind::MySql, &["v"], &["at"], Ripe::Asked("`at` <= x".into()));
        assert_eq!(
            asked.page(between, 5).statement,
            "SELECT `v`, `at` FROM t WHERE `at` > ? AND `at` <= x ORDER BY `at` LIMIT 5"
        );
        assert_eq!(
            asked.page(Between::default(), 5).statement,
            "SELECT `v`, `at` FROM t WHERE `at` <= x ORDER BY `at` LIMIT 5"
        );
        let told = pages(DatabaseKind::MySql, &["v"], &["id"], Ripe::Told("`at` <= x".into()));
        assert_eq!(
            told.page(between, 5).statement,
            "SELECT `v`, `id`, `at` <= x FROM t WHERE `id` > ? ORDER BY `id` LIMIT 5"
        );
    }

    #[test]
    fn edges_and_steps_read_the_key_alone() {
        let pages = pages(DatabaseKind::Sqlite, &["v"], &["a", "b"], Ripe::Always);
        let after = ints(&[1, 2]);
        let between = Between { after: Some(&after), end: Some(&after) };
        assert_eq!(
            pages.edge(true).statement,
            r#"SELECT "a", "b" FROM t ORDER BY "a" DESC, "b" DESC LIMIT 1"#
        );
        assert_eq!(
            pages.step(between, 100).statement,
            r#"SELECT "a", "b" FROM t WHERE ("a", "b") > (?, ?) AND ("a", "b") <= (?, ?) ORDER BY "a", "b" LIMIT 1 OFFSET 99"#
        );
        assert_eq!(
            pages.incomplete().statement,
            r#"SELECT 1 FROM t WHERE "a" IS NULL OR "b" IS NULL LIMIT 1"#
        );
        assert_eq!(
            pages.doubled().statement,
            r#"SELECT "a", "b" FROM t GROUP BY "a", "b" HAVING count(*) > 1 LIMIT 1"#
        );
    }

    #[test]
    fn large_rows_make_small_pages_and_small_ones_large_again() {
        let mut size = PageSize::new(1_000, 1_000_000);
        size.came(90, 1_000_000, true);
        assert_eq!(size.rows(), 62);
        size.came(62, 900_000, false);
        assert_eq!(size.rows(), 62);
        size.came(1, 5_000_000, true);
        assert_eq!(size.rows(), 1);
        for expected in [4, 16, 64, 256, 1_000, 1_000] {
            size.came(size.rows(), 100, false);
            assert_eq!(size.rows(), expected);
        }
        size.came(3, 100, false);
        assert_eq!(size.rows(), 1_000, "the last page of a split says nothing of their size");
    }
}
