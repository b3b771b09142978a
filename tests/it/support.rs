//! Processes, ports and HTTP for tests of the whole, and how much they try.

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use proptest::test_runner::Config as ProptestConfig;
use tempfile::TempDir;

/// A running slod with a directory of its own; killed when dropped.
pub struct Slod {
    pub address: SocketAddr,
    pub directory: TempDir,
    pub process: Process,
    /// The command that it is started by, and its arguments; none if by itself.
    under: Vec<String>,
}

/// A process that is killed when dropped, and the file that its output goes to.
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    head: String,
}

/// Steps of a generator of random numbers, and the seed they began with.
pub struct Random(u64);

const PATIENCE: Duration = Duration::from_secs(45);
const POLL: Duration = Duration::from_millis(20);

// === impl Slod ===

impl Slod {
    /// Starts slod on these specs, with more lines for its configuration, and waits until it is ready.
    pub fn start(specs: &str, config: &str) -> Self {
        Self::start_under(tempfile::tempdir().unwrap(), &[], specs, config)
    }

    /// As [`Slod::start`], in a directory and by a command that gets its command line as further arguments.
    pub fn start_under(directory: TempDir, under: &[&str], specs: &str, config: &str) -> Self {
        let under: Vec<String> = under.iter().map(|word| (*word).to_owned()).collect();
        fs::write(directory.path().join("specs.yaml"), specs).unwrap();
        let config = format!("specs: [specs.yaml]\n{config}");
        fs::write(directory.path().join("slod.yaml"), config).unwrap();
        let address = free_address();
        let process = Self::spawn(directory.path(), address, &under);
        let mut slod = Self { address, directory, process, under };
        slod.wait_until_ready();
        slod
    }

    /// Starts it anew on the files and at the address that it had, without waiting for anything. What it logs goes on
    /// in the same file.
    pub fn start_again(&mut self) {
        self.process = Self::spawn(self.directory.path(), self.address, &self.under);
    }

    /// Waits until it is ready; fails if it dies.
    pub fn wait_until_ready(&mut self) {
        wait_until("slod is ready", || {
            self.process.assert_alive();
            answers(self.address, "/-/ready")
        });
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.signal("KILL");
        self.process.wait();
    }

    /// Ends it as an operator does, and waits until it is gone.
    pub fn stop(&mut self) {
        self.process.signal("TERM");
        assert!(self.process.wait().success(), "{}", self.log());
    }

    fn spawn(directory: &Path, address: SocketAddr, under: &[String]) -> Process {
        let slod = env!("CARGO_BIN_EXE_slod").to_owned();
        let mut words = under.iter().chain([&slod]);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .arg("serve")
            .args(["--web.listen-address", &address.to_string()])
            .arg("--config.file")
            .arg(directory.join("slod.yaml"))
            .arg("--storage.path")
            .arg(directory.join("data"));
        Process::start(&mut command, directory.join("log"))
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The sum of all its metrics whose text begins so; 0 without one.
    pub fn sum(&self, prefix: &str) -> f64 {
        let page = http(self.address, "GET /metrics HTTP/1.0", &[], b"").body;
        let values = page.lines().filter(|line| line.starts_with(prefix));
        values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
}

// === impl Random ===

impl Random {
    /// From the seed in a variable, or a new one, which is printed.
    pub fn seeded(variable: &str) -> Self {
        let fresh = || (seconds_since_epoch() * 1e6) as u64;
        let seed = std::env::var(variable).map_or_else(|_| fresh(), |seed| seed.parse().unwrap());
        println!("{variable}={seed}");
        Self(seed)
    }

    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number (Steele and others, SplitMix64).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

// === impl Process ===

impl Process {
    /// Starts a command with its output in a file.
    pub fn start(command: &mut Command, log: PathBuf) -> Self {
        let file = fs::File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| {
            let program = command.get_program().display();
            panic!("cannot start {program}: {error}; `make test-deps` installs what tests need")
        });
        Self { child, log }
    }

    /// Fails with the log if the process has ended.
    pub fn assert_alive(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "a process died:\n{}", self.log());
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Answer ===

impl Answer {
    /// The value of a header, empty if absent.
    pub fn header(&self, name: &str) -> &str {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
            .unwrap_or("")
    }
}

/// Sends a request and reads the whole answer.
pub fn http(address: SocketAddr, request_line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let length = format!("Content-Length: {}", body.len());
    exchange(address, request_line, &[headers, &[length.as_str()]].concat(), body)
}

/// Sends a write request whose headers, its length among them, are given.
pub fn post_write(address: SocketAddr, headers: &[&str], body: &[u8]) -> Answer {
    exchange(address, "POST /api/v1/write HTTP/1.1", headers, body)
}

/// As [`post_write`], to somebody who may be gone or go; the answer as it came.
pub fn try_post_write(address: SocketAddr, headers: &[&str], body: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let headers = headers.join("\r\n");
    let head = format!("POST /api/v1/write HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The headers of a remote-write 1.0 request.
pub fn write_headers() -> [&'static str; 3] {
    ["Content-Type: application/x-protobuf", "Content-Encoding: snappy", "User-Agent: test"]
}

fn exchange(address: SocketAddr, request_line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head =
        format!("{request_line}\r\nHost: test\r\nConnection: close\r\n{}\r\n\r\n", headers.join("\r\n"));
    stream.write_all(head.as_bytes()).unwrap();
    // A server that has refused the request by its headers may have closed already.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Whether a page is there and says 200.
pub fn answers(address: SocketAddr, path: &str) -> bool {
    // 1.0, because a 1.1 server may send chunks.
    TcpStream::connect(address).is_ok()
        && http(address, &format!("GET {path} HTTP/1.0"), &[], b"").status == 200
}

/// The JSON of a page.
pub fn json(address: SocketAddr, path: &str) -> serde_json::Value {
    let answer = http(address, &format!("GET {path} HTTP/1.0"), &[], b"");
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// A loopback address that nobody listens on.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// How many cases a property tries: this many, unless `PROPTEST_CASES` says otherwise.
pub fn cases(usual: u32) -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(usual),
    }
}

/// How often a test kills slod: 20 times, unless `CRASH_KILLS` says otherwise.
pub fn kills() -> u64 {
    std::env::var("CRASH_KILLS").map_or(20, |kills| kills.parse().unwrap())
}

/// Wall time, for measuring between two moments of a test.
#[expect(clippy::disallowed_methods, reason = "tests live in real time")]
pub fn seconds_since_epoch() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}

/// Polls until `holds`, or fails.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let polls = PATIENCE.as_millis() / POLL.as_millis();
    for _ in 0..polls {
        if holds() {
            return;
        }
        std::thread::sleep(POLL);
    }
    panic!("not within {PATIENCE:?}: {what}");
}

/// Requests of an API, those answered 5xx bad.
pub const AVAILABILITY: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api}
spec:
  sli:
    type: availability
    query: sum(rate(http_requests_total{code!~"5.."}[5m])) / sum(rate(http_requests_total[5m]))
  objective: {target: 99, window: 30d}
"#;
