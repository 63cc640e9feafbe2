//! Who may do what: users by a header, networks, and browsers that were sent by other pages.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use hyper::Method;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};

use crate::config::nsqadmin::AccessOptions;
use crate::http::respond::Failure;
use hyper::StatusCode;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The rules.
#[derive(Debug)]
pub struct Access {
    options: AccessOptions,
}

impl Access {
    /// From the options.
    pub fn new(options: AccessOptions) -> Access {
        Access { options }
    }

    /// The user whom a proxy names. A header that stands there twice names nobody: one of them may
    /// be the client's own. So does one from a network whose word is not taken.
    pub fn user<'h>(&self, headers: &'h HeaderMap, remote: &str) -> Option<&'h str> {
        let trusted = &self.options.acl_trusted;
        let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(&ip));
        if !trusted.is_empty() && !ip(remote).is_some_and(is_trusted) {
            return None;
        }
        let mut values = headers.get_all(&self.options.acl_header).iter();
        let user = values.next()?.to_str().ok()?;
        (values.next().is_none() && !user.is_empty()).then_some(user)
    }

    /// Whether a request may change something. Without admins everybody is one.
    pub fn is_admin(&self, headers: &HeaderMap, remote: &str) -> bool {
        let admins = &self.options.admin_users;
        let user = self.user(headers, remote);
        admins.is_empty() || user.is_some_and(|user| admins.iter().any(|admin| admin == user))
    }

    /// Refuses who may not change something.
    pub fn admit_admin(&self, headers: &HeaderMap, remote: &str) -> Result<(), Failure> {
        match self.is_admin(headers, remote) {
            true => Ok(()),
            false => Err(forbidden("FORBIDDEN")),
        }
    }

    /// Refuses who may not see or set options. What a proxy says about its client does not count.
    pub fn admit_config(&self, remote: &str) -> Result<(), Failure> {
        let Some(network) = &self.options.config_from else { return Ok(()) };
        match ip(remote) {
            Some(ip) if network.contains(&ip) => Ok(()),
            Some(_) => Err(forbidden("FORBIDDEN")),
            None => {
                tracing::error!("failed to parse RemoteAddr {remote}");
                Err(Failure::bad_request("INVALID_REMOTE_ADDR"))
            }
        }
    }

    /// Refuses requests that a browser was made to send by another site. Programs send none of
    /// these headers and are not stopped.
    pub fn admit_origin(&self, method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        let own = match headers.get(SEC_FETCH_SITE) {
            Some(site) => site == "same-origin" || site == "none",
            None => headers.get(ORIGIN).is_none_or(|origin| {
                let origin = origin.to_str().unwrap_or_default();
                let origin = origin.split_once("://").map_or("", |(_, host)| host);
                let names = [HOST, X_FORWARDED_HOST];
                let hosts = names.iter().filter_map(|name| headers.get(name)?.to_str().ok());
                !origin.is_empty() && hosts.into_iter().any(|host| same_host(host, origin))
            }),
        };
        if own { Ok(()) } else { Err(forbidden("CROSS_SITE_REQUEST")) }
    }

    /// Refuses calls under a foreign name: another's name may be made to lead here.
    pub fn admit_host(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let allowed = &self.options.hosts;
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = without_port(host).to_lowercase();
        match allowed.is_empty() || allowed.contains(&name) {
            true => Ok(()),
            false => Err(forbidden("FORBIDDEN_HOST")),
        }
    }

    /// Whether messages may be published at all.
    pub fn offers_publish(&self) -> bool {
        self.options.publish
    }

    /// Whether messages may be looked at at all.
    pub fn offers_peek(&self) -> bool {
        self.options.peek
    }
}

fn forbidden(code: &'static str) -> Failure {
    Failure::new(StatusCode::FORBIDDEN, code)
}

fn ip(remote: &str) -> Option<IpAddr> {
    remote.parse::<SocketAddr>().ok().map(|address| address.ip())
}

