//! A ring of slots that takes no more memory than its contents need.

use super::Counts;

/// Slots of pairs `(bad, total)`, all of one width: the least of those their contents have needed so far.
/// Most SLIs have small whole counts, most of the time none at all; a ring without any takes no memory.
#[derive(Clone, Debug, Default)]
pub(super) enum Ring {
    #[default]
    Empty,
    I8(Box<[[i8; 2]]>),
    I16(Box<[[i16; 2]]>),
    I32(Box<[[i32; 2]]>),
    /// Fractions, and whole numbers beyond 2^31.
    F64(Box<[[f64; 2]]>),
}

/// A number that holds some of the values an `f64` can have, and those exactly.
trait Width: Copy + Default {
    fn narrow(value: f64) -> Option<Self>;
    fn widen(self) -> f64;
}

macro_rules! whole_numbers {
    ($($width:ty),*) => {$(
        impl Width for $width {
            fn narrow(value: f64) -> Option<Self> {
                let narrow = value as Self;
                (Self::widen(narrow) == value).then_some(narrow)
            }

            fn widen(self) -> f64 {
                f64::from(self)
            }
        }
    )*};
}

whole_numbers!(i8, i16, i32);

impl Width for f64 {
    fn narrow(value: f64) -> Option<Self> {
        Some(value)
    }

    fn widen(self) -> f64 {
        self
    }
}

// === impl Ring ===

impl Ring {
    /// What a slot holds.
    pub(super) fn get(&self, index: usize) -> Counts {
        match self {
            Self::Empty => Counts::ZERO,
            Self::I8(slots) => counts(slots[index]),
            Self::I16(slots) => counts(slots[index]),
            Self::I32(slots) => counts(slots[index]),
            Self::F64(slots) => counts(slots[index]),
        }
    }

    /// Replaces what a slot of a ring of `length` slots holds. Returns by how many bytes the ring grew.
    pub(super) fn set(&mut self, length: usize, index: usize, counts: Counts) -> usize {
        let fits = match self {
            Self::Empty => counts == Counts::ZERO,
            Self::I8(slots) => put(slots, index, counts),
            Self::I16(slots) => put(slots, index, counts),
            Self::I32(slots) => put(slots, index, counts),
            Self::F64(slots) => put(slots, index, counts),
        };
        if fits {
            return 0;
        }
        let before = self.bytes();
        *self = self.widened(length, counts);
        self.set(length, index, counts);
        self.bytes() - before
    }

    /// The memory of its slots.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::I8(slots) => size_of_val::<[[i8; 2]]>(slots),
            Self::I16(slots) => size_of_val::<[[i16; 2]]>(slots),
            Self::I32(slots) => size_of_val::<[[i32; 2]]>(slots),
            Self::F64(slots) => size_of_val::<[[f64; 2]]>(slots),
        }
    }

    /// Gives up its memory if every slot is zero. Returns by how many bytes it shrank.
    pub(super) fn release_if_zero(&mut self) -> usize {
        let is_zero = match self {
            Self::Empty => return 0,
            Self::I8(slots) => slots.iter().all(|slot| *slot == [0; 2]),
            Self::I16(slots) => slots.iter().all(|slot| *slot == [0; 2]),
            Self::I32(slots) => slots.iter().all(|slot| *slot == [0; 2]),
            Self::F64(slots) => slots.iter().all(|slot| *slot == [0.0; 2]),
        };
        if is_zero { std::mem::take(self).bytes() } else { 0 }
    }

    /// The same contents, wide enough for `counts`, too.
    fn widened(&self, length: usize, counts: Counts) -> Self {
        let is_wider_than = |other: usize| self.bytes() < length * other;
        if is_wider_than(2) && pair::<i8>(counts).is_some() {
            Self::I8(self.copy(length))
        } else if is_wider_than(4) && pair::<i16>(counts).is_some() {
            Self::I16(self.copy(length))
        } else if is_wider_than(8) && pair::<i32>(counts).is_some() {
            Self::I32(self.copy(length))
        } else {
            Self::F64(self.copy(length))
        }
    }

    fn copy<T: Width>(&self, length: usize) -> Box<[[T; 2]]> {
        (0..length).map(|index| pair(self.get(index)).unwrap_or_default()).collect()
    }
}

fn counts<T: Width>([bad, total]: [T; 2]) -> Counts {
    Counts { bad: bad.widen(), total: total.widen() }
}

fn pair<T: Width>(counts: Counts) -> Option<[T; 2]> {
    Some([T::narrow(counts.bad)?, T::narrow(counts.total)?])
}

fn put<T: Width>(slots: &mut [[T; 2]], index: usize, counts: Counts) -> bool {
    pair(counts).is_some_and(|pair| {
        slots[index] = pair;
        true
    })
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
