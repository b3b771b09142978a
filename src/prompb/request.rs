//! A request as places in its message, in memory that the next request uses again.

use std::{
    hash::{BuildHasher, Hasher},
    ops::Range,
};

use super::{
    Error, Sample, Version, v1,
    v2::{self, Symbols},
    wire::Reader,
};

/// A whole request, read and not yet acted upon. The message it was read from must be given to whoever
/// looks at labels or histograms.
#[derive(Debug, Default)]
pub struct Request {
    version: Version,
    /// Whether places where labels end were guessed.
    pub(super) is_guessed: bool,
    /// Every series that carries samples or histograms, in the order of the body.
    pub series: Vec<SeriesView>,
    /// The samples of all series, one series after the other.
    pub samples: Vec<Sample>,
    /// How many exemplars it holds; they are accepted and not kept.
    pub exemplars: usize,
    pub(super) histograms: Vec<HistogramPlace>,
    /// Labels that a sender did not write in one run, copied together.
    pub(super) gathered: Vec<u8>,
    /// What the labels of a 2.0 request refer to.
    pub(super) symbols: Symbols,
}

/// A series of a request.
#[derive(Clone, Copy, Debug)]
pub struct SeriesView {
    /// Stands for the labels: the same for the same labels in the same encoding, which senders repeat.
    pub hash: u64,
    /// Where its samples end; they begin where those of the series before end.
    pub samples_end: u32,
    /// Where its histograms end.
    pub histograms_end: u32,
    pub(super) labels: Span,
    pub(super) is_gathered: bool,
}

/// A native histogram as it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncodedHistogram<'a> {
    /// The protobuf message.
    pub message: &'a [u8],
    /// When the series began, in milliseconds since the Unix epoch, if the histogram itself does not say; 0 if
    /// the series does not say either.
    pub series_start_ms: i64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct HistogramPlace {
    pub(super) span: Span,
    pub(super) series_start_ms: i64,
}

/// A part of the message. Messages are below 4 GiB: snappy has no larger ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) at: u32,
    pub(super) len: u32,
}

/// Name and value of a label, as bytes: nobody has checked them for UTF-8.
pub type RawLabel<'a> = (&'a [u8], &'a [u8]);

// Real requests have thousands; 32 MiB of the shortest possible series would be millions, each of them
// twenty times its size in memory.
pub(super) const ENTRIES_MAX: usize = 1_000_000;
// What the labels of a series usually take.
const LABEL_BYTES: usize = 256;

// === impl Request ===

impl Request {
    /// Reads a message, all of it, in place of what was read before. `hasher` makes the hashes of the
    /// labels.
    ///
    /// # Errors
    /// When the bytes are not protobuf of this schema.
    pub fn read(&mut self, version: Version, message: &[u8], hasher: &impl BuildHasher) -> Result<(), Error> {
        self.read_with(version, message, hasher, false)
    }

    /// Reads a message as [`read`](Self::read) does, but may skip labels: what ends like the series before is
    /// taken to have the same fields after its labels. If then all hashes are those of label blocks that
    /// were read in full before, everything is as if this had been, too: such a block is a run of whole
    /// fields, so that what follows it begins with a field. Otherwise the message is to be read again, if
    /// [`is_guessed`](Self::is_guessed).
    ///
    /// # Errors
    /// When the bytes are not protobuf of this schema.
    pub fn read_guessing(
        &mut self,
        version: Version,
        message: &[u8],
        hasher: &impl BuildHasher,
    ) -> Result<(), Error> {
        self.read_with(version, message, hasher, true)
    }

    /// Whether labels were skipped.
    pub fn is_guessed(&self) -> bool {
        self.is_guessed
    }

    fn read_with(
        &mut self,
        version: Version,
        message: &[u8],
        hasher: &impl BuildHasher,
        may_guess: bool,
    ) -> Result<(), Error> {
        self.version = version;
        self.is_guessed = false;
        self.series.clear();
        self.samples.clear();
        self.histograms.clear();
        self.gathered.clear();
        self.symbols.clear();
        self.exemplars = 0;
        match version {
            Version::V1 => v1::read(self, message, hasher, may_guess),
            Version::V2 => v2::read(self, message, hasher),
        }
    }

