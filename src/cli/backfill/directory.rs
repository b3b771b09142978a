//! A data directory that no slod runs on: what its SLOs lack, and what of it is filled in.
//!
//! An SLO that nothing was counted of is filled in up to where history ends, or to when senders were last heard, and the
//! stream goes on from the last samples. Of others what is before their first sample is filled in. The invariant:
//! nothing is written before [`commit`](Directory::commit), and that at once.

use std::{collections::HashMap, sync::Arc};

use anyhow::Context;

use super::complain;
use crate::{
    backfill::{Backfill, Filled, Handover},
    config::Config,
    engine::Exported,
    ingest::{Memory, TargetMemory},
    matching::Beginning,
    pipeline::{self, Pipeline},
    report::SloReport,
    slo::{Slo, SloId},
    storage::{
        DataDirectory,
        checkpoint::Checkpoints,
        disk::{Disk, RealDisk},
        log::Log,
        recovery::{self, Findings, Recovered},
        state::{self, StateStore},
    },
    telemetry::Telemetry,
    time::Timestamp,
    window::{Scope, SliId},
};

/// What is in it.
#[derive(Debug)]
pub(super) struct Directory {
    _lock: DataDirectory,
    config: pipeline::Config,
    pipeline: Pipeline,
    log: Log,
    store: StateStore,
    heard: Option<Timestamp>,
}

/// SLOs that are filled in up to the same moment, with their places in the plan.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) slos: Vec<(usize, Arc<Slo>)>,
    pub(super) beginning: Beginning,
    /// Whether nothing was counted of them: then the stream goes on from here.
    is_first: bool,
}

/// An SLO that is not filled in.
#[derive(Debug)]
pub(super) struct Skipped {
    pub(super) slo: SloId,
    pub(super) reason: &'static str,
}

// === impl Directory ===

