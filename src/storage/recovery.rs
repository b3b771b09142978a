//! From what was written to a pipeline that goes on from it.
//!
//! What cannot be read costs itself and what stands on it, and is told; all else goes on. SLOs that are not in force any
//! more, or ask something else, are left behind.
//!
//! Invariant: an SLI has all of its history or none of it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    panic::resume_unwind,
    sync::Arc,
    thread,
    time::Duration,
};

use super::{
    checkpoint::{CLOCK, ONLY, PULLER, SLICES},
    codec::{self, DecodeError, instances},
    disk::Disk,
    log::{self, Log, Sequence},
    state::{self, Found, Opened, Part, ReadError, StateStore},
};
use crate::{
    engine::{self, HeadState, SliState},
    ingest::{Memory, SeriesMemory},
    matching::{Beginning, Known, Plan},
    pipeline::{self, Pipeline, Restored},
    sampling::{PullerState, SamplerState},
    slo::{Slo, SloId},
    telemetry::Telemetry,
    time::Timestamp,
    window::{RingPlace, RingState, SliId},
};

/// A pipeline that goes on from what is on a disk, and where it is written from now on.
#[derive(Debug)]
pub struct Recovered {
    /// As it was when the last request of the log had counted.
    pub pipeline: Pipeline,
    /// The log, to be appended to.
    pub log: Log,
    /// The state, to be committed to.
    pub store: StateStore,
    /// What was found.
    pub findings: Findings,
}

/// What was found on a disk.
#[derive(Debug)]
pub struct Findings {
    /// In place of the state.
    pub state: Found,
    /// In the log.
    pub log: log::Report,
    /// What is damaged, and what that costs.
    pub damaged: Vec<String>,
    /// SLOs that were kept and are not in force as they were: their history ends.
    pub left_behind: usize,
    /// Samples that counted again.
    pub samples: u64,
    /// When something was last heard of senders, as far as is known; `None` if there is nothing.
    pub heard: Option<Timestamp>,
}

