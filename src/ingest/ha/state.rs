//! Elections that outlive the process: as plain data, and as the log of accepted requests tells of them.
//!
//! The invariant: no epoch is given twice, also by processes one after the other on the same data.

use super::{Elections, State};
use crate::time::Timestamp;

/// Who is elected in each cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElectionsState {
    /// The number of the last election.
    pub elections: u32,
    /// By the name of the cluster.
    pub clusters: Vec<ElectedState>,
}

/// The elected replica of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectedState {
    /// The cluster.
    pub cluster: String,
    /// The replica.
    pub replica: String,
    /// The number of the election that it won.
    pub epoch: u32,
    /// When its last request arrived.
    pub heard: Timestamp,
}

// === impl Elections ===

impl Elections {
    /// Who is elected at present.
    pub fn state(&self) -> ElectionsState {
        let State { clusters, elections } = &*self.state.lock();
        let mut clusters: Vec<ElectedState> = clusters
            .iter()
            .map(|(cluster, elected)| ElectedState {
                cluster: cluster.clone(),
                replica: elected.replica.clone(),
                epoch: elected.epoch,
                heard: elected.heard,
            })
            .collect();
        clusters.sort_unstable_by(|a, b| a.cluster.cmp(&b.cluster));
        ElectionsState { elections: *elections, clusters }
    }

    /// Goes on where elections were. To be called before any replica is admitted.
    pub fn restore(&self, from: &ElectionsState) {
        let state = &mut *self.state.lock();
        for ElectedState { cluster, replica, epoch, heard } in &from.clusters {
            self.install(state, cluster, replica, *epoch, *heard);
            state.elections = state.elections.max(*epoch);
        }
        state.elections = state.elections.max(from.elections);
    }

    /// Takes note of a request that was accepted in an election, as the log says. It is not decided upon anew:
    /// who was silent then may have been so for a request that was not accepted.
    ///
    /// A later election than is known took place; a request of a former one was still on its way.
    pub fn readmit(&self, cluster: &str, replica: &str, epoch: u32, now: Timestamp) {
        let state = &mut *self.state.lock();
        match state.clusters.get_mut(cluster) {
            Some(elected) if elected.epoch == epoch => elected.hear(now),
            Some(elected) if elected.epoch > epoch => (),
            _ => {
                self.install(state, cluster, replica, epoch, now);
                state.elections = state.elections.max(epoch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        ingest::ha::{Config, Verdict},
        telemetry::Telemetry,
    };

    fn elections() -> Elections {
        Elections::new(Config::default(), Telemetry::new().ha)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp(second * 1_000)
    }

    fn accepted(verdict: Verdict) -> Option<u32> {
        match verdict {
            Verdict::Accept { epoch } => Some(epoch),
            Verdict::Drop | Verdict::TooManyClusters => None,
        }
    }

    fn show(elections: &Elections) -> String {
        let ElectionsState { elections, clusters } = elections.state();
        let line = |of: ElectedState| format!("{} {} {} {}", of.cluster, of.replica, of.epoch, of.heard);
        format!("{elections}: {}", clusters.into_iter().map(line).collect::<Vec<_>>().join(", "))
    }

    /// Who is elected after `(cluster, replica, epoch, second)` were read of a log.
    #[track_caller]
    fn check(records: &[(&str, &str, u32, i64)], expected: &str) {
        let elections = elections();
        elections.restore(&ElectionsState {
            elections: 5,
            clusters: vec![ElectedState {
                cluster: "x".into(),
                replica: "a".into(),
                epoch: 4,
                heard: at(100),
            }],
        });
        for (cluster, replica, epoch, second) in records {
            elections.readmit(cluster, replica, *epoch, at(*second));
        }
        assert_eq!(show(&elections), expected);
    }

    #[test]
    fn the_log_is_believed() {
        check(&[], "5: x a 4 100.000");
        check(&[("x", "a", 4, 110)], "5: x a 4 110.000");
        // Sooner after the other than a vote would allow.
        check(&[("x", "b", 6, 101)], "6: x b 6 101.000");
        check(&[("x", "b", 6, 101), ("x", "a", 4, 102)], "6: x b 6 101.000");
        check(&[("y", "a", 5, 101)], "5: x a 4 100.000, y a 5 101.000");
        check(&[("x", "b", 7, 101), ("y", "a", 6, 102)], "7: x b 7 101.000, y a 6 102.000");
    }

    #[test]
    fn the_siblings_of_an_elected_replica_wait_on_after_a_restart() {
        let before = elections();
        assert_eq!(accepted(before.admit("x", "a", at(0))), Some(1));
        let after = elections();
        after.restore(&before.state());
        assert_eq!(after.admit("x", "b", at(29)), Verdict::Drop);
        assert_eq!(accepted(after.admit("x", "a", at(29))), Some(1));
        assert_eq!(accepted(after.admit("x", "b", at(59))), Some(2));
    }

    proptest! {
        /// Stopped at one moment, restored from an earlier one and the log since: whatever comes is decided as if
        /// there had been no stop.
        #[test]
        fn elections_go_on_where_they_were(
            requests in prop::collection::vec((0..3u8, 0..3u8, prop_oneof![0..9_000i64, 29_990..30_010i64]), 1..80),
            marked_after in 0..80usize,
            logged in 0..80usize,
        ) {
            let (through, mut other) = (elections(), elections());
            let (mut marked, mut log, mut now) = (ElectionsState::default(), Vec::new(), 0);
            for (n, (cluster, replica, later)) in requests.into_iter().enumerate() {
                if n == marked_after {
                    (marked, log) = (other.state(), Vec::new());
                }
                if n == marked_after + logged {
                    other = elections();
                    other.restore(&marked);
                    log.drain(..).for_each(|(cluster, replica, epoch, now): (String, String, u32, Timestamp)| {
                        other.readmit(&cluster, &replica, epoch, now);
                    });
                    prop_assert_eq!(other.state(), through.state());
                }
                now += later;
                let (cluster, replica, now) = (cluster.to_string(), replica.to_string(), Timestamp(now));
                let verdict = through.admit(&cluster, &replica, now);
                prop_assert_eq!(verdict, other.admit(&cluster, &replica, now));
                if let Some(epoch) = accepted(verdict) {
                    log.push((cluster, replica, epoch, now));
                }
            }
        }
    }
}
