//! A server of canned answers, and what the client makes of them.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::mpsc,
    thread,
};

use super::*;
use crate::client::{Credentials, Secret};

/// A server that gives one answer, and passes on what it was asked. Without an answer it stays silent.
fn server(answer: Option<Vec<u8>>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/prefix/", listener.local_addr().unwrap());
    let (asked, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        asked.send(read_request(&mut stream)).unwrap();
        match answer {
            // Whoever asked may have gone.
            Some(answer) => drop(stream.write_all(&answer)),
            None => drop(stream.read_to_end(&mut Vec::new())),
        }
    });
    (url, receiver)
}

/// A server that gives these answers, one after the other, and passes on what it was asked.
pub(super) fn server_of(answers: Vec<Vec<u8>>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/prefix/", listener.local_addr().unwrap());
    let (asked, receiver) = mpsc::channel();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            // Whoever asked may have gone.
            let _ = asked.send(read_request(&mut stream));
            let _ = stream.write_all(&answer);
        }
    });
    (url, receiver)
}

/// The head and the body, of which what is no text is replaced.
fn read_request(stream: &mut impl Read) -> String {
    let (mut request, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        let read = stream.read(&mut buffer).unwrap();
        request.extend(&buffer[..read]);
        let Some(head) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&request).into_owned();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        if request.len() >= head + 4 + length.map_or(0, |length| length.parse().unwrap()) {
            return text;
        }
    }
}

pub(super) fn http_answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

pub(super) fn source(url: &str) -> Source {
    let mut config = Config::new("main", url.parse().unwrap());
    config.server.timeout = Duration::from_secs(20);
    config.server.response_bytes_max = 1_000;
    Source::new(config).unwrap()
}

const AT: Timestamp = Timestamp(1_700_000_000_250);

/// What comes of an instant query with this answer: its values by label, or the reason that there are none.
async fn said(status: &str, body: &str) -> String {
    let (url, _asked) = server(Some(http_answer(status, body)));
    match source(&url).query("up", AT).await {
        Ok(vector) => vector.iter().map(|(labels, value)| format!("{labels} {value} ")).collect(),
        Err(error) => error.reason.to_string(),
    }
}

#[tokio::test]
async fn a_query_is_asked_as_a_form_at_its_time() {
    let body = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    let (url, asked) = server(Some(http_answer("200 OK", body)));
    let mut config = Config::new("main", url.parse().unwrap());
    let password = Secret::Text("pass".into());
    config.server.credentials = Some(Credentials::Basic { username: "me".into(), password });
    config.server.headers =
        vec![(HeaderName::from_static("x-scope-orgid"), HeaderValue::from_static("tenant"))];
    assert_eq!(Source::new(config).unwrap().query("a{b=\"c\"} + 1", AT).await, Ok(vec![]));
    let asked = asked.recv().unwrap();
    for part in [
        "POST /prefix/api/v1/query HTTP/1.1\r\n",
        "\r\nauthorization: Basic bWU6cGFzcw==\r\n",
        "\r\nx-scope-orgid: tenant\r\n",
        "\r\ncontent-type: application/x-www-form-urlencoded\r\n",
        "\r\nquery=a%7Bb%3D%22c%22%7D%20%2B%201&timeout=10000ms&",
        "&time=1700000000%2E250",
    ] {
        assert!(asked.contains(part), "{part:?} is not in {asked:?}");
    }
}

