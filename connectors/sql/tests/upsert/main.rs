//! The mode `upsert`, on SQLite always, and on PostgreSQL, MariaDB and MySQL in containers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod job;
mod on_each;
mod together;

use common::{Place, Rows, boot_on, scenes};
use tidelock::Result;
use tidelock_containers::Database;
use tidelock_sql::Mode;
use tidelock_testkit::conformance;

fn on_sqlite() -> Place {
    Place::sqlite().in_mode(Mode::Upsert)
}

async fn on_shared(database: Database) -> Place {
    Place::on_shared(database).await.in_mode(Mode::Upsert)
}

mod sqlite {
    use super::*;

    async fn boot() -> Result<Option<Rows>> {
        Ok(Some(Rows::table(on_sqlite()).await))
    }

    conformance::idempotent!(boot);
    conformance::rejecting!(boot);
}

/// The suites on one kind of server.
macro_rules! suites {
    ($($module:ident: $database:ident;)*) => {
        $(mod $module {
            use super::*;

            async fn boot() -> Result<Option<Rows>> {
                boot_on(Database::$database, Mode::Upsert, Rows::table).await
            }

            conformance::idempotent!(#[ignore = "needs a container"] boot);
            conformance::rejecting!(#[ignore = "needs a container"] boot);
        })*
    };
}

suites! {
    postgres: Postgres;
    mariadb: Mariadb;
    mysql: Mysql;
}

/// The same on SQLite, and on every kind of server.
macro_rules! scenes {
    ($($module:ident::$scene:ident)*) => {
        mod of_sqlite {
            use super::*;

            $(#[tokio::test]
            async fn $scene() {
                Box::pin($module::$scene(on_sqlite())).await;
            })*
        }

        mod of_servers {
            use super::*;

            $(#[tokio::test]
            #[ignore = "needs a container"]
            async fn $scene() {
                Database::each(async |database| $module::$scene(on_shared(database).await).await).await;
            })*
        }
    };
}

scenes! {
    scenes::every_type_of_column_takes_its_value
    on_each::the_statement_that_an_error_names_adds_the_columns
    on_each::columns_that_cannot_be_versions_are_told_first
    on_each::an_older_attempt_that_wakes_up_late_changes_nothing_and_is_told
    on_each::a_job_with_another_log_is_told_and_not_passed_over
    on_each::a_number_that_this_writer_has_not_reached_is_told_and_not_passed_over
    on_each::a_replay_wins_over_what_was_written_before_the_crash
    on_each::a_job_that_begins_anew_wins_over_what_it_wrote_with_its_first_log
    on_each::a_replay_does_not_stumble_over_its_own_future
    on_each::a_column_of_the_record_decides_which_change_is_newer
    on_each::a_deleted_row_leaves_its_version_and_little_else
    on_each::a_delete_without_a_tombstone_is_refused
    on_each::an_update_without_a_row_is_refused_and_an_older_one_is_not
    on_each::one_key_many_times_in_a_batch_ends_with_the_last
    on_each::a_row_that_cannot_be_is_dealt_with_when_it_is_written
    on_each::a_row_that_the_table_leaves_out_is_refused
    on_each::a_mode_may_change_while_something_is_pending
    on_each::a_table_with_another_unique_key_is_refused_where_upserts_go_by_any
    on_each::an_attempt_whose_number_no_column_holds_writes_nothing
    together::where_the_last_state_of_a_key_cannot_be_the_one_before_it_is_there
}
