//! What each mode costs, as the server counts it: the tables of the page `docs/dynamodb-costs.md`, line by line, which are printed as they must be. What the
//! metrics count is the same.

mod counted;
mod figures;
mod item;
mod ledger;
mod line;
mod meter;
mod reads;
mod writes;

const PAGE: &str = include_str!("../../../../../docs/dynamodb-costs.md");

/// Compares a table with the page.
#[track_caller]
fn assert_on_the_page(table: &[String]) {
    let table = table.join("\n");
    println!("{table}");
    assert!(PAGE.contains(&table), "docs/dynamodb-costs.md does not say this:\n{table}");
}

#[tokio::test]
async fn the_page_says_what_writing_an_item_costs_in_each_mode() {
    assert_on_the_page(&writes::table().await);
}

#[tokio::test]
async fn the_page_says_what_the_ledger_itself_costs() {
    assert_on_the_page(&ledger::table().await);
}

#[tokio::test]
async fn the_page_says_what_reading_an_item_costs() {
    assert_on_the_page(&reads::table().await);
}
