//! A disk that is full under the server.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tidelock_containers::{SqlOptions, SqlServer};
use tidelock_sql::Mode;
use tidelock_testkit::SmallDisk;

use crate::pairs;
use crate::world::World;

/// MySQL alone fills 180 MB before anybody came, and so much again when it is killed and repairs its data.
const KIB: u32 = 420 * 1024;

/// The rows of a hundredth of a second while the disk is full: they fill what the server has in reserve.
const MANY: u64 = 100;

/// For so long the disk is full.
const FULL: Duration = Duration::from_secs(12);

/// A third of what was fed until then: more is visible only where the disk held nobody up.
const HELD_UP: u64 = 40_000;

/// Takes all the space that is left, until the returned file is removed.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join(".ballast");
    let mut file = File::create(&path).unwrap();
    let full = std::io::copy(&mut std::io::repeat(0), &mut file).expect_err("the disk is small");
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    path
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_disk_that_is_full_under_the_server_loses_and_doubles_nothing_once_there_is_space() {
    for (database, mode) in pairs(Mode::Ledger) {
        let folder = TempDir::new().unwrap();
        let Some(_disk) = SmallDisk::mount(folder.path(), KIB) else { return };
        let options = SqlOptions::new(database).with_data_in(folder.path());
        let server = SqlServer::start(options).await.unwrap();
        let mut world = World::new(&server, mode, 2).await;
        let mut process = world.start_at_work().await;
        world.wait_for_rows(&mut process, 100).await;
        let ballast = fill(folder.path());
        world.input().at_once(MANY);
        tokio::time::sleep(FULL).await;
        let visible = world.reader.newest();
        world.input().at_once(1);
        std::fs::remove_file(ballast).unwrap();
        // A server that cannot write its log ends itself.
        let went_down = !server.is_running().await.unwrap();
        if went_down {
            server.start_again().await.unwrap();
        }
        let went_on = process.is_running();
        println!("{database:?}, {mode:?}: server down {went_down}, job goes on {went_on}, at {visible}");
        assert!(visible < HELD_UP, "the disk was full: {visible}");
        assert!(went_on, "{}", process.errors());
        world.wait_for_rows(&mut process, 1_000).await;
        world.finish(process).await;
        drop((world, server));
    }
}
