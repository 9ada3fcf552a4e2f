//! The tables of a sink in its database: found, checked, and made where they are ours to make.

use std::sync::{Arc, Mutex, PoisonError};

use tidelock::{Error, ErrorKind, Result, Retry};

use crate::client::{Access, Client, Pool};
use crate::column::ColumnType;
use crate::config::{Mode, RecordPolicy, SqlSinkConfig};
use crate::dialect::Dialect;
use crate::error::Class;
use crate::names::TableName;
use crate::own::Own;
use crate::prepared::database_tag;
use crate::shape::Shape;
use crate::table::Table;
use crate::upsert::Upserts;

/// Where a sink writes.
pub(crate) struct Target {
    pub(crate) config: SqlSinkConfig,
    pub(crate) dialect: &'static Dialect,
    pub(crate) ledger: TableName,
    pub(crate) transactions: TableName,
    pub(crate) letters: Option<TableName>,
    pub(crate) pool: Pool,
    table: TableName,
    shape: Mutex<Option<Arc<Shape>>>,
}

impl Target {
    pub(crate) fn new(config: SqlSinkConfig) -> Result<Self> {
        config.validate()?;
        let letters = match &config.on_refused {
            RecordPolicy::DeadLetter(table) => Some(TableName::parse("on_refused", table)?),
            _ => None,
        };
        Ok(Self {
            dialect: Dialect::of(config.database.kind),
            table: match config.table.as_str() {
                "" => TableName::of_statements(),
                table => TableName::parse("table", table)?,
            },
            ledger: TableName::parse("ledger_table", &config.ledger_table)?,
            transactions: TableName::parse("transactions_table", &config.transactions_table)?,
            letters,
            pool: Pool::new(config.database.clone(), Access::Write),
            shape: Mutex::default(),
            config,
        })
    }

    /// Where rows go that are written when their epoch is committed. The address of the server is not of it: another one takes its place.
    pub(crate) fn place(&self) -> String {
        let database = &self.config.database.name;
        match self.config.table.as_str() {
            // Documented: what is pending is written by the statements that the settings have then.
            "" => format!("statements in database {database}"),
            _ => format!("table {} of database {database}", self.table),
        }
    }

    /// What names of transactions have of the database.
    pub(crate) fn tag(&self) -> u32 {
        database_tag(&self.config.database.name)
    }

    /// The tables as they were found when this was last looked at, or now.
    pub(crate) async fn shape(&self) -> Result<Arc<Shape>> {
        let known = self.shape.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(shape) => Ok(shape),
            None => self.look().await,
        }
    }

    /// Looks at the tables: each must be there, as it must be, or can be made.
    pub(crate) async fn look(&self) -> Result<Arc<Shape>> {
        let mut client = self.pool.get().await?;
        let shape = Arc::new(self.find(&mut client).await?);
        match self.config.mode {
            Mode::Ledger => {
                let ddl = self.dialect.ledger_ddl(&self.ledger.quoted(self.dialect));
                let key = ["job", "uid"];
                self.own_table(&mut client, &self.ledger, &ddl, &["generation", "epoch"], &key).await?;
            }
            Mode::Prepared => {
                let ddl = self.dialect.transactions_ddl(&self.transactions.quoted(self.dialect));
                let numbers = ["generation", "attempt"];
                self.own_table(&mut client, &self.transactions, &ddl, &numbers, &["name"]).await?;
            }
            Mode::Upsert => Upserts::new(&self.config, &shape).map(drop)?,
        }
        if let Some(letters) = &self.letters {
            let ddl = self.dialect.letters_ddl(&letters.quoted(self.dialect));
            let key = ["job", "uid", "generation", "epoch", "place"];
            self.own_table(&mut client, letters, &ddl, &["generation", "epoch", "place"], &key).await?;
        }
        client.give_back();
        *self.shape.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&shape));
        Ok(shape)
    }

    /// Finds the table, or lets the database read the statements that stand in its place.
    async fn find(&self, client: &mut Client) -> Result<Shape> {
        if let Some(own) = Own::parse(self.dialect, &self.config.statements)? {
            own.look(client).await?;
            return Ok(Shape::of_statements(self.dialect, own));
        }
        let found = Table::describe(client, self.dialect, &self.table).await?;
        let Some(table) = found else {
            return Err(Error::new(
                ErrorKind::NotFound,
                "look at a table",
                "the table is not there, or we may not see it",
            )
            .with("table", &self.table)
            .with("place", &self.config.database));
        };
        Shape::new(self.dialect, self.table.clone(), table, &self.config.key)
    }

    /// Makes a table of ours where it is not there, and looks whether it is one: its numbers are, and its key.
    async fn own_table(
        &self,
        client: &mut Client,
        name: &TableName,
        ddl: &str,
        numbers: &[&str],
        key: &[&str],
    ) -> Result<()> {
        let table = match Table::describe(client, self.dialect, name).await? {
            Some(table) => table,
            None => {
                let made = client.run(ddl).await;
                // Somebody else may have made it in this moment, which some databases call a violation.
                match (Table::describe(client, self.dialect, name).await?, made) {
                    (Some(table), _) => table,
                    (None, Err(fault)) => {
                        let refused = fault.class == Class::Refused;
                        let error = fault.during("make a table").with("table", name);
                        return Err(if refused {
                            error.with("remedy", format_args!("let somebody run: {ddl}"))
                        } else {
                            error
                        });
                    }
                    (None, Ok(_)) => {
                        return Err(Error::new(
                            ErrorKind::Config,
                            "make a table",
                            "it was made, and is not there",
                        )
                        .with("table", name)
                        .with("remedy", "name its schema"));
                    }
                }
            }
        };
        let is_number = |name: &&str| matches!(table.column(name).map(|column| &column.kind), Some(ColumnType::Int { max, .. }) if *max >= i64::MAX as u64);
        let key: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
        let orders = Table::orders_of(client, self.dialect, name).await?;
        // By an order that knows no letter's size two jobs would have one row.
        let folds = |(column, order): &(String, String)| key.contains(column) && order.ends_with("_ci");
        if numbers.iter().all(is_number)
            && table.primary_key().is_some_and(|primary| primary.is_of(&key))
            && !orders.iter().any(folds)
        {
            return Ok(());
        }
        let why = "a table of this name is there and is not what this sink keeps in it: name another one, or mend it";
        Err(Error::new(ErrorKind::Config, "look at a table", why)
            .with_retry(Retry::Halt)
            .with("table", name)
            .with("expected", ddl))
    }
}
