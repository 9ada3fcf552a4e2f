//! The program that is tested.

use std::path::{Path, PathBuf};

/// The example's program, as a binary of this crate: so cargo builds it with the tests, in the same way.
pub fn flights() -> PathBuf {
    // TARGET/PROFILE/deps/TEST and TARGET/PROFILE/flights-job
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("a test stands in a profile's folder");
    profile.join("flights-job")
}
