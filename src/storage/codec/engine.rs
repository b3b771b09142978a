//! The state of the evaluation as messages of `proto/state_engine.proto`.
//!
//! What is read here has the right form. Whether it makes sense as a history is for `window` to say.

use std::{sync::Arc, time::Duration};

use prost::Message;

use super::{
    DecodeError,
    generated::{self as wire, alert::Level},
};
use crate::{
    alert::AlertState,
    engine::{AlertMemory, ClockState, HeadState},
    matching::PresenceState,
    time::{Calendar, CalendarUnit, Timestamp, millis},
    window::{
        Counts, Layout, PendingState, RingState, RowState, SliId, Slices, TierLayout, WindowLayout,
        is_bounded,
    },
};

/// How far time was evaluated.
pub fn encode_clock(clock: &ClockState) -> Vec<u8> {
    wire::Clock { evaluated_to_ms: clock.evaluated_to.0 }.encode_to_vec()
}

/// What [`encode_clock`] made.
///
/// # Errors
/// When it is none, or at a time that no clock shows.
pub fn decode_clock(bytes: &[u8]) -> Result<ClockState, DecodeError> {
    let evaluated_to = Timestamp(wire::Clock::decode(bytes)?.evaluated_to_ms);
    if !is_bounded(evaluated_to) {
        return Err(content(format!("evaluated to {evaluated_to}")));
    }
    Ok(ClockState { evaluated_to })
}

/// An SLI, but for its rings.
pub fn encode_head(head: &HeadState) -> Vec<u8> {
    let HeadState { row, presence, published, alerts } = head;
    let ms = |at: Option<Timestamp>| at.map(|at| at.0);
    wire::Head {
        layout: Some(layout(&row.layout)),
        at_ms: row.at.0,
        lifetime: pairs(&[row.lifetime]),
        published: pairs(&[*published]),
        calendars: pairs(&row.calendars),
        tails: pairs(&row.tails),
        open_slice: row.layout.slices.map_or_else(Vec::new, |_| pairs(&[row.open_slice])),
        since_ms: ms(row.since),
        holes_ms: row.holes.iter().flat_map(|(from, to)| [from.0, to.0]).collect(),
        last_sample_ms: ms(presence.last_sample),
        late_arrival_ms: ms(presence.late_arrival),
        late_since_ms: ms(presence.late_since),
        is_live: presence.is_live,
        alerts: alerts.iter().map(alert).collect(),
        rings: row.rings,
    }
    .encode_to_vec()
}

/// What [`encode_head`] made.
///
/// # Errors
/// When it is none.
pub fn decode_head(bytes: &[u8]) -> Result<HeadState, DecodeError> {
    let head = wire::Head::decode(bytes)?;
    let time = |ms: Option<i64>| ms.map(Timestamp);
    let (holes, odd) = head.holes_ms.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(content("a hole without an end".to_owned()));
    }
    Ok(HeadState {
        row: RowState {
            layout: Arc::new(read_layout(head.layout.unwrap_or_default())?),
            at: Timestamp(head.at_ms),
            lifetime: read_pair(&head.lifetime)?,
            calendars: read_pairs(&head.calendars)?,
            tails: read_pairs(&head.tails)?,
            open_slice: read_pair(&head.open_slice)?,
            since: time(head.since_ms),
            holes: holes.iter().map(|[from, to]| (Timestamp(*from), Timestamp(*to))).collect(),
            rings: head.rings,
        },
        presence: PresenceState {
            last_sample: time(head.last_sample_ms),
            late_arrival: time(head.late_arrival_ms),
            late_since: time(head.late_since_ms),
            is_live: head.is_live,
        },
        published: read_pair(&head.published)?,
        alerts: head.alerts.into_iter().map(read_alert).collect::<Result<_, _>>()?,
    })
}

/// A ring.
pub fn encode_ring(ring: RingState) -> Vec<u8> {
    let RingState { newest, number_bytes, slots } = ring;
    wire::Ring { newest, number_bytes: number_bytes.into(), slots }.encode_to_vec()
}

