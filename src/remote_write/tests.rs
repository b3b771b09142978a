//! The queue, and what becomes of answers; whole rounds are in `tests/it/remote_write.rs`.

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, header::HeaderValue};

use super::*;

fn batch(round: u64, bytes: usize) -> Batch {
    Batch { round, body: Bytes::from(vec![round as u8; bytes]), samples: bytes }
}

fn rounds(queue: &mut Queue) -> Vec<u64> {
    std::iter::from_fn(|| {
        let batch = queue.front()?.clone();
        queue.done(&batch);
        Some(batch.round)
    })
    .collect()
}

#[test]
fn the_oldest_is_given_up_when_the_queue_is_full() {
    let mut queue = Queue::new(10);
    assert_eq!(queue.push(vec![batch(1, 4), batch(1, 4)]), 0);
    assert_eq!((queue.bytes(), queue.samples()), (8, 8));
    assert_eq!(queue.push(vec![batch(2, 6)]), 4);
    assert_eq!(queue.push(vec![]), 0);
    assert_eq!(rounds(&mut queue), [1, 2]);
    assert_eq!(queue.push(vec![batch(3, 6), batch(3, 6)]), 6, "what has no room by itself is cut");
    assert_eq!(rounds(&mut queue), [3]);
    assert_eq!((queue.bytes(), queue.samples()), (0, 0));
}

#[test]
fn what_was_given_up_while_it_was_sent_takes_nothing_else_with_it() {
    let mut queue = Queue::new(5);
    queue.push(vec![batch(1, 5)]);
    let sent = queue.front().unwrap().clone();
    queue.push(vec![batch(2, 5)]);
    assert!(!queue.done(&sent));
    assert_eq!(rounds(&mut queue), [2]);
}

#[track_caller]
fn check(status: u16, retry_after: Option<&str>, expected: Verdict) {
    let mut headers = HeaderMap::new();
    headers.extend(retry_after.map(|value| (RETRY_AFTER, HeaderValue::from_str(value).unwrap())));
    let status = StatusCode::from_u16(status).unwrap();
    let refusal = client::Refusal { status, headers, body: Bytes::new() };
    assert_eq!(Verdict::of::<()>(&Err(Failure::Status(Box::new(refusal)))), expected);
}

#[test]
fn only_what_the_server_did_wrong_is_repeated() {
    check(400, None, Verdict::Refused);
    check(404, Some("1"), Verdict::Refused);
    check(301, None, Verdict::Refused);
    check(429, Some("7"), Verdict::Later(Some(Duration::from_secs(7))));
    check(503, Some("100000"), Verdict::Later(Some(RETRY_AFTER_MAX)));
    check(500, Some("Wed, 21 Oct 2026 07:28:00 GMT"), Verdict::Later(None));
    assert_eq!(Verdict::of(&Ok(())), Verdict::Sent);
    assert_eq!(Verdict::of::<()>(&Err(Failure::Unreachable(String::new()))), Verdict::Later(None));
}

#[test]
fn pauses_double_up_to_a_bound() {
    let pauses: Vec<u128> = (1..=10).map(|failures| backoff(failures).as_millis()).collect();
    assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1_920, 3_840, 5_000, 5_000]);
    assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
}
