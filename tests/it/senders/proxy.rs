//! The network between a sender and slod, which a test can break in several ways.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;

/// A way to slod that may be broken.
pub struct Proxy {
    pub address: SocketAddr,
    link: Arc<Link>,
}

#[derive(Debug)]
struct Link {
    state: Mutex<LinkState>,
    /// How often it did harm in its present state.
    harms: AtomicUsize,
}

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Up,
    /// Connections are closed as soon as they are opened, and those that were open.
    Down,
    /// Requests arrive whole; their answers are lost with the connection.
    LosesAnswers,
    /// Half of a request arrives, and nothing after it; the connection stays open.
    Stalls,
}

// How soon an idle connection sees that the link has changed.
const POLL: Duration = Duration::from_millis(50);

// === impl Proxy ===

impl Proxy {
    /// A link to an address, up. Its threads end with the test.
    pub fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = Arc::new(Link { state: Mutex::new(LinkState::Up), harms: AtomicUsize::new(0) });
        let proxy = Self { address: listener.local_addr().unwrap(), link: Arc::clone(&link) };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if link.is(LinkState::Down) {
                    link.note_harm();
                    continue;
                }
                // slod may be gone at the end of a test.
                let Ok(server) = TcpStream::connect(to) else { continue };
                connect(&link, &client, &server);
            }
        });
        proxy
    }

    pub fn set(&self, state: LinkState) {
        let mut guard = self.link.state.lock();
        *guard = state;
        self.link.harms.store(0, Ordering::SeqCst);
    }

    /// How often it refused a connection, lost an answer or stalled since it was set so.
    pub fn harms(&self) -> usize {
        self.link.harms.load(Ordering::SeqCst)
    }
}

fn connect(link: &Arc<Link>, client: &TcpStream, server: &TcpStream) {
    let copies = || (client.try_clone().unwrap(), server.try_clone().unwrap());
    let ((client, server), (client_too, server_too)) = (copies(), copies());
    let (for_requests, for_answers) = (Arc::clone(link), Arc::clone(link));
    thread::spawn(move || for_requests.pump(client, server, Link::pass_request));
    thread::spawn(move || for_answers.pump(server_too, client_too, Link::pass_answer));
}

// === impl Link ===

impl Link {
    fn is(&self, state: LinkState) -> bool {
        *self.state.lock() == state
    }

    fn note_harm(&self) {
        self.harms.fetch_add(1, Ordering::SeqCst);
    }

    /// Copies until one side or the link ends it, then closes both.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, pass: fn(&Self, &[u8], &mut TcpStream) -> bool) {
        from.set_read_timeout(Some(POLL)).unwrap();
        let mut bytes = [0; 1 << 16];
        while !self.is(LinkState::Down) {
            match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(length) if !pass(self, &bytes[..length], &mut to) => break,
                Ok(_) => (),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => (),
                Err(_) => break,
            }
        }
        // Whichever side has hung up already, the other one learns of it.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    fn pass_request(&self, bytes: &[u8], to: &mut TcpStream) -> bool {
        if !self.is(LinkState::Stalls) {
            return to.write_all(bytes).is_ok();
        }
        // Fails when slod has hung up, which harms as much.
        let _ = to.write_all(&bytes[..bytes.len() / 2]);
        self.note_harm();
        while self.is(LinkState::Stalls) {
            thread::sleep(POLL);
        }
        // What follows would not fit what came before.
        false
    }

    fn pass_answer(&self, bytes: &[u8], to: &mut TcpStream) -> bool {
        if self.is(LinkState::LosesAnswers) {
            self.note_harm();
            return false;
        }
        to.write_all(bytes).is_ok()
    }
}
