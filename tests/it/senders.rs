//! Real senders in real trouble: Prometheus and vmagent scrape a service that this process plays, and the
//! network, the sender or the service breaks.
//!
//! Whatever broke, once all is well again slod has counted every request that the service served, and none
//! twice: retries are duplicates, counters bridge what was never sent, and a backlog lands in the past. Each
//! test is told which damage to expect, and checks that it happened.
//!
//! Prometheus is Debian's, or the one that `PROMETHEUS_3` names (`make test-peers`), which sends remote-write 2.0.

mod exporter;
mod proxy;
mod sender;

use std::{net::SocketAddr, path::Path, thread, time::Duration};

use tempfile::TempDir;

use crate::support::{Random, Slod, kills, seconds_since_epoch, wait_until};
use exporter::{Exporter, SERIES, Traffic};
use proxy::{LinkState, Proxy};
use sender::{Route, Sender};

/// Events of an SLO.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Events {
    pub bad: f64,
    pub total: f64,
}

/// slod, and a place for the files of senders.
struct Receiver {
    slod: Slod,
    senders: TempDir,
}

/// A page needs 5 % of requests to fail over a minute and over 5 s.
const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: shop}
spec:
  sli:
    type: availability
    bad: sum(rate(http_requests_total{job="shop",code="500"}[1m]))
    total: sum(rate(http_requests_total{job="shop"}[1m]))
  objective: {target: 99, window: 1h}
  alerting:
    burn_rate_alerts:
      - {severity: page, burn_rate: 5, window: 1m, short_window: 5s}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: by-instance, service: shop}
spec:
  sli:
    type: availability
    bad: sum by (instance) (rate(http_requests_total{job="shop",code="500"}[1m]))
    total: sum by (instance) (rate(http_requests_total{job="shop"}[1m]))
  objective: {target: 99, window: 1h}
"#;

const CONFIG: &str = "evaluation_delay: 1s\ningest: {warm_up: 5s}\n";
const MANY_CHECKPOINTS: &str = "storage: {checkpoint_interval: 200ms}\n";
const SOON_FAILOVER: &str = "ha: {failover_timeout: 5s}\n";
const PAGE: &str = "slo_alert_state{service=\"shop\",slo=\"availability\",severity=\"page\"";
const EVENTS_OF_ALL: &str = "{service=\"shop\",slo=\"availability\"";
// What would have to be scraped by now, were it not for the damage.
const SEVERAL_SCRAPES: Duration = Duration::from_secs(4);

#[test]
fn a_backlog_lands_in_the_past() {
    // At the same time, as both wait for most of it.
    thread::scope(|scope| {
        scope.spawn(|| outage(Sender::prometheus));
        scope.spawn(|| outage(Sender::vmagent));
    });
}

