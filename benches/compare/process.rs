//! A system's process: started, looked at, and ended with us, however we end.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::Failure;

/// The end of its log that an error quotes.
const LOG_LINES_MAX: usize = 30;

#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// What the kernel counts for a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) memory_mib: f64,
    /// What it gave to disks so far, in whole pages.
    pub(crate) disk_bytes: u64,
    pub(crate) threads: u64,
    pub(crate) connections: u64,
}

impl Process {
    /// Starts a command; what it prints goes to `log`. Must be called on the main thread: the kernel kills the
    /// process when the thread that started it is gone, which covers Ctrl-C and every way to die.
    pub(crate) fn start(command: &Command, log: PathBuf) -> Result<Self, Failure> {
        let failed = |error| Failure::new("start a system", error);
        let output = File::create(&log).map_err(failed)?;
        let also = output.try_clone().map_err(failed)?;
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        tied.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let child = tied.stdin(Stdio::null()).stdout(output).stderr(also).spawn().map_err(failed)?;
        Ok(Self { child, log })
    }

    /// An error with the end of what it printed, where it has ended.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait().map_err(|error| Failure::new("look at a system", error))? {
            None => Ok(()),
            Some(status) => Err(Failure::new("run a system", format!("{status}; its log:\n{}", self.tail()))),
        }
    }

    pub(crate) fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
    }

    pub(crate) fn usage(&self) -> Result<Usage, Failure> {
        Usage::of(self.child.id())
    }
}

impl Usage {
    /// What a process and its threads took so far.
    pub(crate) fn of(process: u32) -> Result<Self, Failure> {
        let folder = PathBuf::from(format!("/proc/{process}"));
        let failed = |error| Failure::new("read the usage of a system", error);
        let stat = fs::read_to_string(folder.join("stat")).map_err(failed)?;
        let status = fs::read_to_string(folder.join("status")).map_err(failed)?;
        let io = fs::read_to_string(folder.join("io")).map_err(failed)?;
        // The name in brackets may hold blanks: fields are counted behind it, from the third on.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let field_of = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        let field = |name: &str| field_of(&status, name);
        let files = fs::read_dir(folder.join("fd")).map_err(failed)?;
        let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        Ok(Self {
            cpu_seconds: (ticks(14) + ticks(15)) as f64 / rustix::param::clock_ticks_per_second() as f64,
            memory_mib: field("VmRSS:") as f64 / 1024.0,
            disk_bytes: field_of(&io, "write_bytes:"),
            threads: field("Threads:"),
            connections: links.filter(|link| link.to_string_lossy().starts_with("socket:")).count() as u64,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
