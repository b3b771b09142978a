//! What is sent: series shaped as real HTTP metrics are, and the write requests that carry their samples.
//!
//! Everything is deterministic. A scrape of all series is cut into requests once ([`Template`]); a request of a
//! later scrape differs in times and values only, so that encoding many of them ahead of time is quick.
//! Knows what an SLO evaluator has to make of it ([`Load::expected`]), but nothing of who receives it.

use std::{collections::HashMap, fmt::Write, ops::Range, time::Duration};

use prost::encoding::encode_varint;
use slod::time::Timestamp;

/// The protocol that requests are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    V1,
    V2,
}

/// What to send, and how it is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) series: usize,
    pub(crate) samples_per_request: usize,
    /// Percent of the series that no SLO selects.
    pub(crate) unselected: usize,
    pub(crate) protocol: Protocol,
    /// Each with an SLO of availability and one of latency.
    pub(crate) services: usize,
    /// Of a target, at most ten: each has six series of requests and four of buckets.
    pub(crate) handlers: usize,
    /// Prometheus opens a shard, and so a connection, for some 10,000 samples a second, 50 at most.
    pub(crate) connections: usize,
}

/// All series, cut into requests.
#[derive(Debug)]
pub(crate) struct Load {
    shape: Shape,
    /// By connection.
    templates: Vec<Vec<Template>>,
    expected: Events,
}

/// A request without times and values.
#[derive(Debug, Default)]
struct Template {
    /// What stands before the series: the symbols of remote-write 2.0.
    head: Vec<u8>,
    /// The encoded labels of all series.
    labels: Vec<u8>,
    series: Vec<Series>,
}

#[derive(Debug)]
struct Series {
    labels: Range<usize>,
    base: u32,
    step: u32,
    /// Where in a scrape interval it is scraped, in thousandths: all series of a target at once.
    phase: u32,
}

/// A request as it goes over the wire.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    /// Bytes of the message before snappy.
    pub(crate) decoded: usize,
    pub(crate) samples: usize,
    /// The time of its first sample.
    pub(crate) at: Timestamp,
}

/// Scrapes of all series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scrapes {
    /// The number of the first one, from which values follow.
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) start: Timestamp,
    pub(crate) interval: Duration,
}

/// Events that SLOs count.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Events {
    pub(crate) bad: f64,
    pub(crate) total: f64,
}

const CODES: [(&str, &str); 6] =
    [("200", "GET"), ("200", "POST"), ("404", "GET"), ("500", "GET"), ("500", "POST"), ("503", "GET")];
const BUCKETS: [(&str, &str); 4] = [("GET", "0.3"), ("GET", "+Inf"), ("POST", "0.3"), ("POST", "+Inf")];
const HANDLERS: [&str; 10] = [
    "/api/v1/orders",
    "/api/v1/orders/{id}",
    "/api/v1/orders/{id}/items",
    "/api/v1/customers",
    "/api/v1/customers/{id}",
    "/api/v1/customers/{id}/address",
    "/api/v1/search",
    "/api/v1/cart",
    "/api/v1/checkout",
    "/healthz",
];

/// The specs of all SLOs, one file.
pub(crate) fn specs(services: usize) -> String {
    let mut text = String::new();
    for service in 0..services {
        let job = job(service);
        let requests = format!("http_requests_total{{job=\"{job}\"");
        let buckets = format!("http_request_duration_seconds_bucket{{job=\"{job}\"");
        let availability = format!(
            "  sli: {{type: availability, query: 'sum(rate({requests},code!~\"5..\"}}[5m])) / sum(rate({requests}}}[5m]))'}}"
        );
        let latency = format!(
            "  sli: {{type: latency, good: 'sum(rate({buckets},le=\"0.3\"}}[5m]))', total: 'sum(rate({buckets},le=\"+Inf\"}}[5m]))'}}"
        );
        for (name, sli) in [("availability", availability), ("latency", latency)] {
            let head = "---\napiVersion: slod.dev/v1\nkind: ServiceLevelObjective\n";
            let _ = writeln!(text, "{head}metadata: {{name: {name}, service: {job}}}\nspec:\n{sli}");
            text.push_str("  objective: {target: 99.9, window: 30d}\n");
        }
    }
    text
}

fn job(service: usize) -> String {
    format!("team-{:02}/service-{service:03}", service % 40)
}

