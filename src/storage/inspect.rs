//! What a data directory holds and what of it is damaged, for an operator who looks.
//!
//! Everything is read: all records of the log, all values of the state, each up to what it means. That is done by the
//! code of recovery, on an [`Overlay`], so that repairs happen in memory. This module does not know which SLOs are in
//! force. The invariant: nothing in the directory changes, and what slod would lose of it at its next start is told.

mod contents;

use std::{fmt, io, path::Path, sync::Arc};

pub use self::contents::{AlertContents, PartContents, SloContents, StateContents};
use super::{
    OpenError, SharedDirectory,
    disk::{Disk, Overlay},
    log::{self, Finding, Recovery, Segment, Sequence},
    recovery::cost,
    state::{self, Found, Lost, Opened, Part, StateStore},
};
use crate::{telemetry::Telemetry, time::Timestamp};

/// A directory, as far as it can be read.
#[derive(Debug)]
pub struct Inspection {
    /// The segments of the log, oldest first.
    pub segments: Vec<SegmentContents>,
    /// The state.
    pub state: State,
    /// State files that were set aside, and their lengths.
    pub aside: Vec<(String, u64)>,
    /// What is wrong, in the order of the log, and then of the state.
    pub damage: Vec<Damage>,
}

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentContents {
    /// Its name.
    pub file: String,
    /// How long it is.
    pub file_bytes: u64,
    /// When it was made, if that is known.
    pub created: Option<Timestamp>,
    /// The sequence that it begins with.
    pub first: Sequence,
    /// The last one found in it.
    pub last: Option<Sequence>,
    /// When the earliest and the latest record in it arrived.
    pub arrived: Option<(Timestamp, Timestamp)>,
    /// Records in it.
    pub records: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
}

/// What there is of the state.
#[derive(Debug)]
pub enum State {
    /// No file.
    Missing,
    /// A slod has it, and changes it.
    InUse,
    /// A file that says nothing; the reason is among the damage.
    Unreadable,
    /// A file, and what is in it.
    Read(Box<StateContents>),
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, and the place in it.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
    /// What slod lacks for it.
    pub cost: String,
}

