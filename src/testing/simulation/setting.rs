//! What stays the same in a run: how slod is configured, and the SLOs that may come into force.

use std::time::Duration;

use super::random::Random;
use crate::{
    engine, ingest, pipeline,
    slo::Slo,
    storage::log::{self, Durability},
    testing::slos,
};

/// Chosen once for each seed.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) pipeline: pipeline::Config,
    pub(super) log: log::Config,
    pub(super) checkpoint_interval: Duration,
    /// Whether series may be born, which the oracle can tell if the samples of a target come in their order.
    pub(super) has_births: bool,
    /// Whether the power may fail, and the disk.
    pub(super) has_faults: bool,
    /// Whether there is a pair of replicas.
    pub(super) has_pair: bool,
    /// Bits of closed segments flip: what they cost is named.
    pub(super) has_flips: bool,
}

/// How long a target is followed until its new series are taken for born.
pub(super) const WARM_UP: Duration = Duration::from_secs(60);

// So many are always in force.
const LASTING: usize = 2;

/// The SLO whose windows change.
pub(super) const SHIFTING: &str = "shifting";

const SPECS: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: shop}
spec:
  sli:
    type: availability
    bad: sum(rate(requests_total{code="500"}[1m]))
    total: sum(rate(requests_total[1m]))
  objective: {target: 99, window: 1h}
  alerting:
    burn_rate_alerts:
      - {severity: page, burn_rate: 10, window: 5m, short_window: 1m}
      - {severity: ticket, burn_rate: 5, window: 30m, short_window: 5m, for: 1m}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: by-zone, service: shop}
spec:
  sli:
    type: availability
    query: >
      sum by (zone) (rate(requests_total{code!~"5.."}[5m])) / sum by (zone) (rate(requests_total[5m]))
  objective: {target: 99, window: 1h}
  alerting:
    burn_rate_alerts: [{severity: page, burn_rate: 10, window: 5m, short_window: 1m}]
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: by-instance, service: shop}
spec:
  sli:
    type: availability
    query: >
      sum by (instance) (rate(requests_total{code="200"}[5m])) / sum by (instance) (rate(requests_total[5m]))
  objective: {target: 95, window: 1h}
  alerting:
    burn_rate_alerts: [{severity: page, burn_rate: 4, window: 5m, short_window: 1m}]
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: shifting, service: shop}
spec:
  sli:
    type: availability
    bad: sum(rate(requests_total{code="500",job="shop"}[1m]))
    total: sum(rate(requests_total{job="shop"}[1m]))
  objective: {target: 99, window: 1h}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: shifting, service: shop}
spec:
  sli:
    type: availability
    bad: sum(rate(requests_total{code="500"}[1m]))
    total: sum(rate(requests_total{code!="404"}[1m]))
  objective: {target: 99, window: 30m}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: shifting, service: shop}
spec:
  sli:
    type: availability
    bad: sum(rate(requests_total{code="500",job="shop"}[1m]))
    total: sum(rate(requests_total{job="shop"}[1m]))
  objective: {target: 99.5, window: 30m}
  alerting:
    burn_rate_alerts: [{severity: page, burn_rate: 10, window: 5m, short_window: 1m}]
"#;

// === impl Setting ===

impl Setting {
    pub(super) fn new(random: &mut Random) -> Self {
        let (has_births, has_faults) = (random.per_mille(500), random.per_mille(750));
        let warm_up = if has_births { WARM_UP } else { Duration::from_secs(86_400) };
        let log = log::Config {
            durability: if has_faults { Durability::Sync } else { Durability::Interval },
            segment_bytes: random.pick(&[2 << 10, 8 << 10, 64 << 10]),
            retention: Duration::from_secs(random.pick(&[0, 120])),
            free_bytes_min: 8 << 10,
            ..log::Config::default()
        };
        let pipeline = pipeline::Config {
            engine: engine::Config::default(),
            ingest: ingest::Config { warm_up, ..ingest::Config::default() },
            groups_per_slo_max: 100,
            pull_delay: Duration::ZERO,
            begins_after: None,
        };
        let checkpoint_interval = Duration::from_secs(random.pick(&[1, 7, 30, 120]));
        let has_flips = has_faults && random.per_mille(200);
        let has_pair = random.per_mille(400);
        Self { pipeline, log, checkpoint_interval, has_births, has_faults, has_pair, has_flips }
    }
}

/// Whether an SLO is always in force, so that the oracle knows what it must have counted.
pub(super) fn is_lasting(slo: &Slo) -> bool {
    matches!(slo.id.name.as_str(), "availability" | "by-zone")
}

/// What spec files may say: all of it valid, and the first ones always in it.
pub(super) fn specs(random: &mut Random) -> Vec<Slo> {
    let mut all = Vec::new();
    for text in SPECS.split("---") {
        all.extend(slos(text));
    }
    let shifting = all.split_off(LASTING + 1);
    let by_instance = all.split_off(LASTING);
    if random.per_mille(500) {
        all.extend(by_instance);
    }
    match random.below(4) {
        3 => (),
        any => all.push(shifting[any as usize].clone()),
    }
    // SLOs may move within the files, too.
    if random.per_mille(300) {
        all.reverse();
    }
    all
}
