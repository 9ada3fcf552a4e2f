//! The table of dialects: everything in which PostgreSQL, MySQL with MariaDB, and SQLite differ for those who write statements.

mod newer;

use std::fmt::Write as _;
use std::time::Duration;

use crate::column::{ColumnType, Letters, TextType};
use crate::exact;
use crate::kind::DatabaseKind;

/// How one kind of database wants to be spoken to.
pub(crate) struct Dialect {
    pub(crate) kind: DatabaseKind,
    /// Stands around names, and twice within one.
    quote: char,
    /// `$1` or `?`.
    numbered: bool,
    /// What a statement may bind at most.
    pub(crate) binds_max: usize,
    /// More rows in one statement bring nothing.
    pub(crate) rows_max: usize,
    /// Whether rows are bound as a list for each column. It is then one statement for any number of rows.
    unnests: bool,
    /// Begins a transaction at an isolation that is said and not inherited. What is written depends on nothing that is read, and
    /// the ledger's row is locked by the first statement: `READ COMMITTED` is enough, and locks the fewest gaps.
    pub(crate) begin: &'static str,
    /// How an insert says what to do with a key that is there.
    upsert: Upsert,
    /// Whether an index finds the rows that are greater than several values as one row. Elsewhere it finds them by each in turn.
    pub(crate) orders_rows: bool,
    /// A list of rows that a list of columns is compared with.
    row_list: (&'static str, &'static str),
    /// Whether a float may be NaN, infinite, and less than nothing by its sign alone.
    pub(crate) nan: bool,
    pub(crate) infinity: bool,
    pub(crate) negative_zero: bool,
    /// Whether a text may have a NUL.
    pub(crate) nul: bool,
    /// A name that is compared letter by letter, as the key of the ledger must be.
    name_type: &'static str,
    text_type: &'static str,
    /// Ends the definition of a table: one that takes part in transactions.
    table_options: &'static str,
    types: fn(&TypeName) -> ColumnType,
    /// Columns of a table: name, type, whether it is nullable, whether the database fills it, its character set, whether nobody else
    /// may fill it.
    pub(crate) columns_query: &'static str,
    /// By which order the texts of a table's columns are compared: name, order.
    pub(crate) orders_query: &'static str,
    /// Unique keys of a table: name, column, whether it is the primary key, whether it is checked at the end of a transaction; in the
    /// order of the columns in each.
    pub(crate) keys_query: &'static str,
    /// What kind of table it is: a text that is empty where rows in it are as durable as their transaction says.
    pub(crate) fault_query: &'static str,
}

enum Upsert {
    OnConflict,
    OnDuplicateKey,
}

