//! What an answer carries: pieces that other answers may share, so that a large page is in memory once.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The body of an answer, sent piece by piece without copies.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces {
    shared: Arc<Vec<Bytes>>,
    next: usize,
    /// What comes after those, until it is sent.
    end: Bytes,
}

// === impl Pieces ===

impl Pieces {
    pub(super) fn new(shared: Arc<Vec<Bytes>>, end: Bytes) -> Self {
        Self { shared, next: 0, end }
    }
}

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        Self::new(Arc::default(), bytes)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match self.shared.get(self.next).cloned() {
            Some(piece) => piece,
            None if self.end.is_empty() => return Poll::Ready(None),
            None => std::mem::take(&mut self.end),
        };
        self.next += 1;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        let shared: usize = self.shared.iter().skip(self.next).map(Bytes::len).sum();
        SizeHint::with_exact((shared + self.end.len()) as u64)
    }
}
