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
    all: Arc<Vec<Bytes>>,
    next: usize,
}

// === impl Pieces ===

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        Arc::new(vec![bytes]).into()
    }
}

impl From<Arc<Vec<Bytes>>> for Pieces {
    fn from(all: Arc<Vec<Bytes>>) -> Self {
        Self { all, next: 0 }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.all.get(self.next).cloned();
        self.next += 1;
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.all.iter().skip(self.next).all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.all.iter().skip(self.next).map(|piece| piece.len() as u64).sum())
    }
}