#[tokio::test]
async fn a_range_and_label_values_are_asked_for_their_time() {
    let body = r#"{"status":"success","data":{"resultType":"matrix","result":[
        {"metric":{"job":"a"},"values":[[1700000000.25,"1"],[1700000030.25,"+Inf"]]}]}}"#;
    let (url, asked) = server(Some(http_answer("200 OK", body)));
    let end = AT + Duration::from_secs(60);
    let matrix = source(&url).query_range("up", AT, end, Duration::from_secs(30)).await.unwrap();
    let samples = vec![(AT, 1.0), (AT + Duration::from_secs(30), f64::INFINITY)];
    assert_eq!(matrix, [(Labels::new([("job", "a")]).unwrap(), samples)]);
    let form = "&start=1700000000%2E250&end=1700000060%2E250&step=30%2E000";
    assert!(asked.recv().unwrap().ends_with(form));

    let (url, asked) = server(Some(http_answer("200 OK", r#"{"status":"success","data":["a","b"]}"#)));
    assert_eq!(source(&url).label_values("job", AT, end).await, Ok(vec!["a".to_owned(), "b".to_owned()]));
    let path = "GET /prefix/api/v1/label/job/values?start=1700000000%2E250&end=1700000060%2E250 ";
    assert!(asked.recv().unwrap().starts_with(path));
}

#[tokio::test]
async fn values_are_read_and_what_is_none_is_told() {
    #[track_caller]
    fn check(said: &str, expected: &str) {
        assert_eq!(said.trim_end(), expected);
    }
    let data = |kind: &str, result: &str| {
        format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}},"infos":["x"]}}"#)
    };
    let vector =
        data("vector", r#"[{"metric":{"a":"b","c":""},"value":[1,"0.5"]},{"metric":{},"value":[1,"NaN"]}]"#);
    check(&said("200 OK", &vector).await, r#"{a="b"} 0.5 {} NaN"#);
    check(&said("200 OK", &data("scalar", r#"[1,"-Inf"]"#)).await, "{} -inf");
    let histogram = data("vector", r#"[{"metric":{},"histogram":[1,{"count":"1"}]}]"#);
    let unusable = "the answer is of no use: ";
    check(
        &said("200 OK", &histogram).await,
        &format!(
            "{unusable}native histograms, where numbers were asked for; use histogram_count or the like"
        ),
    );
    check(
        &said("200 OK", &data("string", r#"[1,"x"]"#)).await,
        &format!("{unusable}a string, where numbers were asked for"),
    );
}

#[tokio::test]
async fn what_is_no_answer_is_told_in_the_server_s_words() {
    #[track_caller]
    fn check(said: &str, expected: &str) {
        assert_eq!(said, expected);
    }
    let refused = r#"{"status":"error","errorType":"execution","error":"found duplicate series"}"#;
    check(
        &said("422 Unprocessable Entity", refused).await,
        "it refuses the query with status 422: execution: found duplicate series",
    );
    check(
        &said("401 Unauthorized", "who\n are you?").await,
        "it refuses the credentials with status 401: who are you?",
    );
    check(&said("503 Unavailable", "").await, "it failed with status 503: ");
    check(
        &said("200 OK", "<html>").await,
        "the answer is not one of Prometheus' API: expected value at line 1 column 1, it begins \"<html>\"; url \
         must be that before /api/v1",
    );
    check(
        &said("200 OK", &"x".repeat(1_001)).await,
        "the answer has more than 1000 bytes; aggregate by fewer labels",
    );
    let partial = r#"{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}"#;
    check(&said("200 OK", partial).await, "the answer is partial: some of its servers did not answer");
    let (url, _asked) =
        server(Some(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n".into()));
    let error = source(&url).query("up", AT).await.unwrap_err();
    assert_eq!(error.reason.to_string(), "it failed with status 302: it is at /login");
}

#[tokio::test]
async fn a_silent_server_and_none_are_told_apart() {
    let (url, _asked) = server(None);
    let mut config = Config::new("main", url.parse().unwrap());
    config.server.timeout = Duration::from_millis(50);
    let error = Source::new(config).unwrap().query("up", AT).await.unwrap_err();
    let expected = format!(
        "cannot ask main at {} for \"up\": no answer within 50ms (timeout)",
        url.trim_end_matches('/')
    );
    assert_eq!(error.to_string(), expected);

    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let reason = source(&url).query("up", AT).await.unwrap_err().reason;
    assert_eq!(reason.outcome(), "unreachable", "{reason}");
}

#[tokio::test]
async fn a_token_is_read_anew_for_each_request() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let (url, asked) = server(Some(http_answer("503 Unavailable", "")));
    let token = Credentials::Token { scheme: "Bearer".into(), token: Secret::File(file.clone()) };
    let mut config = Config::new("main", url.parse().unwrap());
    config.server.credentials = Some(token);
    let source = Source::new(config).unwrap();
    let reason = source.query("up", AT).await.unwrap_err().reason;
    assert_eq!(reason.outcome(), "unauthorized", "{reason}");
    std::fs::write(&file, "abc\n").unwrap();
    source.query("up", AT).await.unwrap_err();
    assert!(asked.recv().unwrap().contains("\r\nauthorization: Bearer abc\r\n"));
}

#[test]
fn certificates_of_a_file_are_read_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, "nothing\n").unwrap();
    let mut config = Config::new("main", "https://localhost".parse().unwrap());
    config.server.tls.ca_file = Some(file.clone());
    let error = Source::new(config).unwrap_err();
    let expected = format!("cannot use certificates of {}: there is no certificate in it", file.display());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn times_are_seconds() {
    assert_eq!(seconds(Timestamp(1_500)), "1.500");
    assert_eq!(seconds(Timestamp(-1)), "-0.001");
}
