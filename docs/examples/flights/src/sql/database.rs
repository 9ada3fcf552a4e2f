//! How a database is named on the command line.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use tidelock_sql::SqlConfig;

/// A database: `sqlite:FILE`, `postgres://USER:PASSWORD@HOST/NAME`, the same with `mysql` or `mariadb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database(SqlConfig);

impl FromStr for Database {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        SqlConfig::from_url(url).map(Self).map_err(|error| error.to_string())
    }
}

impl Deref for Database {
    type Target = SqlConfig;

    fn deref(&self) -> &SqlConfig {
        &self.0
    }
}

impl Database {
    /// Where it is, as the name of a folder.
    pub(crate) fn folder(&self) -> String {
        let legal = |one: char| if one.is_alphanumeric() || one == '.' { one } else { '-' };
        self.to_string().chars().map(legal).collect()
    }
}

/// Without user and password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_shown_without_its_password_and_a_mistake_is_not_repeated() {
        let database: Database = "postgres://me:s3cret@db:5433/air".parse().unwrap();
        assert_eq!((database.to_string(), database.folder()), ("db:5433/air".into(), "db-5433-air".into()));
        assert!(!format!("{database:?}").contains("s3cret"));
        assert!(!"postgres:/me:s3cret@db".parse::<Database>().unwrap_err().contains("s3cret"));
    }
}
