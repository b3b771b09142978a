//! slod tells real Alertmanagers, and fake receivers in trouble: one incident is visible whatever is killed.

mod alertmanager;
mod receiver;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use slod::{
    labels::Labels,
    testing::{Sent, encode},
    time::Timestamp,
};

use crate::{
    shop::{PAGE, SPEC as SPECS, Shop},
    support::{Slod, free_address, post_write, seconds_since_epoch, wait_until, write_headers},
};
use alertmanager::{Alertmanager, Pair};
use receiver::{Answers, Receiver};

const EVALUATION: &str = "evaluation_delay: 1s\nstorage: {checkpoint_interval: 200ms}\n";

/// That of all instances alone, so that there is one alert.
fn spec() -> &'static str {
    SPECS.split("---").next().unwrap()
}

/// Half of the requests fail until it is dropped.
struct Failing {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<Shop>>,
}

#[test]
fn exactly_one_incident_is_visible_whatever_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut pair = Pair::start(directory.path());
    let targets = pair.targets();
    let config = format!(
        "{EVALUATION}alerting:\n  resend_delay: 10s\n  alertmanagers: [{{static_configs: [{{targets: [{targets}]}}]}}]\n"
    );
    let mut slod = Slod::start(spec(), &config);
    let failing = Failing::start(Shop::new(slod.address));
    wait_until("the page is at both", || pair.all().all(|one| one.alerts().len() == 1));
    let first = pair.first.alerts();
    assert_eq!(first[0]["labels"]["alertname"], "SLOErrorBudgetBurn", "{first:?}");
    assert_eq!(
        first[0]["annotations"]["summary"],
        "SLO availability of shop burns its error budget too fast."
    );
    let starts_at = first[0]["startsAt"].clone();
    let watch = pair.second.watch();

    pair.first.kill();
    wait_until("slod misses it", || slod.log().contains("alerts wait"));
    pair.first.start_again();
    wait_until("it is told again", || pair.first.is_ready() && pair.first.alerts().len() == 1);
    slod.kill();
    slod.start_again();
    slod.wait_until_ready();
    // More than the ten seconds after which firing alerts are told again.
    let sent = || slod.sum("slod_notifications_sent_total");
    wait_until("both are told again", || sent() >= 4.0);
    for one in pair.all() {
        let alerts = one.alerts();
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        assert_eq!(alerts[0]["startsAt"], starts_at, "the incident goes on");
    }
    let seen = watch.end();
    assert_eq!(seen, BTreeSet::from([vec![starts_at.to_string()]]), "never none, never another one");

    let mut shop = failing.end();
    wait_until("it is resolved at both", || {
        shop.serve(1_000.0, 0.0);
        shop.deliver();
        pair.all().all(|one| one.alerts().is_empty())
    });
    assert_eq!(slod.sum(PAGE), 0.0);
}

