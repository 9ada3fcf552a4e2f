//! Encrypted connections: whom they trust, and what is said where the two sides do not agree.

use std::path::Path;

use serde::Deserialize;
use tidelock::{
    Error, ErrorKind, Generation, JobId, Lookup as _, Position, Retry, Sink as _, SinkAttempt, Uid,
};
use tidelock_containers::{Database, SqlOptions, SqlServer};
use tidelock_sql::{
    DatabaseKind, SqlConfig, SqlLookup, SqlLookupConfig, SqlScan, SqlScanConfig, SqlSink, SqlSinkConfig, Tls,
};

const WORDS: &str = "CREATE TABLE words (id BIGINT PRIMARY KEY, word VARCHAR(20) NOT NULL); \
     INSERT INTO words VALUES (1, 'one')";

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Word {
    word: String,
}

/// A database with a table, on a server of its own.
struct World {
    server: SqlServer,
    config: SqlConfig,
}

impl World {
    async fn start(options: SqlOptions) -> Self {
        let server = SqlServer::start(options).await.expect("a server");
        let name = server.fresh_database().await.expect("a database");
        server.run(&name, WORDS).await.expect("a table");
        let config = SqlConfig::from_url(&server.url(&name)).expect("a URL");
        Self { server, config }
    }

    fn with(&self, tls: Tls, authority: Option<&Path>) -> SqlConfig {
        let mut config = self.config.clone();
        (config.tls, config.tls_ca_file) = (tls, authority.map(Path::to_owned));
        config
    }

    /// The connection is refused by a sink, a source and a lookup, with these words, and no password.
    async fn refuses(&self, config: SqlConfig, words: &[&str]) {
        for error in refusals(config).await {
            let told = format!("{error} {error:?}");
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::Halt), "{told}");
            assert!(words.iter().all(|word| told.contains(word)), "{words:?}: {told}");
            assert!(!told.contains(self.server.password()), "{told}");
        }
    }
}

async fn recover(config: SqlConfig) -> tidelock::Result<()> {
    let sink = SqlSink::<()>::new(SqlSinkConfig::new(config, "words")).expect("a sink");
    let (job, uid) = (JobId::new("job").expect("a name"), Uid::new("out").expect("a name"));
    let (number, generation) = (Position(1), Generation(1));
    sink.recover(&SinkAttempt { job, uid, number, generation, chunks: None }, &[]).await
}

async fn open(config: SqlConfig) -> tidelock::Result<SqlLookup<i64, Word>> {
    SqlLookup::open(SqlLookupConfig::new(config, "words", ["id"])).await
}

async fn refusals(config: SqlConfig) -> [Error; 3] {
    [
        recover(config.clone()).await.expect_err("refused"),
        open(config.clone()).await.map(drop).expect_err("refused"),
        SqlScan::<Word>::connect(SqlScanConfig::table(config, "words")).await.map(drop).expect_err("refused"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_server_with_tls_is_spoken_to_where_its_authority_is_trusted_and_else_it_is_said_what_to_do() {
    Database::each(async |database| {
        let world = World::start(SqlOptions::new(database).with_tls()).await;
        let authority = world.server.authority();
        let trusting = world.with(Tls::Verify, authority);
        recover(trusting.clone()).await.unwrap_or_else(|error| panic!("{database:?}: {error:?}"));
        let words = open(trusting.clone()).await.expect("a table");
        assert_eq!(words.lookup(&[1]).await.expect("answers"), [Some(Word { word: "one".into() })]);
        // By a name of the certificate as well as by its address.
        let mut by_name = trusting.clone();
        by_name.host = "localhost".into();
        recover(by_name).await.expect("trusted");

        let nobody = ["nobody whom we trust signed", "remedy=let tls_ca_file name"];
        world.refuses(world.with(Tls::Verify, world.server.stranger()), &nobody).await;
        // Those whom the operating system trusts, if there are such.
        for error in refusals(world.with(Tls::Verify, None)).await {
            assert!(error.retry() == Retry::Halt && error.to_string().contains("tls_ca_file"), "{error:?}");
        }
        // By default this machine needs no proof: then the server says that it wants TLS.
        for tls in [Tls::Off, Tls::Auto] {
            world.refuses(world.with(tls, authority), &["remedy=", "without TLS", "say tls = verify"]).await;
        }
        let mut wrong = trusting;
        wrong.password = "wr0ng".into();
        world.refuses(wrong, &["user"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_certificate_for_another_name_is_refused() {
    Database::each(async |database| {
        let world = World::start(SqlOptions::new(database).with_tls_of(&["db.example", "10.0.0.1"])).await;
        let trusting = world.with(Tls::Verify, world.server.authority());
        world.refuses(trusting, &["for another name", "remedy=let host be a name"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_server_without_tls_is_not_spoken_to_in_clear_where_a_proof_is_wanted() {
    Database::each(async |database| {
        let options = SqlOptions::new(database);
        // MySQL makes certificates for itself.
        let options =
            if database == Database::Mysql { options.with_setting("tls_version", "") } else { options };
        let world = World::start(options).await;
        recover(world.with(Tls::Auto, None)).await.expect("in clear, on this machine");
        let authority = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(authority.path(), AUTHORITY).expect("written");
        let wanting = world.with(Tls::Verify, Some(authority.path()));
        world.refuses(wanting, &["does not offer TLS", "remedy=", "tls = off"]).await;
    })
    .await;
}

/// Files that cannot be what they should be are told before anybody is asked.
#[tokio::test]
async fn a_file_without_certificates_is_told_by_the_name_of_its_setting() {
    let empty = tempfile::NamedTempFile::new().expect("a file");
    for kind in [DatabaseKind::Postgres, DatabaseKind::MySql] {
        for path in [Path::new("nowhere.pem"), empty.path()] {
            let mut config = SqlConfig::new(kind, "shop");
            config.port = Some(9);
            (config.tls, config.tls_ca_file) = (Tls::Verify, Some(path.to_owned()));
            for error in refusals(config).await {
                assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
                let told = error.to_string();
                assert!(told.contains("setting=tls_ca_file") && told.contains("path="), "{told}");
            }
        }
    }
}

/// A certificate that nobody uses.
const AUTHORITY: &str = include_str!("tls_authority.pem");
