//! The processes of one job as a test sees them: how they are started, what they leave, and the way between them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use super::{CHILD, LENGTH, SPLITS};

/// Carries bytes from wherever somebody connects to an address, so many a second each way.
pub(crate) fn slow_way_to(address: SocketAddr, bytes_a_second: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (near, _) = listener.accept().unwrap();
        let far = loop {
            match TcpStream::connect(address) {
                Ok(far) => break far,
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            std::thread::spawn(move || carry(from, to, bytes_a_second));
        }
    });
    own
}

fn carry(mut from: TcpStream, mut to: TcpStream, bytes_a_second: usize) {
    let mut buffer = vec![0; bytes_a_second / 100];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_secs_f64(length as f64 / bytes_a_second as f64));
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// The processes of one job.
pub(crate) struct Processes(Vec<Child>);

impl Processes {
    pub(crate) fn start(directory: &Path, fail_at: u64) -> Self {
        Self::start_many(2, directory, fail_at, LENGTH)
    }

    pub(crate) fn start_many(processes: usize, directory: &Path, fail_at: u64, length: u64) -> Self {
        Self::start_graph("count", processes, directory, fail_at, length)
    }

    pub(crate) fn start_graph(
        graph: &str,
        processes: usize,
        directory: &Path,
        fail_at: u64,
        length: u64,
    ) -> Self {
        Self::start_with(&vec![free_ports(processes); processes], graph, directory, fail_at, length)
    }

    /// Starts as many as there are lists of ports: those of all processes, as each of them sees them.
    pub(crate) fn start_with(
        ports: &[Vec<u16>],
        graph: &str,
        directory: &Path,
        fail_at: u64,
        length: u64,
    ) -> Self {
        let start = |process: usize| {
            let ports: Vec<_> = ports[process].iter().map(u16::to_string).collect();
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child", "--nocapture"])
                .env(
                    CHILD,
                    format!(
                        "{} {process} {} {fail_at} {length} {graph}",
                        directory.display(),
                        ports.join(",")
                    ),
                )
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        Self((0..ports.len()).map(start).collect())
    }

    pub(crate) fn signal(&self, process: usize, signal: &str) {
        let pid = self.0[process].id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits for a process, at most this long. Returns whether it ended well, and what it said.
    pub(crate) fn wait(&mut self, process: usize, at_most: Duration) -> (bool, String) {
        let (child, began) = (&mut self.0[process], Instant::now());
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if began.elapsed() > at_most => panic!("process {process} did not end in time"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let mut said = String::new();
        for pipe in [
            child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read>),
            child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read>),
        ] {
            pipe.unwrap().read_to_string(&mut said).unwrap();
        }
        (status.success(), said)
    }
}

pub(crate) fn free_ports(processes: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// Nothing that was started outlives its test.
impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The rows that a reader of the target sees.
pub(crate) fn rows(directory: &Path) -> Vec<String> {
    visible(directory, "rows")
}

pub(crate) fn visible(directory: &Path, folder: &str) -> Vec<String> {
    let Ok(files) = std::fs::read_dir(directory.join(folder)) else { return Vec::new() };
    let visible = files
        .map(|file| file.unwrap().path())
        .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
    visible.flat_map(|path| lines_of(&path)).collect()
}

/// Waits until a reader sees so many.
pub(crate) fn wait_for_rows(directory: &Path, count: usize) {
    while rows(directory).len() < count {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn lines_of(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// Every number once, and every key counted without a gap.
pub(crate) fn assert_exactly_once(directory: &Path, length: u64) {
    let (mut numbers, mut counts) = (BTreeMap::new(), BTreeMap::<u64, Vec<u64>>::new());
    for row in rows(directory) {
        let fields: Vec<u64> = row.split(' ').map(|field| field.parse().unwrap()).collect();
        *numbers.entry((fields[0], fields[1])).or_insert(0) += 1;
        counts.entry(fields[2]).or_default().push(fields[3]);
    }
    let every = (0..SPLITS).flat_map(|split| (0..length).map(move |number| ((split, number), 1)));
    assert_eq!(numbers, every.collect::<BTreeMap<_, _>>());
    for counts in counts.values_mut() {
        counts.sort_unstable();
        assert!(counts.iter().copied().eq(1..=counts.len() as u64));
    }
}