#[test]
fn a_receiver_in_trouble_holds_up_no_other() {
    let well = Receiver::start(Answers::Status("200 OK"));
    let failing = Receiver::start(Answers::StatusTwiceThenOk("503 Service Unavailable"));
    let refusing = Receiver::start(Answers::Status("400 Bad Request"));
    let silent = Receiver::start(Answers::Nothing);
    let gone = free_address();
    let targets: Vec<String> = [well.address, failing.address, refusing.address, silent.address, gone]
        .map(|address| format!("'{address}'"))
        .into();
    let config = format!(
        "{EVALUATION}alerting:\n  alertmanagers: [{{path_prefix: /am, timeout: 500ms, \
         static_configs: [{{targets: [{}]}}]}}]\n  external_labels: {{cluster: eu, severity: other}}\n\
         web: {{external_url: 'https://slod.example.com/x/'}}\n",
        targets.join(", ")
    );
    let slod = Slod::start(spec(), &config);
    let failing_shop = Failing::start(Shop::new(slod.address));
    let posted = well.next();
    assert_eq!(posted.path, "/am/api/v2/alerts");
    let alert = &posted.json()[0];
    assert_eq!(alert["labels"]["severity"], "page", "labels of the alert win: {alert}");
    assert_eq!(alert["labels"]["cluster"], "eu");
    assert_eq!(alert["generatorURL"], "https://slod.example.com/x/?service=shop&slo=availability");
    assert!(alert["endsAt"].as_str() > alert["startsAt"].as_str(), "{alert}");
    let of = |family: &str, receiver: std::net::SocketAddr| {
        slod.sum(&format!(
            "slod_notifications_{family}{{alertmanager=\"http://{receiver}/am/api/v2/alerts\"}}"
        ))
    };
    wait_until("it is sent again after 5xx", || of("sent_total", failing.address) >= 1.0);
    assert_eq!(of("errors_total", failing.address), 2.0);
    assert_eq!(failing.next().body, failing.next().body, "what failed is sent as it was");
    wait_until("4xx is not sent again", || of("dropped_total", refusing.address) == 1.0);
    assert!(slod.log().contains("no thanks"), "the server's words are told: {}", slod.log());
    wait_until("the silent one is given up, and tried again", || of("errors_total", silent.address) >= 2.0);
    wait_until("nobody is there", || of("errors_total", gone) >= 2.0);
    assert_eq!(of("queue_length", gone), 1.0);
    assert_eq!(slod.sum("slod_notifications_alertmanagers_discovered "), 5.0);
    assert_eq!(slod.sum("slod_notifications_queue_capacity "), 10_000.0);
    drop(failing_shop);
}

#[test]
fn alertmanager_is_found_by_file_over_tls_and_asks_who_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let alertmanager = Alertmanager::start_secured(directory.path());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let config = format!(
        "{EVALUATION}alerting: {{alertmanagers: [{{scheme: https, tls_config: {{ca_file: '{}'}}, \
         basic_auth: {{username: slod, password: test}}, file_sd_configs: [{{files: ['{}']}}]}}]}}\n",
        path("cert.pem"),
        path("targets*.json")
    );
    let slod = Slod::start(spec(), &config);
    assert_eq!(slod.sum("slod_notifications_alertmanagers_discovered "), 0.0);
    let _failing = Failing::start(Shop::new(slod.address));
    wait_until("the page fires", || slod.sum(PAGE) == 2.0);
    let targets = format!("[{{\"targets\": [\"{}\"]}}]", alertmanager.address);
    std::fs::write(path("targets.json"), targets).unwrap();
    let sent = || slod.sum("slod_notifications_sent_total");
    wait_until("who was found is told at once of what fires", || sent() == 1.0);
    std::fs::remove_file(path("targets.json")).unwrap();
    let discovered = || slod.sum("slod_notifications_alertmanagers_discovered ");
    wait_until("it is gone", || discovered() == 0.0 && slod.sum("slod_notifications_sent_total") == 0.0);
}

