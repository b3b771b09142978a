//! What the store finds, and how it fails.
//!
//! The invariant: each variant is one thing that its reader does next.

use std::{fmt, io};

use super::{FILE, Part, engine, salvage::Loss, value::Damaged};

/// What was found in place of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: an empty state was begun.
    New,
    /// State, every page of it as it was written.
    Intact,
    /// State that is damaged in places: it has another name now, and a new file has the rest.
    Salvaged {
        /// Its name now.
        to: String,
        /// What is wrong with it.
        reason: String,
        /// What is not in the new file.
        lost: Lost,
    },
    /// State that cannot be read: it has another name now, and an empty one was begun.
    SetAside {
        /// Its name now.
        to: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedValue {
    /// Its table.
    pub part: Part,
    /// Its key.
    pub key: Vec<u8>,
    /// What is wrong.
    pub damage: Damaged,
}

/// What is missing in a state that was salvaged. Who reads it finds less, and nothing wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Values whose keys could be read.
    pub values: Vec<DamagedValue>,
    /// Parts of which a page is lost with any number of values, once for each page.
    pub pages: Vec<Part>,
}

/// What was found in looking at everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Values looked at, the damaged ones among them.
    pub values: u64,
    /// The damaged ones.
    pub damaged: Vec<DamagedValue>,
    /// What is wrong with the file around them.
    pub file: Option<String>,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Written by a later version of slod. It is left as it is.
    #[error(
        "cannot read {FILE}: it has format {found}, this slod reads {FORMAT}; start the version that wrote it, or move the file away to begin anew",
        FORMAT = engine::FORMAT
    )]
    Newer {
        /// Its format.
        found: u32,
    },
    /// The disk failed.
    #[error("cannot open {FILE}: {0} (storage.path)")]
    Io(#[from] io::Error),
}

/// Why a commit has not happened, as far as is known. Either way the next one may be tried.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The state is what it was; or, if only the last word of the disk was missing, what it was to be.
    #[error("cannot write state: {0}")]
    Failed(String),
    /// What had been committed is gone in part or as a whole: the next commit must hold everything.
    #[error("cannot go on with state: {0}; all of it has to be written again")]
    Anew(Found),
    /// There is no state to write to.
    #[error(transparent)]
    NotOpen(#[from] OpenError),
}

/// Why a part cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {part} of {FILE}: {reason}", part = .part.name())]
pub struct ReadError {
    /// The table.
    pub part: Part,
    /// What is wrong.
    pub reason: String,
}

// === impl Lost ===

impl Lost {
    pub(super) fn add(&mut self, loss: Loss) {
        match loss {
            Loss::Value(value) if engine::is_ours(value.part, &value.key) => {}
            Loss::Value(value) => self.values.push(value),
            Loss::Page(part) => self.pages.push(part),
        }
    }
}

// === impl Found ===

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => write!(f, "there was no {FILE}"),
            Self::Intact => write!(f, "{FILE} is intact"),
            Self::Salvaged { to, reason, lost } => write!(
                f,
                "{FILE} is damaged ({reason}) and is now {to}; {} values and {} pages of it are lost",
                lost.values.len(),
                lost.pages.len()
            ),
            Self::SetAside { to, reason } => write!(f, "{FILE} cannot be read ({reason}) and is now {to}"),
        }
    }
}
