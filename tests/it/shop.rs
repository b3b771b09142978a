//! A service and its sender, a scrape at a time: what a test delivers is what slod should count.
//!
//! As Prometheus does, it sends what was not acknowledged again, byte for byte, before it goes on.

use std::{io, net::SocketAddr};

use slod::{
    labels::Labels,
    testing::{Sent, encode},
    time::Timestamp,
};

use crate::support::{Slod, seconds_since_epoch, try_post_write, wait_until, write_headers};

/// The requests of all instances, with an alert that fires soon, and those of each instance.
pub const SPEC: &str = r#"
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
      - {severity: page, burn_rate: 5, window: 1m, short_window: 5s}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: by-instance, service: shop}
spec:
  sli:
    type: availability
    bad: sum by (instance) (rate(requests_total{code="500"}[1m]))
    total: sum by (instance) (rate(requests_total[1m]))
  objective: {target: 99, window: 1h}
"#;

/// The state of the page: 2 when it fires.
pub const PAGE: &str = "slo_alert_state{service=\"shop\",slo=\"availability\",severity=\"page\"";
pub const EVALUATED_TO: &str = "slod_evaluated_to_timestamp_seconds";
const EVENTS: &str = "slo_events_total{service=\"shop\",slo=\"availability\"";
const BAD: &str = "slo_bad_events_total{service=\"shop\",slo=\"availability\"";
const INSTANCES: usize = 20;

/// Requests of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Events {
    pub bad: f64,
    pub total: f64,
}

/// What became of a request; the status is 0 where there was no answer.
#[derive(Debug)]
pub struct Delivery {
    pub status: u16,
    pub body: String,
}

/// A service whose counters a test moves, and its sender.
pub struct Shop {
    address: SocketAddr,
    /// Labels that the sender adds.
    external: Vec<(&'static str, &'static str)>,
    /// The time of the last scrape: samples of a series have different times.
    scraped: Timestamp,
    /// Of each instance.
    served: Events,
    baseline: Option<Events>,
    acknowledged: Events,
    /// What was scraped and is not acknowledged.
    unacknowledged: Option<(Events, Vec<u8>)>,
}

// === impl Shop ===

impl Shop {
    /// A service that has served before, and a sender to this address.
    pub fn new(address: SocketAddr) -> Self {
        Self::with_labels(address, &[])
    }

    /// As [`Shop::new`], with labels that the sender adds.
    pub fn with_labels(address: SocketAddr, external: &[(&'static str, &'static str)]) -> Self {
        let served = Events { bad: 1.0, total: 100.0 };
        Self {
            address,
            external: external.to_vec(),
            scraped: Timestamp(0),
            served,
            baseline: None,
            acknowledged: Events::default(),
            unacknowledged: None,
        }
    }

    /// Each instance serves so many requests, and so many of them fail.
    pub fn serve(&mut self, total: f64, bad: f64) {
        self.served = Events { bad: self.served.bad + bad, total: self.served.total + total };
    }

    /// Sends a scrape, or the one before if that is not acknowledged. Nobody may be there.
    pub fn try_deliver(&mut self) -> Delivery {
        let scraped = match self.unacknowledged.take() {
            Some(scraped) => scraped,
            None => (self.served, self.scrape()),
        };
        let length = format!("Content-Length: {}", scraped.1.len());
        let headers = [&write_headers()[..], &[length.as_str()]].concat();
        let answer = Delivery::of(try_post_write(self.address, &headers, &scraped.1));
        if answer.status == 204 {
            self.acknowledged = scraped.0;
            self.baseline.get_or_insert(scraped.0);
        } else {
            self.unacknowledged = Some(scraped);
        }
        answer
    }

    /// Sends a scrape, which is acknowledged.
    #[track_caller]
    pub fn deliver(&mut self) {
        let answer = self.try_deliver();
        assert_eq!(answer.status, 204, "{}", answer.body);
    }

    /// Serves and delivers for a while, one request in two failing until the page fires.
    #[track_caller]
    pub fn fail_until_paged(&mut self, slod: &Slod) {
        wait_until("the page fires", || {
            self.serve(10.0, 5.0);
            self.deliver();
            slod.sum(PAGE) == 2.0
        });
    }

    /// Fails unless slod counts exactly what was acknowledged.
    #[track_caller]
    pub fn check_counted(&self, slod: &Slod) {
        let settled = seconds_since_epoch();
        wait_until("all is evaluated", || slod.sum(EVALUATED_TO) > settled);
        let counted = Events { bad: slod.sum(BAD), total: slod.sum(EVENTS) };
        let (all, before) = (self.acknowledged, self.baseline.unwrap());
        let instances = INSTANCES as f64;
        let expected =
            Events { bad: (all.bad - before.bad) * instances, total: (all.total - before.total) * instances };
        assert_eq!(counted, expected, "{}", slod.log());
        let groups = slod.sum("slo_events_total{instance=");
        assert_eq!(groups, expected.total, "the groups are what their roll-up is\n{}", slod.log());
    }

    fn scrape(&mut self) -> Vec<u8> {
        let now_ms = (seconds_since_epoch() * 1_000.0) as i64;
        let at = Timestamp(now_ms.max(self.scraped.0 + 1));
        self.scraped = at;
        let Events { bad, total } = self.served;
        let mut sent = Vec::new();
        for instance in 0..INSTANCES {
            let instance = format!("shop-{instance}");
            for (code, value) in [("200", total - bad), ("500", bad)] {
                let own = [("__name__", "requests_total"), ("code", code), ("instance", &instance)];
                let labels = Labels::new(own.into_iter().chain(self.external.iter().copied())).unwrap();
                sent.push(Sent { labels, at, value });
            }
        }
        encode(&sent)
    }
}

// === impl Delivery ===

impl Delivery {
    fn of(answer: io::Result<String>) -> Self {
        let answer = answer.unwrap_or_else(|error| error.to_string());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or(("", &answer));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, body: body.to_owned() }
    }
}