impl Directory {
    /// Locks and reads it.
    pub(super) fn open(config: &Config, slos: Vec<Slo>, now: Timestamp) -> anyhow::Result<Self> {
        let lock = DataDirectory::open(&config.storage_path)?;
        let telemetry = Telemetry::new();
        let core = pipeline::Config {
            engine: config.engine.clone(),
            ingest: config.ingest.clone(),
            groups_per_slo_max: config.groups_per_slo_max,
            begins_after: None,
            pull_delay: config.sources.first().map_or_else(Default::default, |source| source.delay),
        };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(lock.path()));
        let recovered = recovery::recover(&disk, core.clone(), config.log.clone(), slos, &telemetry, now)?;
        let Recovered { mut pipeline, log, store, findings } = recovered;
        tell(&findings);
        // What is added must not be ahead of it.
        pipeline.tick(now);
        Ok(Self { _lock: lock, config: core, pipeline, log, store, heard: findings.heard })
    }

    pub(super) fn config(&self) -> &pipeline::Config {
        &self.config
    }

    /// What is to be filled in where history ends at `end`.
    pub(super) fn jobs(&mut self, end: Timestamp) -> (Vec<Job>, Vec<Skipped>) {
        let (since, plan) = (self.observed_since(), self.pipeline.instances().plan());
        let beginnings = self.pipeline.instances().directory().beginnings;
        let end = self.heard.map_or(end, |heard| heard.min(end));
        let (mut jobs, mut skipped): (Vec<Job>, Vec<Skipped>) = (Vec::new(), Vec::new());
        for (place, (slo, known)) in plan.slos().zip(beginnings).enumerate() {
            let window = Timestamp(end.0 - plan.layout(place).longest_ms());
            let wanted = match since.get(&place) {
                _ if slo.indicator.selectors().is_empty() => {
                    Err("a source is asked for it, it has no series")
                }
                _ if !known.is_filled && known.at > end => Err("history ends before it began to be counted"),
                _ if !known.is_filled => Ok((known, false)),
                None => Ok((Beginning::after(end), true)),
                Some(since) if *since <= window => Err("it is complete"),
                Some(since) => Ok((Beginning { since: known.since, ..Beginning::after(*since) }, false)),
            };
            match wanted {
                Ok((beginning, is_first)) => {
                    add_job(&mut jobs, (place, Arc::clone(slo)), beginning, is_first)
                }
                Err(reason) => skipped.push(Skipped { slo: slo.id.clone(), reason }),
            }
        }
        (jobs, skipped)
    }

    /// By the places of SLOs: when something was first seen of them.
    fn observed_since(&mut self) -> HashMap<usize, Timestamp> {
        let ((), mark) = self.pipeline.freeze(|| ());
        let instances = mark.directory.instances.iter();
        let places: HashMap<SliId, usize> = instances.map(|one| (one.sli, one.slo_index)).collect();
        let mut since: HashMap<usize, Timestamp> = HashMap::new();
        self.pipeline.export(&mark, Scope::Everything, &mut |exported| {
            if let Exported::Head(sli, head) = exported
                && let (Some(place), Some(at)) = (places.get(&sli), head.row.since)
            {
                since.entry(*place).and_modify(|known| *known = at.min(*known)).or_insert(at);
            }
        });
        since
    }

    /// Takes in what was counted.
    pub(super) fn add(&mut self, job: &Job, backfill: Backfill) -> anyhow::Result<()> {
        let (filled, handover) = backfill.finish_handing_over();
        let mut by_slo: HashMap<SloId, Vec<_>> = HashMap::new();
        for Filled { slo, role, group, state } in filled {
            by_slo.entry(slo).or_default().push((role, group, state));
        }
        for (place, slo) in &job.slos {
            self.pipeline.instances().begin_at(*place, job.beginning);
            let histories = by_slo.remove(&slo.id).unwrap_or_default();
            let error = self.pipeline.absorb(slo, job.beginning, histories).into_iter().next();
            error
                .map_or(Ok(()), Err)
                .with_context(|| format!("BUG: history of {} cannot be added", slo.id))?;
        }
        if job.is_first {
            self.take_over(job, handover);
        }
        Ok(())
    }

    fn take_over(&mut self, job: &Job, Handover { memory, steps, slos }: Handover) {
        let places: HashMap<&SloId, usize> = job.slos.iter().map(|(place, slo)| (&slo.id, *place)).collect();
        let place = |target: TargetMemory| {
            let slo = *places.get(slos.get(target.slo)?)?;
            Some(TargetMemory { slo, ..target })
        };
        let targets = memory.targets.into_iter().filter_map(place).collect();
        self.pipeline.adopt(Memory { targets, ..memory }, steps);
    }

    /// Writes all of it. To be called once, at the end; returns what is there then.
    pub(super) fn commit(mut self, now: Timestamp, end: Timestamp) -> anyhow::Result<Vec<SloReport>> {
        let report = self.pipeline.tick(now).snapshot();
        self.log.close(now).context("cannot close the log")?;
        // Whoever goes on from here is to know how long nothing was heard.
        let at = self.heard.unwrap_or(end);
        let frozen = self.pipeline.freeze(|| self.log.next());
        let checkpoint = Checkpoints::default().take(&mut self.pipeline, at, frozen);
        let position = state::Checkpoint { position: checkpoint.position.0, at };
        let written = self.store.commit(position, &checkpoint.clear, checkpoint.changes);
        written.context("cannot write the state; nothing was filled in")?;
        Ok(report.slos)
    }
}

fn add_job(jobs: &mut Vec<Job>, slo: (usize, Arc<Slo>), beginning: Beginning, is_first: bool) {
    let same = jobs.iter_mut().find(|job| job.beginning == beginning && job.is_first == is_first);
    match same {
        Some(job) => job.slos.push(slo),
        None => jobs.push(Job { slos: vec![slo], beginning, is_first }),
    }
}

fn tell(findings: &Findings) {
    if !matches!(findings.state, state::Found::New | state::Found::Intact) {
        complain(&findings.state.to_string());
    }
    findings.damaged.iter().for_each(|damaged| complain(damaged));
    findings.log.findings.iter().for_each(|finding| complain(&format!("log: {finding}")));
}