/// What [`encode_ring`] made.
///
/// # Errors
/// When it is none.
pub fn decode_ring(bytes: &[u8]) -> Result<RingState, DecodeError> {
    let wire::Ring { newest, number_bytes, slots } = wire::Ring::decode(bytes)?;
    let number_bytes =
        u8::try_from(number_bytes).map_err(|_| content(format!("numbers of {number_bytes} bytes")))?;
    Ok(RingState { newest, number_bytes, slots })
}

/// What no SLI held yet.
pub fn encode_pending(pending: &[PendingState]) -> Vec<u8> {
    let deferred = |pending: &PendingState| wire::Deferred {
        sli: pending.sli.0,
        to_ms: pending.to.0,
        length_ms: pending.to.0.saturating_sub(pending.from.0).try_into().unwrap_or(0),
        counts: pending.counts.map_or_else(Vec::new, |counts| pairs(&[counts])),
    };
    wire::Pending { deferred: pending.iter().map(deferred).collect() }.encode_to_vec()
}

/// What [`encode_pending`] made.
///
/// # Errors
/// When it is none.
pub fn decode_pending(bytes: &[u8]) -> Result<Vec<PendingState>, DecodeError> {
    let deferred = wire::Pending::decode(bytes)?.deferred;
    let pending = |deferred: wire::Deferred| {
        let to = Timestamp(deferred.to_ms);
        Ok(PendingState {
            sli: SliId(deferred.sli),
            from: to - Duration::from_millis(deferred.length_ms),
            to,
            counts: if deferred.counts.is_empty() { None } else { Some(read_pair(&deferred.counts)?) },
        })
    };
    deferred.into_iter().map(pending).collect()
}

fn content(what: String) -> DecodeError {
    DecodeError::Content(what)
}

// --- counts ---

fn pairs(counts: &[Counts]) -> Vec<f64> {
    counts.iter().flat_map(|counts| [counts.bad, counts.total]).collect()
}

fn read_pairs(numbers: &[f64]) -> Result<Vec<Counts>, DecodeError> {
    let (pairs, odd) = numbers.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(content(format!("{} numbers where pairs of them should be", numbers.len())));
    }
    Ok(pairs.iter().map(|[bad, total]| Counts { bad: *bad, total: *total }).collect())
}

/// None is a pair of zeros.
fn read_pair(numbers: &[f64]) -> Result<Counts, DecodeError> {
    match read_pairs(numbers)?[..] {
        [] => Ok(Counts::ZERO),
        [pair] => Ok(pair),
        _ => Err(content(format!("{} numbers where a pair should be", numbers.len()))),
    }
}

// --- layouts ---

fn layout(layout: &Layout) -> wire::Layout {
    let tier = |tier: &TierLayout| wire::Tier {
        slot_ms: tier.slot_ms,
        slots: number(tier.slots),
        windows: number(tier.end_window - tier.first_window),
    };
    let calendar = |calendar: &Calendar| wire::Calendar {
        unit: calendar.unit().name().to_owned(),
        count: calendar.count().into(),
        start: calendar.unusual_start(),
        time_zone: calendar.zone().to_owned(),
    };
    wire::Layout {
        resolution_ms: layout.resolution_ms,
        windows_ms: layout.windows.iter().map(|window| window.length_ms).collect(),
        tiers: layout.tiers.iter().map(tier).collect(),
        calendars: layout.calendars.iter().map(calendar).collect(),
        slices: layout.slices.map(|Slices { width_ms, good_from }| wire::Slices { width_ms, good_from }),
    }
}

fn read_layout(layout: wire::Layout) -> Result<Layout, DecodeError> {
    let (mut tiers, mut windows) = (Vec::new(), Vec::new());
    let mut lengths = layout.windows_ms.iter();
    for (number, tier) in layout.tiers.iter().enumerate() {
        let first_window = windows.len();
        let served = lengths.by_ref().take(size(tier.windows));
        windows.extend(served.map(|&length_ms| WindowLayout { length_ms, tier: number }));
        let (slot_ms, slots, end_window) = (tier.slot_ms, size(tier.slots), windows.len());
        tiers.push(TierLayout { slot_ms, slots, first_window, end_window });
    }
    if lengths.next().is_some() {
        return Err(content("a window without a tier".to_owned()));
    }
    Ok(Layout {
        tiers,
        windows,
        calendars: layout.calendars.iter().map(read_calendar).collect::<Result<_, _>>()?,
        slices: layout.slices.map(|wire::Slices { width_ms, good_from }| Slices { width_ms, good_from }),
        resolution_ms: layout.resolution_ms,
    })
}

