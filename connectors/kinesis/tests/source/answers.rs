//! Answers that are lost, cut, slow, refusals, or nothing at all: every record is read once, and nothing is taken for an end.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tidelock_kinesis::KinesisStream;
use tidelock_processes::{count, seed};
use tidelock_testkit::{Fault, HttpFaults};

use crate::drive::Job;
use crate::lineage::{assert_all, four_generations};
use crate::scripted::Scripted;

fn refused(status: u16, code: &str) -> Fault {
    let body = format!(r#"{{"__type":"{code}","message":"why"}}"#);
    Fault::Refused { status, body: body.into() }
}

/// What may happen to a request, and how often.
fn chances() -> Vec<(Fault, f64)> {
    let faults = [
        Fault::Cut,
        Fault::Lost,
        Fault::Half,
        Fault::Doubled,
        Fault::Late(3),
        Fault::Slow,
        refused(400, "ProvisionedThroughputExceededException"),
        refused(400, "LimitExceededException"),
        refused(400, "ExpiredNextTokenException"),
        refused(500, "InternalFailureException"),
        Fault::Refused { status: 503, body: "<html>busy</html>".into() },
        Fault::Refused { status: 200, body: "<html>hello</html>".into() },
        Fault::Refused { status: 200, body: Bytes::new() },
        Fault::Refused { status: 200, body: "{}".into() },
    ];
    faults.map(|fault| (fault, 0.035)).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_answers_every_record_is_read_once_and_in_its_order() {
    let mut random = StdRng::seed_from_u64(seed("faults in a stream"));
    for _ in 0..count(4, 40) {
        let stream = Scripted::start().await;
        four_generations(&mut stream.script());
        stream.script().tells_children = false;
        let faults = HttpFaults::start(stream.fake.address()).await.unwrap();
        let mut config = stream.config();
        config.kinesis.endpoint = Some(faults.endpoint());
        (config.batch_records, config.retry_for_ms) = (2, 60_000);
        let source = KinesisStream::connect(config).await.unwrap();
        faults.random(random.next_u64(), chances());
        let mut job = Job::default();
        job.run(&stream, &source).await.unwrap();
        assert_eq!(job.names(), "E F");
        assert_all(&job.seen, "faults");
    }
}