impl Dialect {
    pub(crate) fn of(kind: DatabaseKind) -> &'static Self {
        match kind {
            DatabaseKind::Postgres => &POSTGRES,
            DatabaseKind::MySql => &MYSQL,
            DatabaseKind::Sqlite => &SQLITE,
        }
    }

    /// Appends a quoted name.
    pub(crate) fn quote(&self, sql: &mut String, name: &str) {
        sql.push(self.quote);
        for letter in name.chars() {
            if letter == self.quote {
                sql.push(letter);
            }
            sql.push(letter);
        }
        sql.push(self.quote);
    }

    /// Appends the place of the value with this number, counted from 1.
    pub(crate) fn place(&self, sql: &mut String, number: usize) {
        if self.numbered {
            let _infallible = write!(sql, "${number}");
        } else {
            sql.push('?');
        }
    }

    /// Appends what makes an insert of these columns an upsert by this key.
    pub(crate) fn upsert<'c>(
        &self,
        sql: &mut String,
        columns: impl Iterator<Item = &'c str>,
        key: &[String],
    ) {
        let mut rest = columns.filter(|column| !key.iter().any(|part| part == column)).peekable();
        match self.upsert {
            Upsert::OnConflict => {
                sql.push_str(" ON CONFLICT (");
                self.names(sql, key.iter().map(String::as_str));
                sql.push(')');
                if rest.peek().is_none() {
                    sql.push_str(" DO NOTHING");
                    return;
                }
                sql.push_str(" DO UPDATE SET ");
            }
            Upsert::OnDuplicateKey => {
                sql.push_str(" ON DUPLICATE KEY UPDATE ");
                if rest.peek().is_none() {
                    // Nothing else can be said there.
                    let name = &key[0];
                    self.quote(sql, name);
                    sql.push('=');
                    self.quote(sql, name);
                    return;
                }
            }
        }
        for (at, column) in rest.enumerate() {
            if at > 0 {
                sql.push_str(", ");
            }
            self.quote(sql, column);
            match self.upsert {
                Upsert::OnConflict => {
                    sql.push_str("=excluded.");
                    self.quote(sql, column);
                }
                Upsert::OnDuplicateKey => {
                    sql.push_str("=VALUES(");
                    self.quote(sql, column);
                    sql.push(')');
                }
            }
        }
    }

    /// The moment so long ago by the server's clock, as columns of moments are compared with it, or of times without a zone, which
    /// are taken for UTC. It is that of the statement's beginning, before which nothing was read. `None` where there is one writer
    /// at a time, for whom nobody needs to wait.
    pub(crate) fn so_long_ago(&self, millis: u64, is_moment: bool) -> Option<String> {
        match self.kind {
            DatabaseKind::Postgres => {
                let now = if is_moment { "" } else { " AT TIME ZONE 'UTC'" };
                Some(format!("((statement_timestamp() - interval '{millis} milliseconds'){now})"))
            }
            DatabaseKind::MySql => {
                let micros = millis.saturating_mul(1_000);
                Some(format!("(UTC_TIMESTAMP(6) - INTERVAL {micros} MICROSECOND)"))
            }
            DatabaseKind::Sqlite => None,
        }
    }

    /// Makes the server end a connection, or of PostgreSQL the transaction that is open on it, on which nothing happens for so long.
    /// MySQL knows no bound for transactions alone, and a lower one of the server's own stays. It refuses a number of any other type.
    pub(crate) fn idle_at_most(&self, most: Duration) -> String {
        match self.kind {
            DatabaseKind::MySql => {
                format!(
                    "SET SESSION wait_timeout = CAST(LEAST(@@GLOBAL.wait_timeout, {}) AS UNSIGNED)",
                    most.as_secs().max(1)
                )
            }
            _ => format!("SET LOCAL idle_in_transaction_session_timeout = {}", most.as_millis()),
        }
    }

    /// Whether an upsert goes by *any* unique key that a row meets, and not by the one that was named.
    pub(crate) fn upserts_by_any_key(&self) -> bool {
        matches!(self.upsert, Upsert::OnDuplicateKey)
    }

    pub(crate) fn names<'c>(&self, sql: &mut String, names: impl Iterator<Item = &'c str>) {
        for (at, name) in names.enumerate() {
            if at > 0 {
                sql.push_str(", ");
            }
            self.quote(sql, name);
        }
    }

    /// Appends ` IN (..)` with so many rows of so many columns.
    pub(crate) fn in_rows(&self, sql: &mut String, columns: usize, rows: usize) {
        sql.push_str(" IN (");
        if columns > 1 {
            sql.push_str(self.row_list.0);
        }
        for row in 0..rows {
            if row > 0 {
                sql.push_str(", ");
            }
            self.places(sql, row * columns, columns, columns > 1);
        }
        if columns > 1 {
            sql.push_str(self.row_list.1);
        }
        sql.push(')');
    }

    /// Appends the places of so many values after the first `from`, perhaps in parentheses.
    pub(crate) fn places(&self, sql: &mut String, from: usize, count: usize, parentheses: bool) {
        if parentheses {
            sql.push('(');
        }
        for at in 0..count {
            if at > 0 {
                sql.push_str(", ");
            }
            self.place(sql, from + at + 1);
        }
        if parentheses {
            sql.push(')');
        }
    }

    /// The type of a list's members that become values of such a column as values of their own would, if rows can be bound as lists.
    /// It has no length: a cast to one that has would cut what an insert refuses.
    pub(crate) fn member_type(&self, kind: &ColumnType) -> Option<&'static str> {
        if !self.unnests {
            return None;
        }
        Some(match kind {
            ColumnType::Bool => "bool",
            ColumnType::Int { .. } => "int8",
            ColumnType::Single => "float4",
            ColumnType::Double => "float8",
            ColumnType::Decimal(_) => "numeric",
            ColumnType::Text(_) => "text",
            ColumnType::Bytes { .. } => "bytea",
            ColumnType::Date => "date",
            ColumnType::Time(_) => "time",
            ColumnType::Timestamp(_) => "timestamp",
            ColumnType::Moment { .. } => "timestamptz",
            ColumnType::Uuid => "uuid",
            // A list of lists would come apart, and what is read from a text has a type that is not known here.
            _ => return None,
        })
    }

    /// What lets the database read a statement with places for values, and do nothing.
    pub(crate) fn reads(&self, statement: &str) -> Vec<String> {
        match self.kind {
            DatabaseKind::Postgres => {
                vec![format!("PREPARE tidelock_look AS {statement}"), "DEALLOCATE tidelock_look".into()]
            }
            DatabaseKind::MySql => {
                let text = statement.replace('\\', "\\\\").replace('\'', "''");
                vec![
                    format!("PREPARE tidelock_look FROM '{text}'"),
                    "DEALLOCATE PREPARE tidelock_look".into(),
                ]
            }
            DatabaseKind::Sqlite => vec![format!("EXPLAIN {statement}")],
        }
    }

    /// Makes a row where there is none with its key.
    pub(crate) fn insert_or_nothing(&self, table: &str, columns: &str, count: usize) -> String {
        let mut sql = format!("INSERT INTO {table} ({columns}) VALUES ");
        self.places(&mut sql, 0, count, true);
        self.or_nothing(&mut sql, columns.split(',').next().unwrap_or(columns));
        sql
    }

    /// Appends what makes an insert leave a row alone that is there. `column` is any of the table's.
    pub(crate) fn or_nothing(&self, sql: &mut String, column: &str) {
        match self.upsert {
            Upsert::OnConflict => sql.push_str(" ON CONFLICT DO NOTHING"),
            Upsert::OnDuplicateKey => {
                let _infallible = write!(sql, " ON DUPLICATE KEY UPDATE {column}={column}");
            }
        }
    }

    /// The definition of the ledger: one row for each job and sink.
    pub(crate) fn ledger_ddl(&self, table: &str) -> String {
        let Self { name_type, table_options, .. } = self;
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (job {name_type} NOT NULL, uid {name_type} NOT NULL, \
             generation BIGINT NOT NULL, epoch BIGINT NOT NULL, PRIMARY KEY (job, uid)){table_options}"
        )
    }

    /// The definition of the table of transactions that were prepared.
    pub(crate) fn transactions_ddl(&self, table: &str) -> String {
        let Self { name_type, table_options, .. } = self;
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (name {name_type} NOT NULL PRIMARY KEY, generation BIGINT NOT NULL, \
             attempt BIGINT NOT NULL){table_options}"
        )
    }

    /// The definition of the table of dead letters.
    pub(crate) fn letters_ddl(&self, table: &str) -> String {
        let Self { name_type, text_type, table_options, .. } = self;
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (job {name_type} NOT NULL, uid {name_type} NOT NULL, \
             generation BIGINT NOT NULL, epoch BIGINT NOT NULL, place BIGINT NOT NULL, operation {name_type} NOT NULL, \
             reason {text_type} NOT NULL, record {text_type}, PRIMARY KEY (job, uid, generation, epoch, place)){table_options}"
        )
    }

    /// What a column of this declared type can hold.
    pub(crate) fn type_of(&self, declared: &str, letters: Option<&str>) -> ColumnType {
        let exact = exact::of(self.kind, declared);
        let mut kind = exact.unwrap_or_else(|| (self.types)(&TypeName::parse(declared)));
        if let (ColumnType::Text(text), Some(letters)) = (&mut kind, letters) {
            text.letters = match letters {
                "utf8" | "utf8mb3" | "ucs2" => Letters::Basic,
                "latin1" => Letters::Latin,
                "ascii" => Letters::Ascii,
                _ => Letters::All,
            };
        }
        kind
    }
}