fn read_calendar(calendar: &wire::Calendar) -> Result<Calendar, DecodeError> {
    let unit = CalendarUnit::ALL.into_iter().find(|unit| unit.name() == calendar.unit);
    let unit = unit.ok_or_else(|| content(format!("a calendar of the unit {:?}", calendar.unit)))?;
    let read = Calendar::new(unit, &calendar.time_zone).map_err(|error| content(error.to_string()))?;
    let Some(start) = &calendar.start else { return Ok(read) };
    let count = u16::try_from(calendar.count).map_err(|_| content(format!("{} units", calendar.count)))?;
    read.starting(start, count).map_err(|error| content(error.to_string()))
}

// A layout has a few windows, and at most some thousand slots a tier.
fn number(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn size(number: u32) -> usize {
    number as usize
}

// --- alerts ---

fn alert(alert: &AlertMemory) -> wire::Alert {
    let of_windows = wire::Alert {
        severity: alert.severity.clone(),
        short_ms: millis(alert.short),
        long_ms: millis(alert.long),
        condition: alert.condition.clone(),
        ..wire::Alert::default()
    };
    alert_state(alert.state, of_windows)
}

fn alert_state(state: AlertState, alert: wire::Alert) -> wire::Alert {
    match state {
        AlertState::Inactive => alert,
        AlertState::Pending { since, held_at } => {
            wire::Alert { level: Level::Pending.into(), since_ms: since.0, held_at_ms: held_at.0, ..alert }
        }
        AlertState::Firing { since, active_at, held_at, kept_since } => wire::Alert {
            level: Level::Firing.into(),
            since_ms: since.0,
            held_at_ms: held_at.0,
            active_at_ms: Some(active_at.0).filter(|_| active_at != since),
            kept_since_ms: kept_since.map(|at| at.0),
            ..alert
        },
        AlertState::Resolved { since, at } => {
            wire::Alert { since_ms: since.0, resolved_at_ms: Some(at.0), ..alert }
        }
    }
}

fn read_alert_state(alert: &wire::Alert) -> Result<AlertState, DecodeError> {
    let time = |ms: i64| match Timestamp(ms) {
        at if is_bounded(at) => Ok(at),
        at => Err(content(format!("an alert at {at}"))),
    };
    let (since, held_at) = (time(alert.since_ms)?, time(alert.held_at_ms)?);
    let resolved_at = alert.resolved_at_ms.map(time).transpose()?;
    Ok(match (Level::try_from(alert.level), resolved_at) {
        (Ok(Level::Inactive), None) => AlertState::Inactive,
        (Ok(Level::Inactive), Some(at)) => AlertState::Resolved { since, at },
        (Ok(Level::Pending), _) => AlertState::Pending { since, held_at },
        (Ok(Level::Firing), _) => AlertState::Firing {
            since,
            active_at: alert.active_at_ms.map(time).transpose()?.unwrap_or(since),
            held_at,
            kept_since: alert.kept_since_ms.map(time).transpose()?,
        },
        (Err(_), _) => return Err(content(format!("an alert at level {}", alert.level))),
    })
}

fn read_alert(alert: wire::Alert) -> Result<AlertMemory, DecodeError> {
    let length = |ms: i64| {
        let ms = u64::try_from(ms).map_err(|_| content(format!("a window of {ms} ms")));
        ms.map(Duration::from_millis)
    };
    Ok(AlertMemory {
        state: read_alert_state(&alert)?,
        short: length(alert.short_ms)?,
        long: length(alert.long_ms)?,
        condition: alert.condition,
        severity: alert.severity,
    })
}

#[cfg(test)]
mod tests;
