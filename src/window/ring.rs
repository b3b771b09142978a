//! A ring of slots that takes no more memory than its contents need.
//!
//! Its memory is what is stored of it, byte for byte. It does not know which slot is the newest. The invariant: a
//! ring that has not [changed](Ring::take_change) holds what was stored of it last, but for slots that expired since.

use super::{Counts, RingState};

/// Slots of pairs `(bad, total)`, all of one width: the least of those their contents have needed so far.
/// Most SLIs have small whole counts, most of the time none at all; a ring without any takes no memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring {
    /// Little-endian.
    slots: Box<[u8]>,
    width: Width,
    /// Whether it holds something that was not there when it was last stored.
    is_changed: bool,
    /// Whether it held anything when it was last stored.
    is_stored: bool,
}

/// What both numbers of a pair are, narrowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    #[default]
    None,
    I8,
    I16,
    I32,
    /// Fractions, and whole numbers beyond 2^31.
    F64,
}

/// A number that holds some of the values an `f64` can have, and those exactly.
trait Number: Copy {
    fn narrow(value: f64) -> Option<Self>;
    fn read(slots: &[u8], index: usize) -> Counts;
    /// Returns whether either this or what the slot held is not zero. The same in place of itself is a change, too: it
    /// is of another time.
    fn write(slots: &mut [u8], index: usize, pair: [Self; 2]) -> bool;
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Number for $number {
            fn narrow(value: f64) -> Option<Self> {
                let narrow = value as Self;
                let is_whole = size_of::<Self>() < size_of::<f64>();
                (!is_whole || f64::from(narrow) == value).then_some(narrow)
            }

            fn read(slots: &[u8], index: usize) -> Counts {
                let (numbers, _) = slots.as_chunks::<{ size_of::<Self>() }>();
                let (pairs, _) = numbers.as_chunks::<2>();
                let [bad, total] = pairs[index].map(|bytes| f64::from(Self::from_le_bytes(bytes)));
                Counts { bad, total }
            }

            fn write(slots: &mut [u8], index: usize, pair: [Self; 2]) -> bool {
                let (numbers, _) = slots.as_chunks_mut::<{ size_of::<Self>() }>();
                let (pairs, _) = numbers.as_chunks_mut::<2>();
                let pair = pair.map(Self::to_le_bytes);
                let zero = [[0; size_of::<Self>()]; 2];
                std::mem::replace(&mut pairs[index], pair) != zero || pair != zero
            }
        }
    )*};
}

numbers!(i8, i16, i32, f64);

// === impl Ring ===

impl Ring {
    /// What a slot holds.
    pub(super) fn get(&self, index: usize) -> Counts {
        match self.width {
            Width::None => Counts::ZERO,
            Width::I8 => i8::read(&self.slots, index),
            Width::I16 => i16::read(&self.slots, index),
            Width::I32 => i32::read(&self.slots, index),
            Width::F64 => f64::read(&self.slots, index),
        }
    }

    /// Replaces what a slot of a ring of `length` slots holds. Returns by how many bytes the ring grew.
    pub(super) fn set(&mut self, length: usize, index: usize, counts: Counts) -> usize {
        let put = match self.width {
            Width::None => (counts == Counts::ZERO).then_some(false),
            Width::I8 => put::<i8>(&mut self.slots, index, counts),
            Width::I16 => put::<i16>(&mut self.slots, index, counts),
            Width::I32 => put::<i32>(&mut self.slots, index, counts),
            Width::F64 => put::<f64>(&mut self.slots, index, counts),
        };
        let Some(is_new) = put else { return self.widen(length, index, counts) };
        // Not `|=`, which would write to what is mostly read.
        if is_new && !self.is_changed {
            self.is_changed = true;
        }
        0
    }

