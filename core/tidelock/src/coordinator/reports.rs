//! Reports of tasks, and splits that sources find, are taken in: see [`Intake`](super::intake::Intake).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::clocks::millis;
use super::run::Running;
use super::splits::Splits;
use super::work;
use crate::host::{Order, Report};
use crate::protocol::Event;
use crate::{Discovery, Error, ErrorKind, Result, SplitId, Stored, StoredSplit, Uid};

impl Running {
    pub(super) fn on_report(&mut self, report: Report) -> Result<()> {
        if report.attempt != self.attempt_number() {
            return Err(Error::new(ErrorKind::Bug, "report", "a task of another attempt reported")
                .with("attempt", self.attempt_number())
                .with("reported_by", report.attempt));
        }
        let mut needs = BTreeMap::new();
        for (uid, moved) in &report.sources {
            for split in moved.iter().filter(|split| split.finished) {
                self.split_finished(uid, split.id.clone(), split.split.clone())?;
            }
            if moved.iter().any(|split| split.finished)
                && let Some(splits) = self.building.sources.get(uid)
            {
                needs.insert(uid.clone(), splits.discoveries_wanted());
            }
        }
        if let Some(uid) = report.sinks.keys().find(|uid| !self.sinks.contains(uid)) {
            return Err(Error::new(
                ErrorKind::Bug,
                "report",
                "a task prepared data for a sink that the graph lacks",
            )
            .with("sink", uid));
        }
        self.intake.hold(report, needs);
        self.release_reports();
        Ok(())
    }

    /// Hands reports to the machine, in the order of their arrival, once discovery has answered.
    fn release_reports(&mut self) {
        while let Some(report) = self.intake.next_answered(&self.building.sources) {
            let index = |uid: &Uid| {
                self.sinks.iter().position(|sink| sink == uid).and_then(|index| index.try_into().ok())
            };
            let prepared = report.sinks.iter().filter(|(_, prepared)| !prepared.is_empty());
            let expires = report.sinks.values().flatten().filter_map(|prepared| prepared.expires_in).min();
            let sent = self.intake.sent(report.epoch);
            self.events.push_back(Event::Reported {
                epoch: report.epoch,
                task: report.task,
                prepared: prepared.filter_map(|(uid, _)| index(uid)).collect(),
                expires_at: expires.map(|expires| sent.saturating_add(millis(expires))),
            });
            self.building.report(self.attempt_number(), report);
        }
    }

    pub(super) fn split_finished(&mut self, uid: &Uid, id: SplitId, split: Stored) -> Result<()> {
        let splits = self.building.sources.get_mut(uid).ok_or_else(|| {
            Error::new(ErrorKind::Bug, "report", "the host finished a split of a source that the graph lacks")
                .with("source", uid)
        })?;
        if splits.finish(id, split) {
            self.pump_discovery();
        }
        Ok(())
    }

    /// Looks once more for splits of every source.
    pub(super) fn want_discovery(&mut self) {
        self.building.sources.values_mut().for_each(Splits::want_discovery);
        self.pump_discovery();
    }

    /// Asks every source that wants it and is not being asked, and notices the end of input.
    fn pump_discovery(&mut self) {
        let mut wanted = Vec::new();
        for (uid, splits) in &mut self.building.sources {
            if let Some(known) = splits.begin_discovery(false) {
                wanted.push((uid.clone(), known));
            }
        }
        for (uid, known) in wanted {
            let control = Arc::clone(&self.graph.sources[&uid]);
            let bounds = self.bounds();
            self.work.push(Box::pin(work::discover(uid, control, known, bounds)));
        }
        if self.intake.ends(&self.building.sources) {
            self.link.order(Order::EndOfInput);
            self.events.push_back(Event::InputEnded);
        }
    }

    pub(super) fn on_discovered(&mut self, uid: &Uid, found: Result<Discovery<StoredSplit>>) -> Result<()> {
        let next = self.machine.next_epoch();
        if let Some(splits) = self.building.sources.get_mut(uid) {
            let new =
                found.and_then(|found| splits.found(found, next)).map_err(|error| error.with("uid", uid))?;
            for split in new {
                self.link.order(Order::Assign { uid: uid.clone(), split });
            }
        }
        self.release_reports();
        self.pump_discovery();
        Ok(())
    }
}
