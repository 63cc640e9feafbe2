//! The pages: one HTML file with what it has to know, and the files that it is made of.
//!
//! They are built into the binary. Nothing is loaded from elsewhere, and the policy that goes with
//! the page says so.

use std::path::Path;

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH,
};
use serde_json::json;

use super::AdminSite;
use crate::config::version::{NSQ_VERSION, SHOAL_VERSION};
use crate::http::respond::{Response, plain_text};
use crate::http::server::Request;

const INDEX: &str = include_str!("../page/dist/index.html");

/// A file of the page.
struct Asset {
    name: &'static str,
    bytes: &'static [u8],
}

const ASSETS: &[Asset] = &[
    Asset { name: "main.js", bytes: include_bytes!("../page/dist/main.js") },
    Asset { name: "main.css", bytes: include_bytes!("../page/dist/main.css") },
    Asset { name: "favicon.svg", bytes: include_bytes!("../page/dist/favicon.svg") },
    Asset { name: "index.html", bytes: INDEX.as_bytes() },
];

/// A browser asks each time whether it has the latest.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");

/// The HTML of every page, as it is for who asks.
pub fn page(site: &AdminSite, request: &Request<'_>) -> Response {
    let headers = &request.parts.headers;
    let html = INDEX
        .replace("{{base}}", &escape(&site.base))
        .replace("{{config}}", &escape(&settings(site, headers, request.remote).to_string()));
    let mut response = Response::new(Full::new(Bytes::from(html)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HTML);
    headers.insert(OPENER_POLICY, SAME_ORIGIN);
    if let Ok(policy) = HeaderValue::from_str(&policy(&graphite_origin(site))) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// What the page has to know.
fn settings(site: &AdminSite, headers: &HeaderMap, remote: &str) -> serde_json::Value {
    let graphite = &site.graphite;
    let interval = site.history_options.interval.unwrap_or_default();
    let offers_history = !interval.is_zero();
    json!({
        "VERSION": NSQ_VERSION,
        "SHOAL_VERSION": SHOAL_VERSION,
        "USER_AGENT": format!("nsqadmin/v{NSQ_VERSION}"),
        "GRAPHITE_URL": if graphite.proxy { "" } else { graphite.url.as_str() },
        "GRAPH_ENABLED": !graphite.url.is_empty(),
        "STATSD_COUNTER_FORMAT": graphite.counter_format,
        "STATSD_GAUGE_FORMAT": graphite.gauge_format,
        "STATSD_INTERVAL": graphite.statsd_interval.as_secs(),
        "STATSD_PREFIX": graphite.statsd_prefix,
        "NSQLOOKUPD": site.cluster.lookupds(),
        "IS_ADMIN": site.access.is_admin(headers, remote),
        "BASE_PATH": site.base,
        "POLL_INTERVAL_MS": u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
        "HISTORY_S": if offers_history { site.history_options.span.as_secs() } else { 0 },
        "CSRF": "",
        "PEEK": site.access.offers_peek(),
        "PUBLISH": site.access.offers_publish(),
        "USER": site.access.user(headers, remote).unwrap_or_default(),
    })
}

/// Where pictures of Graphite come from when they do not come through here.
fn graphite_origin(site: &AdminSite) -> String {
    match &site.graphite_url {
        Some(url) if !site.graphite.proxy => {
            let scheme = if url.https { "https" } else { "http" };
            format!(" {scheme}://{}", url.authority)
        }
        _ => String::new(),
    }
}

fn policy(graphite: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; \
         img-src 'self' data:{graphite}; connect-src 'self'{graphite}; font-src 'none'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// A file of the page.
pub fn asset(site: &AdminSite, headers: &HeaderMap, name: &str) -> Response {
    let bytes = match &site.dev_static_dir {
        Some(folder) => read_file(folder, name),
        None => {
            let known = ASSETS.iter().find(|asset| asset.name == name);
            known.map(|asset| Bytes::from_static(asset.bytes))
        }
    };
    let Some(bytes) = bytes else {
        return plain_text(StatusCode::NOT_FOUND, "NOT_FOUND");
    };
    // Weak: what leaves may be packed.
    let tag = format!("W/\"{:08x}-{:x}\"", crc32fast::hash(&bytes), bytes.len());
    let asked = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let same = asked.is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag));
    let mut response = Response::new(Full::new(if same { Bytes::new() } else { bytes }));
    if same {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    headers.insert(CACHE_CONTROL, NO_CACHE);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// A file of the folder itself, none above or below it.
fn read_file(folder: &Path, name: &str) -> Option<Bytes> {
    if name.starts_with('.') || name.contains(['/', '\\', '\0']) {
        return None;
    }
    tracing::debug!("using dev dir {folder:?} for static asset {name:?}");
    std::fs::read(folder.join(name)).ok().map(Bytes::from)
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "map" | "json" => "application/json",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// Text in HTML, between tags or in an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{ASSETS, INDEX, escape, media_type, policy, read_file};

    #[test]
    fn the_page_has_its_places_and_its_files() {
        assert!(INDEX.contains("{{base}}/static/main.js") && INDEX.contains("{{config}}"));
        for asset in ASSETS {
            assert!(!asset.bytes.is_empty(), "{}", asset.name);
        }
    }

    #[test]
    fn nothing_in_the_page_can_break_out() {
        let evil = r#""><script>alert('x')</script>&"#;
        let escaped = escape(evil);
        assert!(!escaped.contains(['<', '>', '"', '\'']), "{escaped}");
        assert_eq!(escape("a&b"), "a&amp;b");
    }

    #[test]
    fn the_policy_lets_nothing_in_but_what_is_named() {
        assert!(policy("").contains("img-src 'self' data:; connect-src 'self';"));
        assert!(policy(" http://g:80").contains("img-src 'self' data: http://g:80;"));
        assert!(!policy("").contains("unsafe"));
    }

    #[test]
    fn only_files_of_the_folder_are_served_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("static");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        std::fs::write(inner.join("a.js"), "a").unwrap();
        std::fs::write(inner.join(".hidden"), "h").unwrap();
        assert_eq!(read_file(&inner, "a.js").as_deref(), Some(&b"a"[..]));
        for name in ["../secret", "..", ".hidden", "/etc/passwd", "a.js\0", "none", "..\\secret"] {
            assert_eq!(read_file(&inner, name), None, "{name:?}");
        }
        assert_eq!(media_type("main.js"), "text/javascript; charset=utf-8");
    }
}
