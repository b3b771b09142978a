//! A scraped service in this process: what it counts, when it fails and whether it is there is up to the test.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use super::Events;
use crate::support::wait_until;

/// A service with two counters: requests that went well and requests that failed.
pub struct Exporter {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What its counters show.
    counters: Counters,
    /// What they showed when it was restarted, all lives together.
    before: Counters,
    traffic: Traffic,
    is_down: bool,
    scrapes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counters {
    ok: u64,
    failed: u64,
}

/// What the service does.
#[derive(Clone, Copy, Debug, Default)]
pub enum Traffic {
    #[default]
    Nothing,
    /// All requests go well.
    Well,
    /// All requests fail.
    Failing,
}

/// The counters there are from the start.
pub const SERIES: f64 = 2.0;

/// What its counters show at first: nobody may count it.
const SERVED_BEFORE: u64 = 1_000;
const STEP: Duration = Duration::from_millis(10);

// === impl Exporter ===

impl Exporter {
    /// Opens the metrics page of a service without traffic. Its threads end with the test.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let counters = Counters { ok: SERVED_BEFORE, failed: SERVED_BEFORE };
        let state = Arc::new(Mutex::new(State { counters, ..State::default() }));
        let exporter = Self { address: listener.local_addr().unwrap(), state };
        let (for_page, for_traffic) = (Arc::clone(&exporter.state), Arc::clone(&exporter.state));
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(stream, &for_page)));
        thread::spawn(move || {
            loop {
                thread::sleep(STEP);
                for_traffic.lock().unwrap().step();
            }
        });
        exporter
    }

    /// Serves about 100 requests a second of this kind from now on.
    pub fn serve(&self, traffic: Traffic) {
        self.state.lock().unwrap().traffic = traffic;
    }

    /// Serves nothing any more, and waits until two scrapes have seen the last of it.
    pub fn quiesce(&self) {
        self.serve(Traffic::Nothing);
        let scrapes = || self.state.lock().unwrap().scrapes;
        let enough = scrapes() + 2;
        wait_until("the service is scraped twice", || scrapes() >= enough);
    }

    /// A new process: its counters begin at zero.
    pub fn restart(&self) {
        let state = &mut *self.state.lock().unwrap();
        state.before.ok += state.counters.ok;
        state.before.failed += state.counters.failed;
        state.counters = Counters::default();
        state.is_down = false;
    }

    /// Answers no scrape until it is restarted.
    pub fn go_down(&self) {
        self.state.lock().unwrap().is_down = true;
    }

    /// All that it served since it was started here.
    pub fn events(&self) -> Events {
        let State { counters, before, .. } = &*self.state.lock().unwrap();
        let failed = before.failed + counters.failed - SERVED_BEFORE;
        let ok = before.ok + counters.ok - SERVED_BEFORE;
        Events { bad: failed as f64, total: (failed + ok) as f64 }
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) {
    // The request does not matter: there is one page.
    let _ = stream.read(&mut [0; 4_096]);
    let (page, is_down) = state.lock().unwrap().scrape();
    if is_down {
        return;
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        page.len()
    );
    // Whoever scraped may have been killed.
    let _ = stream.write_all((head + &page).as_bytes());
}

// === impl State ===

impl State {
    fn step(&mut self) {
        match self.traffic {
            Traffic::Nothing => (),
            Traffic::Well => self.counters.ok += 1,
            Traffic::Failing => self.counters.failed += 1,
        }
    }

    fn scrape(&mut self) -> (String, bool) {
        self.scrapes += 1;
        let Counters { ok, failed } = self.counters;
        let page = format!(
            "# TYPE http_requests_total counter\nhttp_requests_total{{code=\"200\"}} {ok}\nhttp_requests_total{{code=\"500\"}} {failed}\n"
        );
        (page, self.is_down)
    }
}
