//! Real Alertmanagers: one, or a pair that gossips.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;

use crate::support::{Process, answers, free_address, http, json, wait_until};

pub struct Alertmanager {
    pub address: SocketAddr,
    directory: PathBuf,
    args: Vec<String>,
    process: Option<Process>,
}

pub struct Pair {
    pub first: Alertmanager,
    pub second: Alertmanager,
}

/// Looks at an Alertmanager all the time.
pub struct Watch {
    done: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<Vec<String>>>,
}

const CONFIG: &str = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n";
// slod:test, as in Prometheus' guide to basic authentication.
const WEB_CONFIG: &str = "\
tls_server_config: {cert_file: cert.pem, key_file: key.pem}
basic_auth_users: {slod: $2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay}
";

// === impl Pair ===

impl Pair {
    pub fn start(parent: &Path) -> Self {
        let gossip = [free_address(), free_address()];
        let start = |name: &str, own: SocketAddr, other: SocketAddr| {
            let args = vec![format!("--cluster.listen-address={own}"), format!("--cluster.peer={other}")];
            Alertmanager::start(&parent.join(name), args)
        };
        let pair = Self {
            first: start("first", gossip[0], gossip[1]),
            second: start("second", gossip[1], gossip[0]),
        };
        pair.all().for_each(|one| wait_until("Alertmanager is ready", || one.is_ready()));
        pair
    }

    pub fn all(&self) -> impl Iterator<Item = &Alertmanager> {
        [&self.first, &self.second].into_iter()
    }

    /// As YAML's list has it.
    pub fn targets(&self) -> String {
        format!("'{}', '{}'", self.first.address, self.second.address)
    }
}

// === impl Alertmanager ===

impl Alertmanager {
    fn start(directory: &Path, args: Vec<String>) -> Self {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("config.yml"), CONFIG).unwrap();
        let mut one = Self { address: free_address(), directory: directory.to_owned(), args, process: None };
        one.start_again();
        one
    }

    /// One that is reached over TLS with a password only. Its certificate is `cert.pem` in the directory.
    pub fn start_secured(directory: &Path) -> Self {
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs::write(directory.join("cert.pem"), certified.cert.pem()).unwrap();
        fs::write(directory.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
        fs::write(directory.join("web.yml"), WEB_CONFIG).unwrap();
        let web = format!("--web.config.file={}", directory.join("web.yml").display());
        Self::start(directory, vec![web, "--cluster.listen-address=".to_owned()])
    }

    pub fn start_again(&mut self) {
        let path = |name: &str| self.directory.join(name).display().to_string();
        let mut command = Command::new("prometheus-alertmanager");
        command
            .arg(format!("--config.file={}", path("config.yml")))
            .arg(format!("--storage.path={}", path("data")))
            .arg(format!("--web.listen-address={}", self.address))
            .args(&self.args);
        self.process = Some(Process::start(&mut command, self.directory.join("log")));
    }

    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.signal("KILL");
        process.wait();
    }

    pub fn is_ready(&self) -> bool {
        answers(self.address, "/-/ready")
    }

    /// The alerts that are firing.
    pub fn alerts(&self) -> Vec<Value> {
        json(self.address, "/api/v2/alerts?active=true").as_array().unwrap().clone()
    }

    pub fn metric(&self, name: &str) -> f64 {
        let page = http(self.address, "GET /metrics HTTP/1.0", &[], b"").body;
        let line = page.lines().find(|line| line.starts_with(name));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// Looks at it until the end: all that it said of when alerts began.
    pub fn watch(&self) -> Watch {
        let (done, address) = (Arc::new(AtomicBool::new(false)), self.address);
        let is_done = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !is_done.load(Ordering::SeqCst) {
                let alerts = json(address, "/api/v2/alerts?active=true");
                let starts = alerts.as_array().unwrap().iter().map(|alert| alert["startsAt"].to_string());
                seen.insert(starts.collect());
                thread::sleep(Duration::from_millis(50));
            }
            seen
        });
        Watch { done, thread }
    }
}

// === impl Watch ===

impl Watch {
    pub fn end(self) -> BTreeSet<Vec<String>> {
        self.done.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}