/// Answers are lost, a request is cut in two, then nothing gets through for half a minute in which the service
/// fails for a while. That is over when the backlog arrives, and so nobody is paged.
fn outage(start: fn(&Path, &str, Route<'_>, &[SocketAddr]) -> Sender) {
    let (receiver, shop) = (Receiver::start(), Exporter::start());
    let proxy = Proxy::start(receiver.slod.address);
    let route = Route { to: proxy.address, external_labels: "{}" };
    let mut sender = start(receiver.senders.path(), "sender", route, &[shop.address]);
    receiver.wait_for_series(SERIES);
    shop.serve(Traffic::Well);
    receiver.wait_for_events(300.0);

    proxy.set(LinkState::LosesAnswers);
    wait_until("a batch arrives twice", || receiver.samples("duplicate") > 0.0);
    proxy.set(LinkState::Stalls);
    wait_until("a request is cut in two", || proxy.harms() > 0);
    // Until the sender's patience is at an end.
    thread::sleep(Duration::from_secs(3));
    proxy.set(LinkState::Down);
    let before = receiver.events();
    thread::sleep(SEVERAL_SCRAPES);
    shop.serve(Traffic::Failing);
    thread::sleep(Duration::from_secs(4));
    shop.serve(Traffic::Well);
    thread::sleep(Duration::from_secs(12));
    assert!(proxy.harms() > 1, "the sender tried again");
    assert!(receiver.events().total <= before.total, "nothing gets through");

    proxy.set(LinkState::Up);
    let enough = shop.events();
    wait_until("the backlog has arrived", || {
        assert_eq!(receiver.slod.sum(PAGE), 0.0, "what is over pages nobody");
        receiver.events().total > enough.total
    });
    let over =
        |window: &str| receiver.slod.sum(&format!("slo_error_ratio{EVENTS_OF_ALL},window=\"{window}\""));
    assert!(over("1m") > 0.05, "the failures are in the long window: {}", over("1m"));
    assert_eq!(over("5s"), 0.0, "the failures are in the past");
    receiver.check_all_counted(&[&shop]);
    receiver.check_samples(&[("reset", 0.0), ("baseline", SERIES), ("gap", 0.0), ("refused", 0.0)]);
    sender.assert_alive();
}

#[test]
fn a_killed_sender_loses_nothing() {
    let (receiver, shop) = (Receiver::start(), Exporter::start());
    let mut prometheus = receiver.prometheus("sender", "{}", &[&shop]);
    receiver.wait_for_series(SERIES);
    shop.serve(Traffic::Well);
    receiver.wait_for_events(300.0);
    prometheus.kill();
    thread::sleep(SEVERAL_SCRAPES);
    shop.serve(Traffic::Failing);
    thread::sleep(SEVERAL_SCRAPES);
    shop.serve(Traffic::Well);
    let missed = shop.events();
    assert!(receiver.events().total < missed.total - 500.0, "nobody scraped meanwhile");
    prometheus.start();
    receiver.wait_for_events(missed.total + 100.0);
    receiver.check_all_counted(&[&shop]);
    receiver.check_samples(&[("reset", 0.0), ("baseline", SERIES), ("gap", 0.0), ("refused", 0.0)]);
}

#[test]
fn a_killed_slod_loses_nothing() {
    let mut random = Random::seeded("CRASH_SEED");
    let (mut receiver, shop) = (Receiver::start_with(MANY_CHECKPOINTS), Exporter::start());
    let mut prometheus = receiver.prometheus("sender", "{}", &[&shop]);
    receiver.wait_for_series(SERIES);
    shop.serve(Traffic::Failing);
    receiver.wait_for_events(50.0);
    for kill in 0..kills() {
        // One in three while it recovers, one in three after it was away for a while.
        match kill % 3 {
            0 => thread::sleep(Duration::from_millis(random.below(60))),
            _ => {
                receiver.slod.wait_until_ready();
                thread::sleep(Duration::from_millis(random.below(900)));
            }
        }
        receiver.slod.kill();
        if kill % 3 == 2 {
            thread::sleep(Duration::from_millis(random.below(1_500)));
        }
        receiver.slod.start_again();
    }
    receiver.slod.wait_until_ready();
    shop.serve(Traffic::Well);
    let served = shop.events();
    receiver.wait_for_events(served.total);
    receiver.check_all_counted(&[&shop]);
    receiver.check_samples(&[("reset", 0.0), ("baseline", 0.0), ("gap", 0.0), ("refused", 0.0)]);
    prometheus.assert_alive();
}

#[test]
fn a_restarted_service_is_a_reset() {
    let (receiver, shop) = (Receiver::start(), Exporter::start());
    let _prometheus = receiver.prometheus("sender", "{}", &[&shop]);
    receiver.wait_for_series(SERIES);
    shop.serve(Traffic::Failing);
    receiver.wait_for_events(200.0);
    shop.serve(Traffic::Well);
    receiver.wait_for_events(500.0);
    // So quickly that no scrape fails. What it serves before the next one is counted by the reset.
    shop.quiesce();
    shop.restart();
    shop.serve(Traffic::Failing);
    receiver.wait_for_events(shop.events().total + 50.0);
    receiver.check_samples(&[("reset", SERIES), ("stale_marker", 0.0)]);
    // Long enough that scrapes fail and its series end.
    shop.serve(Traffic::Well);
    receiver.wait_for_events(shop.events().total + 50.0);
    shop.quiesce();
    shop.go_down();
    wait_until("its series end", || receiver.samples("stale_marker") == SERIES);
    shop.restart();
    shop.serve(Traffic::Failing);
    receiver.wait_for_events(shop.events().total + 50.0);
    receiver.check_all_counted(&[&shop]);
    receiver.check_samples(&[("reset", 2.0 * SERIES), ("baseline", SERIES), ("gap", 0.0), ("refused", 0.0)]);
}

#[test]
fn targets_come_and_go() {
    let (receiver, [a, b, c]) = (Receiver::start(), [(); 3].map(|()| Exporter::start()));
    let prometheus = receiver.prometheus("sender", "{}", &[&a, &b]);
    receiver.wait_for_series(2.0 * SERIES);
    [&a, &b].iter().for_each(|shop| shop.serve(Traffic::Well));
    receiver.wait_for_events(300.0);

    prometheus.set_targets(&[a.address, b.address, c.address]);
    receiver.wait_for_series(3.0 * SERIES);
    c.serve(Traffic::Failing);
    let is_stale = |shop: &Exporter| {
        let group =
            format!("slo_data_status{{instance=\"{}\",service=\"shop\",slo=\"by-instance\"", shop.address);
        receiver.slod.sum(&format!("{group},status=\"stale\"")) == 1.0
    };
    wait_until("the new target counts", || receiver.events().bad > 100.0);
    b.quiesce();
    prometheus.set_targets(&[a.address, c.address]);
    wait_until("the series of the removed target end", || is_stale(&b));
    assert!(!is_stale(&a) && !is_stale(&c), "the others go on");
    receiver.check_samples(&[("stale_marker", SERIES), ("baseline", 3.0 * SERIES)]);

    prometheus.set_targets(&[b.address, c.address]);
    wait_until("a target is back", || !is_stale(&b));
    wait_until("the series of the other end", || is_stale(&a));
    // A served on while nobody looked: it has to come back for that.
    b.serve(Traffic::Well);
    prometheus.set_targets(&[a.address, b.address, c.address]);
    wait_until("all are there", || [&a, &b, &c].map(is_stale) == [false; 3]);
    receiver.check_all_counted(&[&a, &b, &c]);
    receiver.check_samples(&[("reset", 0.0), ("baseline", 3.0 * SERIES), ("gap", 0.0), ("refused", 0.0)]);
}

#[test]
fn a_pair_of_replicas_counts_once() {
    let (receiver, shop) = (Receiver::start_with(SOON_FAILOVER), Exporter::start());
    let mut first = receiver.prometheus("first", "{cluster: shops, __replica__: first}", &[&shop]);
    receiver.wait_for_series(SERIES);
    shop.serve(Traffic::Well);
    let _second = receiver.prometheus("second", "{cluster: shops, __replica__: second}", &[&shop]);
    wait_until("the other replica is turned away", || receiver.requests("202") > 2.0);
    receiver.wait_for_events(300.0);
    assert!(receiver.is_elected("first"));

    first.kill();
    shop.serve(Traffic::Failing);
    let missed = shop.events();
    receiver.wait_for_events(missed.total + 100.0);
    assert!(receiver.is_elected("second"));
    shop.serve(Traffic::Well);
    let turned_away = receiver.requests("202");
    first.start();
    wait_until("the first one is turned away now", || receiver.requests("202") > turned_away + 1.0);
    receiver.check_all_counted(&[&shop]);
    receiver.check_samples(&[("reset", 0.0), ("baseline", SERIES), ("gap", 0.0), ("refused", 0.0)]);
    assert_eq!(receiver.slod.sum("slod_ha_elected_replica_changes_total{cluster=\"shops\"}"), 1.0);
}

// === impl Receiver ===

impl Receiver {
    fn start() -> Self {
        Self::start_with("")
    }

    fn start_with(config: &str) -> Self {
        let config = format!("{CONFIG}{config}");
        Self { slod: Slod::start(SPEC, &config), senders: tempfile::tempdir().unwrap() }
    }

    fn prometheus(&self, name: &str, external_labels: &str, targets: &[&Exporter]) -> Sender {
        let route = Route { to: self.slod.address, external_labels };
        let targets: Vec<_> = targets.iter().map(|target| target.address).collect();
        Sender::prometheus(self.senders.path(), name, route, &targets)
    }

    /// Nothing is counted before the counters have a baseline, so nothing should happen before.
    #[track_caller]
    fn wait_for_series(&self, series: f64) {
        wait_until("slod follows the service", || self.samples("baseline") == series);
    }

    #[track_caller]
    fn wait_for_events(&self, events: f64) {
        wait_until(&format!("{events} events are counted"), || self.events().total >= events);
    }

    /// Once the last scrape has arrived, every event is counted, and none twice.
    #[track_caller]
    fn check_all_counted(&self, services: &[&Exporter]) {
        services.iter().for_each(|service| service.quiesce());
        let served = services.iter().map(|service| service.events());
        let expected = served.fold(Events { bad: 0.0, total: 0.0 }, |sum, events| Events {
            bad: sum.bad + events.bad,
            total: sum.total + events.total,
        });
        assert!(expected.bad > 0.0, "a test without failures");
        wait_until(&format!("all events are counted: {expected:?}"), || self.events() == expected);
        // An event counted twice would show itself with the scrapes that follow.
        let settled = seconds_since_epoch() + 1.0;
        wait_until("later scrapes are evaluated", || {
            self.slod.sum("slod_evaluated_to_timestamp_seconds") > settled
        });
        assert_eq!(self.events(), expected, "{}", self.slod.log());
    }

    /// How many samples came to each of these ends.
    #[track_caller]
    fn check_samples(&self, expected: &[(&str, f64)]) {
        for (outcome, samples) in expected {
            assert_eq!(self.samples(outcome), *samples, "{outcome}");
        }
    }

    fn events(&self) -> Events {
        let of = |family: &str| self.slod.sum(&format!("{family}{EVENTS_OF_ALL}"));
        Events { bad: of("slo_bad_events_total"), total: of("slo_events_total") }
    }

    fn samples(&self, outcome: &str) -> f64 {
        self.slod.sum(&format!("slod_ingest_samples_total{{outcome=\"{outcome}\""))
    }

    fn requests(&self, code: &str) -> f64 {
        self.slod.sum(&format!("slod_ingest_requests_total{{code=\"{code}\""))
    }

    fn is_elected(&self, replica: &str) -> bool {
        self.slod.sum(&format!("slod_ha_elected_replica{{cluster=\"shops\",replica=\"{replica}\"}}")) == 1.0
    }
}
