//! `tidelock snapshots abandon`

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tidelock::Uid;
use tidelock::log::Log;

use crate::args::Abandon;
use crate::failure::{Failure, Outcome};
use crate::print;
use crate::view::{Committable, committables, print_committables};

#[derive(Debug, Serialize)]
struct Report {
    job: String,
    abandoned: bool,
    /// The entry that names what was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    committables: BTreeMap<Uid, Vec<Committable>>,
}

pub(crate) async fn run(request: Abandon, json: bool) -> Outcome {
    let Abandon { url, job, uid, yes } = request;
    let only: Option<BTreeSet<Uid>> = (!uid.is_empty()).then(|| uid.into_iter().collect());
    let log = Log::look(&url).await?;
    let (position, lost) = if yes {
        match log.abandon(&job, only.as_ref(), jiff::Timestamp::now()).await? {
            Some(done) => (Some(done.entry.0), done.lost),
            None => (None, BTreeMap::new()),
        }
    } else {
        (None, log.abandonable(&job, only.as_ref()).await?)
    };
    report(
        &Report {
            job: job.to_string(),
            abandoned: position.is_some(),
            position,
            committables: committables(&lost),
        },
        json,
    )?;
    match (yes, lost.is_empty()) {
        (true, _) | (false, true) => Ok(()),
        (false, false) => {
            Err(Failure::no("nothing was abandoned: stop the job, then say --yes to abandon this"))
        }
    }
}

fn report(report: &Report, json: bool) -> Outcome {
    if json {
        return print::json(report);
    }
    if report.committables.is_empty() {
        print::say!("job {} has no such prepared data: nothing is abandoned", report.job);
        return Ok(());
    }
    let title = match report.position {
        Some(position) => {
            format!("Abandoned for job {}, named in the entry at position {position}:", report.job)
        }
        None => format!("Would be abandoned for job {}:", report.job),
    };
    print_committables(&title, &report.committables);
    Ok(())
}
