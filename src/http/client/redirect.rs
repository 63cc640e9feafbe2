//! Which request a redirect asks for, by the rules of Go's client.

use hyper::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, LOCATION,
    TRANSFER_ENCODING,
};
use hyper::{Method, StatusCode};

use super::error::Cause;
use super::request::{Reply, Request, Url};

/// The request to send next, or `None` when the answer is no redirect.
pub fn next(request: &Request, reply: &Reply) -> Result<Option<Request>, Cause> {
    let keeps_body = match reply.status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => false,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        _ => return Ok(None),
    };
    let Some(location) = reply.headers.get(LOCATION) else {
        return Ok(None);
    };
    let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
    let url = match resolve(&request.url, &location) {
        Ok(url) => url,
        Err(text) => return Err(Cause::Location { location, text }),
    };
    let mut next = Request { url, ..request.clone() };
    if !keeps_body && !matches!(next.method, Method::GET | Method::HEAD) {
        next.method = Method::GET;
        next.body = bytes::Bytes::new();
        for header in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING] {
            next.headers.remove(header);
        }
    }
    if !request.url.is_same_server(&next.url) {
        // What was said to one server in confidence is not said to another.
        next.headers.remove(AUTHORIZATION);
        next.headers.remove(COOKIE);
    }
    Ok(Some(next))
}

/// What `location` means where it was read.
fn resolve(base: &Url, location: &str) -> Result<Url, String> {
    let location = location.split('#').next().unwrap_or_default();
    let scheme = if base.https { "https" } else { "http" };
    if has_scheme(location) {
        return Url::parse(location);
    }
    if let Some(rest) = location.strip_prefix("//") {
        return Url::parse(&format!("{scheme}://{rest}"));
    }
    let path = base.target.path();
    let target = if location.is_empty() {
        base.target.to_string()
    } else if location.starts_with('/') {
        location.to_owned()
    } else if location.starts_with('?') {
        format!("{path}{location}")
    } else {
        let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
        format!("{folder}{location}")
    };
    let target = target.parse().map_err(|error| format!("{error}"))?;
    Ok(Url { target, ..base.clone() })
}

fn has_scheme(location: &str) -> bool {
    let scheme = location.split_once(':').map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
    use hyper::{Method, StatusCode};

    use super::next;
    use crate::http::client::{Reply, Request, Url};

    fn reply(status: u16, location: &'static str) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static(location));
        let status = StatusCode::from_u16(status).unwrap();
        Reply { status, status_text: status.to_string(), headers, body: Bytes::new() }
    }

    fn target(from: &str, location: &'static str) -> String {
        let request = Request::get(Url::parse(from).unwrap());
        next(&request, &reply(301, location)).unwrap().unwrap().url.to_string()
    }

    #[test]
    fn a_location_is_read_where_it_stands() {
        let base = "http://h:1/a/b?c";
        assert_eq!(target(base, "/x?y"), "http://h:1/x?y");
        assert_eq!(target(base, "x"), "http://h:1/a/x");
        assert_eq!(target(base, "?y"), "http://h:1/a/b?y");
        assert_eq!(target(base, "//g:2/z#f"), "http://g:2/z");
        assert_eq!(target(base, "https://g/z"), "https://g/z");
        let request = Request::get(Url::parse(base).unwrap());
        assert!(next(&request, &reply(302, "ftp://g/")).is_err());
        assert!(next(&request, &reply(200, "/x")).unwrap().is_none());
    }

    #[test]
    fn a_post_keeps_its_body_only_where_it_must() {
        let url = Url::parse("http://h:1/a").unwrap();
        let request = Request::post(url, "body").content_type("text/plain");
        let moved = next(&request, &reply(302, "/x")).unwrap().unwrap();
        assert_eq!((moved.method, moved.body.len()), (Method::GET, 0));
        assert!(!moved.headers.contains_key(CONTENT_TYPE));
        let kept = next(&request, &reply(307, "/x")).unwrap().unwrap();
        assert_eq!((kept.method, &kept.body[..]), (Method::POST, &b"body"[..]));
    }

    #[test]
    fn a_secret_stays_with_its_server() {
        let url = Url::parse("http://h:1/a").unwrap();
        let request = Request::get(url).header(AUTHORIZATION, HeaderValue::from_static("secret"));
        let same = next(&request, &reply(302, "/x")).unwrap().unwrap();
        assert!(same.headers.contains_key(AUTHORIZATION));
        let other = next(&request, &reply(302, "http://h:2/x")).unwrap().unwrap();
        assert!(!other.headers.contains_key(AUTHORIZATION));
    }
}
