//! A small web shop with Prometheus metrics, whose traffic the test steers and whose counts it knows.

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// The shop. Serves nothing until told to.
pub struct Shop {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// What the shop did, as it counted itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Requests to all routes, the unwatched one apart.
    pub requests: u64,
    /// Those of them that failed.
    pub bad: u64,
    /// Those of them that took more than 300 ms.
    pub slow: u64,
    /// Requests to the route that never fails.
    pub healthy: u64,
    /// Those to `/pay` that did not fail.
    pub pay_ok: u64,
    /// Those to `/browse`; none fails.
    pub browse_ok: u64,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    error_ratio: Option<f64>,
}

/// The counters there are before the first error.
pub const SERIES_AT_START: usize = 5;

const STEP: Duration = Duration::from_millis(10);

// === impl Shop ===

impl Shop {
    /// Opens the shop's metrics page on a port of its own. Its threads end with the test.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shop = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let (for_page, for_traffic) = (Arc::clone(&shop.state), Arc::clone(&shop.state));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // The request does not matter: there is one page.
                let _ = stream.read(&mut [0; 4_096]);
                let page = page(&for_page.lock().unwrap().counts);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    page.len()
                );
                let _ = stream.write_all((head + &page).as_bytes());
            }
        });
        thread::spawn(move || {
            loop {
                thread::sleep(STEP);
                for_traffic.lock().unwrap().step();
            }
        });
        shop
    }

    /// Serves about 300 requests a second from now on, of which this share of `/pay` fails.
    pub fn serve(&self, error_ratio: f64) {
        self.state.lock().unwrap().error_ratio = Some(error_ratio);
    }

    /// Serves nothing from now on.
    pub fn stop(&self) {
        self.state.lock().unwrap().error_ratio = None;
    }

    pub fn counts(&self) -> Counts {
        self.state.lock().unwrap().counts
    }
}

// === impl State ===

impl State {
    /// One request to `/pay`, one to `/browse`, one to `/health`.
    fn step(&mut self) {
        let Some(error_ratio) = self.error_ratio else { return };
        let counts = &mut self.counts;
        counts.requests += 2;
        counts.healthy += 1;
        counts.browse_ok += 1;
        // Evenly: fails whenever the share of failures so far has fallen behind.
        if (counts.requests % 100) as f64 >= 100.0 - 100.0 * error_ratio {
            counts.bad += 1;
            counts.slow += u64::from(counts.bad.is_multiple_of(500));
        } else {
            counts.pay_ok += 1;
        }
        // A few slow ones in good times and bad: within the budget of the latency SLO.
        counts.slow += u64::from(counts.requests.is_multiple_of(150));
    }
}

fn page(counts: &Counts) -> String {
    let mut page = String::from("# TYPE http_requests_total counter\n");
    let mut requests = |route: &str, code: &str, value: u64| {
        writeln!(page, "http_requests_total{{route=\"{route}\",code=\"{code}\"}} {value}").unwrap();
    };
    requests("/pay", "200", counts.pay_ok);
    requests("/browse", "200", counts.browse_ok);
    if counts.bad > 0 {
        // Born with the first error, as in real services.
        requests("/pay", "500", counts.bad);
    }
    writeln!(page, "# TYPE health_requests_total counter\nhealth_requests_total {}", counts.healthy).unwrap();
    page.push_str("# TYPE http_request_duration_seconds histogram\n");
    for (le, value) in [("0.3", counts.requests - counts.slow), ("+Inf", counts.requests)] {
        writeln!(page, "http_request_duration_seconds_bucket{{le=\"{le}\"}} {value}").unwrap();
    }
    writeln!(page, "http_request_duration_seconds_sum {}", counts.requests).unwrap();
    writeln!(page, "http_request_duration_seconds_count {}", counts.requests).unwrap();
    page
}