static POSTGRES: Dialect = Dialect {
    kind: DatabaseKind::Postgres,
    quote: '"',
    numbered: true,
    binds_max: 65_535,
    rows_max: 4_096,
    unnests: true,
    begin: "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    upsert: Upsert::OnConflict,
    orders_rows: true,
    row_list: ("", ""),
    nan: true,
    infinity: true,
    negative_zero: true,
    nul: false,
    name_type: "VARCHAR(128) COLLATE \"C\"",
    text_type: "TEXT",
    table_options: "",
    types: postgres_type,
    columns_query: "SELECT a.attname::text, \
         format_type(CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE a.atttypid END, \
                     CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END), \
         NOT (a.attnotnull OR t.typnotnull), \
         a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL, NULL::text, a.attgenerated <> '' OR a.attidentity = 'a' \
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
         WHERE a.attrelid = to_regclass(coalesce(quote_ident($1) || '.', '') || quote_ident($2)) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    orders_query: "SELECT a.attname::text, c.collname::text FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation \
         WHERE a.attrelid = to_regclass(coalesce(quote_ident($1) || '.', '') || quote_ident($2)) AND a.attnum > 0 AND NOT a.attisdropped",
    keys_query: "SELECT i.indexrelid::int8::text, a.attname::text, i.indisprimary, NOT i.indimmediate \
         FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, place) \
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
         WHERE i.indrelid = to_regclass(coalesce(quote_ident($1) || '.', '') || quote_ident($2)) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL \
         AND i.indexprs IS NULL AND k.place <= i.indnkeyatts ORDER BY i.indexrelid, k.place",
    fault_query: "SELECT CASE WHEN c.relpersistence = 'u' THEN 'it is UNLOGGED: the server empties it after a crash' \
         WHEN c.relpersistence = 't' THEN 'it is temporary' \
         WHEN c.relkind NOT IN ('r', 'p') THEN 'it is no table' ELSE '' END \
         FROM pg_class c WHERE c.oid = to_regclass(coalesce(quote_ident($1) || '.', '') || quote_ident($2))",
};

