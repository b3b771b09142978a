//! Pairs of senders: two Prometheus servers that scrape the same, told apart by a replica label, count once.
//!
//! Each cluster elects a replica, the first that is heard. The requests of its siblings are dropped until
//! nothing came from the elected one for `failover_timeout` of receive time; then whoever asks first takes
//! over. That is what Mimir and Cortex do with the same labels and the same times. Knows names and times of
//! arrival, not samples: what a request holds decides nothing.
//!
//! Invariant: at any time one replica of a cluster is accepted, and a dead one holds up its siblings no
//! longer than `failover_timeout`, whatever the clock does.

mod state;

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;

use crate::{
    telemetry::{ClusterMetrics, HaMetrics},
    time::Timestamp,
};

pub use state::{ElectedState, ElectionsState};

/// By which labels replicas are told apart, and the bounds of their elections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The label that names a pair.
    pub cluster_label: String,
    /// The label that names a sender within its pair. When empty, no sender is one of a pair.
    pub replica_label: String,
    /// How long nothing must have come from the elected replica before another takes over.
    pub failover_timeout: Duration,
    /// The most clusters at once. Requests of further ones are answered 400.
    pub clusters_max: usize,
}

/// Who is elected in each cluster. Shared by all requests; asked once for each.
#[derive(Debug)]
pub struct Elections {
    config: Config,
    telemetry: HaMetrics,
    state: Mutex<State>,
}

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Count it.
    Accept {
        /// The number of the election its replica won; none is given twice. A series whose last sample came
        /// in another epoch was followed by another replica then. Never 0.
        epoch: u32,
    },
    /// Answer as if it were counted: the elected replica sends the same.
    Drop,
    /// Refuse it: there are as many clusters as may be.
    TooManyClusters,
}

#[derive(Debug, Default)]
struct State {
    clusters: HashMap<String, Elected>,
    elections: u32,
}

/// The elected replica of a cluster.
#[derive(Debug)]
struct Elected {
    replica: String,
    epoch: u32,
    /// When its last request arrived.
    heard: Timestamp,
    telemetry: ClusterMetrics,
}

// As Mimir: long enough for any restart of a sender, short enough to make room for others.
const FORGET_AFTER: Duration = Duration::from_secs(30 * 60);

// === impl Elections ===

impl Elections {
    /// Elections in which nobody has stood yet.
    pub fn new(config: Config, telemetry: HaMetrics) -> Self {
        Self { config, telemetry, state: Mutex::default() }
    }

    /// Whether pairs are looked for at all.
    pub fn is_on(&self) -> bool {
        !self.config.replica_label.is_empty()
    }

    /// Takes away what tells the series of replicas apart.
    pub fn unify(&self, labels: &mut Vec<(&str, &str)>) {
        labels.retain(|(name, _)| *name != self.config.replica_label);
    }

    /// The cluster and the replica that labels name; `None` when the sender is not one of a pair. The labels
    /// of the first series speak for a request, as external labels are on all of them.
    pub fn pair_of<'a>(
        &self,
        labels: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Option<(&'a str, &'a str)> {
        let (mut cluster, mut replica) = ("", "");
        for (name, value) in labels {
            if name == self.config.replica_label.as_bytes() {
                replica = str::from_utf8(value).ok()?;
            } else if name == self.config.cluster_label.as_bytes() {
                cluster = str::from_utf8(value).ok()?;
            }
        }
        let is_pair = self.is_on() && !cluster.is_empty() && !replica.is_empty();
        is_pair.then_some((cluster, replica))
    }

