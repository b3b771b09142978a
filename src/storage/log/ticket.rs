//! What a request waits with until its record is safe.

use tokio::sync::oneshot;

use super::{Durability, LogError};

/// Resolves when a record is as durable as was asked for.
#[derive(Debug)]
#[must_use = "a request is acknowledged when its ticket says so"]
pub struct Ticket(State);

#[derive(Debug)]
enum State {
    Resolved(Result<(), LogError>),
    Waiting(oneshot::Receiver<Result<(), LogError>>),
}

/// The other end of a ticket.
#[derive(Debug)]
pub(super) struct Done(Option<oneshot::Sender<Result<(), LogError>>>);

/// Both ends.
pub(super) fn pair(durability: Durability) -> (Done, Ticket) {
    if durability == Durability::None {
        return (Done(None), Ticket::resolved(Ok(())));
    }
    let (sender, receiver) = oneshot::channel();
    (Done(Some(sender)), Ticket(State::Waiting(receiver)))
}

// === impl Ticket ===

impl Ticket {
    pub(super) fn resolved(result: Result<(), LogError>) -> Self {
        Self(State::Resolved(result))
    }

    /// Waits for it.
    ///
    /// # Errors
    /// When the record is not in the log, or not for sure.
    pub async fn durable(self) -> Result<(), LogError> {
        match self.0 {
            State::Resolved(result) => result,
            // Nobody is left to write it.
            State::Waiting(receiver) => receiver.await.unwrap_or(Err(LogError::Closed)),
        }
    }

    /// What it says by now; `None` while it has to be waited for.
    pub fn outcome(&mut self) -> Option<Result<(), LogError>> {
        match &mut self.0 {
            State::Resolved(result) => Some(result.clone()),
            State::Waiting(receiver) => {
                let result = match receiver.try_recv() {
                    Ok(result) => result,
                    Err(oneshot::error::TryRecvError::Empty) => return None,
                    Err(oneshot::error::TryRecvError::Closed) => Err(LogError::Closed),
                };
                self.0 = State::Resolved(result.clone());
                Some(result)
            }
        }
    }
}

// === impl Done ===

impl Done {
    pub(super) fn resolve(self, result: &Result<(), LogError>) {
        if let Some(sender) = self.0 {
            // A request that was given up does not wait any more.
            let _ = sender.send(result.clone());
        }
    }
}
