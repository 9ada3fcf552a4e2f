//! What a server answers to mistakes that the writer never makes: on real servers.

use tidelock_containers::{Database, SqlServer};

use crate::client::{Access, Client};
use crate::database::SqlConfig;
use crate::dialect::Dialect;
use crate::kind::DatabaseKind;
use crate::prepared::name::{TransactionName, database_tag};
use crate::prepared::wire;

async fn connect(database: Database) -> (Client, TransactionName, DatabaseKind) {
    let server = SqlServer::shared(database).await.expect("a server");
    let place = server.fresh_database().await.expect("a database");
    let config = SqlConfig::from_url(&server.url(&place)).expect("a URL");
    let name = format!("tidelock:job.out:1.0.1:{:08x}", database_tag(&place));
    let mut client = Client::connect(&config, Access::Write).await.expect("connected");
    client.run("CREATE TABLE log (id BIGINT PRIMARY KEY)").await.expect("a table");
    (client, TransactionName::parse(&name).expect("a name"), config.kind)
}

async fn is_listed(client: &mut Client, kind: DatabaseKind, name: &TransactionName) -> bool {
    wire::list(client, kind).await.expect("a list").ours.contains(name)
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_failed_transaction_is_not_prepared_although_postgresql_answers_well() {
    let (mut client, name, kind) = connect(Database::Postgres).await;
    wire::begin(&mut client, Dialect::of(kind), &name).await.expect("begun");
    client.run("INSERT INTO log VALUES (1)").await.expect("a row");
    client.run("INSERT INTO log VALUES (1)").await.expect_err("twice");
    // What this is about: the server's own answer is none.
    let fault = wire::prepare(&mut client, kind, &name).await.expect_err("it was rolled back");
    assert!(fault.code.is_empty() && fault.message.contains("rolled the transaction back"), "{fault:?}");
    assert!(!is_listed(&mut client, kind, &name).await);
    wire::begin(&mut client, Dialect::of(kind), &name).await.expect("begun");
    client.run("INSERT INTO log VALUES (1)").await.expect("a row");
    wire::prepare(&mut client, kind, &name).await.expect("prepared");
    assert!(is_listed(&mut client, kind, &name).await);
    wire::end(&mut client, kind, &name, wire::End::Rollback).await.expect("ended");
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_transaction_that_cannot_begin_is_an_error_before_anything_could_commit_by_itself() {
    Database::each_of([Database::Mariadb, Database::Mysql], async |database| {
        let (mut client, name, kind) = connect(database).await;
        wire::begin(&mut client, Dialect::of(kind), &name).await.expect("begun");
        client.run("INSERT INTO log VALUES (1)").await.expect("a row");
        let fault = wire::begin(&mut client, Dialect::of(kind), &name).await.expect_err("it is begun");
        assert!(!fault.code.is_empty(), "{fault:?}");
        wire::discard(&mut client, kind, &name).await.expect("taken back");
        let rows = client.run("SELECT id FROM log").await.expect("rows").rows;
        assert!(rows.is_empty(), "{database:?}");
    })
    .await;
}
