//! Requests and answers: what a caller says and gets.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::{Method, StatusCode, Uri};

/// An address that can be asked: `http` or `https`, a host, a port, a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether the connection is encrypted.
    pub https: bool,
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port, the scheme's own where none is given.
    pub port: u16,
    /// `user:password` as it stands in the address.
    pub user: Option<String>,
    /// Host and port as they stand in the address, for `Host` and for texts.
    pub authority: String,
    /// Path and query; begins with `/`.
    pub target: PathAndQuery,
}

impl Url {
    /// Reads an absolute URL.
    ///
    /// # Errors
    /// When it is none, or another scheme's; the text says why.
    pub fn parse(text: &str) -> Result<Url, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        Url::from_uri(&uri)
    }

    fn from_uri(uri: &Uri) -> Result<Url, String> {
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            other => {
                let scheme = other.map(Scheme::as_str).unwrap_or_default();
                return Err(format!("unsupported protocol scheme {scheme:?}"));
            }
        };
        let authority = uri.authority().ok_or("no Host in request URL")?.as_str();
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, authority),
        };
        let (host, port) = split_port(authority)?;
        if host.is_empty() {
            return Err("no Host in request URL".to_owned());
        }
        let port = port.unwrap_or(if https { 443 } else { 80 });
        let target = match uri.path_and_query() {
            None => PathAndQuery::from_static("/"),
            Some(target) if target.as_str().starts_with('/') => target.clone(),
            // It is shown with the slash that it lacks.
            Some(query) => query.to_string().parse().map_err(|error| format!("{error}"))?,
        };
        Ok(Url {
            https,
            host: host.to_owned(),
            port,
            user,
            authority: authority.to_owned(),
            target,
        })
    }

    /// The same server and path over TLS at another port.
    #[must_use]
    pub fn over_tls(&self, port: u16) -> Url {
        let host = &self.host;
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Url { https: true, port, authority, ..self.clone() }
    }

    /// Whether both are at the same server.
    #[must_use]
    pub fn is_same_server(&self, other: &Url) -> bool {
        self.https == other.https && self.host == other.host && self.port == other.port
    }
}

/// Without the password, so that none gets into a log.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://")?;
        if let Some(user) = &self.user {
            match user.split_once(':') {
                Some((name, _)) => write!(f, "{name}:***@")?,
                None => write!(f, "{user}@")?,
            }
        }
        write!(f, "{}{}", self.authority, self.target)
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`; the host comes without brackets.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), String> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or("missing ']' in host")?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((host, None)),
        Some("") => Ok((host, None)),
        Some(port) => match port.parse() {
            Ok(port) => Ok((host, Some(port))),
            Err(_) => Err(format!("invalid port {port:?}")),
        },
        None => Err(format!("invalid host {authority:?}")),
    }
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST`, ….
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers besides `Host`, `User-Agent` and `Content-Length`, which are made from the rest.
    pub headers: HeaderMap,
    /// The body; a `GET` has none.
    pub body: Bytes,
    /// Whether redirects are followed.
    pub follows: bool,
    /// Another deadline than the client's.
    pub timeout: Option<Duration>,
    /// Another bound on the answer's body than the client's.
    pub reply_bytes_max: Option<usize>,
}

impl Request {
    /// A request without headers and body, whose redirects are followed.
    #[must_use]
    pub fn new(method: Method, url: Url) -> Request {
        Request {
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            follows: true,
            timeout: None,
            reply_bytes_max: None,
        }
    }

    /// `GET` of a URL.
    #[must_use]
    pub fn get(url: Url) -> Request {
        Request::new(Method::GET, url)
    }