/// Why there is no recovering.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// There is no state to read or write.
    #[error(transparent)]
    State(#[from] state::OpenError),
    /// A table of the state cannot be read.
    #[error(transparent)]
    Table(#[from] ReadError),
    /// There is no log to read or write.
    #[error(transparent)]
    Log(#[from] log::OpenError),
}

/// Reads the state, and counts again what the log holds from its position on, for these SLOs. `now` is the time of the
/// clock, at which evaluation will go on.
///
/// # Errors
/// When there is nothing that can be read or written, or a later version of slod wrote it.
pub fn recover(
    disk: &Arc<dyn Disk>,
    config: pipeline::Config,
    log: log::Config,
    slos: Vec<Slo>,
    telemetry: &Telemetry,
    now: Timestamp,
) -> Result<Recovered, RecoverError> {
    // Before anything is changed.
    log::check(&**disk)?;
    // Some 200 ms each for 10,000 SLOs.
    let (opened, plan) = thread::scope(|scope| {
        let planning = scope.spawn(|| config.plan(slos, now));
        (
            StateStore::open(disk, &telemetry.state),
            planning.join().unwrap_or_else(|panic| resume_unwind(panic)),
        )
    });
    let Opened { store, found } = opened?;
    let begins_after = config.begins_after;
    let checkpoint = store.checkpoint();
    // What came at the very moment of the checkpoint came before it.
    let since = checkpoint.map(|checkpoint| checkpoint.at + MILLISECOND);
    let plan = Arc::new(since.into_iter().fold(plan, Plan::in_force_since));
    let loaded = if checkpoint.is_some() { load(&store, &plan)? } else { Loaded::default() };
    let position = Sequence(checkpoint.map_or(0, |checkpoint| checkpoint.position));
    let (log, mut records) = Log::open(Arc::clone(disk), log, position, telemetry.log.clone())?;
    let first = records.next();
    let first_arrived = first.as_ref().map(|record| record.entry.arrived);
    let at = checkpoint.map(|checkpoint| checkpoint.at).or(first_arrived).unwrap_or(now);
    let Restored { mut pipeline, lost } = Pipeline::restored(config, plan, telemetry, at, loaded.state);
    let mut heard = at;
    let samples = replay(&mut pipeline, first.into_iter().chain(&mut records), &mut heard);
    records.report().count(&telemetry.log);
    if let Some(after) = begins_after.filter(|_| now.since(heard) > ABSENCE_MIN) {
        let beginning = Beginning { from: heard, ..Beginning::after(now + after) };
        pipeline.instances().begin_again(beginning);
    }
    pipeline.resume(now);
    let mut damaged = lost_with(&found);
    damaged.extend(loaded.damaged);
    damaged.extend(lost.iter().map(ToString::to_string));
    let findings = Findings {
        state: found,
        log: records.report().clone(),
        damaged,
        left_behind: loaded.left_behind,
        samples,
        heard: (checkpoint.is_some() || first_arrived.is_some()).then_some(heard),
    };
    Ok(Recovered { pipeline, log, store, findings })
}

// What senders keep when they cannot deliver (Prometheus: two hours). After a longer absence history knows more.
const ABSENCE_MIN: Duration = Duration::from_secs(2 * 3_600);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Returns how many samples counted; `heard` is when the last request arrived.
fn replay(pipeline: &mut Pipeline, records: impl Iterator<Item = log::Record>, heard: &mut Timestamp) -> u64 {
    let (mut ticked, mut samples) = (*heard, 0);
    for log::Record { entry, .. } in records {
        let log::Entry { arrived, version, epoch, body } = entry;
        // What is refused was so when it came first.
        let written = match pipeline.replay(version, &body, epoch, arrived, &mut ticked) {
            Ok(written) => written,
            Err(error) => error.written(),
        };
        samples += (written.samples + written.histograms) as u64;
        *heard = arrived;
    }
    samples
}

/// What was read of the state.
#[derive(Debug, Default)]
pub struct Loaded {
    /// For a pipeline of the plan.
    pub state: pipeline::State,
    /// Values that were damaged, and what they cost.
    pub damaged: Vec<String>,
    /// SLOs that were kept and are not in force as they were: their history ends.
    pub left_behind: usize,
}

/// Reads the state of the SLOs that a plan goes on with.
///
/// # Errors
/// When a table cannot be read.
pub fn load(store: &StateStore, plan: &Plan) -> Result<Loaded, ReadError> {
    let mut loading = Loading { store, loaded: Loaded::default(), lost: HashSet::new() };
    let places = loading.places(plan)?;
    let mut known = loading.instances(&places)?;
    let mut slis = loading.slis(&known)?;
    loading.memory(&places)?;
    loading.sampling()?;
    let Loading { mut loaded, lost, .. } = loading;
    known.retain(|known| !lost.contains(&known.sli));
    slis.retain(|sli, _| !lost.contains(sli));
    loaded.state.instances = known;
    loaded.state.engine.slis = slis;
    Ok(loaded)
}

struct Loading<'a> {
    store: &'a StateStore,
    loaded: Loaded,
    /// SLIs of which something is damaged.
    lost: HashSet<SliId>,
}

/// By the keys of SLOs: their places in the plan.
type Places = HashMap<u32, usize>;

// === impl Loading ===

impl Loading<'_> {
    fn places(&mut self, plan: &Plan) -> Result<Places, ReadError> {
        let in_force: HashMap<&SloId, usize> =
            plan.slos().enumerate().map(|(place, slo)| (&slo.id, place)).collect();
        let mut places = HashMap::new();
        let (mut left_behind, mut beginnings) = (0, HashMap::new());
        self.each(Part::Slos, |_, key, value| {
            let slo = instances::decode_slo(value)?;
            let same = in_force.get(&slo.id).filter(|place| plan.slo(**place).identity() == slo.identity);
            match same {
                Some(place) => {
                    places.insert(number(key)?, *place);
                    // Also where it is none: an SLO that was there before counts on.
                    beginnings.insert(*place, slo.beginning);
                }
                None => left_behind += 1,
            }
            Ok(())
        })?;
        self.loaded.state.beginnings = beginnings;
        self.loaded.left_behind = left_behind;
        Ok(places)
    }

    fn instances(&mut self, places: &Places) -> Result<Vec<Known>, ReadError> {
        let mut known = Vec::new();
        self.each(Part::Instances, |_, key, value| {
            let instance = instances::decode_instance(value)?;
            if let Some(slo_index) = places.get(&instance.slo) {
                let (role, group) = (instance.role, instance.group);
                known.push(Known { sli: SliId(number(key)?), slo_index: *slo_index, role, group });
            }
            Ok(())
        })?;
        Ok(known)
    }

    fn slis(&mut self, known: &[Known]) -> Result<BTreeMap<SliId, SliState>, ReadError> {
        let known: HashSet<SliId> = known.iter().map(|known| known.sli).collect();
        let mut slis: BTreeMap<SliId, SliState> = BTreeMap::new();
        self.each(Part::Heads, |lost, key, value| {
            let sli = SliId(number(key)?);
            if known.contains(&sli) {
                let head: HeadState =
                    codec::engine::decode_head(value).inspect_err(|_| _ = lost.insert(sli))?;
                slis.insert(sli, SliState { head, rings: BTreeMap::new() });
            }
            Ok(())
        })?;
        self.each(Part::Rings, |lost, key, value| {
            let (sli, place) = ring_place(key)?;
            if let Some(state) = slis.get_mut(&sli) {
                let ring: RingState =
                    codec::engine::decode_ring(value).inspect_err(|_| _ = lost.insert(sli))?;
                state.rings.insert(place, ring);
            }
            Ok(())
        })?;
        self.windows()?;
        Ok(slis)
    }

    /// What windows have in common.
    fn windows(&mut self) -> Result<(), ReadError> {
        let mut state = engine::State::default();
        self.each(Part::Meta, |_, key, value| {
            if key == CLOCK {
                state.clock = codec::engine::decode_clock(value)?;
            }
            Ok(())
        })?;
        self.each(Part::Pending, |_, _, value| {
            state.pending.extend(codec::engine::decode_pending(value)?);
            Ok(())
        })?;
        self.loaded.state.engine = state;
        Ok(())
    }

    fn memory(&mut self, places: &Places) -> Result<(), ReadError> {
        let mut memory = Memory::default();
        self.each(Part::Series, |_, _, value| {
            for state in codec::counter::decode_series(value)? {
                memory.series.push(SeriesMemory::from_state(state).map_err(DecodeError::Content)?);
            }
            Ok(())
        })?;
        self.each(Part::Targets, |_, _, value| {
            let targets = instances::decode_targets(value)?.into_iter();
            memory.targets.extend(targets.filter_map(|mut target| {
                target.slo = *places.get(&u32::try_from(target.slo).ok()?)?;
                Some(target)
            }));
            Ok(())
        })?;
        self.each(Part::Elections, |_, key, value| {
            if key == ONLY {
                memory.elections = codec::counter::decode_elections(value)?;
            }
            Ok(())
        })?;
        self.loaded.state.memory = memory;
        Ok(())
    }

    fn sampling(&mut self) -> Result<(), ReadError> {
        let (mut sampler, mut puller) = (SamplerState::default(), PullerState::default());
        self.each(Part::Sampling, |_, key, value| {
            if key == PULLER {
                puller = codec::sampling::decode_puller(value)?;
                return Ok(());
            }
            codec::sampling::decode_sampler(value, &mut sampler)
        })?;
        (self.loaded.state.sampler, self.loaded.state.puller) = (sampler, puller);
        Ok(())
    }

    /// Reads a part. What is damaged is left out, and told.
    fn each(
        &mut self,
        part: Part,
        mut read: impl FnMut(&mut HashSet<SliId>, &[u8], &[u8]) -> Result<(), DecodeError>,
    ) -> Result<(), ReadError> {
        let Self { store, loaded, lost } = self;
        store.read(part, |key, value| {
            let result = match value {
                Ok(value) => read(lost, key, value).map_err(|error| error.to_string()),
                Err(damage) => Err(damage.to_string()),
            };
            if let Err(reason) = result {
                // The first bytes of what belongs to an SLI are its number.
                if matches!(part, Part::Instances | Part::Heads | Part::Rings)
                    && let Some(sli) = key.first_chunk()
                {
                    lost.insert(SliId(u32::from_be_bytes(*sli)));
                }
                loaded.damaged.push(format!("cannot read {}: {reason}", cost(part)));
            }
        })
    }
}

