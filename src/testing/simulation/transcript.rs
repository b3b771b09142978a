//! What happened, line by line: the last lines to be read, all of them as one number to be compared.

use std::collections::VecDeque;

use xxhash_rust::xxh3::Xxh3;

/// The lines of a run.
#[derive(Default)]
pub(super) struct Transcript {
    hash: Xxh3,
    last: VecDeque<String>,
}

// Some minutes of what goes on.
const LINES_KEPT: usize = 60;

// === impl Transcript ===

impl Transcript {
    /// Adds a line that is to be read.
    pub(super) fn note(&mut self, line: String) {
        self.hash(line.as_bytes());
        if self.last.len() == LINES_KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Adds what is only to be compared.
    pub(super) fn hash(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// Another number for another run.
    pub(super) fn digest(&self) -> u64 {
        self.hash.digest()
    }

    /// The last lines.
    pub(super) fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
