//! Statements of the user's own: on SQLite in the mode `ledger` always, and on servers in containers in both modes that take them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;
mod job;
mod on_each;

use common::Place;
use tidelock_containers::Database;
use tidelock_sql::Mode;

macro_rules! scenes {
    ($($scene:ident)*) => {
        mod of_sqlite {
            use super::*;

            $(#[tokio::test]
            async fn $scene() {
                Box::pin(on_each::$scene(Place::sqlite())).await;
            })*
        }

        mod of_servers {
            use super::*;

            $(#[tokio::test]
            #[ignore = "needs a container"]
            async fn $scene() {
                Database::each(async |database| {
                    for mode in [Mode::Ledger, Mode::Prepared] {
                        let place = Place::on_shared(database).await.in_mode(mode);
                        Box::pin(on_each::$scene(place)).await;
                    }
                })
                .await;
            })*
        }
    };
}

scenes! {
    a_counter_counts_each_record_once_however_often_its_epoch_is_committed
    each_operation_has_its_statement_and_others_are_refused
    fields_and_parameters_are_the_same_names
    values_go_where_the_statement_puts_them
    what_a_statement_returns_is_nobodys
    a_record_that_cannot_be_leaves_the_others_counted_once
    statements_that_cannot_work_are_found_out_first
    what_another_statement_left_pending_is_refused_by_name
}
