//! The SQL servers do what the tests of other crates rely on.

use std::time::Duration;

use tidelock_containers::{Database, SqlOptions, SqlServer};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For an answer that must not come.
const GLANCE: Duration = Duration::from_secs(2);

async fn rows(server: &SqlServer, name: &str) -> Vec<String> {
    let printed = server.run(name, "SELECT id, word FROM t ORDER BY id").await.expect("rows");
    printed.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_server_keeps_its_rows_when_it_is_killed_stopped_and_paused() {
    Database::each(async |database| {
        let server = SqlServer::start(SqlOptions::new(database)).await.expect("started");
        let name = server.fresh_database().await.expect("a database");
        let insert = async |word: &str, id: u32| {
            server.run(&name, &format!("INSERT INTO t VALUES ({id}, '{word}')")).await.expect("a row");
        };
        server.run(&name, "CREATE TABLE t (id INT PRIMARY KEY, word TEXT)").await.expect("a table");
        insert("before", 1).await;

        server.kill().await.expect("killed");
        assert!(TcpStream::connect(server.address()).await.is_err(), "nobody there");
        server.start_again().await.expect("started again");
        insert("between", 2).await;

        server.stop().await.expect("stopped cleanly");
        assert!(TcpStream::connect(server.address()).await.is_err(), "nobody there");
        server.start_again().await.expect("started again");
        assert_eq!(rows(&server, &name).await, ["1\tbefore", "2\tbetween"], "{database:?}");

        server.pause().await.expect("paused");
        let answer = timeout(GLANCE, server.run(&name, "INSERT INTO t VALUES (3, 'paused')")).await;
        assert!(answer.is_err(), "{database:?} does not answer: {answer:?}");
        server.unpause().await.expect("goes on");
        insert("after", 4).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_client_of_postgres_that_was_there_before_the_pause_gets_no_answer_either() {
    let server = SqlServer::start(SqlOptions::new(Database::Postgres)).await.expect("started");
    let client = server.run("postgres", "SELECT pg_sleep(3)");
    let paused = async {
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3)'";
        while server.run("postgres", asleep).await.expect("an answer").trim() == "0" {}
        server.pause().await.expect("paused");
    };
    tokio::pin!(client);
    tokio::select! {
        answer = &mut client => panic!("before the pause: {answer:?}"),
        () = paused => {}
    }
    let answer = timeout(2 * Duration::from_secs(3), &mut client).await;
    assert!(answer.is_err(), "its process is frozen, too: {answer:?}");
    server.unpause().await.expect("goes on");
    client.await.expect("an answer at last");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn settings_reach_the_server_and_every_test_has_a_database_of_its_own() {
    Database::each(async |database| {
        let (setting, question) = match database {
            Database::Postgres => ("max_prepared_transactions", "SHOW max_prepared_transactions"),
            Database::Mariadb | Database::Mysql => ("wait_timeout", "SELECT @@global.wait_timeout"),
        };
        let server =
            SqlServer::start(SqlOptions::new(database).with_setting(setting, 7)).await.expect("started");
        let (one, other) = (server.fresh_database().await, server.fresh_database().await);
        let (one, other) = (one.expect("a database"), other.expect("another"));
        assert_eq!(server.run(&one, question).await.expect("an answer").trim(), "7");
        server.run(&one, "CREATE TABLE t (id INT)").await.expect("a table");
        assert!(server.run(&other, "SELECT * FROM t").await.is_err(), "its table is not in the other one");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_disk_that_is_full_refuses_rows() {
    Database::each(async |database| {
        // MySQL alone fills 180 MB before anybody came. Longer words would be stored compressed.
        let options = SqlOptions::new(database).with_data_in_memory(320 << 20);
        let server = SqlServer::start(options).await.expect("started");
        let name = server.fresh_database().await.expect("a database");
        server.run(&name, "CREATE TABLE t (word TEXT)").await.expect("a table");
        server.run(&name, "INSERT INTO t VALUES (REPEAT('x', 1500))").await.expect("a row");
        let mut refused = None;
        for _ in 0..20 {
            if let Err(error) = server.run(&name, "INSERT INTO t SELECT word FROM t").await {
                refused = Some(error.to_string());
                break;
            }
        }
        let refused = refused.expect("a full disk");
        assert!(refused.contains("full") || refused.contains("No space left"), "{database:?}: {refused}");
    })
    .await;
}

/// `MySQL` answers with its greeting to anybody; what is asked here is that TLS is on and the only way.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_server_with_tls_lets_nobody_in_without() {
    Database::each(async |database| {
        let server = SqlServer::start(SqlOptions::new(database).with_tls()).await.expect("started");
        assert!(server.authority().is_some_and(|path| path.exists()));
        assert!(server.client_certificate().is_some_and(|path| path.exists()));
        let question = match database {
            Database::Postgres => "SELECT count(*) FROM pg_hba_file_rules WHERE type = 'host'",
            Database::Mariadb | Database::Mysql => "SELECT 1 - @@require_secure_transport",
        };
        let first = if database == Database::Postgres { "postgres" } else { "mysql" };
        assert_eq!(server.run(first, question).await.expect("an answer").trim(), "0", "{database:?}");
        let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
        if database == Database::Postgres {
            use tokio::io::AsyncWriteExt as _;
            stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.expect("asks for TLS");
            assert_eq!(stream.read_u8().await.expect("an answer"), b'S', "TLS is offered");
        } else {
            let mut greeting = vec![0; 128];
            let length = stream.read(&mut greeting).await.expect("a greeting");
            let version_end = 5 + greeting[5..length].iter().position(|byte| *byte == 0).expect("a version");
            // Behind the version: four bytes of connection, eight of a nonce, a filler, then the capabilities.
            let capabilities = u16::from_le_bytes([greeting[version_end + 14], greeting[version_end + 15]]);
            assert_ne!(capabilities & 0x0800, 0, "TLS is offered");
        }
    })
    .await;
}
