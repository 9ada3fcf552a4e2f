//! Where a run reads and writes.

use std::io;
use std::path::Path;

use tidelock::{Error, ErrorKind, Result};

use crate::options::Options;

/// The folders of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) data: String,
    pub(crate) out: String,
    pub(crate) checkpoints: String,
}

/// Where everything is written that no option sends elsewhere.
const BASE: &str = "target/flights";
/// The same for runs that are killed: they start from nothing.
const CRASH_BASE: &str = "target/flights/crash";

impl Places {
    pub(crate) fn of(options: &Options) -> Self {
        let base = if options.crash.is_some() { CRASH_BASE } else { BASE };
        let or =
            |given: &Option<String>, name: &str| given.clone().unwrap_or_else(|| format!("{base}/{name}"));
        Self {
            data: options.data.clone(),
            out: or(&options.out, "rows"),
            checkpoints: or(&options.checkpoints, "checkpoints"),
        }
    }
}

/// Makes sure that a run which starts from nothing finds nothing: removes what an earlier one left in our
/// own folder, and refuses a folder of somebody else that is not empty.
pub(crate) fn start_from_nothing(folder: &str, ours: bool) -> Result<()> {
    let path = Path::new(folder);
    let failed = |error: io::Error| {
        Error::new(ErrorKind::Other, "prepare the folders", error.to_string()).with("folder", folder)
    };
    let empty = match path.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(failed(error)),
    };
    match (empty, ours) {
        (true, _) => Ok(()),
        (false, true) => std::fs::remove_dir_all(path).map_err(failed),
        (false, false) => Err(Error::new(
            ErrorKind::Config,
            "prepare the folders",
            "a run with --crash starts from nothing: give it empty folders",
        )
        .with("folder", folder)),
    }
}