static MYSQL: Dialect = Dialect {
    kind: DatabaseKind::MySql,
    quote: '`',
    numbered: false,
    binds_max: 65_535,
    rows_max: 512,
    unnests: false,
    // The isolation is that of the session, where it is set.
    begin: "START TRANSACTION READ WRITE",
    upsert: Upsert::OnDuplicateKey,
    orders_rows: false,
    row_list: ("", ""),
    nan: false,
    infinity: false,
    negative_zero: false,
    nul: true,
    name_type: "VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin",
    text_type: "LONGTEXT CHARACTER SET utf8mb4",
    table_options: " ENGINE=InnoDB",
    types: mysql_type,
    columns_query: "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE = 'YES', \
         COLUMN_DEFAULT IS NOT NULL OR EXTRA LIKE '%auto_increment%' OR EXTRA LIKE '%GENERATED%', CHARACTER_SET_NAME, \
         COALESCE(GENERATION_EXPRESSION, '') <> '' \
         FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
    orders_query: "SELECT COLUMN_NAME, COLLATION_NAME FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ? AND COLLATION_NAME IS NOT NULL",
    keys_query: "SELECT INDEX_NAME, COLUMN_NAME, INDEX_NAME = 'PRIMARY', 0 FROM information_schema.STATISTICS \
         WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ? AND NON_UNIQUE = 0 \
         ORDER BY INDEX_NAME, SEQ_IN_INDEX",
    fault_query: "SELECT CASE WHEN TABLE_TYPE <> 'BASE TABLE' THEN 'it is no table' \
         WHEN ENGINE <> 'InnoDB' THEN 'its engine takes no part in transactions: InnoDB does' ELSE '' END \
         FROM information_schema.TABLES WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ?",
};

