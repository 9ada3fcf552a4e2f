//! The example of a whole job, run as its page says.

use std::process::Command;

use tempfile::TempDir;
use tidelock_dynamodb::{Item, Value, key};
use tidelock_processes::{DynamoServer, Process, example};

use crate::common;

const HEAD: &str = "year,tailnum,carrier,flight,origin,minute,time_hour";

#[tokio::test(flavor = "multi_thread")]
async fn the_example_leaves_of_each_plane_its_latest_flight() {
    let (folder, server) = (TempDir::new().unwrap(), DynamoServer::start());
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("in")).unwrap();
    for (name, lines) in [
        (
            "flights-1.csv",
            ["2013,N1,UA,1,EWR,15,2013-01-02T10:00:00Z", "2013,N2,AA,2,JFK,0,2013-01-01T10:00:00Z"],
        ),
        (
            "flights-2.csv",
            ["2013,NA,B6,3,LGA,0,2013-01-03T10:00:00Z", "2013,N1,UA,4,LGA,10,2013-01-02T10:00:00Z"],
        ),
    ] {
        std::fs::write(path("in").join(name), [&[HEAD][..], &lines].concat().join("\n")).unwrap();
    }
    let mut command = Command::new(example("dynamodb_latest"));
    command.arg(path("in")).arg(path("checkpoints")).arg(server.endpoint());
    command.env("AWS_REGION", "eu-central-1");
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "s3cret");
    Process::start(&mut command, &path("said")).ended().await.assert_success();
    let client = common::client(server.address()).await;
    let latest = |tail: &str, flight: &str, origin: &str, time: u64| {
        let version = Value::from(time);
        let own = [("tidelock_version", version), ("time", time.into()), ("origin", origin.into())];
        key([("tail", tail.into()), ("flight", flight.into())].into_iter().chain(own))
    };
    let day = 1_357_034_400; // 2013-01-01T10:00:00Z
    let expected: [Item; 2] =
        [latest("N2", "AA2", "JFK", day), latest("N1", "UA1", "EWR", day + 86_400 + 15 * 60)];
    let items = common::items(&client, "latest_flights").await;
    assert!(items.len() == 2 && expected.iter().all(|item| items.contains(item)), "{items:?}");
}