    /// Decides on a request of a replica that arrived at `now`.
    pub fn admit(&self, cluster: &str, replica: &str, now: Timestamp) -> Verdict {
        let state = &mut *self.state.lock();
        if let Some(elected) = state.clusters.get_mut(cluster) {
            elected.lower_to(now);
            if elected.replica == replica {
                elected.hear(now);
                return Verdict::Accept { epoch: elected.epoch };
            }
            if now.since(elected.heard) < self.config.failover_timeout {
                return Verdict::Drop;
            }
        } else {
            self.forget_silent(state, now);
            if state.clusters.len() >= self.config.clusters_max {
                return Verdict::TooManyClusters;
            }
        }
        Verdict::Accept { epoch: self.elect(state, cluster, replica, now) }
    }

    /// Counts the samples of a dropped request.
    pub fn note_deduplicated(&self, cluster: &str, samples: usize) {
        if let Some(elected) = self.state.lock().clusters.get(cluster) {
            elected.telemetry.deduplicated.inc_by(samples as u64);
        }
    }

    /// Forgets clusters that have been silent for long. To be called now and then.
    pub fn sweep(&self, now: Timestamp) {
        self.forget_silent(&mut self.state.lock(), now);
    }

    fn elect(&self, state: &mut State, cluster: &str, replica: &str, now: Timestamp) -> u32 {
        state.elections = state.elections.wrapping_add(1).max(1);
        let epoch = state.elections;
        self.install(state, cluster, replica, epoch, now);
        epoch
    }

    /// Puts the winner of an election in its place.
    fn install(&self, state: &mut State, cluster: &str, replica: &str, epoch: u32, now: Timestamp) {
        let former = state.clusters.remove(cluster);
        let former = former.as_ref().map(|elected| elected.replica.as_str());
        let telemetry = self.telemetry.elect(cluster, former, replica);
        let mut elected = Elected { replica: replica.to_owned(), epoch, heard: now, telemetry };
        elected.hear(now);
        state.clusters.insert(cluster.to_owned(), elected);
        self.telemetry.clusters.set(state.clusters.len() as i64);
    }

    fn forget_silent(&self, state: &mut State, now: Timestamp) {
        let forget_after = self.config.failover_timeout.max(FORGET_AFTER);
        state.clusters.retain(|cluster, elected| {
            elected.lower_to(now);
            let is_kept = now.since(elected.heard) < forget_after;
            if !is_kept {
                self.telemetry.forget(cluster, &elected.replica);
            }
            is_kept
        });
        self.telemetry.clusters.set(state.clusters.len() as i64);
    }
}

// === impl Elected ===

impl Elected {
    fn hear(&mut self, now: Timestamp) {
        self.heard = now;
        self.telemetry.heard.set(now.seconds());
    }

    /// Takes back a time after the present: the clock was set back, and nobody should wait until it is
    /// there again.
    fn lower_to(&mut self, now: Timestamp) {
        self.heard = self.heard.min(now);
    }
}

// === impl Config ===