static SQLITE: Dialect = Dialect {
    kind: DatabaseKind::Sqlite,
    quote: '"',
    numbered: false,
    binds_max: 32_766,
    rows_max: 512,
    unnests: false,
    // Takes the one lock of a file now, and does not find out in its middle that somebody else has it.
    begin: "BEGIN IMMEDIATE",
    upsert: Upsert::OnConflict,
    orders_rows: true,
    row_list: ("VALUES ", ""),
    nan: false,
    infinity: true,
    negative_zero: false,
    nul: true,
    name_type: "TEXT",
    text_type: "TEXT",
    table_options: "",
    types: sqlite_type,
    columns_query: "SELECT name, type, \"notnull\" = 0 AND pk = 0, dflt_value IS NOT NULL OR hidden <> 0 OR \
         (pk = 1 AND upper(type) = 'INTEGER'), NULL, hidden IN (2, 3) \
         FROM pragma_table_xinfo(?2, coalesce(?1, 'main')) ORDER BY cid",
    // It tells the order of an index, and not that of a column.
    orders_query: "SELECT name, '' FROM pragma_table_xinfo(?2, coalesce(?1, 'main'))",
    keys_query: "SELECT '', name, 1, 0 FROM (SELECT name, pk FROM pragma_table_info(?2, coalesce(?1, 'main')) \
         WHERE pk > 0 ORDER BY pk) \
         UNION ALL SELECT * FROM (SELECT l.name, i.name, 0, 0 FROM pragma_index_list(?2, coalesce(?1, 'main')) l \
         JOIN pragma_index_info(l.name, coalesce(?1, 'main')) i \
         WHERE l.\"unique\" AND l.origin <> 'pk' AND NOT l.partial ORDER BY l.seq, i.seqno)",
    fault_query: "SELECT CASE WHEN type IN ('table', 'shadow') THEN '' ELSE 'it is no table' END \
         FROM pragma_table_list WHERE schema = coalesce(?1, 'main') AND name = ?2",
};

/// A declared type, such as `decimal(10,2) unsigned`.
#[derive(Debug, PartialEq, Eq)]
struct TypeName {
    /// In small letters, up to the first parenthesis.
    name: String,
    arguments: Vec<usize>,
    /// What follows the parentheses.
    rest: String,
}

impl TypeName {
    fn parse(declared: &str) -> Self {
        let declared = declared.trim().to_ascii_lowercase();
        let (name, rest) = declared.split_once('(').unwrap_or((&declared, ""));
        let (arguments, rest) = rest.split_once(')').unwrap_or(("", rest));
        let arguments = arguments.split(',').filter_map(|argument| argument.trim().parse().ok()).collect();
        Self { name: name.trim().to_owned(), arguments, rest: rest.trim().to_owned() }
    }

    fn argument(&self) -> Option<usize> {
        self.arguments.first().copied()
    }

    fn digits(&self, default: u8) -> u8 {
        self.argument().and_then(|digits| u8::try_from(digits).ok()).unwrap_or(default)
    }
}

fn signed(bits: u32) -> ColumnType {
    let max = u64::MAX >> (65 - bits);
    ColumnType::Int { min: i64::MIN >> (64 - bits), max }
}

fn unsigned(bits: u32) -> ColumnType {
    ColumnType::Int { min: 0, max: u64::MAX >> (64 - bits) }
}

fn chars(chars_max: Option<usize>) -> ColumnType {
    ColumnType::Text(TextType { chars_max, ..TextType::default() })
}

