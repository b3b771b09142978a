//! Columns of numbers and times in few bytes: neighbours are alike, and most numbers are whole.

use super::{
    DecodeError, content,
    generated::{Numbers, SparseTimes},
};
use crate::{labels::Labels, time::Timestamp};

// Below, every whole number is a double; -0 is not whole here, as its sign would be lost.
const WHOLE_MAX: f64 = (1_u64 << 53) as f64;
const OTHER: u64 = 1;

/// What stands for no time.
pub(super) const NEVER: i64 = i64::MIN;

// === numbers ===

pub(super) fn numbers(values: impl ExactSizeIterator<Item = f64>) -> Numbers {
    let mut numbers = Numbers { codes: Vec::with_capacity(values.len()), others: Vec::new() };
    for value in values {
        let whole = value as u64;
        if value <= WHOLE_MAX && (whole as f64).to_bits() == value.to_bits() {
            numbers.codes.push(whole << 1);
        } else {
            numbers.codes.push(OTHER);
            numbers.others.push(value);
        }
    }
    numbers
}

/// Of a column with so many rows.
pub(super) fn from_numbers(numbers: &Numbers, rows: usize) -> Result<Vec<f64>, DecodeError> {
    if numbers.codes.len() != rows {
        return content(format!("{} numbers, not {rows}", numbers.codes.len()));
    }
    let mut others = numbers.others.iter();
    let value =
        |code: &u64| if code & OTHER == 0 { Some((code >> 1) as f64) } else { others.next().copied() };
    let values: Option<Vec<f64>> = numbers.codes.iter().map(value).collect();
    match values {
        Some(values) if others.next().is_none() => Ok(values),
        _ => content("numbers are missing, or left over"),
    }
}

// === differences ===

/// Differences to the row before; none at all if every row is zero.
pub(super) fn differences(rows: impl ExactSizeIterator<Item = i64>) -> Vec<i64> {
    let (mut before, mut any) = (0, false);
    let mut column = Vec::with_capacity(rows.len());
    for row in rows {
        any |= row != 0;
        column.push(row.wrapping_sub(before));
        before = row;
    }
    if any { column } else { Vec::new() }
}

/// The rows of which these are the differences.
pub(super) fn sums(mut column: Vec<i64>, rows: usize) -> Result<Vec<i64>, DecodeError> {
    if column.is_empty() {
        return Ok(vec![0; rows]);
    }
    if column.len() != rows {
        return content(format!("{} values in a column, not {rows}", column.len()));
    }
    let mut sum = 0_i64;
    for value in &mut column {
        sum = sum.wrapping_add(*value);
        *value = sum;
    }
    Ok(column)
}

// === times ===

/// The times of the rows that have one.
pub(super) fn sparse(rows: impl Iterator<Item = Option<Timestamp>>) -> Option<SparseTimes> {
    let (mut times, mut gap, mut before) = (SparseTimes::default(), 0, 0_i64);
    for row in rows {
        let Some(Timestamp(at)) = row else {
            gap += 1;
            continue;
        };
        times.gaps.push(gap);
        times.at_ms.push(at.wrapping_sub(before));
        (gap, before) = (0, at);
    }
    (!times.gaps.is_empty()).then_some(times)
}

/// Calls `set(row, time)` for each row that has a time.
pub(super) fn from_sparse(
    times: Option<SparseTimes>,
    rows: usize,
    mut set: impl FnMut(usize, Timestamp),
) -> Result<(), DecodeError> {
    let SparseTimes { gaps, at_ms } = times.unwrap_or_default();
    if gaps.len() != at_ms.len() {
        return content(format!("{} times of {} rows", at_ms.len(), gaps.len()));
    }
    let (mut places, mut at) = (Places::default(), 0_i64);
    for (gap, later) in gaps.into_iter().zip(at_ms) {
        at = at.wrapping_add(later);
        set(places.next(gap, rows)?, Timestamp(at));
    }
    Ok(())
}

/// The places of rows, given how many lie between them.
#[derive(Debug, Default)]
pub(super) struct Places {
    next: usize,
}

impl Places {
    /// The next one.
    pub(super) fn next(&mut self, gap: u32, rows: usize) -> Result<usize, DecodeError> {
        let place = self.next.saturating_add(gap as usize);
        if place >= rows {
            return content(format!("something of row {place} of {rows}"));
        }
        self.next = place + 1;
        Ok(place)
    }
}

pub(super) fn or_never(at: Option<Timestamp>) -> i64 {
    at.map_or(NEVER, |at| at.0)
}

pub(super) fn unless_never(at: i64) -> Option<Timestamp> {
    (at != NEVER).then_some(Timestamp(at))
}

// === labels ===

pub(super) fn label_pairs(labels: &Labels) -> Vec<String> {
    labels.iter().flat_map(|(name, value)| [name.to_owned(), value.to_owned()]).collect()
}

pub(super) fn labels(pairs: &[String]) -> Result<Labels, DecodeError> {
    let (pairs, rest) = pairs.as_chunks::<2>();
    match Labels::new(pairs.iter().map(|[name, value]| (name, value))) {
        Ok(labels) if rest.is_empty() => Ok(labels),
        Ok(_) => content("a label without a value"),
        Err(error) => content(error.to_string()),
    }
}
