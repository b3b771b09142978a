//! Whole runs of slod in a world that fails on purpose, each from one number.
//!
//! `make sim SEED=…` repeats a run, and without a seed makes new ones. `SIM_RUNS` says how many, and `SIM_STEPS` how
//! many seconds of trouble each has.

use slod::testing::simulation::{Ran, Simulation};

use crate::support::seconds_since_epoch;

/// Runs that are made each time.
const SEEDS: std::ops::Range<u64> = 1..13;
/// New runs each time.
const FRESH: u64 = 3;
/// Half an hour: some twenty restarts.
const STEPS: u32 = 1_800;

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap())
}

#[track_caller]
fn check(seed: u64) -> Ran {
    let steps = variable("SIM_STEPS").map_or(STEPS, |steps| steps.try_into().unwrap());
    match (Simulation { seed, steps }).run() {
        Ok(ran) => {
            println!("SEED={seed}: {ran:?}");
            ran
        }
        Err(failure) => panic!("{}", Simulation::shrink(failure)),
    }
}

#[test]
fn known_runs() {
    for seed in SEEDS {
        check(seed);
    }
}

#[test]
fn fresh_runs() {
    let first = variable("SIM_SEED").unwrap_or_else(|| (seconds_since_epoch() * 1e6) as u64);
    let runs = variable("SIM_RUNS").unwrap_or(if variable("SIM_SEED").is_some() { 1 } else { FRESH });
    println!("SEED={first}");
    for seed in first..first + runs {
        check(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(check(1), check(1));
    assert_ne!(check(1).digest, check(2).digest);
}
