//! Explores every interleaving of adding threads and the closing owner (`make loom`).
//!
//! Small sizes keep it finite: rings of two open slots, so that a cell is reused after two steps; threads
//! with one add each. The question each time: is every event counted once, and at its own time?

use std::{sync::Arc, time::Duration};

use loom::thread;

use super::{Counts, Layout, OpenSlots, SliId, Windows};
use crate::time::Timestamp;

const SECOND: Duration = Duration::from_secs(1);
const START: Timestamp = Timestamp(1_000_000);
const WINDOW: u32 = 8;

fn interleave(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // Enough for every known kind of error in two or three threads; all would take days.
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Threads add one event each at these seconds after the start, while the owner advances second by second
/// to `seconds`. Then, event by event: it enters the window at its time and leaves it a window later.
fn explore(adds: &'static [u32], seconds: u32) {
    interleave(move || {
        let open = Arc::new(OpenSlots::new(SECOND));
        let mut windows = Windows::new(Arc::clone(&open), START);
        windows.insert(SliId(0), &Arc::new(Layout::new(&[SECOND * WINDOW], &[], SECOND)));
        // Makes the cells before there are threads: loom does not know `OnceLock`.
        open.cell(SliId(0), 0);
        let writers: Vec<_> = adds
            .iter()
            .map(|second| {
                let open = Arc::clone(&open);
                let at = START + SECOND * *second;
                thread::spawn(move || open.batch().add(SliId(0), at.0, Counts { bad: 0.0, total: 1.0 }))
            })
            .collect();
        for second in 1..=seconds {
            windows.advance(START + SECOND * second);
        }
        for writer in writers {
            writer.join().unwrap();
        }
        check(windows, adds, seconds);
    });
}

fn check(mut windows: Windows, adds: &[u32], from: u32) {
    for now in from + 1..=from + WINDOW + 2 {
        windows.advance(START + SECOND * now);
        let inside = adds.iter().filter(|at| **at <= now && **at + WINDOW > now).count();
        assert_eq!(
            windows.history(SliId(0)).unwrap().windows().next().unwrap().total,
            inside as f64,
            "at {now}"
        );
    }
    assert_eq!(windows.history(SliId(0)).unwrap().lifetime().total, adds.len() as f64);
}

#[test]
fn an_add_that_meets_closing_slots() {
    explore(&[1], 3);
}

#[test]
fn an_add_ahead_whose_cell_stood_for_an_earlier_time() {
    explore(&[3], 3);
}

#[test]
fn two_adds_to_one_cell() {
    explore(&[1, 1], 1);
}

#[test]
fn adds_to_both_times_of_one_cell() {
    explore(&[1, 3], 2);
}

#[test]
fn an_add_to_an_sli_that_the_owner_has_not_met() {
    interleave(|| {
        let open = Arc::new(OpenSlots::new(SECOND));
        let mut windows = Windows::new(Arc::clone(&open), START);
        let layout = Arc::new(Layout::new(&[SECOND * WINDOW], &[], SECOND));
        windows.insert(SliId(0), &layout);
        open.cell(SliId(0), 0);
        open.cell(SliId(1), 0);
        let opened = Arc::new(loom::sync::Mutex::new(Vec::new()));
        let writer = {
            let (open, opened) = (Arc::clone(&open), Arc::clone(&opened));
            thread::spawn(move || {
                let mut batch = open.batch();
                opened.lock().unwrap().push(SliId(1));
                batch.add(SliId(1), (START + SECOND).0, Counts { bad: 0.0, total: 1.0 });
            })
        };
        let tick = |windows: &mut Windows, second: u32| {
            windows.close(START + SECOND * second);
            for sli in opened.lock().unwrap().drain(..) {
                windows.insert(sli, &layout);
            }
            windows.count();
        };
        (1..=3).for_each(|second| tick(&mut windows, second));
        writer.join().unwrap();
        for second in 4..=WINDOW + 3 {
            tick(&mut windows, second);
            let history = windows.history(SliId(1)).unwrap();
            let inside = f64::from(u8::from(second < WINDOW + 1));
            assert_eq!(history.windows().next().unwrap().total, inside, "at {second}");
            assert_eq!(history.lifetime().total, 1.0);
        }
    });
}

#[test]
fn a_full_cell_moves_on_while_others_add_and_the_owner_takes() {
    interleave(|| {
        let open = Arc::new(OpenSlots::new(SECOND));
        let mut windows = Windows::new(Arc::clone(&open), START);
        windows.insert(SliId(0), &Arc::new(Layout::new(&[SECOND * WINDOW], &[], SECOND)));
        open.cell(SliId(0), 0);
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let open = Arc::clone(&open);
                thread::spawn(move || {
                    let mut batch = open.batch();
                    for _ in 0..2 {
                        // Each fills the cell, see `CELL_FULL`.
                        batch.add(SliId(0), (START + SECOND).0, Counts { bad: -1.0, total: 1.0 });
                    }
                })
            })
            .collect();
        windows.advance(START + SECOND);
        for writer in writers {
            writer.join().unwrap();
        }
        for second in 2..=4 {
            windows.advance(START + SECOND * second);
        }
        let history = windows.history(SliId(0)).unwrap();
        let all = Counts { bad: -4.0, total: 4.0 };
        assert_eq!((history.windows().next().unwrap(), history.lifetime()), (all, all));
    });
}
