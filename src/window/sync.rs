//! The atomics of open slots: the standard library's, or loom's in a build that explores interleavings
//! (`make loom`). A cfg and not a feature, so that no other build can come by it.

#[cfg(all(test, slod_loom))]
pub(super) use loom::sync::atomic::{AtomicI64, AtomicUsize, Ordering, fence};
#[cfg(not(all(test, slod_loom)))]
pub(super) use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering, fence};
