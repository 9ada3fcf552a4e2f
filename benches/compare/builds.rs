//! Builds what is measured, before anything is measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::systems::System;
use crate::target::{Peers, Target};

/// The workspace's folder.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder that this program was built into.
pub(crate) fn target() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::new("find this program", error))?;
    let release = program.parent().filter(|folder| folder.ends_with("release"));
    let target = release.and_then(Path::parent).map(Path::to_owned);
    target.ok_or_else(|| Failure::new("find the build folder", "run it with `cargo run --release`"))
}

/// Builds what these systems need.
pub(crate) fn build(systems: &[System], written: Target, target: &Path) -> Result<(), Failure> {
    if systems.iter().any(|system| system.is_tidelock()) {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "--quiet", "-p", "tidelock-benches"]);
        if written == Target::Kafka {
            eprintln!("building the example copy");
            // With this package beside it, so that what both are made of is built once.
            cargo.args(["-p", "tidelock-kafka", "--example", "copy"]);
        } else {
            eprintln!("building the job");
            cargo.args(["--bin", "to_table", "--bin", "pipeline"]);
        }
        run(cargo.arg("--target-dir").arg(target))?;
    }
    if systems.iter().any(|system| system.is_java()) {
        eprintln!("building the peers with Maven");
        let Peers { pom, folder } = written.peers();
        let peers = target.join(folder);
        let mut maven = Command::new("mvn");
        maven.args(["--batch-mode", "--quiet", "--file", pom]);
        maven.arg(format!("-Doutput={}", peers.display()));
        maven.args(["package", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
        run(maven.arg(format!("-DoutputDirectory={}", peers.join("libs").display())))?;
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let operation = format!("build with {}", command.get_program().display());
    let status =
        command.current_dir(workspace()).status().map_err(|error| Failure::new(&operation, error))?;
    if status.success() { Ok(()) } else { Err(Failure::new(&operation, status)) }
}
