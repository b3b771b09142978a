//! What came late, in the order in which it is cheap to place.

use super::open::{Deferred, What};

/// Late counts on their way into histories, and the memory to sort them with.
///
/// A sender's backlog goes through time with all its series again and again. Placed in that order, every
/// count would find its SLI's history gone from the cache; placed SLI by SLI, one in hundreds does.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    deferred: Vec<Deferred>,
    sorted: Vec<Deferred>,
    /// By SLI: where its next one goes.
    places: Vec<u32>,
}

// Up to here comparing is faster than going through all SLIs.
const FEW: usize = 4_096;
// A flood must not leave its memory behind: once it is over, 3 MiB for each of the lists are kept.
const KEPT: usize = 1 << 16;

// === impl Arrived ===

impl Arrived {
    pub(super) fn extend(&mut self, deferred: impl Iterator<Item = Deferred>) {
        self.deferred.extend(deferred);
    }

    pub(super) fn len(&self) -> usize {
        self.deferred.len()
    }

    pub(super) fn bytes(&self) -> usize {
        (self.deferred.capacity() + self.sorted.capacity()) * size_of::<Deferred>()
            + self.places.capacity() * size_of::<u32>()
    }

    /// Hands out everything, SLI by SLI; of one SLI in the order of arrival, with counts of the same time
    /// added up. Returns how many were not taken, as far as `place` says.
    pub(super) fn drain_by_sli(&mut self, mut place: impl FnMut(Deferred) -> bool) -> usize {
        let arrived = self.deferred.len();
        self.sort();
        let mut untaken = 0;
        let mut rest = self.deferred.drain(..).peekable();
        while let Some(mut deferred) = rest.next() {
            while let Some(next) = rest.peek() {
                if !absorb(&mut deferred, next) {
                    break;
                }
                rest.next();
            }
            untaken += usize::from(!place(deferred));
        }
        drop(rest);
        if arrived < KEPT {
            self.sorted.truncate(KEPT);
            self.sorted.shrink_to(KEPT);
            self.deferred.shrink_to(KEPT);
        }
        untaken
    }

    /// By SLI, keeping the order of arrival.
    fn sort(&mut self) {
        if self.deferred.len() <= FEW {
            // Stable, but with memory of its own only from some 20 on.
            return self.deferred.sort_by_key(|deferred| deferred.sli);
        }
        let slis = self.deferred.iter().map(|deferred| deferred.sli.0).max().unwrap_or(0) as usize + 1;
        self.places.clear();
        self.places.resize(slis, 0);
        for deferred in &self.deferred {
            self.places[deferred.sli.0 as usize] += 1;
        }
        let mut before = 0;
        for place in &mut self.places {
            before += std::mem::replace(place, before);
        }
        // What it held the last time is as good as anything to write over.
        let (arrived, any) = (self.deferred.len(), self.deferred[0]);
        self.sorted.resize(self.sorted.len().max(arrived), any);
        for deferred in &self.deferred {
            let place = &mut self.places[deferred.sli.0 as usize];
            self.sorted[*place as usize] = *deferred;
            *place += 1;
        }
        std::mem::swap(&mut self.deferred, &mut self.sorted);
        self.deferred.truncate(arrived);
    }
}

/// Adds `next` to `deferred` if both are counts of the same SLI at the same time.
fn absorb(deferred: &mut Deferred, next: &Deferred) -> bool {
    let is_same = deferred.sli == next.sli
        && deferred.to_ms == next.to_ms
        && deferred.from_ms == deferred.to_ms
        && next.from_ms == next.to_ms;
    match (&mut deferred.what, next.what) {
        (What::Counts(counts), What::Counts(more)) if is_same => *counts += more,
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::{Counts, SliId};

    /// Counts of so many SLIs at three times each, in the order of a backlog.
    fn check(slis: u32, per_time: u32) {
        let mut arrived = Arrived::default();
        for at_ms in [10, 20, 30] {
            for n in 0..slis * per_time {
                let what = What::Counts(Counts { bad: 0.0, total: f64::from(n % slis) });
                let sli = SliId(n % slis);
                arrived.extend([Deferred { sli, from_ms: at_ms, to_ms: at_ms, what }].into_iter());
            }
        }
        let mut found = Vec::new();
        let untaken = arrived.drain_by_sli(|deferred| {
            let What::Counts(counts) = deferred.what else { panic!("only counts were put in") };
            found.push((deferred.sli.0, deferred.to_ms, counts.total));
            deferred.to_ms < 30
        });
        let times = |sli| [10, 20, 30].map(|at_ms| (sli, at_ms, f64::from(sli * per_time)));
        assert_eq!(found, (0..slis).flat_map(times).collect::<Vec<_>>());
        assert_eq!((untaken, arrived.len()), (slis as usize, 0));
    }

    #[test]
    fn what_arrived_is_handed_out_sli_by_sli_in_its_order() {
        check(7, 1);
        check(7, 2);
        check(1_000, 1);
        check(1_000, 5);
    }

    #[test]
    fn only_counts_of_one_time_are_added_up() {
        let counts = What::Counts(Counts { bad: 1.0, total: 1.0 });
        let at = |from_ms, to_ms, what| Deferred { sli: SliId(3), from_ms, to_ms, what };
        let all = [at(5, 9, counts), at(9, 9, counts), at(9, 9, What::Unseen), at(9, 9, counts)];
        let mut arrived = Arrived::default();
        arrived.extend(all.into_iter());
        let mut handed_out = 0;
        assert_eq!(
            arrived.drain_by_sli(|_| {
                handed_out += 1;
                true
            }),
            0
        );
        assert_eq!(handed_out, 4);
    }
}
