//! What slod writes to other servers: the series of the page, at their event time, each once, and ended when they end.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use prost::Message;
use slod::{
    client,
    exposition::{self, Dialect},
    labels::Labels,
    prompb::{decompress, generated::v1::WriteRequest},
    remote_write::{Batch, Config, Rounds},
    testing::{Sent, World, parse_labels, slos},
    time::Timestamp,
};

use crate::{
    history::Server,
    shop::{self, Shop},
    support::{Slod, json, wait_until},
};

const START: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);
const STALE: u64 = 0x7ff0_0000_0000_0002;

const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: NAME, service: api}
spec:
  sli: {bad: "sum(rate(errors_total[5m]))", total: "sum(rate(requests_total[5m]))"}
  objective: {target: 99, window: 1d}
  alerting: {burn_rate_alerts: [{severity: page, burn_rate: 5, window: 10m, short_window: 1m}]}
"#;

/// A receiver that answers with these statuses, then with 204, and keeps what it takes.
struct Receiver {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Taken>>>,
}

struct Taken {
    status: u16,
    head: String,
    samples: BTreeMap<String, (i64, f64)>,
}

// === without IO ===

fn config() -> Config {
    Config {
        name: "test".to_owned(),
        client: client::Config {
            address: "http://127.0.0.1:1/write".parse().unwrap(),
            credentials: None,
            headers: Vec::new(),
            tls: client::Tls::default(),
            timeout: SECOND,
            response_bytes_max: 1,
        },
        interval: SECOND,
        external_labels: Labels::new([("cluster", "eu"), ("slo", "not this")]).unwrap(),
        excluded: BTreeSet::from(["slo_info".to_owned()]),
        sends_alerts: true,
        queue_bytes_max: 1 << 20,
    }
}

fn world(names: &[&str]) -> World {
    World::immediate(specs(names), SECOND, START)
}

fn specs(names: &[&str]) -> Vec<slod::slo::Slo> {
    // No two promise the same, which would be a mistake.
    let spec = |name: &&str| {
        let target = 99 - name.len() - usize::from(name.as_bytes()[0] % 10);
        SPEC.replace("NAME", name).replace("target: 99", &format!("target: {target}"))
    };
    slos(&names.iter().map(spec).collect::<Vec<_>>().join("---"))
}

/// Requests for so long, of which some are errors.
fn run(world: &mut World, from: Timestamp, steps: u32, errors: f64) -> Timestamp {
    let mut at = from;
    for _ in 0..steps {
        at = at + Duration::from_secs(10);
        let count = at.since(START).as_secs_f64();
        let sent = [("requests_total", count), ("errors_total", count * errors)];
        let sent = sent.map(|(name, value)| Sent { labels: parse_labels(name).unwrap(), at, value });
        world.send(&sent, at).unwrap();
        world.tick(at);
    }
    at
}

fn samples(body: &[u8]) -> BTreeMap<String, (i64, f64)> {
    let mut message = Vec::new();
    decompress(body, 32 << 20, &mut message).unwrap();
    let mut samples = BTreeMap::new();
    for series in WriteRequest::decode(&message[..]).unwrap().timeseries {
        let names: Vec<&str> = series.labels.iter().map(|label| label.name.as_str()).collect();
        assert!(names.is_sorted(), "{names:?}");
        let labels = Labels::new(series.labels.iter().map(|label| (&label.name, &label.value))).unwrap();
        let sample = &series.samples[0];
        assert_eq!(
            samples.insert(labels.to_string(), (sample.timestamp, sample.value)),
            None,
            "{labels} twice"
        );
    }
    samples
}

fn all(round: &[Batch]) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for batch in round {
        let of_batch = samples(&batch.body);
        assert_eq!(of_batch.len(), batch.samples);
        all.extend(of_batch.into_iter().map(|(series, (_, value))| (series, value)));
    }
    all
}

