//! The example `copy` as a process that is killed again and again.

mod support;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// Records of each partition, and how many of them are fed at once, every 20 ms.
const RECORDS: u64 = 40_000;
const FED_AT_ONCE: u64 = 100;
const KILLS: usize = 6;

/// Feeds both partitions for some eight seconds.
fn feed(brokers: &str, topic: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "0")
        .create()
        .expect("a producer");
    for first in (0..RECORDS).step_by(usize::try_from(FED_AT_ONCE).expect("small")) {
        for value in first..first + FED_AT_ONCE {
            for partition in 0..2 {
                let value = value.to_string();
                let record: BaseRecord<'_, (), str> =
                    BaseRecord::to(topic).partition(partition).payload(&value);
                producer.send(record).map_err(|(error, _)| error).expect("sent");
            }
        }
        producer.poll(Duration::from_millis(20));
    }
    producer.flush(Duration::from_secs(30)).expect("delivered");
}

/// The example that was built with this test.
fn copy(arguments: &[&str]) -> Child {
    let tests = std::env::current_exe().expect("this program");
    let target = tests.ancestors().nth(2).expect("the target folder");
    Command::new(target.join("examples/copy"))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example was built")
}

/// The epoch from which a run was restored, by what it said; 0 for a first run, `None` where it was
/// killed before it said anything.
fn restored(child: Child) -> Option<u64> {
    let said = child.wait_with_output().expect("ended").stdout;
    let said = String::from_utf8_lossy(&said);
    if said.contains("first run") {
        return Some(0);
    }
    said.split_once("restored from epoch ")?.1.split(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_copy_that_is_killed_again_and_again_has_every_record_once_and_in_order() {
    let brokers = support::brokers().await;
    let (from, to) = (support::fresh_topic(&brokers, 2).await, support::fresh_topic(&brokers, 2).await);
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoints = folder.path().join("checkpoints");
    let checkpoints = checkpoints.to_str().expect("text");
    let job = support::fresh("copy");
    let arguments = format!(
        "--brokers {brokers} --from {from} --to {to} --checkpoints {checkpoints} --interval 10ms --job-id {job} \
         --workers 2"
    );
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let feeder = {
        let (brokers, from) = (brokers.clone(), from.clone());
        tokio::task::spawn_blocking(move || feed(&brokers, &from))
    };
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut epochs = Vec::new();
    for _ in 0..KILLS {
        let mut child = copy(&arguments);
        tokio::time::sleep(Duration::from_millis(random.random_range(500..1_500))).await;
        child.kill().expect("killed with signal 9");
        epochs.extend(restored(child));
    }
    feeder.await.expect("fed");
    let mut last = copy(&arguments);
    let all = usize::try_from(RECORDS * 2).expect("small");
    let seen = support::read_until(&brokers, &to, 2, all).await;
    last.kill().expect("killed with signal 9");
    epochs.extend(restored(last));
    println!("restored from epochs {epochs:?}");
    assert!(epochs.is_sorted() && epochs.last() > Some(&0), "the runs went on from each other: {epochs:?}");

    for partition in 0..2 {
        let of_partition = seen.iter().filter(|one| one.partition == partition);
        let values: Vec<u64> = of_partition.map(|one| one.text().parse().expect("a number")).collect();
        assert_eq!(values, (0..RECORDS).collect::<Vec<_>>(), "partition {partition}");
    }
    ends_at_the_end(&brokers, &from).await;
}

/// The same job with a bound: it finishes by itself, and has nothing to do when it is started again.
async fn ends_at_the_end(brokers: &str, from: &str) {
    let to = support::fresh_topic(brokers, 2).await;
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoints = folder.path().join("checkpoints");
    let checkpoints = checkpoints.to_str().expect("text");
    for said in ["finished: ", "finished before"] {
        let arguments = format!(
            "--brokers {brokers} --from {from} --to {to} --checkpoints {checkpoints} --interval 20ms --job-id bounded \
             --stop-at-end"
        );
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let output = copy(&arguments).wait_with_output().expect("ended");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(said), "{text}");
    }
    assert_eq!(support::read(brokers, &to, 2).len(), usize::try_from(RECORDS * 2).expect("small"));
}