/// The labels of a series in their order, and by how much it grows from scrape to scrape.
fn labels(shape: Shape, index: usize) -> Vec<(&'static str, String)> {
    let target = shape.target(index);
    let service = target % shape.services;
    let pod = target / shape.services;
    let handler = HANDLERS[index % shape.handlers];
    let variant = shape.variant(index);
    let is_request = variant < CODES.len();
    let name = if is_request { "http_requests_total" } else { "http_request_duration_seconds_bucket" };
    let mut labels = vec![("__name__", name.to_owned()), ("cluster", "eu-west-1-prod".to_owned())];
    if is_request {
        labels.push(("code", CODES[variant].0.to_owned()));
    }
    labels.push(("container", "server".to_owned()));
    labels.push(("handler", handler.to_owned()));
    labels.push(("instance", format!("10.{}.{}.{}:8080", pod % 250, service / 250, service % 250)));
    // The same metrics of services that nobody made an SLO for.
    labels.push(("job", job(if shape.is_selected(index) { service } else { shape.services + service })));
    if !is_request {
        labels.push(("le", BUCKETS[variant - CODES.len()].1.to_owned()));
    }
    let method = if is_request { CODES[variant].1 } else { BUCKETS[variant - CODES.len()].0 };
    labels.push(("method", method.to_owned()));
    labels.push(("namespace", format!("team-{:02}", service % 40)));
    let hash = scatter(target);
    labels.push(("pod", format!("service-{service:03}-{:08x}-{:05x}", hash >> 32, hash & 0xf_ffff)));
    labels.push(("zone", format!("eu-west-1{}", ["a", "b", "c"][target % 3])));
    labels
}

/// By how much a series grows from scrape to scrape, and the events that this makes.
fn growth(shape: Shape, index: usize) -> (u32, Events) {
    let variant = shape.variant(index);
    let step = 1 + (scatter(index) % 20) as u32;
    if let Some((code, _)) = CODES.get(variant) {
        let is_bad = code.starts_with('5');
        (step, Events { bad: if is_bad { f64::from(step) } else { 0.0 }, total: f64::from(step) })
    } else if BUCKETS[variant - CODES.len()].1 == "+Inf" {
        // Above any step of the bucket it contains.
        let step = step + 20;
        (step, Events { bad: f64::from(step), total: f64::from(step) })
    } else {
        (step, Events { bad: -f64::from(step), total: 0.0 })
    }
}

