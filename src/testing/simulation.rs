//! slod in a world that follows from one number: senders, the disk, restarts, reloads, and time.
//!
//! ```text
//! targets ─▶ shards ─▶ write ─▶ log, state ─▶ faulty disk      a second is a step
//!                        └─▶ tick ─▶ Alertmanager
//! ```
//!
//! Everything happens on one thread, without clock or socket, in the order that the seed says. The daemon is put
//! together as `daemon` does it; that its threads do the same at once is for other tests. Four judges watch:
//! - nothing that was acknowledged is missing from the log and the state (`timeline`);
//! - the oracle, which keeps every sample, counts the same as slod does after each restart and at the end, also from
//!   what the senders made, whatever became of it on the way;
//! - a pipeline that never ends comes to the same counts and alerts (`timeline`);
//! - when all is well again, everything is delivered, and soon.
//!
//! The invariant: the same seed gives the same run, whatever the number of its steps; one that is shorter is the
//! beginning of one that is longer.

mod daemon;
mod random;
mod senders;
mod setting;
mod timeline;
mod transcript;
mod verdict;
mod watch;
mod world;

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use transcript::Transcript;
use world::World;

/// A run to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simulation {
    /// What everything follows from.
    pub seed: u64,
    /// Seconds of trouble.
    pub steps: u32,
}

/// A run in which slod did all it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Another number for another run.
    pub digest: u64,
    /// What happened in it.
    pub tally: Tally,
}

/// How much happened in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that counted.
    pub counted: u64,
    /// Requests that were repeated.
    pub repeated: u64,
    /// Starts on what was on the disk.
    pub restarts: u64,
    /// Starts that did not come to their end.
    pub failed_starts: u64,
    /// Failures of the power.
    pub power_losses: u64,
    /// Requests that counted, were lost, and had not been acknowledged.
    pub taken_back: u64,
    /// Requests that were acknowledged, and lost with a bit that flipped.
    pub excused: u64,
    /// Checkpoints that were committed.
    pub checkpoints: u64,
    /// Checkpoints that could not be.
    pub failed_checkpoints: u64,
    /// Reloads.
    pub reloads: u64,
    /// Alerts that began to fire.
    pub fired: u64,
}

/// A run in which it did not.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The run.
    pub simulation: Simulation,
    /// What was wrong.
    pub reason: String,
    /// What happened last.
    pub last: Vec<String>,
}

// === impl Simulation ===

impl Simulation {
    /// Runs it.
    ///
    /// # Errors
    /// When slod did what it must not do.
    pub fn run(self) -> Result<Ran, Failure> {
        let mut transcript = Transcript::default();
        let mut world = World::new(self.seed);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            (0..self.steps).try_for_each(|_| world.step(&mut transcript))?;
            world.end(&mut transcript)
        }));
        let failure = |reason| Failure { simulation: self, reason, last: transcript.last() };
        match ran {
            Ok(Ok(tally)) => Ok(Ran { digest: transcript.digest(), tally }),
            Ok(Err(reason)) => Err(failure(reason)),
            Err(panic) => Err(failure(format!("panic: {}", message(&*panic)))),
        }
    }

    /// Looks for a shorter run that fails, too, by halves.
    pub fn shrink(failure: Failure) -> Failure {
        let mut shortest = failure;
        let mut passing = 0;
        while shortest.simulation.steps - passing > 1 {
            let steps = passing + (shortest.simulation.steps - passing) / 2;
            match (Self { steps, ..shortest.simulation }).run() {
                Ok(_) => passing = steps,
                Err(shorter) => shortest = shorter,
            }
        }
        shortest
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

// === impl Failure ===

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Simulation { seed, steps } = self.simulation;
        for line in &self.last {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "{}", self.reason)?;
        write!(f, "again: make sim SEED={seed} SIM_STEPS={steps}")
    }
}
