//! A fake receiver, which answers as it is told and passes on what it got.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use ring::hmac;
use serde_json::Value;

/// How it answers.
#[derive(Clone, Copy)]
pub enum Answers {
    Status(&'static str),
    StatusTwiceThenOk(&'static str),
    Nothing,
}

pub struct Receiver {
    pub address: SocketAddr,
    posts: mpsc::Receiver<Post>,
}

/// What it got.
#[derive(Debug)]
pub struct Post {
    pub path: String,
    pub body: String,
    head: String,
}

const PATIENCE: Duration = Duration::from_secs(45);

// === impl Receiver ===

impl Receiver {
    pub fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, posts) = mpsc::channel();
        thread::spawn(move || {
            let mut silent = Vec::new();
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                // A client that gave up leaves half a request.
                let Some(post) = Post::read(&mut stream) else { continue };
                let status = match answers {
                    Answers::Status(status) => status,
                    Answers::StatusTwiceThenOk(status) if number < 2 => status,
                    Answers::StatusTwiceThenOk(_) => "200 OK",
                    Answers::Nothing => {
                        silent.push(stream);
                        continue;
                    }
                };
                // The test may be over.
                let _ = sender.send(post);
                let words = if status.starts_with('2') { "" } else { "no thanks" };
                let length = words.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{words}"
                );
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, posts }
    }

    /// The next that it got.
    #[track_caller]
    pub fn next(&self) -> Post {
        self.posts.recv_timeout(PATIENCE).expect("something is posted")
    }
}

// === impl Post ===

impl Post {
    fn read(stream: &mut TcpStream) -> Option<Self> {
        let (mut request, mut buffer) = (Vec::new(), [0; 4_096]);
        loop {
            let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
            request.extend(&buffer[..read]);
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            if body.len() >= length.parse().unwrap() {
                let path = head.split(' ').nth(1)?.to_owned();
                return Some(Self { path, head: head.to_owned(), body: body.to_owned() });
            }
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.filter(|(found, _)| *found == name).map(|(_, value)| value).next().unwrap_or("")
    }

    /// As docs/alerting.md says that it is verified.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let (time, signature) = self.header("x-slod-signature").split_once(",v1=").unwrap();
        let message = format!("{}.{}", time.strip_prefix("t=").unwrap(), self.body);
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let bytes =
            (0..signature.len()).step_by(2).map(|at| u8::from_str_radix(&signature[at..at + 2], 16).unwrap());
        hmac::verify(&key, message.as_bytes(), &bytes.collect::<Vec<u8>>()).is_ok()
    }
}