impl Default for Config {
    /// Labels and failover as in Mimir and Cortex; clusters as in Mimir.
    fn default() -> Self {
        Self {
            cluster_label: "cluster".to_owned(),
            replica_label: "__replica__".to_owned(),
            failover_timeout: Duration::from_secs(30),
            clusters_max: 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Telemetry;
    use proptest::prelude::*;

    const DROP: Option<u32> = None;

    fn elections(clusters_max: usize) -> (Elections, Telemetry) {
        let telemetry = Telemetry::new();
        let config = Config { clusters_max, ..Config::default() };
        (Elections::new(config, telemetry.ha.clone()), telemetry)
    }

    /// The epoch in which each `(second, replica)` of a cluster is accepted.
    #[track_caller]
    fn check(requests: &[(i64, &str)], expected: &[Option<u32>]) {
        let (elections, _) = elections(1);
        let epochs: Vec<_> = requests
            .iter()
            .map(|(second, replica)| match elections.admit("prod", replica, Timestamp(second * 1_000)) {
                Verdict::Accept { epoch } => Some(epoch),
                Verdict::Drop => DROP,
                Verdict::TooManyClusters => panic!("one cluster is too many"),
            })
            .collect();
        assert_eq!(epochs, expected, "{requests:?}");
    }

    #[test]
    fn the_first_replica_is_elected_and_its_siblings_dropped() {
        check(
            &[(0, "a"), (1, "b"), (5, "a"), (6, "b"), (34, "c"), (34, "a")],
            &[Some(1), DROP, Some(1), DROP, DROP, Some(1)],
        );
    }

    #[test]
    fn another_takes_over_after_the_timeout_and_keeps_the_place() {
        check(
            &[(0, "a"), (29, "b"), (30, "b"), (31, "a"), (31, "b"), (61, "a")],
            &[Some(1), DROP, Some(2), DROP, Some(2), Some(3)],
        );
    }

    #[test]
    fn the_elected_replica_may_be_silent_where_nobody_else_asks() {
        check(&[(0, "a"), (600, "a"), (629, "b")], &[Some(1), Some(1), DROP]);
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        // The elected one goes on.
        check(
            &[(9_000, "a"), (10, "b"), (20, "a"), (49, "b"), (50, "b")],
            &[Some(1), DROP, Some(1), DROP, Some(2)],
        );
        // The elected one is dead.
        check(&[(9_000, "a"), (10, "b"), (39, "b"), (40, "b")], &[Some(1), DROP, DROP, Some(2)]);
    }

    #[test]
    fn there_are_so_many_clusters_and_silent_ones_make_room() {
        let (elections, _) = elections(2);
        let admit = |cluster, second: i64| elections.admit(cluster, "a", Timestamp(second * 1_000));
        assert_eq!(admit("one", 0), Verdict::Accept { epoch: 1 });
        assert_eq!(admit("two", 60), Verdict::Accept { epoch: 2 });
        assert_eq!(admit("three", 1_799), Verdict::TooManyClusters);
        assert_eq!(admit("three", 1_800), Verdict::Accept { epoch: 3 });
        assert_eq!(admit("one", 1_800), Verdict::TooManyClusters);
        assert_eq!(admit("two", 1_801), Verdict::Accept { epoch: 2 });
        // Not an epoch of before, which series may still hold.
        assert_eq!(admit("one", 9_000), Verdict::Accept { epoch: 4 });
    }

    #[test]
    fn a_pair_has_both_labels() {
        let (elections, telemetry) = elections(1);
        let pair = |labels: &[(&'static str, &'static str)]| {
            elections.pair_of(labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
        };
        let (cluster, replica, job) = (("cluster", "prod"), ("__replica__", "a"), ("job", "x"));
        assert_eq!(pair(&[replica, cluster, job]), Some(("prod", "a")));
        for single in [&[cluster, job][..], &[replica, job], &[("cluster", ""), replica], &[]] {
            assert_eq!(pair(single), None, "{single:?}");
        }
        assert_eq!(elections.pair_of([(&b"cluster"[..], &b"\xff"[..]), (b"__replica__", b"a")]), None);
        let off = Config { replica_label: String::new(), ..Config::default() };
        let off = Elections::new(off, telemetry.ha);
        assert_eq!(off.pair_of([(&b"cluster"[..], &b"prod"[..]), (b"", b"a")]), None);
    }

    #[track_caller]
    fn check_metrics(telemetry: &Telemetry, expected: &[&str]) {
        let text = prometheus::TextEncoder::new().encode_to_string(&telemetry.gather()).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("slod_ha_")).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn metrics_show_who_is_elected_and_forget_who_is_gone() {
        let (elections, telemetry) = elections(2);
        check_metrics(&telemetry, &["slod_ha_clusters 0"]);
        elections.admit("prod", "a", Timestamp(1_000));
        elections.admit("prod", "b", Timestamp(40_000));
        assert_eq!(elections.admit("prod", "a", Timestamp(41_500)), Verdict::Drop);
        elections.note_deduplicated("prod", 7);
        elections.admit("prod", "b", Timestamp(42_500));
        check_metrics(
            &telemetry,
            &[
                "slod_ha_clusters 1",
                "slod_ha_deduplicated_samples_total{cluster=\"prod\"} 7",
                "slod_ha_elected_replica{cluster=\"prod\",replica=\"b\"} 1",
                "slod_ha_elected_replica_changes_total{cluster=\"prod\"} 1",
                "slod_ha_elected_replica_timestamp_seconds{cluster=\"prod\"} 42.5",
            ],
        );
        elections.sweep(Timestamp(42_500) + FORGET_AFTER);
        elections.note_deduplicated("prod", 7);
        check_metrics(&telemetry, &["slod_ha_clusters 0"]);
    }

    /// Keeps every accepted request, and decides by reading all of them.
    #[derive(Default)]
    struct Model(Vec<(u8, u8, i64)>);

    impl Model {
        fn accepts(&mut self, (cluster, replica, now): (u8, u8, i64), clusters_max: usize) -> Option<bool> {
            let is_fresh = |at: i64| now - at < 30 * 60_000;
            let last = self.0.iter().rfind(|(of, _, at)| *of == cluster && is_fresh(*at));
            let others: std::collections::BTreeSet<u8> = self
                .0
                .iter()
                .filter(|(of, _, at)| *of != cluster && is_fresh(*at))
                .map(|(of, ..)| *of)
                .collect();
            let accepted = match last {
                Some((_, elected, at)) => *elected == replica || now - at >= 30_000,
                None if others.len() >= clusters_max => return None,
                None => true,
            };
            if accepted {
                self.0.push((cluster, replica, now));
            }
            Some(accepted)
        }
    }

    proptest! {
        #[test]
        fn elections_go_as_in_the_model(
            requests in proptest::collection::vec(
                (0..4u8, 0..3u8, prop_oneof![20 => 0..9_000i64, 3 => 29_990..30_010i64, 1 => 0..4_000_000i64]),
                1..200,
            ),
            sweeps in proptest::collection::vec(any::<bool>(), 200),
        ) {
            let (elections, _) = elections(2);
            let (mut model, mut now) = (Model::default(), 0);
            let mut last: HashMap<u8, (u8, i64, u32)> = HashMap::new();
            for ((cluster, replica, later), sweep) in requests.into_iter().zip(sweeps) {
                now += later;
                if sweep {
                    elections.sweep(Timestamp(now));
                }
                let verdict = elections.admit(&cluster.to_string(), &replica.to_string(), Timestamp(now));
                let expected = model.accepts((cluster, replica, now), 2);
                let Verdict::Accept { epoch } = verdict else {
                    prop_assert_eq!(expected, (verdict == Verdict::Drop).then_some(false));
                    continue;
                };
                prop_assert_eq!(expected, Some(true));
                if let Some((former, at, before)) = last.insert(cluster, (replica, now, epoch)) {
                    prop_assert!(epoch >= before);
                    prop_assert!((former == replica) == (epoch == before) || now - at >= 30 * 60_000);
                }
            }
        }

        #[test]
        fn whatever_the_clock_did_a_replica_waits_for_one_timeout_at_most(
            past in proptest::collection::vec((0..2u8, any::<i64>()), 0..20),
            now in any::<i64>(),
        ) {
            let (elections, _) = elections(1);
            for (replica, at) in past {
                elections.admit("prod", &replica.to_string(), Timestamp(at));
            }
            let now = Timestamp(now);
            let first = elections.admit("prod", "new", now);
            let second = elections.admit("prod", "new", now + Config::default().failover_timeout);
            let is_accepted = |verdict| matches!(verdict, Verdict::Accept { .. });
            let is_end_of_time = now > Timestamp(i64::MAX) - Config::default().failover_timeout;
            prop_assert!(is_accepted(first) || is_accepted(second) || is_end_of_time);
        }
    }
}