/// A default port may be written or not.
fn same_host(a: &str, b: &str) -> bool {
    let bare = |host: &str| {
        let host = host.to_lowercase();
        let host = host.strip_suffix(":80").or(host.strip_suffix(":443")).unwrap_or(&host);
        host.to_owned()
    };
    bare(a) == bare(b)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The user of HTTP's basic authorization; its password is not looked at.
pub fn basic_user(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let encoded = value.strip_prefix("Basic ")?;
    let plain = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    let plain = String::from_utf8(plain).ok()?;
    plain.split_once(':').map(|(user, _)| user.to_owned())
}

#[cfg(test)]
mod tests {
    use hyper::Method;
    use hyper::header::{HeaderMap, HeaderName, HeaderValue};

    use super::{Access, basic_user};
    use crate::config::nsqadmin::AccessOptions;

    fn options() -> AccessOptions {
        AccessOptions {
            admin_users: vec!["ann".to_owned()],
            acl_header: HeaderName::from_static("x-forwarded-user"),
            acl_trusted: Vec::new(),
            config_from: Some("127.0.0.1/8".parse().unwrap()),
            hosts: Vec::new(),
            publish: true,
            peek: true,
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    const REMOTE: &str = "127.0.0.1:5";

    #[test]
    fn only_named_users_are_admins() {
        let access = Access::new(options());
        let is_admin = |pairs: &[_]| access.is_admin(&headers(pairs), REMOTE);
        assert!(is_admin(&[("x-forwarded-user", "ann")]));
        assert!(!is_admin(&[("x-forwarded-user", "bob")]));
        assert!(!is_admin(&[("x-forwarded-user", "")]));
        assert!(!is_admin(&[]));
        // A client's own header before the proxy's.
        assert!(!is_admin(&[("x-forwarded-user", "ann"), ("x-forwarded-user", "bob")]));
        let everybody = Access::new(AccessOptions { admin_users: Vec::new(), ..options() });
        assert!(everybody.is_admin(&headers(&[]), REMOTE));
    }

    #[test]
    fn a_header_counts_from_trusted_networks_only() {
        let trusted = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let access = Access::new(AccessOptions { acl_trusted: trusted, ..options() });
        let ann = headers(&[("x-forwarded-user", "ann")]);
        for (remote, wanted) in
            [("10.1.1.1:5", true), ("[::1]:5", true), ("11.0.0.1:5", false), ("@", false)]
        {
            assert_eq!(access.is_admin(&ann, remote), wanted, "{remote}");
        }
    }

    #[test]
    fn options_are_for_their_network() {
        let access = Access::new(options());
        assert!(access.admit_config("127.5.5.5:1").is_ok());
        assert_eq!(access.admit_config("10.0.0.1:1").unwrap_err().message, "FORBIDDEN");
        assert_eq!(access.admit_config("[::1]:1").unwrap_err().message, "FORBIDDEN");
        assert_eq!(access.admit_config("@").unwrap_err().message, "INVALID_REMOTE_ADDR");
        let open = Access::new(AccessOptions { config_from: None, ..options() });
        assert!(open.admit_config("10.0.0.1:1").is_ok());
    }

    #[test]
    fn what_another_site_sends_is_refused() {
        let access = Access::new(options());
        let own = |pairs: &[_]| access.admit_origin(&Method::POST, &headers(pairs)).is_ok();
        assert!(own(&[("host", "a:4171")]), "a program");
        assert!(own(&[("host", "a:4171"), ("origin", "http://a:4171")]));
        assert!(own(&[("host", "a:80"), ("origin", "http://A")]));
        assert!(own(&[("host", "in:1"), ("x-forwarded-host", "a"), ("origin", "https://a")]));
        assert!(own(&[("host", "in:1"), ("origin", "https://a"), ("sec-fetch-site", "none")]));
        for pairs in [
            [("host", "a:4171"), ("origin", "http://b:4171")],
            [("host", "a:4171"), ("origin", "http://a:4172")],
            [("host", "a:4171"), ("origin", "null")],
            [("host", "a:4171"), ("sec-fetch-site", "cross-site")],
            [("host", "a:4171"), ("sec-fetch-site", "same-site")],
        ] {
            assert!(!own(&pairs), "{pairs:?}");
            assert!(access.admit_origin(&Method::GET, &headers(&pairs)).is_ok());
        }
    }

    #[test]
    fn foreign_names_are_refused_where_names_are_given() {
        let hosts = vec!["admin.example".to_owned(), "[::1]".to_owned()];
        let access = Access::new(AccessOptions { hosts, ..options() });
        for (host, wanted) in [
            ("admin.example", true),
            ("Admin.Example:4171", true),
            ("[::1]:4171", true),
            ("evil.example", false),
            ("", false),
        ] {
            let admitted = access.admit_host(&headers(&[("host", host)])).is_ok();
            assert_eq!(admitted, wanted, "{host}");
        }
    }

    #[test]
    fn the_basic_user_is_read() {
        let user = |value| basic_user(&headers(&[("authorization", value)]));
        assert_eq!(user("Basic dTE6cHc=").as_deref(), Some("u1"));
        for bad in ["Basic dTE=", "Basic %%%", "Bearer dTE6cHc=", "dTE6cHc="] {
            assert_eq!(user(bad), None, "{bad}");
        }
    }
}
