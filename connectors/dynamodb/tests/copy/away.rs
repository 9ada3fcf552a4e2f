//! A job whose service is away when it begins, and that is asked to end.

use rustix::process::Signal;
use tidelock_dynamodb::Mode;
use tidelock_processes::Process;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_asked_to_end_before_its_table_was_looked_at_ends_soon_and_the_next_one_does_all() {
    let mut world = World::new(Mode::Versioned, 100, 50).await;
    let address = world.server.address();
    world.server.kill();
    let mut process = world.start();
    let is_told = async |process: &Process| process.errors().contains("again and again");
    process.wait_until("it is told", is_told).await;
    let told = process.errors();
    assert!(told.contains(&format!(" {address}:")), "who is away is named: {told}");
    process.signal(Signal::TERM);
    process.ended().await.assert_error(1, &["told to stop before it had begun", "uid=copied"]);
    world.server.start_again();
    let wrong = world.finish().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}
