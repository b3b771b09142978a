//! Reading the specs anew while requests and evaluations go on.
//!
//! Everything is read and compiled before anything changes. So specs with an error change nothing: the plan in
//! force stays, and who asked is told why. Of the configuration only `specs` is taken over; what else differs is
//! said to need a restart.

use std::{fmt::Debug, path::PathBuf, thread, time::Duration};

use parking_lot::Mutex;

use crate::{
    config::{self, Config, Flags, specs},
    ingest::Ingest,
    matching::Plan,
    spec::{self, Diagnostic, Specs},
    telemetry::SpecMetrics,
    time::Timestamp,
};

/// Where the configuration came from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its file.
    pub config_file: PathBuf,
    /// What the command line said beside it.
    pub flags: Flags,
}

/// Reads the specs that the configuration names, one at a time.
#[derive(Debug)]
pub(super) struct Reloader {
    source: Source,
    /// What is in force, as far as it needs a restart.
    in_force: Vec<Section>,
    settings: spec::Settings,
    resolution: Duration,
    begins_after: Option<Duration>,
    turn: Mutex<()>,
}

/// A part of the configuration, as text.
type Section = (&'static str, String);

// === impl Reloader ===

impl Reloader {
    pub(super) fn new(source: Source, config: &Config) -> Self {
        Self {
            source,
            in_force: sections(config),
            settings: config.spec_settings(),
            resolution: config.engine.resolution(),
            begins_after: config.sources.first().and_then(|source| source.backfill_after),
            turn: Mutex::default(),
        }
    }

    /// Reads the specs and puts them in force. Returns how many SLOs there are.
    ///
    /// # Errors
    /// When the configuration or a spec has an error: then nothing has changed.
    pub(super) fn reload(
        &self,
        ingest: &Ingest,
        metrics: &SpecMetrics,
        now: impl Fn() -> Timestamp,
    ) -> Result<usize, String> {
        let _turn = self.turn.lock();
        let specs = self.read_apart().inspect_err(|reason| {
            metrics.note_reload_failure();
            tracing::error!("the SLOs in force stay, cannot reload: {reason}");
        })?;
        let count = specs.slos.len();
        let now = now();
        // What came at this very moment came before it.
        let plan = Plan::new(specs.slos, self.resolution).in_force_since(now + Duration::from_millis(1));
        ingest.install(match self.begins_after {
            Some(after) => plan.beginning_at(now + after),
            None => plan,
        });
        metrics.note_load(count, 0, now.seconds());
        tracing::info!(slos = count, "specs reloaded");
        Ok(count)
    }

    /// In a thread of its own: what a thread allocates comes from a part of the heap that is its own while it lives,
    /// and its successor takes over. Blocking threads of the runtime would leave a plan's worth in each of theirs.
    fn read_apart(&self) -> Result<Specs, String> {
        thread::scope(|scope| {
            let reading = thread::Builder::new().name("slod-reload".to_owned());
            let reading = reading.spawn_scoped(scope, || self.read()).map_err(|error| error.to_string())?;
            reading.join().unwrap_or_else(|_| Err("BUG: reading specs panicked".to_owned()))
        })
    }

    fn read(&self) -> Result<Specs, String> {
        let config = config::load(Some(&self.source.config_file), &self.source.flags)
            .map_err(|error| format!("{error:#}"))?;
        // Sources are those of the start.
        let settings =
            spec::Settings { pull_interval: self.settings.pull_interval, ..config.spec_settings() };
        let specs = specs::load_under(&config.specs, &settings);
        if specs.has_errors() {
            return Err(all_errors(&specs));
        }
        specs.diagnostics.iter().for_each(|warning| tracing::warn!("{warning}"));
        self.warn_of_restart(&config);
        Ok(specs)
    }

    fn warn_of_restart(&self, config: &Config) {
        let found = sections(config);
        let differ = self.in_force.iter().zip(&found).filter(|(before, now)| before != now);
        let names: Vec<&str> = differ.map(|((name, _), _)| *name).collect();
        if !names.is_empty() {
            tracing::warn!(
                changed = names.join(", "),
                "only specs are reloaded; what else changed needs a restart"
            );
        }
    }
}

fn all_errors(specs: &Specs) -> String {
    let errors = specs.diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
    errors.map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")
}

fn sections(config: &Config) -> Vec<Section> {
    // Not the specs, which are taken over.
    let Config {
        specs: _,
        sloth_default_slo_period: _,
        sources,
        storage_path,
        log,
        checkpoint_interval,
        groups_per_slo_max,
        alerting,
        exposition,
        remote_write,
        web,
        ingest,
        engine,
    } = config;
    let section = |name, part: &dyn Debug| (name, format!("{part:?}"));
    vec![
        section("sources", sources),
        section("storage", &(storage_path, log, checkpoint_interval)),
        section("limits.groups_per_slo_max", groups_per_slo_max),
        section("alerting or web.external_url", alerting),
        section("exposition", exposition),
        section("remote_write", remote_write),
        section("web", web),
        section("ingest, ha or limits", ingest),
        section("evaluation", engine),
    ]
}
