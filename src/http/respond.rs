//! Responses in the original's two shapes: "V1" (marked by a header, errors in JSON) and plain
//! text.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::ext::ReasonPhrase;
use hyper::header::{
    ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Method, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;

/// A response whose body is complete.
pub type Response = hyper::Response<Full<Bytes>>;

const NSQ_CONTENT_TYPE: HeaderName = HeaderName::from_static("x-nsq-content-type");
const VERSION_1: HeaderValue = HeaderValue::from_static("nsq; version=1.0");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// What must be escaped in the path of a `Location`.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'!')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'*')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A request that failed, and whose fault it is: 4xx the client's, 5xx ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The response's status.
    pub status: StatusCode,
    /// The code or text that clients look for.
    pub message: Cow<'static, str>,
}

impl Failure {
    /// A failure with a fixed code.
    #[must_use]
    pub const fn new(status: StatusCode, message: &'static str) -> Failure {
        Failure { status, message: Cow::Borrowed(message) }
    }

    /// 400 with a code.
    #[must_use]
    pub const fn bad_request(message: &'static str) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, message)
    }

    /// 400 for a parameter that cannot have its value; the text says what it may have.
    #[must_use]
    pub fn invalid(parameter: &str, text: &str) -> Failure {
        let message =
            Cow::Owned(format!("INVALID_ARG_{}: {parameter} {text}", parameter.to_uppercase()));
        Failure { status: StatusCode::BAD_REQUEST, message }
    }

    /// 404 with a code.
    #[must_use]
    pub const fn not_found(message: &'static str) -> Failure {
        Failure::new(StatusCode::NOT_FOUND, message)
    }

    /// 413 with a code.
    #[must_use]
    pub const fn too_large(message: &'static str) -> Failure {
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// Something here went wrong.
    #[must_use]
    pub const fn internal() -> Failure {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR")
    }

    /// As a V1 response. Of what is not served now it says when to try again. 413 keeps the name
    /// that it had before HTTP renamed it, as the original's.
    #[must_use]
    pub fn v1(&self) -> Response {
        #[derive(Serialize)]
        struct Message<'a> {
            message: &'a str,
        }
        let mut response = v1_json(&Message { message: &self.message });
        *response.status_mut() = self.status;
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::PAYLOAD_TOO_LARGE {
            let reason = ReasonPhrase::from_static(b"Request Entity Too Large");
            response.extensions_mut().insert(reason);
        }
        response
    }
}

/// V1 success with a text; an empty text has no type.
#[must_use]
pub fn v1_text(text: impl Into<Bytes>) -> Response {
    let text = text.into();
    let typed = !text.is_empty();
    let mut response = v1(text);
    if typed {
        response.headers_mut().insert(CONTENT_TYPE, TEXT);
    }
    response
}

/// V1 success with nothing to say.
#[must_use]
pub fn v1_empty() -> Response {
    v1(Bytes::new())
}

/// V1 success with a value; 500 when the value has no JSON form.
#[must_use]
pub fn v1_json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(json) => v1_json_text(json),
        Err(error) => {
            tracing::error!("failed to encode a response - {error}");
            let mut response = v1_json_text(&br#"{"message":"INTERNAL_ERROR"}"#[..]);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}

/// V1 success with JSON that is a text already.
#[must_use]
pub fn v1_json_text(json: impl Into<Bytes>) -> Response {
    let mut response = v1(json.into());
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// 403 to everything on a plain connection while only TLS is served; 0 when that is nowhere.
#[must_use]
pub fn https_hint(port: u16) -> Response {
    // The blanks are the original's; clients compare the text.
    let hint = format!("{{\"message\": \"TLS_REQUIRED\", \"https_port\": {port}}}");
    let mut response = v1_json_text(hint);
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
}

fn v1(body: Bytes) -> Response {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.reserve(2);
    headers.insert(NSQ_CONTENT_TYPE, VERSION_1);
    response
}

/// A bare text, success or not, without the V1 mark.
#[must_use]
pub fn plain_text(status: StatusCode, text: impl Into<Bytes>) -> Response {
    let text = text.into();
    let typed = !text.is_empty();
    let mut response = Response::new(Full::new(text));
    *response.status_mut() = status;
    if typed {
        response.headers_mut().insert(CONTENT_TYPE, TEXT);
    }
    response
}

/// 405 with the methods that would do.
#[must_use]
pub fn method_not_allowed(allow: &str) -> Response {
    let mut response = Failure::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED").v1();
    set_allow(&mut response, allow);
    response
}

/// The answer to `OPTIONS`.
#[must_use]
pub fn options(allow: &str) -> Response {
    let mut response = Response::new(Full::default());
    set_allow(&mut response, allow);
    response
}

fn set_allow(response: &mut Response, allow: &str) {
    if let Ok(value) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(ALLOW, value);
    }
}

/// Sends the client to the path as it should have been: 301 for GET, 307 for the others, so that
/// they repeat method and body.
#[must_use]
pub fn redirect(method: &Method, path: &str, query: Option<&str>) -> Response {
    let mut location = utf8_percent_encode(path, NOT_IN_PATH).to_string();
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    let Ok(target) = HeaderValue::from_str(&location) else {
        return Failure::bad_request("INVALID_REQUEST").v1();
    };
    let mut response = Response::new(Full::default());
    response.headers_mut().insert(LOCATION, target);
    if method != Method::GET {
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        return response;
    }
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(CONTENT_TYPE, HTML);
    let link = format!("<a href=\"{}\">Moved Permanently</a>.\n\n", escape_html(&location));
    *response.body_mut() = Full::new(Bytes::from(link));
    response
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{Failure, plain_text, redirect, v1_empty, v1_json, v1_text};
    use hyper::{Method, StatusCode};

    fn header<'r>(response: &'r super::Response, name: &str) -> Option<&'r str> {
        response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    #[test]
    fn v1_is_marked_and_typed_by_what_it_says() {
        let text = v1_text("OK");
        assert_eq!(header(&text, "x-nsq-content-type"), Some("nsq; version=1.0"));
        assert_eq!(header(&text, "content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(header(&v1_text(""), "content-type"), None);
        assert_eq!(header(&v1_empty(), "content-type"), None);
        let json = v1_json(&[1, 2]);
        assert_eq!(header(&json, "content-type"), Some("application/json; charset=utf-8"));
        let failure = Failure::too_large("MSG_TOO_BIG").v1();
        assert_eq!(failure.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(header(&failure, "x-nsq-content-type"), Some("nsq; version=1.0"));
    }

    #[test]
    fn plain_text_is_not_marked() {
        let text = plain_text(StatusCode::OK, "OK");
        assert_eq!(header(&text, "x-nsq-content-type"), None);
    }

    #[test]
    fn a_redirect_keeps_the_query_and_cannot_be_made_to_break_out() {
        let response = redirect(&Method::GET, "/config/a b\"<!", Some("x=1&y='"));
        assert_eq!(response.status(), StatusCode::MOVED_PERMANENTLY);
        assert_eq!(header(&response, "location"), Some("/config/a%20b%22%3C%21?x=1&y='"));
        let body = format!("{:?}", response.body());
        assert!(body.contains("/config/a%20b%22%3C%21?x=1&amp;y=&#39;"), "{body}");
        let response = redirect(&Method::POST, "/pub", None);
        assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(header(&response, "content-type"), None);
    }
}