fn ended(round: &BTreeMap<String, f64>) -> Vec<&String> {
    round.iter().filter(|(_, value)| value.to_bits() == STALE).map(|(series, _)| series).collect()
}

#[test]
fn a_round_has_the_series_of_the_page_and_external_labels() {
    let mut world = world(&["a", "b"]);
    let at = run(&mut world, START, 30, 0.0);
    let report = world.tick(at);
    let published = exposition::Config { compat: BTreeSet::from([Dialect::Sloth]), ..Default::default() };
    let mut rounds = Rounds::new(config(), &published);
    let round = rounds.next(&report);
    assert!(
        round
            .iter()
            .all(|batch| samples(&batch.body).values().all(|(time, _)| *time == report.evaluated_at.0))
    );
    let mut expected = BTreeMap::new();
    exposition::visit(&report, &published, |name, labels, value| {
        let labels = labels.iter().copied().chain([("__name__", name), ("cluster", "eu")]);
        if name != "slo_info" {
            let labels: BTreeMap<&str, &str> = [("slo", "not this")].into_iter().chain(labels).collect();
            expected.insert(Labels::new(labels).unwrap().to_string(), value);
        }
    });
    assert_eq!(all(&round), expected);
    assert!(rounds.next(&report).is_empty(), "time has not gone on");
}

#[test]
fn series_that_are_not_there_any_more_are_ended_once() {
    let mut world = world(&["a", "b"]);
    let mut rounds = Rounds::new(config(), &exposition::Config::default());
    let at = run(&mut world, START, 30, 0.0);
    let before = all(&rounds.next(&world.tick(at)));
    assert_eq!(ended(&before), [&""; 0]);
    world.install(specs(&["b", "c"]));
    let after = all(&rounds.next(&world.tick(at + SECOND)));
    let of_a: Vec<&String> = before.keys().filter(|series| series.contains("slo=\"a\"")).collect();
    assert!(of_a.len() > 10);
    assert_eq!(ended(&after), of_a);
    assert!(after.keys().any(|series| series.contains("slo=\"c\"")));
    assert_eq!(ended(&all(&rounds.next(&world.tick(at + SECOND * 2)))), [&""; 0]);
}

#[test]
fn alerts_go_along_and_end() {
    let mut world = world(&["a"]);
    let mut rounds = Rounds::new(config(), &exposition::Config::default());
    let at = run(&mut world, START, 60, 0.5);
    let firing = all(&rounds.next(&world.tick(at)));
    let alerts: Vec<&String> = firing.keys().filter(|series| series.contains("ALERTS")).collect();
    assert_eq!(alerts.len(), 1, "{firing:?}");
    for part in ["alertname=\"SLOErrorBudgetBurn\"", "alertstate=\"firing\"", "slo=\"a\"", "cluster=\"eu\""] {
        assert!(alerts[0].contains(part), "{alerts:?}");
    }
    let at = run(&mut world, at, 90, 0.0);
    let resolved = all(&rounds.next(&world.tick(at)));
    assert_eq!(ended(&resolved), alerts);
    let quiet = Rounds::new(Config { sends_alerts: false, ..config() }, &exposition::Config::default())
        .next(&world.tick(at + SECOND));
    assert!(all(&quiet).keys().all(|series| !series.contains("ALERTS")));
}

// === over HTTP ===

