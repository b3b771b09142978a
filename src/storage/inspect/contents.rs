//! What is in a state, value by value.
//!
//! Whatever recovery reads is read here, too, and is damaged here if it is there. What the values of SLIs are of is told
//! by the names of their SLOs and groups.

use std::{collections::HashMap, fmt};

use super::{Damage, place_of};
use crate::{
    alert::AlertState,
    engine::AlertMemory,
    ingest::{SeriesMemory, ha::ElectedState},
    sampling::SamplerState,
    slo::SloId,
    storage::{
        checkpoint::{CLOCK, PULLER},
        codec::{self, DecodeError, instances},
        log::Sequence,
        recovery::{cost, number, ring_place},
        state::{Part, StateStore},
    },
    time::Timestamp,
};

/// What a state says.
#[derive(Debug, Default)]
pub struct StateContents {
    /// How long the file is.
    pub file_bytes: u64,
    /// The first sequence of the log that is not in it; `None` before the first checkpoint.
    pub position: Option<Sequence>,
    /// When it was taken.
    pub at: Option<Timestamp>,
    /// How far event time was evaluated.
    pub evaluated_to: Option<Timestamp>,
    /// Its tables.
    pub parts: Vec<PartContents>,
    /// SLOs in the order of their keys.
    pub slos: Vec<SloContents>,
    /// Series with their counters.
    pub series: u64,
    /// Targets, once for each SLO that saw them.
    pub targets: u64,
    /// Replicas that were elected.
    pub elected: Vec<ElectedState>,
    /// SLIs by number: the place of the SLO, and its name with that of the group.
    slis: HashMap<u32, (usize, String)>,
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartContents {
    /// Which one.
    pub part: Part,
    /// Values in it.
    pub values: u64,
    /// Bytes of their keys and of themselves, before compression.
    pub bytes: u64,
}

/// An SLO that was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SloContents {
    /// Its key.
    pub key: u32,
    /// Which one.
    pub id: SloId,
    /// What it asks.
    pub identity: String,
    /// How many instances it has.
    pub instances: u64,
    /// Their alerts that are not inactive.
    pub alerts: Vec<AlertContents>,
}

/// An alert of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertContents {
    /// The SLO, and the labels of its group.
    pub instance: String,
    /// What it is, and where in its life.
    pub alert: AlertMemory,
}

// === impl StateContents ===

impl StateContents {
    pub(super) fn read(store: &StateStore, file_bytes: u64, damage: &mut Vec<Damage>) -> Self {
        let checkpoint = store.checkpoint();
        let mut contents = Self {
            file_bytes,
            position: checkpoint.map(|checkpoint| Sequence(checkpoint.position)),
            at: checkpoint.map(|checkpoint| checkpoint.at),
            ..Self::default()
        };
        for part in Part::ALL {
            contents.read_part(store, part, damage);
        }
        contents
    }

    /// What it costs that this value cannot be read.
    pub(super) fn damage(&self, part: Part, key: &[u8], problem: &dyn fmt::Display) -> Damage {
        let sli = key.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        let name = match part {
            Part::Heads | Part::Rings => sli.and_then(|sli| self.slis.get(&sli)),
            _ => None,
        };
        let cost = match name {
            Some((_, name)) => format!("the history of {name}, which begins anew"),
            None => cost(part).to_owned(),
        };
        Damage { place: place_of(part, key), problem: problem.to_string(), cost }
    }

    fn read_part(&mut self, store: &StateStore, part: Part, damage: &mut Vec<Damage>) {
        let mut found = PartContents { part, values: 0, bytes: 0 };
        let read = store.read(part, |key, value| {
            found.values += 1;
            found.bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
            let problem = match value {
                Ok(value) => self.take(part, key, value).err().map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            damage.extend(problem.map(|problem| self.damage(part, key, &problem)));
        });
        if let Err(error) = read {
            let (place, problem) = (place_of(part, b"*"), error.to_string());
            damage.push(Damage { place, problem, cost: "slod does not start".to_owned() });
        }
        self.parts.push(found);
    }

    fn take(&mut self, part: Part, key: &[u8], value: &[u8]) -> Result<(), DecodeError> {
        match part {
            Part::Meta if key == CLOCK => {
                self.evaluated_to = Some(codec::engine::decode_clock(value)?.evaluated_to);
            }
            Part::Meta => {}
            Part::Slos => self.take_slo(number(key)?, value)?,
            Part::Instances => self.take_instance(number(key)?, value)?,
            Part::Heads => self.take_head(number(key)?, value)?,
            Part::Rings => {
                ring_place(key)?;
                codec::engine::decode_ring(value)?;
            }
            Part::Series => self.series += series(value)?,
            Part::Targets => self.targets += instances::decode_targets(value)?.len() as u64,
            Part::Pending => drop(codec::engine::decode_pending(value)?),
            Part::Sampling if key == PULLER => drop(codec::sampling::decode_puller(value)?),
            Part::Sampling => codec::sampling::decode_sampler(value, &mut SamplerState::default())?,
            Part::Elections => self.elected.extend(codec::counter::decode_elections(value)?.clusters),
        }
        Ok(())
    }

    fn take_slo(&mut self, key: u32, value: &[u8]) -> Result<(), DecodeError> {
        let instances::SloState { id, identity, .. } = instances::decode_slo(value)?;
        self.slos.push(SloContents { key, id, identity, instances: 0, alerts: Vec::new() });
        Ok(())
    }

    fn take_instance(&mut self, sli: u32, value: &[u8]) -> Result<(), DecodeError> {
        let instance = instances::decode_instance(value)?;
        // Of an SLO that is damaged; that is told.
        let Ok(place) = self.slos.binary_search_by_key(&instance.slo, |slo| slo.key) else { return Ok(()) };
        let slo = &mut self.slos[place];
        slo.instances += 1;
        let group = if instance.group.is_empty() { String::new() } else { instance.group.to_string() };
        self.slis.insert(sli, (place, format!("{}{group}", slo.id)));
        Ok(())
    }

    fn take_head(&mut self, sli: u32, value: &[u8]) -> Result<(), DecodeError> {
        let head = codec::engine::decode_head(value)?;
        let Some((place, instance)) = self.slis.get(&sli) else { return Ok(()) };
        for alert in head.alerts.into_iter().filter(|alert| alert.state != AlertState::Inactive) {
            self.slos[*place].alerts.push(AlertContents { instance: instance.clone(), alert });
        }
        Ok(())
    }
}

/// How many series a value holds.
fn series(value: &[u8]) -> Result<u64, DecodeError> {
    let states = codec::counter::decode_series(value)?;
    let count = states.len() as u64;
    for state in states {
        SeriesMemory::from_state(state).map_err(DecodeError::Content)?;
    }
    Ok(count)
}
