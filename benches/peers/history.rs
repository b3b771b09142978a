//! A data directory as half a month leaves it: the windows of every SLO half full.
//!
//! A few services are counted for half a month, a scrape every two minutes, in which every slot of the widest tier but
//! one gets something; all others get their windows, a service the ones of one of these.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use slod::{
    engine, ingest,
    matching::{Instances, Known},
    pipeline::{Config, Pipeline, State},
    prompb::Version,
    slo::Slo,
    storage::{
        checkpoint::Checkpoints,
        disk::{Disk, RealDisk},
        log::Sequence,
        state::{self, StateStore},
    },
    telemetry::Telemetry,
    time::Timestamp,
    window::{Scope, SliId},
};

use super::load::{Load, Scrapes, Shape, scatter};

const HALF_A_MONTH: Duration = Duration::from_secs(15 * 86_400);
const STEP: Duration = Duration::from_secs(120);
/// Enough to differ, few enough to be counted in seconds.
const SERVICES: usize = 20;
const GROUPS_MAX: usize = 100;

/// Writes the state of these SLOs, of the load's services in their order, as of a moment.
pub(crate) fn write(directory: &Path, slos: Vec<Slo>, shape: Shape, now: Timestamp) {
    let mut checkpoints = Checkpoints::default();
    let mut pipeline = half_full(slos, shape, now);
    let frozen = pipeline.freeze(|| Sequence(0));
    let checkpoint = checkpoints.take(&mut pipeline, now, frozen);
    std::fs::create_dir_all(directory).expect("a temporary directory");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(directory));
    let mut store = StateStore::open(&disk, &Telemetry::new().state).expect("an empty directory").store;
    let of = state::Checkpoint { position: checkpoint.position.0, at: checkpoint.at };
    store.commit(of, &checkpoint.clear, checkpoint.changes).expect("there is room");
}

/// A pipeline whose windows are half full, and which has seen no series yet.
pub(crate) fn half_full(slos: Vec<Slo>, shape: Shape, now: Timestamp) -> Pipeline {
    let few = Shape { services: SERVICES.min(shape.services), ..shape };
    let histories = counted(slos.iter().take(few.services * 2).cloned().collect(), few, now);
    let plan = Arc::new(config().plan(slos, now));
    let directory = Instances::new(Arc::clone(&plan), GROUPS_MAX).directory();
    let known = directory.instances.iter().map(|instance| Known {
        sli: instance.sli,
        slo_index: instance.slo_index,
        role: instance.role,
        group: instance.group.clone(),
    });
    let instances: Vec<Known> = known.collect();
    let of = |known: &Known| {
        (known.sli, histories.slis[&SliId(known.slo_index as u32 % histories.slis.len() as u32)].clone())
    };
    let slis: BTreeMap<_, _> = instances.iter().map(of).collect();
    let state = State {
        engine: engine::State { slis, pending: Vec::new(), ..histories },
        instances,
        ..State::default()
    };
    let restored = Pipeline::restored(config(), plan, &Telemetry::new(), now, state);
    assert!(restored.lost.is_empty(), "{:?}", restored.lost);
    restored.pipeline
}

/// Of all pipelines.
pub(crate) fn config() -> Config {
    Config {
        engine: engine::Config { delay: Duration::ZERO, ..engine::Config::default() },
        ingest: ingest::Config::default(),
        groups_per_slo_max: GROUPS_MAX,
        pull_delay: Duration::ZERO,
        begins_after: None,
    }
}

/// What half a month of this load comes to.
fn counted(slos: Vec<Slo>, shape: Shape, now: Timestamp) -> engine::State {
    let (steps, start) = ((HALF_A_MONTH.as_secs() / STEP.as_secs()) as usize, now - HALF_A_MONTH);
    let series = shape.services * shape.handlers * 10;
    let load = Load::new(Shape { series, samples_per_request: series, connections: 1, ..shape });
    let mut pipeline = Pipeline::new(config(), slos, &Telemetry::new(), start);
    let mut first = 0;
    for step in 0..steps {
        let at = start + STEP * step as u32;
        pipeline.tick(at);
        // As traffic does, it comes and goes: what is the same in every slot is compressed to nothing.
        first += 10 + scatter(step) as usize % 20;
        let scrapes = Scrapes { first, count: 1, start: at, interval: Duration::ZERO };
        for request in
            (0..load.connections()).flat_map(|connection| load.requests(connection, "bench", scrapes))
        {
            pipeline.write(Version::V1, request.body(), at).expect("the load is sound");
        }
    }
    pipeline.tick(now);
    let mut state = engine::State::default();
    let ((), mark) = pipeline.freeze(|| ());
    pipeline.export(&mark, Scope::Everything, &mut |part| state.apply(part));
    state
}