fn postgres_type(declared: &TypeName) -> ColumnType {
    let element = match (declared.name.strip_suffix("[]"), declared.rest.strip_suffix("[]")) {
        (Some(name), _) => Some((name, &*declared.rest)),
        (None, Some(rest)) => Some((&*declared.name, rest)),
        (None, None) => None,
    };
    if let Some((name, rest)) = element {
        let (name, arguments, rest) = (name.to_owned(), declared.arguments.clone(), rest.to_owned());
        return ColumnType::Array(Box::new(postgres_type(&TypeName { name, arguments, rest })));
    }
    match &*declared.name {
        "boolean" => ColumnType::Bool,
        "smallint" => signed(16),
        "integer" => signed(32),
        "bigint" => signed(64),
        "real" => ColumnType::Single,
        "double precision" => ColumnType::Double,
        "numeric" => ColumnType::Decimal(
            declared.argument().map(|precision| (precision, declared.arguments.get(1).copied().unwrap_or(0))),
        ),
        "text" => chars(None),
        "character varying" => chars(declared.argument()),
        "character" => ColumnType::Text(TextType {
            chars_max: declared.argument().or(Some(1)),
            pads: true,
            ..TextType::default()
        }),
        "bytea" => ColumnType::Bytes { max: None, exact: false },
        "date" => ColumnType::Date,
        "time" | "time without time zone" if declared.rest != "with time zone" => {
            ColumnType::Time(declared.digits(6))
        }
        "timestamp" | "timestamp without time zone" if declared.rest != "with time zone" => {
            ColumnType::Timestamp(declared.digits(6))
        }
        "timestamp" | "timestamp with time zone" => {
            ColumnType::Moment { digits: declared.digits(6), year_2038: false }
        }
        "uuid" => ColumnType::Uuid,
        "json" | "jsonb" => ColumnType::Json,
        _ => ColumnType::Other,
    }
}

fn mysql_type(declared: &TypeName) -> ColumnType {
    let int = |bits| if declared.rest.contains("unsigned") { unsigned(bits) } else { signed(bits) };
    let bytes = |max| ColumnType::Bytes { max: Some(max), exact: false };
    let text = |bytes_max| ColumnType::Text(TextType { bytes_max: Some(bytes_max), ..TextType::default() });
    let (name, rest) = declared.name.split_once(' ').unwrap_or((&declared.name, ""));
    match name {
        // Without parentheses `unsigned` stands in the name.
        "tinyint" if rest.contains("unsigned") => unsigned(8),
        "smallint" if rest.contains("unsigned") => unsigned(16),
        "mediumint" if rest.contains("unsigned") => unsigned(24),
        "int" if rest.contains("unsigned") => unsigned(32),
        "bigint" if rest.contains("unsigned") => unsigned(64),
        "tinyint" => int(8),
        "smallint" => int(16),
        "mediumint" => int(24),
        "int" => int(32),
        "bigint" => int(64),
        // With a number of digits they round.
        "float" if declared.arguments.is_empty() => ColumnType::Single,
        "double" if declared.arguments.is_empty() => ColumnType::Double,
        "decimal" => ColumnType::Decimal(Some((
            declared.argument().unwrap_or(10),
            declared.arguments.get(1).copied().unwrap_or(0),
        ))),
        "varchar" => chars(declared.argument()),
        "char" => ColumnType::Text(TextType {
            chars_max: declared.argument().or(Some(1)),
            trims: true,
            ..TextType::default()
        }),
        "tinytext" => text(255),
        "text" => text(65_535),
        "mediumtext" => text(16_777_215),
        "longtext" => text(4_294_967_295),
        "varbinary" => bytes(declared.argument().unwrap_or(0)),
        "binary" => ColumnType::Bytes { max: Some(declared.argument().unwrap_or(1)), exact: true },
        "tinyblob" => bytes(255),
        "blob" => bytes(65_535),
        "mediumblob" => bytes(16_777_215),
        "longblob" => bytes(4_294_967_295),
        "date" => ColumnType::Date,
        "time" => ColumnType::Time(declared.digits(0)),
        "datetime" => ColumnType::Timestamp(declared.digits(0)),
        "timestamp" => ColumnType::Moment { digits: declared.digits(0), year_2038: true },
        "uuid" => ColumnType::Uuid,
        "json" => ColumnType::Json,
        _ => ColumnType::Other,
    }
}

/// SQLite's own rules: what a declared type contains gives the column an affinity.
fn sqlite_type(declared: &TypeName) -> ColumnType {
    let has = |part: &str| declared.name.contains(part);
    if has("int") {
        return signed(64);
    }
    if has("char") || has("clob") || has("text") {
        return chars(None);
    }
    if has("blob") || declared.name.is_empty() {
        return ColumnType::Any;
    }
    if has("real") || has("floa") || has("doub") { ColumnType::Double } else { ColumnType::Numeric }
}

#[cfg(test)]
mod tests;
