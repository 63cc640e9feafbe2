//! Answers: JSON with the original's `message`, the failures beside it, headers, compression.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use http_body_util::{BodyExt, Full};
use hyper::StatusCode;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS,
};
use serde::Serialize;
use serde_json::json;

use super::routes::Endpoint;
use crate::http::respond::{Response, v1_json};
use crate::nsqadmin::actions::{Done, Stopped};
use crate::nsqadmin::cluster::{Failed, Unanswered, warning};

/// An answer with what nodes failed at beside it.
#[derive(Debug, Serialize)]
pub struct Told<'f, T> {
    #[serde(flatten)]
    value: T,
    message: String,
    failed: Vec<&'f Failed>,
}

/// JSON of a value whose fields stand beside `message` and `failed`; one list of failures for each
/// round of questions.
pub fn told<T: Serialize>(value: T, stages: &[&[Failed]]) -> Response {
    let failed = stages.iter().copied().flatten().collect();
    if let Some(warning) = Some(warning(stages)).filter(|text| !text.is_empty()) {
        tracing::warn!("{warning}");
    }
    v1_json(&Told { value, message: warning(stages), failed })
}

/// 502: nobody answered.
pub fn unanswered(what: &str, nobody: &Unanswered) -> Response {
    tracing::error!("failed to {what} - {nobody}");
    let message = format!("UPSTREAM_ERROR: {nobody}");
    let body = json!({"message": message, "failed": nobody.failed, "results": []});
    with_status(StatusCode::BAD_GATEWAY, &body)
}

/// A code, with what nodes failed at beside it.
pub fn refused(status: StatusCode, code: &str, failed: &[Failed]) -> Response {
    with_status(status, &json!({"message": code, "failed": failed, "results": []}))
}

/// What became of an action.
pub fn done(done: &Done) -> Response {
    let (status, message) = match &done.stopped {
        None => (StatusCode::OK, done.message()),
        Some(Stopped::Unanswered(nobody)) => {
            (StatusCode::BAD_GATEWAY, format!("UPSTREAM_ERROR: {nobody}"))
        }
        Some(Stopped::UnknownTopic) => (StatusCode::NOT_FOUND, "TOPIC_NOT_FOUND".to_owned()),
        Some(Stopped::UnknownNode) => (StatusCode::NOT_FOUND, "NODE_NOT_FOUND".to_owned()),
    };
    let failed = match &done.stopped {
        Some(Stopped::Unanswered(nobody)) => &nobody.failed,
        _ => &done.failed,
    };
    with_status(status, &json!({"message": message, "results": done.outcomes, "failed": failed}))
}

/// JSON with a status.
pub fn with_status(status: StatusCode, value: &impl Serialize) -> Response {
    let mut response = v1_json(value);
    *response.status_mut() = status;
    response
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");

/// Adds what all answers have in common, and compresses for clients that understand it.
pub async fn finish(endpoint: Endpoint, asked: &HeaderMap, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(REFERRER_POLICY, SAME_ORIGIN);
    if endpoint.is_live() && !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, NO_STORE);
    }
    compress(asked, response).await
}

/// How an answer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
}

/// The first of the two that stands there alone; weights are not read, as in the original.
fn coding(asked: &HeaderMap) -> Option<Coding> {
    let accepted = asked.get(ACCEPT_ENCODING)?.to_str().ok()?;
    accepted.split(',').find_map(|token| match token.trim() {
        "gzip" => Some(Coding::Gzip),
        "deflate" => Some(Coding::Deflate),
        _ => None,
    })
}

async fn compress(asked: &HeaderMap, response: Response) -> Response {
    let Some(coding) = coding(asked) else { return response };
    let packed_already = response.headers().contains_key(CONTENT_ENCODING);
    let is_picture = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"image/png"));
    if packed_already || is_picture {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // A body that is all there cannot fail.
    let Ok(plain) = body.collect().await.map(http_body_util::Collected::to_bytes);
    if plain.is_empty() {
        return Response::from_parts(parts, Full::new(plain));
    }
    let packed = match pack(coding, &plain) {
        Ok(packed) => packed,
        Err(error) => {
            tracing::error!("failed to compress an answer - {error}");
            return Response::from_parts(parts, Full::new(plain));
        }
    };
    let name = match coding {
        Coding::Gzip => "gzip",
        Coding::Deflate => "deflate",
    };
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    Response::from_parts(parts, Full::new(Bytes::from(packed)))
}

fn pack(coding: Coding, plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let room = Vec::with_capacity(plain.len() / 4);
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(room, Compression::fast());
            encoder.write_all(plain)?;
            encoder.finish()
        }
        Coding::Deflate => {
            let mut encoder = DeflateEncoder::new(room, Compression::fast());
            encoder.write_all(plain)?;
            encoder.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};

    use super::{Coding, coding};

    #[test]
    fn codings_are_chosen_as_in_the_original() {
        for (text, wanted) in [
            ("gzip, deflate, br", Some(Coding::Gzip)),
            ("br,deflate,gzip", Some(Coding::Deflate)),
            ("gzip;q=1.0", None),
            ("identity", None),
            ("", None),
        ] {
            let mut asked = HeaderMap::new();
            asked.insert(ACCEPT_ENCODING, HeaderValue::from_static(text));
            assert_eq!(coding(&asked), wanted, "{text}");
        }
    }
}
