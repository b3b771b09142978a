//! What is asked, what is made of answers, and how a long time is cut.

use super::*;
use crate::{
    counter::STALE_MARKER_BITS,
    source::{
        Config,
        tests::{http_answer, server_of, source},
    },
};

fn selector(matchers: &[Matcher]) -> Selector {
    Selector { matchers: matchers.to_vec() }
}

fn matcher(name: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher::new(name, op, value).unwrap()
}

#[test]
fn a_server_is_asked_for_what_it_understands() {
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    #[track_caller]
    fn check(matchers: &[(&str, MatchOp, &str)], expected: &str) {
        let external_labels = Labels::new([("cluster", "eu"), ("replica", "0")]).unwrap();
        let matchers: Vec<Matcher> =
            matchers.iter().map(|(name, op, value)| matcher(name, *op, value)).collect();
        assert_eq!(question(&selector(&matchers), &external_labels).to_string(), expected);
    }
    let up = ("__name__", Equal, "up");
    check(&[up, ("job", NotRegex, "a|b")], r#"up{job!~"a|b"}"#);
    check(&[up, ("cluster", Regex, "eu|us"), ("replica", NotEqual, "1")], "up");
    // A series may have a label of its own by that name.
    check(&[up, ("cluster", Equal, "us")], r#"up{cluster="us"}"#);
    check(&[("cluster", Equal, "eu")], r#"{__name__=~".+"}"#);
    check(&[up, ("le", Equal, "1")], r#"up{le=~"1|1\\.0"}"#);
    check(&[up, ("le", Equal, "+Inf")], r#"up{le=~"\\+Inf|Inf"}"#);
    check(&[up, ("le", NotEqual, "1"), ("le", Regex, "1|2")], "up");
    check(&[up, ("le", Equal, "all")], r#"up{le="all"}"#);
}

#[test]
fn labels_of_a_prometheus_are_added_before_selecting() {
    #[track_caller]
    fn check(cluster: &str, labels: &[(&str, &str)], expected: &[&str]) {
        let external_labels = Labels::new([("cluster", "eu")]).unwrap();
        let selector = selector(&[matcher("cluster", MatchOp::Equal, cluster)]);
        let mut found = Found::new(&external_labels, Timestamp(0), Timestamp(9));
        found.selector = Some(&selector);
        let sample = Sample { at: Timestamp(1), value: 1.0 };
        found.add(Labels::new(labels.iter().copied()).unwrap(), [sample].into_iter()).unwrap();
        let labels: Vec<String> =
            found.piece().series.iter().map(|series| series.labels.to_string()).collect();
        assert_eq!(labels, expected);
    }
    check("eu", &[("a", "b")], &[r#"{a="b",cluster="eu"}"#]);
    check("us", &[("a", "b")], &[]);
    check("us", &[("a", "b"), ("cluster", "us")], &[r#"{a="b",cluster="us"}"#]);
    check("eu", &[("a", "b"), ("cluster", "us")], &[]);
}

#[test]
fn pieces_cover_a_time_and_shrink_as_far_as_they_can() {
    let minute = Duration::from_secs(60);
    let mut pieces = Pieces::new(Timestamp(0), Timestamp(200_000), minute);
    assert_eq!(pieces.peek(), Some((Timestamp(0), Timestamp(59_999))));
    assert!(pieces.shorten() && pieces.shorten());
    assert!(!pieces.shorten(), "15s is as short as it gets");
    assert_eq!(pieces.peek(), Some((Timestamp(0), Timestamp(14_999))));
    let mut read = Vec::new();
    while let Some((start, end)) = pieces.peek() {
        read.push((start.0, end.0));
        pieces.advance();
        assert_eq!(pieces.next(), if end.0 == 200_000 { pieces.next() } else { Timestamp(end.0 + 1) });
    }
    let expected = [(0, 14_999), (15_000, 44_999), (45_000, 104_999), (105_000, 164_999), (165_000, 200_000)];
    assert_eq!(read, expected);
    assert_eq!(Pieces::new(Timestamp(1), Timestamp(0), minute).peek(), None);
    assert_eq!(Pieces::new(Timestamp(1), Timestamp(1), minute).peek(), Some((Timestamp(1), Timestamp(1))));
}

#[test]
fn a_pause_keeps_to_the_share() {
    let second = Duration::from_secs(1);
    assert_eq!(pause_after(second, 0.25), 3 * second);
    assert_eq!(pause_after(second, 1.0), Duration::ZERO);
    assert_eq!(pause_after(second, 0.0), PAUSE_MAX);
    assert_eq!(pause_after(1_000 * second, 0.5), PAUSE_MAX);
}

const RANGE: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
    {"metric":{"__name__":"up","job":"a"},"values":[[999.999,"0"],[1000,"1"],[1000.25,"NaN"],[1060,"3"]],
    "histograms":[[1,{}]]}]}}"#;

#[tokio::test]
async fn where_there_is_no_remote_read_a_query_has_the_samples() {
    let absent = http_answer("404 Not Found", "404 page not found");
    let answers = vec![absent, http_answer("200 OK", RANGE), http_answer("200 OK", RANGE)];
    let (url, asked) = server_of(answers);
    let source = source(&url);
    let up = [selector(&[matcher("__name__", MatchOp::Equal, "up")])];
    let (start, end) = (Timestamp(1_000_000), Timestamp(1_059_999));
    let series = source.read(&up, start, end).await.unwrap();
    let samples = series[0].samples.iter().map(|sample| (sample.at.0, sample.value.to_bits()));
    assert_eq!(samples.collect::<Vec<_>>(), [(1_000_000, 1_f64.to_bits()), (1_000_250, STALE_MARKER_BITS)]);
    assert!(asked.recv().unwrap().starts_with("POST /prefix/api/v1/read HTTP/1.1\r\n"));
    let form = asked.recv().unwrap();
    assert!(form.starts_with("POST /prefix/api/v1/query HTTP/1.1\r\n"), "{form}");
    assert!(form.contains("query=up%5B60000ms%5D&") && form.ends_with("&time=1059%2E999"), "{form}");

    source.read(&up, start, end).await.unwrap();
    assert!(asked.recv().unwrap().contains("/api/v1/query "), "it is remembered");
}

#[tokio::test]
async fn a_piece_that_is_too_much_is_asked_for_in_halves() {
    let refused = http_answer("422 Unprocessable Entity", "too many samples");
    let absent = http_answer("404 Not Found", "");
    let (url, asked) =
        server_of(vec![absent, refused, http_answer("404 Not Found", ""), http_answer("200 OK", RANGE)]);
    let source = source(&url);
    let up = [selector(&[matcher("__name__", MatchOp::Equal, "up")])];
    let mut pieces = Pieces::new(Timestamp(1_000_000), Timestamp(1_059_999), Duration::from_secs(300));
    let piece = source.read_next(&up, &mut pieces).await.unwrap().unwrap();
    assert_eq!((piece.start, piece.end, piece.histograms), (Timestamp(1_000_000), Timestamp(1_029_999), 1));
    assert_eq!(pieces.next(), Timestamp(1_030_000));
    let asked: Vec<String> = asked.iter().filter(|asked| asked.contains("/query ")).collect();
    assert!(asked[0].contains("%5B60000ms%5D"), "{}", asked[0]);
    assert!(asked[1].contains("%5B30000ms%5D"), "{}", asked[1]);
}

#[tokio::test]
async fn an_error_says_what_was_asked() {
    let (url, _asked) = server_of(vec![http_answer("401 Unauthorized", "who are you?")]);
    let config = Config::new("main", url.parse().unwrap());
    let up = [selector(&[matcher("__name__", MatchOp::Equal, "up")])];
    let mut pieces = Pieces::new(Timestamp(0), Timestamp(1), Duration::from_secs(60));
    let error = Source::new(config).unwrap().read_next(&up, &mut pieces).await.unwrap_err().to_string();
    assert!(
        error.ends_with("for \"up\": it refuses the credentials with status 401: who are you?"),
        "{error}"
    );
    assert_eq!(pieces.next(), Timestamp(0), "it may be asked again");
}