    /// Name and value of each label of a series, into `labels`.
    ///
    /// # Errors
    /// When they are not a run of labels; [`Error::References`] when they refer to symbols that are not there.
    pub fn labels<'a>(
        &'a self,
        message: &'a [u8],
        series: &SeriesView,
        labels: &mut Vec<RawLabel<'a>>,
    ) -> Result<(), Error> {
        labels.clear();
        match self.version {
            Version::V1 => v1::labels(self.encoded_labels(message, series), labels),
            Version::V2 => Ok(self.symbols.labels(message, series.labels, labels)?),
        }
    }

    /// The labels of a series as [`labels`](Self::labels) has them, if they are a label set in order and its
    /// hash is that which [`hash_labels`] gives to them. False if that is not seen at once.
    pub fn canonical_labels<'a>(
        &'a self,
        message: &'a [u8],
        series: &SeriesView,
        labels: &mut Vec<(&'a str, &'a str)>,
    ) -> bool {
        labels.clear();
        self.version == Version::V1
            && v1::canonical_labels(self.encoded_labels(message, series), labels).is_some()
    }

    /// Makes hashes that are the same only in requests with the same mark; 0 leaves them as they are.
    pub fn mark(&mut self, mark: u64) {
        if mark == 0 {
            return;
        }
        self.series.iter_mut().for_each(|series| series.hash ^= mark);
    }

    /// The encoded histograms of a range of them.
    pub fn histograms<'a>(
        &self,
        message: &'a [u8],
        range: Range<usize>,
    ) -> impl Iterator<Item = EncodedHistogram<'a>> {
        self.histograms[range].iter().map(|HistogramPlace { span, series_start_ms }| EncodedHistogram {
            message: &message[span.range()],
            series_start_ms: *series_start_ms,
        })
    }

    /// How many native histograms it holds.
    pub fn histogram_count(&self) -> usize {
        self.histograms.len()
    }

    /// For how many series it has memory.
    pub fn capacity(&self) -> usize {
        let series = self.series.capacity().max(self.samples.capacity());
        let labels = self.symbols.capacity().max(self.gathered.capacity() / LABEL_BYTES);
        series.max(self.histograms.capacity()).max(labels)
    }

    /// The label block of a series of a 1.0 request as it came.
    fn encoded_labels<'a>(&'a self, message: &'a [u8], series: &SeriesView) -> &'a [u8] {
        let source = if series.is_gathered { &self.gathered } else { message };
        &source[series.labels.range()]
    }

    /// Adds a histogram that ends at a place of the message.
    pub(super) fn push_histogram(&mut self, end: usize, encoded: &[u8]) {
        self.histograms.push(HistogramPlace { span: Span::before(end, encoded), series_start_ms: 0 });
    }

    /// Adds a series whose labels, samples and histograms have been read.
    pub(super) fn push_series(&mut self, hash: u64, labels: Span, is_gathered: bool) {
        let (samples_end, histograms_end) = (self.samples.len() as u32, self.histograms.len() as u32);
        self.series.push(SeriesView { hash, samples_end, histograms_end, labels, is_gathered });
    }

    /// Fails once there are so many entries that the memory of real requests is far exceeded.
    pub(super) fn check_size(&self, reader: &Reader<'_>) -> Result<(), Error> {
        if self.series.len() + self.samples.len() + self.histograms.len() > ENTRIES_MAX {
            return Err(reader.malformed("more than 1000000 series and samples"));
        }
        Ok(())
    }
}

// === impl Span ===

impl Span {
    /// The place of a part that lies in `message`.
    pub(super) fn new(range: Range<usize>) -> Self {
        Self { at: range.start as u32, len: range.len() as u32 }
    }

    /// The place of a part that ends at `end`.
    pub(super) fn before(end: usize, part: &[u8]) -> Self {
        Self::new(end - part.len()..end)
    }

    pub(super) fn range(self) -> Range<usize> {
        let at = self.at as usize;
        at..at + self.len as usize
    }
}

/// The hash that [`Request::read`] would give a series of these labels, sorted and written in one run.
pub fn hash_labels<'a>(
    hasher: &impl BuildHasher,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    block: &mut Vec<u8>,
) -> u64 {
    block.clear();
    v1::encode_labels(labels, block);
    hash_bytes(hasher, block)
}

/// The hash of bytes alone, without the length that [`BuildHasher::hash_one`] puts before them.
pub(super) fn hash_bytes(hasher: &impl BuildHasher, bytes: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}