/// The finalizer of MurmurHash3: far apart for neighbours, the same on every run.
pub(crate) fn scatter(index: usize) -> u64 {
    let mut hash = index as u64 + 1;
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

// === impl Shape ===

impl Shape {
    /// The pod of a service that a series is of.
    fn target(self, index: usize) -> usize {
        index / (self.handlers * (CODES.len() + BUCKETS.len()))
    }

    /// Its place among codes, and then among buckets. Those of a target lie behind each other.
    fn variant(self, index: usize) -> usize {
        index / self.handlers % (CODES.len() + BUCKETS.len())
    }

    fn is_selected(self, index: usize) -> bool {
        self.target(index) % 100 >= self.unselected
    }
}

// === impl Load ===

impl Load {
    pub(crate) fn new(shape: Shape) -> Self {
        let mut expected = Events::default();
        let selected = (0..shape.series).filter(|index| shape.is_selected(*index));
        for events in selected.map(|index| growth(shape, index).1) {
            expected.bad += events.bad;
            expected.total += events.total;
        }
        // As Prometheus' shards: each series is always on the same connection.
        let templates = (0..shape.connections).map(|connection| {
            let own: Vec<usize> = (connection..shape.series).step_by(shape.connections).collect();
            let template = |indices| Template::new(indices, shape);
            own.chunks(shape.samples_per_request).map(template).collect()
        });
        Self { shape, templates: templates.collect(), expected }
    }

    /// The events that SLOs are to count from one scrape to the next.
    pub(crate) fn expected(&self) -> Events {
        self.expected
    }

    pub(crate) fn connections(&self) -> usize {
        self.shape.connections
    }

    /// The requests of one connection for these scrapes.
    pub(crate) fn requests(&self, connection: usize, host: &str, scrapes: Scrapes) -> Vec<Request> {
        let mut encoder = snap::raw::Encoder::new();
        let mut message = Vec::new();
        let mut requests = Vec::new();
        for scrape in 0..scrapes.count {
            let at = scrapes.start + scrapes.interval * scrape as u32;
            for template in &self.templates[connection] {
                template.write(&mut message, (scrapes.first + scrape) as u32, at, scrapes.interval);
                let body = encoder.compress_vec(&message).expect("a request is far below 4 GiB");
                let mut bytes = head(host, self.shape.protocol, body.len()).into_bytes();
                bytes.extend_from_slice(&body);
                let at = at + template.series[0].delay(scrapes.interval);
                requests.push(Request { bytes, decoded: message.len(), samples: template.series.len(), at });
            }
        }
        requests
    }
}

fn head(host: &str, protocol: Protocol, length: usize) -> String {
    let (content_type, version) = match protocol {
        Protocol::V1 => ("application/x-protobuf", "0.1.0"),
        Protocol::V2 => ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
    };
    format!(
        "POST /api/v1/write HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Prometheus/2.42.0\r\nContent-Length: {length}\r\nContent-Encoding: snappy\r\nContent-Type: {content_type}\r\nX-Prometheus-Remote-Write-Version: {version}\r\n\r\n"
    )
}

// === impl Request ===

impl Request {
    /// What follows the headers.
    pub(crate) fn body(&self) -> &[u8] {
        let head = self.bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        &self.bytes[head.expect("it has headers") + 4..]
    }
}

// === impl Template ===

impl Template {
    fn new(indices: &[usize], shape: Shape) -> Self {
        let mut template = Self::default();
        // The first symbol is the empty one.
        let mut symbols = HashMap::from([(String::new(), 0)]);
        let mut in_order = vec![String::new()];
        for &index in indices {
            let start = template.labels.len();
            let labels = labels(shape, index);
            match shape.protocol {
                Protocol::V1 => write_labels(&mut template.labels, &labels),
                Protocol::V2 => {
                    let mut refs = Vec::new();
                    for text in labels.into_iter().flat_map(|(name, value)| [name.to_owned(), value]) {
                        let next = in_order.len() as u64;
                        let number = *symbols.entry(text.clone()).or_insert(next);
                        if number == next {
                            in_order.push(text);
                        }
                        encode_varint(number, &mut refs);
                    }
                    // TimeSeries.labels_refs, packed.
                    write_bytes(&mut template.labels, 1, &refs);
                }
            }
            let targets = shape.target(shape.series - 1) + 1;
            template.series.push(Series {
                labels: start..template.labels.len(),
                base: (scatter(index) >> 40) as u32 % 1_000_000,
                step: growth(shape, index).0,
                phase: (shape.target(index) * 1_000 / targets) as u32,
            });
        }
        if shape.protocol == Protocol::V2 {
            // Request.symbols.
            in_order.iter().for_each(|symbol| write_bytes(&mut template.head, 4, symbol.as_bytes()));
        }
        template
    }

    /// Writes the message with the samples of one scrape. The number of the field `timeseries` tells the
    /// protocols apart; samples look the same in both.
    fn write(&self, message: &mut Vec<u8>, scrape: u32, start: Timestamp, interval: Duration) {
        message.clear();
        message.extend_from_slice(&self.head);
        let timeseries = if self.head.is_empty() { 1 } else { 5 };
        let mut sample = Vec::with_capacity(32);
        for series in &self.series {
            let at = start + series.delay(interval);
            let value = f64::from(series.base) + f64::from(series.step) * f64::from(scrape);
            sample.clear();
            sample.push(0x09);
            sample.extend_from_slice(&value.to_le_bytes());
            sample.push(0x10);
            encode_varint(at.0 as u64, &mut sample);
            message.push(timeseries << 3 | 2);
            encode_varint((series.labels.len() + 2 + sample.len()) as u64, message);
            message.extend_from_slice(&self.labels[series.labels.clone()]);
            write_bytes(message, 2, &sample);
        }
    }
}

/// `TimeSeries.labels` of remote-write 1.0.
fn write_labels(out: &mut Vec<u8>, labels: &[(&str, String)]) {
    let mut label = Vec::new();
    for (name, value) in labels {
        label.clear();
        write_bytes(&mut label, 1, name.as_bytes());
        write_bytes(&mut label, 2, value.as_bytes());
        write_bytes(out, 1, &label);
    }
}

fn write_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

// === impl Series ===

impl Series {
    fn delay(&self, interval: Duration) -> Duration {
        interval * self.phase / 1_000
    }
}

// === impl Scrapes ===

impl Scrapes {
    /// The time at which the last of them is over.
    pub(crate) fn end(&self) -> Timestamp {
        self.start + self.interval * self.count as u32
    }
}
