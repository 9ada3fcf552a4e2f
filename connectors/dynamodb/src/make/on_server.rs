//! Makes tables on a server.

use tidelock_processes::DynamoServer;
use tidelock_testkit::{Fault, HttpFaults};

use super::*;

fn config(endpoint: String) -> AwsConfig {
    let mut config = AwsConfig::new().with_credentials("test", "test");
    (config.region, config.endpoint) = (Some("eu-central-1".into()), Some(endpoint));
    config
}

fn refused(code: &str) -> Fault {
    let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"told to"}}"#);
    Fault::Refused { status: 400, body: body.into() }
}

fn only(faults: &HttpFaults, call: &'static str) {
    faults.only(move |request| {
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        target.is_some_and(|target| target.ends_with(call))
    });
}

#[tokio::test]
async fn a_table_is_made_where_there_is_none_whatever_becomes_of_answers_and_one_that_is_there_stays() {
    let server = DynamoServer::start();
    let faults = HttpFaults::start(server.address()).await.expect("a proxy");
    let config = config(faults.endpoint());
    let client = client(&config).await.expect("a client");
    let mut met = 0;
    for (at, (call, fault, times)) in [
        ("CreateTable", Fault::Lost, 1),
        ("CreateTable", refused("ThrottlingException"), 2),
        // It is made, and not shown for a while.
        ("DescribeTable", refused("ResourceNotFoundException"), 3),
    ]
    .into_iter()
    .enumerate()
    {
        only(&faults, call);
        faults.plan(&fault, times);
        let name = format!("table_{at}");
        let made = make_table(&config, &name, ("origin", KeyKind::S), Some(("at", KeyKind::N))).await;
        made.unwrap_or_else(|error| panic!("{call}, {fault:?}: {error}"));
        let key = Table::look(&client, &name).await.expect("a table").key;
        let told = "the partition key `origin` of the kind S and the sort key `at` of the kind N";
        assert_eq!(key.to_string(), told, "{call}, {fault:?}");
        met += times as u64;
        assert_eq!(faults.count(), met, "{call}: it met its faults");
        make_table(&config, &name, ("other", KeyKind::B), None).await.expect("it is there");
        assert_eq!(Table::look(&client, &name).await.expect("a table").key, key, "it stays as it was");
    }
    only(&faults, "CreateTable");
    faults.plan(&refused("AccessDeniedException"), 1);
    let error = make_table(&config, "mine", ("id", KeyKind::S), None).await.expect_err("no right");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::Halt), "{error}");
    let told = error.to_string();
    assert!(told.contains("`id` of the kind S and no sort key") && told.contains("table=mine"), "{told}");
}
