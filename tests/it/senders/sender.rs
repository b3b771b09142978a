//! Real programs that scrape and remote-write: each can be killed, and started again on its data.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Process, free_address};

/// A Prometheus or a vmagent, running or not.
pub struct Sender {
    program: String,
    args: Vec<String>,
    directory: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

/// Where it sends to, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    pub to: SocketAddr,
    /// Labels that it adds to every series, in YAML.
    pub external_labels: &'a str,
}

// A second is the shortest scrape interval in use. The backoff and the timeout are shorter than usual, so that
// a test need not wait; what happens is the same.
const PROMETHEUS: &str = "\
global: {scrape_interval: 1s, scrape_timeout: 1s, external_labels: EXTERNAL_LABELS}
scrape_configs:
  - job_name: shop
    file_sd_configs: [{files: [DIRECTORY/targets.yml]}]
remote_write:
  - url: http://ADDRESS/api/v1/write
    remote_timeout: 2s
    queue_config: {batch_send_deadline: 500ms, max_backoff: 1s}
";

/// Only a newer one knows it.
const VERSION_2: &str = "    protobuf_message: io.prometheus.write.v2.Request\n";

const VMAGENT: &str = "\
global: {scrape_interval: 1s, scrape_timeout: 1s, external_labels: EXTERNAL_LABELS}
scrape_configs:
  - job_name: shop
    file_sd_configs: [{files: [DIRECTORY/targets.yml]}]
";

// === impl Sender ===

impl Sender {
    /// Starts a Prometheus that scrapes these targets. `parent` is where its directory goes.
    pub fn prometheus(parent: &Path, name: &str, route: Route<'_>, targets: &[SocketAddr]) -> Self {
        let newer = std::env::var("PROMETHEUS_3").ok();
        let sender = Self::new(newer.as_deref().unwrap_or("prometheus"), parent, name);
        let version = if newer.is_some() { VERSION_2 } else { "" };
        let config = sender.write("config.yml", &sender.filled(&format!("{PROMETHEUS}{version}"), route));
        let args = vec![
            format!("--config.file={config}"),
            format!("--storage.tsdb.path={}", sender.directory.join("data").display()),
            format!("--web.listen-address={}", free_address()),
        ];
        sender.begin(args, targets)
    }

    /// Starts a vmagent that scrapes these targets.
    pub fn vmagent(parent: &Path, name: &str, route: Route<'_>, targets: &[SocketAddr]) -> Self {
        let sender = Self::new("vmagent", parent, name);
        let config = sender.write("config.yml", &sender.filled(VMAGENT, route));
        let args = vec![
            format!("-promscrape.config={config}"),
            format!("-remoteWrite.url=http://{}/api/v1/write", route.to),
            format!("-remoteWrite.tmpDataPath={}", sender.directory.join("data").display()),
            "-remoteWrite.sendTimeout=2s".to_owned(),
            format!("-httpListenAddr={}", free_address()),
        ];
        sender.begin(args, targets)
    }

    /// Scrapes other targets from now on.
    pub fn set_targets(&self, targets: &[SocketAddr]) {
        let list: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
        let new = self.write("targets.new", &format!("- targets: [{}]\n", list.join(", ")));
        // At once: half a file would be no targets at all.
        fs::rename(new, self.directory.join("targets.yml")).unwrap();
    }

    /// Ends it as a power failure would.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.assert_alive();
        process.signal("KILL");
        process.wait();
    }

    /// Starts it again on what it left on disk.
    pub fn start(&mut self) {
        let mut command = Command::new(&self.program);
        self.process = Some(Process::start(command.args(&self.args), self.log.clone()));
    }

    /// Fails with its log if it has ended by itself.
    pub fn assert_alive(&mut self) {
        self.process.as_mut().unwrap().assert_alive();
    }

    fn new(program: &str, parent: &Path, name: &str) -> Self {
        let directory = parent.join(name);
        fs::create_dir(&directory).unwrap();
        let log = directory.join("log");
        Self { program: program.to_owned(), args: Vec::new(), directory, log, process: None }
    }

    fn begin(mut self, args: Vec<String>, targets: &[SocketAddr]) -> Self {
        self.set_targets(targets);
        self.args = args;
        self.start();
        self
    }

    fn filled(&self, config: &str, route: Route<'_>) -> String {
        config
            .replace("EXTERNAL_LABELS", route.external_labels)
            .replace("DIRECTORY", &self.directory.display().to_string())
            .replace("ADDRESS", &route.to.to_string())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.directory.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}
