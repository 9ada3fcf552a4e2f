//! A disk that is soon full, or is mounted twice.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file system of a given size in memory, unmounted when it is dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it on an empty folder. `None` where this process may not mount anything, for which it needs the
    /// rights of root on Linux: it then says that the test is skipped.
    pub fn mount(folder: &Path, kib: u32) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]).arg(folder);
        Self::mounted(mount, folder)
    }

    /// Mounts a folder once more, on an empty one: the same file system, by another mount.
    pub fn bind(folder: &Path, on: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.arg("--bind").args([folder, on]);
        Self::mounted(mount, on)
    }

    fn mounted(mut mount: Command, on: &Path) -> Option<Self> {
        if mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            return Some(Self(on.to_owned()));
        }
        println!("skipped: this process may not mount a small file system");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status().is_ok_and(|status| status.success());
        // A second panic while a test already fails would hide why.
        assert!(unmounted || std::thread::panicking(), "{} stays mounted", self.0.display());
    }
}
