//! Requests to the API that reads: path and parameters, however they came.
//!
//! Parameters come in the address or, as Grafana and promtool send them, as a form in the body. Which paths there are
//! is not known here.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderMap},
};
use percent_encoding::percent_decode_str;

/// A request to a path below `/api/v1/`.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The path, decoded.
    pub path: String,
    /// Names and values in their order, those of the body first.
    pub parameters: Vec<(String, String)>,
}

/// An answer in JSON.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// The body.
    pub json: String,
}

// Queries have 4 KiB at most; a form may have a list of selectors. Prometheus takes 10 MB.
const FORM_BYTES_MAX: usize = 256 << 10;
const FORM: &str = "application/x-www-form-urlencoded";

/// The question that a request is.
///
/// # Errors
/// When its body is no form, too large or too slow.
pub(super) async fn read(
    request: Request<Incoming>,
    timeout: Duration,
) -> Result<Question, (StatusCode, String)> {
    let uri = request.uri();
    let path = percent_decode_str(uri.path()).decode_utf8_lossy().into_owned();
    let of_address = parameters(uri.query().unwrap_or(""));
    let mut parameters = if *request.method() == Method::POST {
        if !is_form(request.headers()) {
            let reason = format!("a body here must be a form: content type {FORM}");
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
        }
        let body = read_body(request.into_body(), timeout).await?;
        self::parameters(&String::from_utf8_lossy(&body))
    } else {
        Vec::new()
    };
    parameters.extend(of_address);
    Ok(Question { path, parameters })
}

async fn read_body(body: Incoming, timeout: Duration) -> Result<Bytes, (StatusCode, String)> {
    #[expect(clippy::disallowed_methods, reason = "it is bounded")]
    let body = Limited::new(body, FORM_BYTES_MAX).collect();
    match tokio::time::timeout(timeout, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => {
            let reason =
                format!("cannot read the form, of which the limit is {FORM_BYTES_MAX} bytes: {error}");
            Err((StatusCode::BAD_REQUEST, reason))
        }
        Err(_) => {
            let reason = format!("the form did not arrive within {timeout:?} (web.read_timeout)");
            Err((StatusCode::SERVICE_UNAVAILABLE, reason))
        }
    }
}

/// A body without a content type has nothing in it: curl's `-X POST`.
fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("not text"));
    content_type.is_none_or(|found| found.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case(FORM))
}

/// What a form says (URL Standard, 5.1).
fn parameters(form: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = form.split('&').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    };
    pairs.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        let pairs = [("query", "a{b=\"c d\"} + 1"), ("match[]", "x"), ("empty", ""), ("bare", "")];
        let expected: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let form = "query=a%7Bb%3D%22c+d%22%7D+%2B+1&match%5B%5D=x&&empty=&bare";
        assert_eq!(parameters(form), expected);
        assert_eq!(parameters(""), []);
    }
}