/// What it costs that a value of a part cannot be read.
pub(super) fn cost(part: Part) -> &'static str {
    match part {
        Part::Meta => "the time of the last evaluation",
        Part::Slos => "an SLO, whose history ends",
        Part::Instances => "an instance, which begins anew",
        Part::Heads | Part::Rings => "the history of an SLI, which begins anew",
        Part::Series => "the last samples of up to 1,024 series, which begin anew",
        Part::Targets => "the scrapes of up to 1,024 targets",
        Part::Pending => "events that were not in windows yet",
        Part::Sampling => "how far the steps of SLOs had come, which begin anew",
        Part::Elections => "who is elected among replicas",
    }
}

/// What was left behind in a file that was set aside.
fn lost_with(found: &Found) -> Vec<String> {
    let Found::Salvaged { lost, .. } = found else { return Vec::new() };
    let values = lost.values.iter().map(|value| (value.part, value.damage.to_string()));
    let pages = lost.pages.iter().map(|part| (*part, "a page with any number of them is damaged".to_owned()));
    values.chain(pages).map(|(part, reason)| format!("cannot read {}: {reason}", cost(part))).collect()
}

/// The number that a key is.
pub(super) fn number(key: &[u8]) -> Result<u32, DecodeError> {
    let bytes = key.try_into().map_err(|_| DecodeError::Content(format!("key {key:?} is no number")))?;
    Ok(u32::from_be_bytes(bytes))
}

/// Which ring a key is of.
pub(super) fn ring_place(key: &[u8]) -> Result<(SliId, RingPlace), DecodeError> {
    let [a, b, c, d, place] = *key else {
        return Err(DecodeError::Content(format!("key {key:?} is of no ring")));
    };
    let place = if place == SLICES { RingPlace::Slices } else { RingPlace::Tier(place) };
    Ok((SliId(u32::from_be_bytes([a, b, c, d])), place))
}