/// Why a directory cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It is not there, or cannot be read.
    #[error("cannot read data directory {path}: {error} (--storage.path)", path = .path.display())]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// There is no log that could be read.
    #[error(transparent)]
    Log(#[from] log::OpenError),
    /// There is no state that could be read.
    #[error(transparent)]
    State(#[from] state::OpenError),
}

// A segment that retention removes between listing and reading; another one is not due soon.
const ATTEMPTS: usize = 3;

/// Looks at everything in a directory.
///
/// # Errors
/// When files cannot be read at all, or are of a later version of slod.
pub fn inspect(path: &Path) -> Result<Inspection, InspectError> {
    let shared = match SharedDirectory::open(path) {
        Ok(shared) => Some(shared),
        Err(OpenError::InUse(_)) => None,
        Err(OpenError::Io { path, source }) => {
            return Err(InspectError::Directory { path, error: source });
        }
    };
    let disk: Arc<dyn Disk> = Arc::new(Overlay::new(path));
    let io = |error| InspectError::Directory { path: path.to_owned(), error };
    let names = disk.list("").map_err(io)?.into_iter().filter(|name| name.starts_with(state::ASIDE));
    let length = |name: String| Ok((disk.open(&name)?.len()?, name));
    let aside = names.map(length).map(|found| found.map(|(bytes, name)| (name, bytes)));
    let aside = aside.collect::<io::Result<_>>().map_err(io)?;
    let mut inspection =
        Inspection { segments: Vec::new(), state: State::Missing, aside, damage: Vec::new() };
    let mut damage = Vec::new();
    if shared.is_some() {
        inspection.read_state(&disk, &mut damage)?;
    } else {
        inspection.state = State::InUse;
    }
    inspection.read_log_of(path)?;
    inspection.damage.append(&mut damage);
    inspection.judge_absence();
    Ok(inspection)
}

// === impl Inspection ===

impl Inspection {
    /// Values of the state that were read.
    pub fn values(&self) -> u64 {
        let State::Read(contents) = &self.state else { return 0 };
        contents.parts.iter().map(|part| part.values).sum()
    }

    /// Records of the log that were read.
    pub fn records(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum()
    }

    fn read_log_of(&mut self, path: &Path) -> Result<(), InspectError> {
        for _ in 1..ATTEMPTS {
            match self.read_log(Arc::new(Overlay::new(path))) {
                Err(log::OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                result => return Ok(result?),
            }
        }
        Ok(self.read_log(Arc::new(Overlay::new(path)))?)
    }

    fn read_log(&mut self, disk: Arc<dyn Disk>) -> Result<(), log::OpenError> {
        let position = match &self.state {
            State::Read(contents) => contents.position,
            _ => None,
        };
        let mut records = Recovery::open_whole(disk, position)?;
        self.segments = records.on_disk().iter().map(SegmentContents::of).collect();
        for record in &mut records {
            let behind = self.segments.partition_point(|segment| segment.first <= record.sequence);
            if let Some(segment) = behind.checked_sub(1).map(|index| &mut self.segments[index]) {
                segment.add(&record);
            }
        }
        self.damage = records.report().findings.iter().filter_map(damage_of).collect();
        Ok(())
    }

    fn read_state(&mut self, disk: &Arc<dyn Disk>, damage: &mut Vec<Damage>) -> Result<(), InspectError> {
        let file_bytes = match disk.open(state::FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file.and_then(|file| file.len()).map_err(state::OpenError::from)?,
        };
        let Opened { store, found } = StateStore::open(disk, &Telemetry::new().state)?;
        self.state = match found {
            Found::New | Found::SetAside { .. } => State::Unreadable,
            _ => State::Read(Box::new(StateContents::read(&store, file_bytes, damage))),
        };
        match found {
            Found::SetAside { reason, .. } => damage.push(Damage {
                place: state::FILE.to_owned(),
                problem: reason,
                cost: "all of the state: the history of SLOs is what the log holds".to_owned(),
            }),
            Found::Salvaged { reason, lost, .. } => self.note_lost(&reason, &lost, damage),
            Found::New | Found::Intact => {}
        }
        Ok(())
    }

    /// Tells what is not in a state that was salvaged.
    fn note_lost(&self, reason: &str, lost: &Lost, damage: &mut Vec<Damage>) {
        let State::Read(contents) = &self.state else { return };
        for value in &lost.values {
            damage.push(contents.damage(value.part, &value.key, &value.damage));
        }
        for part in &lost.pages {
            damage.push(Damage {
                place: format!("{} {}", state::FILE, part.name()),
                problem: "a page is damaged".to_owned(),
                cost: format!("any number of values, each of them {}", cost(*part)),
            });
        }
        if lost.values.is_empty() && lost.pages.is_empty() {
            damage.push(Damage {
                place: state::FILE.to_owned(),
                problem: reason.to_owned(),
                cost: "nothing".to_owned(),
            });
        }
    }

    /// A log that does not begin with the first request, and no state of what was before it.
    fn judge_absence(&mut self) {
        let first = self.segments.first().map_or(Sequence(0), |segment| segment.first);
        if matches!(self.state, State::Missing) && first > Sequence(0) {
            self.damage.push(Damage {
                place: state::FILE.to_owned(),
                problem: "there is none".to_owned(),
                cost: format!("what {} requests before the log came to", first.0),
            });
        }
    }
}

// === impl SegmentContents ===

impl SegmentContents {
    fn of(segment: &Segment) -> Self {
        Self {
            file: segment.name(),
            file_bytes: segment.bytes,
            created: segment.created,
            first: segment.first,
            last: None,
            arrived: None,
            records: 0,
            body_bytes: 0,
        }
    }

    fn add(&mut self, record: &log::Record) {
        let arrived = record.entry.arrived;
        let (earliest, latest) = self.arrived.unwrap_or((arrived, arrived));
        self.arrived = Some((earliest.min(arrived), latest.max(arrived)));
        self.last = Some(record.sequence);
        self.records += 1;
        self.body_bytes += record.entry.body.len() as u64;
    }
}

// === impl Damage ===

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; it costs {}", self.place, self.problem, self.cost)
    }
}

/// What is wrong with a log. A record that was never written to its end is none of that.
fn damage_of(finding: &Finding) -> Option<Damage> {
    let (place, problem, cost) = match finding {
        Finding::Torn { .. } => return None,
        Finding::Corrupt { segment, offset, bytes, sequences } => {
            (format!("{segment} at {offset}"), format!("{bytes} bytes are damaged"), requests(sequences))
        }
        Finding::Header { segment } => {
            (format!("{segment} at 0"), "the header is damaged".to_owned(), "nothing".to_owned())
        }
        Finding::Unreadable { segment, offset, error } => (
            format!("{segment} at {offset}"),
            format!("cannot be read: {error}"),
            "what follows in this file".to_owned(),
        ),
        Finding::Missing { sequences } => {
            ("log/".to_owned(), "segments are missing".to_owned(), requests(sequences))
        }
        Finding::Gone { from } => (
            "log/".to_owned(),
            format!("there is no log, but one went up to sequence {from} at least"),
            "what came after the state".to_owned(),
        ),
    };
    Some(Damage { place, problem, cost })
}

fn requests(sequences: &std::ops::Range<u64>) -> String {
    match sequences.end.saturating_sub(sequences.start) {
        0 => "nothing".to_owned(),
        1 => format!("the request of sequence {}", sequences.start),
        count => format!("{count} requests, from sequence {} on", sequences.start),
    }
}

/// Bytes of a key, for people.
fn hexadecimal(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The place of a value.
fn place_of(part: Part, key: &[u8]) -> String {
    let key = match std::str::from_utf8(key) {
        Ok(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            text.to_owned()
        }
        _ => hexadecimal(key),
    };
    format!("{} {} {key}", state::FILE, part.name())
}