    /// `POST` to a URL.
    #[must_use]
    pub fn post(url: Url, body: impl Into<Bytes>) -> Request {
        Request { body: body.into(), ..Request::new(Method::POST, url) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Request {
        self.headers.append(name, value);
        self
    }

    /// Sets the body's type.
    #[must_use]
    pub fn content_type(self, value: &'static str) -> Request {
        self.header(hyper::header::CONTENT_TYPE, HeaderValue::from_static(value))
    }

    /// Takes redirects for answers.
    #[must_use]
    pub fn without_redirects(mut self) -> Request {
        self.follows = false;
        self
    }

    /// Sets its own deadline.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Request {
        self.timeout = Some(timeout);
        self
    }

    /// Sets its own bound on the answer's body.
    #[must_use]
    pub fn at_most(mut self, bytes: usize) -> Request {
        self.reply_bytes_max = Some(bytes);
        self
    }

    /// Whether it may be sent again when its fate is unknown.
    pub(super) fn is_idempotent(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
    }

    /// The method as Go's errors begin: `Get`, `Post`.
    pub(super) fn go_name(&self) -> String {
        let name = self.method.as_str();
        format!("{}{}", &name[..1], name[1..].to_lowercase())
    }

    /// As hyper wants it.
    pub(super) fn to_hyper(
        &self,
        user_agent: &str,
    ) -> Result<hyper::Request<http_body_util::Full<Bytes>>, String> {
        use hyper::header::{HOST, USER_AGENT};
        let mut request = hyper::Request::new(http_body_util::Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(self.url.target.clone());
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        let text = |value: &str| HeaderValue::from_str(value).map_err(|error| error.to_string());
        if !headers.contains_key(HOST) {
            headers.insert(HOST, text(&self.url.authority)?);
        }
        if !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, text(user_agent)?);
        }
        if let Some(user) = &self.url.user
            && !headers.contains_key(AUTHORIZATION)
        {
            headers.insert(AUTHORIZATION, text(&basic(user))?);
        }
        Ok(request)
    }
}

/// `Authorization` for `user:password` as it stands in a URL.
fn basic(user: &str) -> String {
    use base64::Engine;
    let mut plain: Vec<u8> = percent_encoding::percent_decode_str(user).collect();
    if !user.contains(':') {
        plain.push(b':');
    }
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(plain))
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The status with its reason as it was sent: `404 Not Found`.
    pub status_text: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

#[cfg(test)]
mod tests {
    use super::{Request, Url};
    use hyper::Method;
    use hyper::header::{AUTHORIZATION, HOST};

    #[test]
    fn urls_are_taken_apart() {
        for (text, https, host, port, authority, target) in [
            ("http://h:4161/a?b=c", false, "h", 4161, "h:4161", "/a?b=c"),
            ("http://h", false, "h", 80, "h", "/"),
            ("https://h?x=1", true, "h", 443, "h", "/?x=1"),
            ("http://[::1]:5/", false, "::1", 5, "[::1]:5", "/"),
            ("https://[::1]", true, "::1", 443, "[::1]", "/"),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!((url.https, url.host.as_str(), url.port), (https, host, port), "{text}");
            assert_eq!((url.authority.as_str(), url.target.as_str()), (authority, target));
        }
        for bad in ["", "h:1", "/x", "ftp://h/", "http://", "http://h:x/", "http://h:70000/"] {
            assert!(Url::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_password_is_sent_and_not_shown() {
        let url = Url::parse("http://me:se%63ret@h:1/x").unwrap();
        assert_eq!(url.to_string(), "http://me:***@h:1/x");
        let request = Request::new(Method::GET, url).to_hyper("t").unwrap();
        assert_eq!(request.headers()[AUTHORIZATION], "Basic bWU6c2VjcmV0");
        assert_eq!(request.headers()[HOST], "h:1");
        assert_eq!(request.uri(), "/x");
    }

    #[test]
    fn the_same_place_over_tls() {
        let url = Url::parse("http://[::1]:5/a?b").unwrap().over_tls(7);
        assert_eq!(url.to_string(), "https://[::1]:7/a?b");
    }
}