impl Receiver {
    fn start(statuses: Vec<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self { address: listener.local_addr().unwrap(), taken: Arc::default() };
        let taken = Arc::clone(&receiver.taken);
        thread::spawn(move || {
            let mut statuses = statuses.into_iter();
            for mut stream in listener.incoming().flatten() {
                let (head, body) = request(&mut stream);
                let status = statuses.next().unwrap_or(204);
                taken.lock().unwrap().push(Taken { status, head, samples: samples(&body) });
                let _ =
                    write!(stream, "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            }
        });
        receiver
    }
}

fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let (mut request, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the request is cut off");
        request.extend(&buffer[..read]);
        let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(request[..end].to_vec()).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if request.len() == end + 4 + length.parse::<usize>().unwrap() {
            return (head, request.split_off(end + 4));
        }
    }
}

#[test]
fn what_fails_is_sent_again_in_order_and_what_is_refused_is_not() {
    let receiver = Receiver::start(vec![503, 500, 429, 400]);
    let config = format!(
        "remote_write: [{{url: 'http://{}/api/v1/write', name: fake, interval: 1s, headers: {{X-Scope-OrgID: me}}}}]\n",
        receiver.address
    );
    let slod = Slod::start(&SPEC.replace("NAME", "a"), &config);
    let count = || receiver.taken.lock().unwrap().len();
    wait_until("some rounds are taken", || count() > 7);
    let sent = |outcome: &str| {
        let sum = |name: &str| {
            slod.sum(&format!("slod_remote_write_{name}_total{{outcome=\"{outcome}\",to=\"fake\"}}"))
        };
        (sum("requests"), sum("samples"))
    };
    let taken = receiver.taken.lock().unwrap();
    assert_eq!(sent("failed"), (3.0, 0.0));
    assert_eq!(sent("refused"), (1.0, taken[3].samples.len() as f64));
    assert_eq!(sent("dropped").1, 0.0);
    for header in
        ["x-prometheus-remote-write-version: 0.1.0", "content-encoding: snappy", "x-scope-orgid: me"]
    {
        assert!(taken[0].head.contains(header), "{}", taken[0].head);
    }
    // The first one four times, as it was, although it is refused in the end.
    assert!(taken[1..4].iter().all(|again| again.samples == taken[0].samples));
    let of_round = |taken: &Taken| taken.samples.values().next().unwrap().0;
    let times: Vec<i64> = taken[3..].iter().map(of_round).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    assert!(taken[4..].iter().all(|later| later.status == 204));
}

#[test]
fn prometheus_and_victoria_metrics_have_the_series_of_the_page() {
    let servers = [Server::prometheus(&[], "scrape_configs: []\n"), Server::victoria_metrics(&[])];
    let urls: Vec<String> = servers
        .iter()
        .map(|server| format!("{{url: 'http://{}/api/v1/write', interval: 1s}}", server.address))
        .collect();
    let config = format!(
        "evaluation_delay: 0s\ningest: {{warm_up: 0s}}\nexposition: {{compat: [sloth]}}\nremote_write: [{}]\n",
        urls.join(", ")
    );
    let slod = Slod::start(shop::SPEC, &config);
    let mut shop = Shop::new(slod.address);
    shop.deliver();
    shop.fail_until_paged(&slod);
    for server in &servers {
        let value = |query: &str| {
            let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let answer =
                json(server.address, &format!("/api/v1/query?nocache=1&latency_offset=1ms&query={query}"));
            let result = answer["data"]["result"].as_array().unwrap().clone();
            result.first().map(|first| first["value"][1].as_str().unwrap().parse::<f64>().unwrap())
        };
        let events = slod.sum("slo_events_total{service=\"shop\",slo=\"availability\"");
        wait_until("it has all events", || {
            value("max_over_time(slo_events_total{slo=\"availability\"}[5m])")
                .is_some_and(|found| found >= events)
        });
        wait_until("it has the alert", || {
            value("count(ALERTS{slo=\"availability\",alertstate=\"firing\"})") == Some(1.0)
        });
        assert!(
            value("count(slo:period_error_budget_remaining:ratio{sloth_slo=\"availability\"})") == Some(1.0)
        );
        // Evaluations are at whole seconds of event time.
        let time = value("max_over_time(timestamp(slo_events_total{slo=\"availability\"})[5m:1s])").unwrap();
        assert_eq!(time, time.floor());
    }
    assert_eq!(slod.sum("slod_remote_write_samples_total{outcome=\"refused\""), 0.0, "{}", slod.log());
}