    /// The memory of its slots.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len()
    }

    /// Gives up its memory. Returns by how many bytes it shrank.
    pub(super) fn clear(&mut self) -> usize {
        let empty = Self { is_changed: true, is_stored: self.is_stored, ..Self::default() };
        std::mem::replace(self, empty).bytes()
    }

    /// Gives up its memory if every slot is zero. Returns by how many bytes it shrank.
    pub(super) fn release_if_zero(&mut self) -> usize {
        let is_zero = match self.width {
            Width::None => return 0,
            // There are two zeros.
            Width::F64 => self.slots.as_chunks().0.iter().all(|bytes| f64::from_le_bytes(*bytes) == 0.0),
            Width::I8 | Width::I16 | Width::I32 => self.slots.iter().all(|byte| *byte == 0),
        };
        if is_zero { self.clear() } else { 0 }
    }

    /// Makes it wide enough for `counts`, too, and puts them there.
    fn widen(&mut self, length: usize, index: usize, counts: Counts) -> usize {
        let (before, width) = (self.bytes(), self.width.max(Width::of(counts)));
        let slots = vec![0; length * width.pair_bytes()].into();
        let wide = Self { slots, width, is_changed: true, is_stored: self.is_stored };
        let narrow = std::mem::replace(self, wide);
        if narrow.width != Width::None {
            for index in 0..length {
                self.set(length, index, narrow.get(index));
            }
        }
        self.set(length, index, counts);
        self.bytes() - before
    }

    // --- storing ---

    /// What is stored of it, if this is the newest slot.
    pub(super) fn state(&self, newest: i64) -> RingState {
        let number_bytes = (self.width.pair_bytes() / 2) as u8;
        RingState { newest, number_bytes, slots: self.slots.to_vec() }
    }

    /// A ring of `length` slots as it was stored with a row for which `then` was the newest slot, at a time at which
    /// `now` is. `None` if it cannot be that.
    pub(super) fn restored(state: RingState, length: usize, (then, now): (i64, i64)) -> Option<Self> {
        if state.slots.is_empty() {
            return Some(Self::default());
        }
        let width = Width::of_bytes(state.number_bytes)?;
        let slots = state.slots.into_boxed_slice();
        let mut ring = Self { slots, width, is_changed: false, is_stored: true };
        if ring.bytes() != length * width.pair_bytes() || state.newest > then {
            return None;
        }
        if width == Width::F64 && !(0..length).all(|index| ring.get(index).is_finite()) {
            return None;
        }
        for expired in state.newest.max(now - length as i64)..now {
            ring.set(length, expired.rem_euclid(length as i64) as usize, Counts::ZERO);
        }
        Some(ring)
    }

    /// Whether it is to be stored, as it has changed or as all is; from now on it counts as stored.
    pub(super) fn take_change(&mut self, is_all: bool) -> bool {
        let holds = self.width != Width::None;
        let is_due = if is_all { holds } else { self.is_changed && (holds || self.is_stored) };
        (self.is_changed, self.is_stored) = (false, holds);
        is_due
    }
}

fn put<T: Number>(slots: &mut [u8], index: usize, counts: Counts) -> Option<bool> {
    Some(T::write(slots, index, [T::narrow(counts.bad)?, T::narrow(counts.total)?]))
}

// === impl Width ===

impl Width {
    /// The least that holds these counts.
    fn of(counts: Counts) -> Self {
        fn fits<T: Number>(counts: Counts) -> bool {
            T::narrow(counts.bad).is_some() && T::narrow(counts.total).is_some()
        }
        match counts {
            _ if fits::<i8>(counts) => Self::I8,
            _ if fits::<i16>(counts) => Self::I16,
            _ if fits::<i32>(counts) => Self::I32,
            _ => Self::F64,
        }
    }

    fn of_bytes(number_bytes: u8) -> Option<Self> {
        let widths = [Self::I8, Self::I16, Self::I32, Self::F64];
        widths.into_iter().find(|width| width.pair_bytes() == 2 * usize::from(number_bytes))
    }

    fn pair_bytes(self) -> usize {
        match self {
            Self::None => 0,
            Self::I8 => 2,
            Self::I16 => 4,
            Self::I32 => 8,
            Self::F64 => 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LENGTH: usize = 7;

    #[track_caller]
    fn check(values: &[f64], bytes_per_slot: usize) {
        let mut ring = Ring::default();
        let mut grown = 0;
        for (index, value) in values.iter().enumerate() {
            grown += ring.set(LENGTH, index, Counts { bad: -*value, total: *value });
        }
        for (index, value) in values.iter().enumerate() {
            assert_eq!(ring.get(index), Counts { bad: -*value, total: *value });
        }
        assert_eq!((ring.bytes(), grown), (LENGTH * bytes_per_slot, LENGTH * bytes_per_slot));
    }

    #[test]
    fn a_ring_is_as_wide_as_its_widest_count() {
        check(&[0.0, 0.0], 0);
        check(&[1.0, 127.0], 2);
        check(&[1.0, 128.0], 4);
        check(&[32_768.0, 1.0], 8);
        check(&[1.0, 2_147_483_648.0], 16);
        check(&[0.5, 1.0], 16);
        check(&[1.0, 40_000.0, 300.0, 0.25, 9e15], 16);
    }

    proptest! {
        #[test]
        fn a_ring_is_an_array(writes in proptest::collection::vec(
            (0..LENGTH, prop_oneof![-200i64..200, -70_000i64..70_000, any::<i64>()], any::<bool>()), 1..40,
        )) {
            let mut ring = Ring::default();
            let mut array = [Counts::ZERO; LENGTH];
            for (index, value, is_half) in writes {
                let value = if is_half { value as f64 / 2.0 } else { value as f64 };
                array[index] = Counts { bad: value, total: -value };
                ring.set(LENGTH, index, array[index]);
            }
            for (index, counts) in array.iter().enumerate() {
                prop_assert_eq!(ring.get(index), *counts);
            }
        }
    }
}
