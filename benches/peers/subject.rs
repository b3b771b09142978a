//! The programs that are measured: how each is started, and what it says that it received.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    load::Events,
    process::{Process, free_address, now, page, wait_until},
};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Peer {
    Slod,
    Prometheus,
    VictoriaMetrics,
    /// Forwards to a receiver in this process that answers 204 and looks at nothing.
    Vmagent,
}

/// A running one, in a directory of its own.
pub(crate) struct Subject {
    pub(crate) peer: Peer,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    setup: Setup,
}

/// What it is started with.
pub(crate) struct Setup {
    pub(crate) directory: TempDir,
    /// The specs of all SLOs of slod.
    pub(crate) specs: String,
    /// More lines for the configuration of slod.
    pub(crate) slod_config: String,
}

// === impl Subject ===

impl Subject {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(peer: Peer, setup: Setup) -> Self {
        let address = free_address();
        let process = peer.start(&setup, address);
        let subject = Self { peer, address, process, setup };
        wait_until("it is ready", || subject.is_ready());
        subject
    }

    /// Kills it and starts it again. Returns how long that took until it was ready.
    pub(crate) fn restart(&mut self) -> Duration {
        self.process.kill();
        let start = now();
        self.process = self.peer.start(&self.setup, self.address);
        wait_until("it is ready again", || self.is_ready());
        start.elapsed()
    }

    /// Where it keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.setup.data()
    }

    fn is_ready(&self) -> bool {
        let path = match self.peer {
            Peer::Slod | Peer::Prometheus => "/-/ready",
            Peer::VictoriaMetrics | Peer::Vmagent => "/health",
        };
        page(self.address, path).is_some()
    }

    /// Waits until it has done with what it answered, so many samples since its start: only a forwarder has not.
    pub(crate) fn settle(&self, samples: usize) {
        if self.peer == Peer::Vmagent {
            wait_until("all is forwarded", || {
                let blocks = self.sum("vmagent_remotewrite_block_size_rows_count");
                self.samples() >= samples as f64
                    && self.sum("vmagent_remotewrite_blocks_sent_total") == blocks
            });
        }
    }

    /// How many samples it says it took so far.
    pub(crate) fn samples(&self) -> f64 {
        match self.peer {
            Peer::Slod => ["increment", "baseline", "unselected"]
                .map(|outcome| self.sum(&format!("slod_ingest_samples_total{{outcome=\"{outcome}\"")))
                .iter()
                .sum(),
            Peer::Prometheus => self.sum("prometheus_tsdb_head_samples_appended_total{type=\"float\""),
            Peer::VictoriaMetrics => self.sum("vm_rows_inserted_total{type=\"promremotewrite\""),
            Peer::Vmagent => self.sum("vmagent_remotewrite_block_size_rows_sum"),
        }
    }

    /// What slod says of samples, to tell what went wrong.
    pub(crate) fn outcomes(&self) -> String {
        let page = page(self.address, "/metrics").unwrap_or_default();
        let lines = page.lines().filter(|line| line.starts_with("slod_ingest_") && !line.ends_with(" 0"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Whether slod has evaluated past a time.
    pub(crate) fn has_evaluated(&self, seconds: f64) -> bool {
        self.sum("slod_evaluated_to_timestamp_seconds") > seconds
    }

    /// The events that slod has counted for all SLOs.
    pub(crate) fn events(&self) -> Events {
        Events { bad: self.sum("slo_bad_events_total{"), total: self.sum("slo_events_total{") }
    }

    /// The sum of all series whose text begins so; 0 without one.
    pub(crate) fn sum(&self, prefix: &str) -> f64 {
        let page = page(self.address, "/metrics").expect("it runs and shows its metrics");
        let values = page.lines().filter(|line| line.starts_with(prefix));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

// === impl Setup ===

impl Setup {
    /// In a fresh directory.
    pub(crate) fn new(specs: String, slod_config: String) -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory"), specs, slod_config }
    }

    /// Where data is kept.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

// === impl Peer ===

impl Peer {
    fn start(self, setup: &Setup, address: SocketAddr) -> Process {
        Process::start(&mut self.command(setup, address), &setup.directory.path().join("log"))
    }

    fn command(self, setup: &Setup, address: SocketAddr) -> Command {
        let write = |name: &str, text: &str| {
            let path = setup.directory.path().join(name);
            std::fs::write(&path, text).expect("a directory of ours");
            path
        };
        let data = setup.data();
        let path = |flag: &str, path: &Path| format!("{flag}={}", path.display());
        match self {
            Self::Slod => {
                write("specs.yaml", &setup.specs);
                let config = write("slod.yaml", &format!("specs: [specs.yaml]\n{}", setup.slod_config));
                let mut command = Command::new(env!("CARGO_BIN_EXE_slod"));
                command.arg("serve").arg(format!("--web.listen-address={address}"));
                command.args([path("--config.file", &config), path("--storage.path", &data)]);
                command
            }
            Self::Prometheus => {
                let config = write("prometheus.yml", "scrape_configs: []\n");
                let mut command = Command::new("prometheus");
                command.arg(format!("--web.listen-address={address}"));
                command.args([path("--config.file", &config), path("--storage.tsdb.path", &data)]);
                command.arg("--web.enable-remote-write-receiver");
                command
            }
            Self::VictoriaMetrics => {
                let mut command = Command::new("victoria-metrics");
                command.args([format!("-httpListenAddr={address}"), path("-storageDataPath", &data)]);
                command
            }
            Self::Vmagent => {
                let mut command = Command::new("vmagent");
                command.args([format!("-httpListenAddr={address}"), path("-remoteWrite.tmpDataPath", &data)]);
                command.arg(format!("-remoteWrite.url=http://{}/api/v1/write", start_sink()));
                command
            }
        }
    }
}

/// A receiver that answers 204 to everything. Its threads end with the benchmark.
fn start_sink() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Ends when the sender hangs up.
            thread::spawn(move || swallow(stream));
        }
    });
    address
}

fn swallow(stream: TcpStream) -> std::io::Result<()> {
    let mut answers = stream.try_clone()?;
    let mut requests = BufReader::with_capacity(1 << 16, stream);
    let mut line = String::new();
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        std::io::copy(&mut requests.by_ref().take(length), &mut std::io::sink())?;
        answers.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    }
}