#[test]
fn a_webhook_is_signed_and_repeated_until_it_is_taken() {
    let receiver = Receiver::start(Answers::StatusTwiceThenOk("500 Internal Server Error"));
    let config = format!(
        "{EVALUATION}alerting: {{webhooks: [{{name: incidents, url: 'http://{}/hook?token=1', secret_file: secret, \
         headers: {{X-Team: a}}}}]}}\n",
        receiver.address
    );
    let slod = Slod::start(spec(), &config);
    std::fs::write(slod.directory.path().join("secret"), "key\n").unwrap();
    let failing = Failing::start(Shop::new(slod.address));
    let posts = [receiver.next(), receiver.next(), receiver.next()];
    for post in &posts {
        assert_eq!((post.path.as_str(), post.header("x-team")), ("/hook?token=1", "a"));
        assert!(post.is_signed_by("key") && !post.is_signed_by("other"), "{post:?}");
        assert_eq!(post.header("idempotency-key"), posts[0].header("idempotency-key"));
    }
    let message = posts[2].json();
    assert_eq!((&message["version"], &message["receiver"]), (&"4".into(), &"incidents".into()));
    assert_eq!((&message["status"], &message["alerts"][0]["status"]), (&"firing".into(), &"firing".into()));
    assert_eq!(message["commonLabels"]["slo"], "availability");
    assert_eq!(message["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
    let mut shop = failing.end();
    wait_until("the page is resolved", || {
        shop.serve(1_000.0, 0.0);
        shop.deliver();
        slod.sum(PAGE) == 0.0
    });
    let resolved = receiver.next();
    assert_eq!(resolved.json()["status"], "resolved");
    assert_eq!(resolved.json()["alerts"][0]["startsAt"], message["alerts"][0]["startsAt"]);
    assert_ne!(resolved.header("idempotency-key"), posts[0].header("idempotency-key"));
}

#[test]
fn ten_thousand_alerts_at_once_arrive_at_both() {
    const GROUPS: usize = 10_000;
    let directory = tempfile::tempdir().unwrap();
    let pair = Pair::start(directory.path());
    let targets = pair.targets();
    let config = format!(
        "{EVALUATION}ingest: {{warm_up: 0s}}\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: [{targets}]}}]}}]}}\n"
    );
    let slod = Slod::start(GROUPED, &config);
    deliver(&slod, GROUPS, 0.0, 100.0);
    wait_until("all groups are there", || slod.sum("slod_slo_instances ") > GROUPS as f64);
    let start = seconds_since_epoch();
    deliver(&slod, GROUPS, 50.0, 200.0);
    let told = |one: &Alertmanager| {
        one.metric("alertmanager_alerts_received_total{status=\"firing\",version=\"v2\"}") >= GROUPS as f64
    };
    wait_until("all are told", || pair.all().all(told));
    println!("10,000 alerts at two Alertmanagers after {:.1} s", seconds_since_epoch() - start);
    assert_eq!(slod.sum("slod_notifications_dropped_total"), 0.0);
}

const GROUPED: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: by-instance, service: shop}
spec:
  sli:
    type: availability
    bad: sum by (instance) (rate(requests_total{code="500"}[1m]))
    total: sum by (instance) (rate(requests_total[1m]))
  objective: {target: 99, window: 1h}
  alerting:
    burn_rate_alerts:
      - {severity: page, burn_rate: 5, window: 1m, short_window: 5s}
"#;

/// A scrape of so many instances.
fn deliver(slod: &Slod, instances: usize, bad: f64, total: f64) {
    let at = Timestamp((seconds_since_epoch() * 1_000.0) as i64);
    let series = |instance: usize| {
        let name = format!("shop-{instance}");
        [("200", total - bad), ("500", bad)].map(|(code, value)| {
            let labels = [("__name__", "requests_total"), ("code", code), ("instance", &name)];
            Sent { labels: Labels::new(labels).unwrap(), at, value }
        })
    };
    let sent: Vec<Sent> = (0..instances).flat_map(series).collect();
    let body = encode(&sent);
    let length = format!("Content-Length: {}", body.len());
    let answer = post_write(slod.address, &[&write_headers()[..], &[length.as_str()]].concat(), &body);
    assert_eq!(answer.status, 204, "{}", answer.body);
}

// === impl Failing ===

impl Failing {
    fn start(mut shop: Shop) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let is_done = Arc::clone(&done);
        let thread = thread::spawn(move || {
            while !is_done.load(Ordering::SeqCst) {
                shop.serve(10.0, 5.0);
                // slod may be gone for a while; what it did not acknowledge is sent again.
                shop.try_deliver();
                thread::sleep(Duration::from_millis(100));
            }
            while shop.try_deliver().status != 204 {}
            shop
        });
        Self { done, thread: Some(thread) }
    }

    /// The shop, in which nothing fails any more.
    fn end(mut self) -> Shop {
        self.done.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
    }
}
