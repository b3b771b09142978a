//! Requests that wait for being sent.

use std::collections::VecDeque;

use bytes::Bytes;

/// A request, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The number of its round.
    pub round: u64,
    /// Compressed.
    pub body: Bytes,
    /// How many samples it has.
    pub samples: usize,
}

/// Batches in their order, up to a limit of bytes.
#[derive(Debug)]
pub struct Queue {
    batches: VecDeque<Batch>,
    bytes: usize,
    bytes_max: usize,
}

// === impl Queue ===

impl Queue {
    /// An empty one for this many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds a round. When there is no room, older ones are given up, oldest first, because newer ones say more of the
    /// present; a round that has no room by itself is cut. Returns how many samples are given up.
    pub fn push(&mut self, round: Vec<Batch>) -> usize {
        let needed: usize = round.iter().map(|batch| batch.body.len()).sum();
        let mut dropped = 0;
        while self.bytes + needed > self.bytes_max {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.bytes -= oldest.body.len();
            dropped += oldest.samples;
        }
        for batch in round {
            if self.bytes + batch.body.len() > self.bytes_max {
                dropped += batch.samples;
            } else {
                self.bytes += batch.body.len();
                self.batches.push_back(batch);
            }
        }
        dropped
    }

    /// The next one to send, which stays until it is [done](Self::done): it is sent again if it fails.
    pub fn front(&self) -> Option<&Batch> {
        self.batches.front()
    }

    /// Takes out a batch that was sent or refused. False if it had been given up meanwhile.
    pub fn done(&mut self, batch: &Batch) -> bool {
        let is_there = self.batches.front() == Some(batch);
        if is_there {
            self.bytes -= batch.body.len();
            self.batches.pop_front();
        }
        is_there
    }

    /// The bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The samples that wait.
    pub fn samples(&self) -> usize {
        self.batches.iter().map(|batch| batch.samples).sum()
    }
}
