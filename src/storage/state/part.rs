//! What a store of the state is divided into, and how it changes.

/// The tables of the store. Each maps keys to values, both plain bytes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Few things about the whole.
    Meta,
    /// The SLOs that are in force.
    Slos,
    /// Their instances: which SLI number is whose.
    Instances,
    /// Sums, newest slots and alert states of SLIs.
    Heads,
    /// Slots of SLIs.
    Rings,
    /// Counter state of series.
    Series,
    /// When targets were scraped.
    Targets,
    /// Counts that wait to be placed.
    Pending,
    /// Samples of late that expressions are asked over, and steps that await an answer.
    Sampling,
    /// The replicas elected for clusters of senders.
    Elections,
}

/// A value that takes the place of what a key had; without one the key is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The table.
    pub part: Part,
    /// The key in it.
    pub key: Vec<u8>,
    /// The new value, as long as a snappy block can be: 4 GiB.
    pub value: Option<Vec<u8>>,
}

// === impl Part ===

impl Part {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 10] = [
        Self::Meta,
        Self::Slos,
        Self::Instances,
        Self::Heads,
        Self::Rings,
        Self::Series,
        Self::Targets,
        Self::Pending,
        Self::Sampling,
        Self::Elections,
    ];

    /// The name of the table. It is in files: it never changes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Slos => "slos",
            Self::Instances => "instances",
            Self::Heads => "heads",
            Self::Rings => "rings",
            Self::Series => "series",
            Self::Targets => "targets",
            Self::Pending => "pending",
            Self::Sampling => "sampling",
            Self::Elections => "elections",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_at_its_own_place() {
        for (index, part) in Part::ALL.into_iter().enumerate() {
            assert_eq!(part as usize, index);
        }
    }
}
