//! What comes from a Graphite: a rate as a number, and pictures for browsers that cannot reach it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{
    ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, EXPIRES,
    HOST, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, USER_AGENT,
};
use serde::Deserialize;
use serde_json::json;

use super::AdminSite;
use crate::http::client::{Client, Request as Ask, Url};
use crate::http::query::Query;
use crate::http::respond::{Failure, Response, plain_text, v1_json};
use crate::http::server::Request;
use crate::nsqadmin::cluster::escape;

/// The largest picture.
const PICTURE_BYTES_MAX: usize = 16 << 20;
/// What Graphite is told of a browser's request.
const PASSED_ON: [HeaderName; 6] =
    [ACCEPT, ACCEPT_LANGUAGE, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, USER_AGENT];
/// What a browser is told of Graphite's answer.
const PASSED_BACK: [HeaderName; 5] = [CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, LAST_MODIFIED];
/// Whatever Graphite says, it does not become a page of ours.
const SANDBOX: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

#[derive(Debug, Deserialize)]
struct Series {
    #[serde(default)]
    datapoints: Vec<Vec<Option<f64>>>,
}

/// `GET /api/graphite?metric=rate&target=…`: a series' latest whole interval, per second.
pub async fn rate(site: &AdminSite, query: Query<'_>) -> Result<Response, Failure> {
    if query.get("metric").as_deref() != Some(b"rate") {
        return Err(Failure::bad_request("INVALID_ARG_METRIC"));
    }
    let target = query.get("target").ok_or(Failure::bad_request("INVALID_ARG_TARGET"))?;
    let target = String::from_utf8_lossy(&target).into_owned();
    let interval = site.graphite.statsd_interval;
    let path = rate_path(interval, &target);
    let url = format!("{}{path}", site.graphite.url);
    let said = site.client.get_v1::<Vec<Series>>(&url).await.map_err(|error| {
        tracing::error!("graphite request failed - {error}");
        Failure::internal()
    })?;
    let first = said.first().and_then(|series| *series.datapoints.first()?.first()?);
    let Some(count) = first else {
        tracing::error!("graphite has no data for {target:?}");
        return Err(Failure::internal());
    };
    Ok(v1_json(&json!({ "rate": rate_text(count, interval) })))
}

fn rate_path(interval: Duration, target: &str) -> String {
    let seconds = interval.as_secs();
    format!(
        "/render?format=json&from=-{}sec&target={}&until=-{seconds}sec",
        seconds * 2,
        escape(target)
    )
}

#[allow(clippy::cast_precision_loss, reason = "intervals are minutes")]
fn rate_text(count: f64, interval: Duration) -> String {
    match interval.as_secs() {
        _ if count < 0.0 => "N/A".to_owned(),
        0 => "N/A".to_owned(),
        seconds => format!("{:.2}", count / seconds as f64),
    }
}

/// `GET /render?…`, from the one Graphite that was configured.
pub async fn render(site: &AdminSite, request: &Request<'_>) -> Response {
    let Some(graphite) = site.graphite_url.as_ref().filter(|_| site.graphite.proxy) else {
        return Failure::not_found("NOT_FOUND").v1();
    };
    match fetch(&site.client, graphite, request).await {
        Ok(response) => response,
        Err(problem) => {
            tracing::error!("graphite request failed - {problem}");
            plain_text(StatusCode::BAD_GATEWAY, "")
        }
    }
}

async fn fetch(client: &Client, graphite: &Url, request: &Request<'_>) -> Result<Response, String> {
    let url = picture_url(graphite, request.parts.uri.query())?;
    let mut ask = Ask::get(url).without_redirects().at_most(PICTURE_BYTES_MAX);
    for name in PASSED_ON {
        if let Some(value) = request.parts.headers.get(&name) {
            ask = ask.header(name, value.clone());
        }
    }
    let reply = client.send(ask).await.map_err(|error| error.to_string())?;
    let mut response = Response::new(Full::new(Bytes::clone(&reply.body)));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    for name in PASSED_BACK {
        if let Some(value) = reply.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(CONTENT_SECURITY_POLICY, SANDBOX);
    Ok(response)
}

/// Whatever is asked, it is `/render` of this server.
fn picture_url(graphite: &Url, query: Option<&str>) -> Result<Url, String> {
    let folder = graphite.target.path().trim_end_matches('/');
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("{folder}/render{query}");
    let target = target.parse().map_err(|error| format!("{error}"))?;
    Ok(Url { target, ..graphite.clone() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{picture_url, rate_path, rate_text};
    use crate::http::client::Url;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn rates_are_asked_for_and_told_as_in_the_original() {
        let path = rate_path(MINUTE, "sumSeries(a.b)");
        let wanted = "/render?format=json&from=-120sec&target=sumSeries%28a.b%29&until=-60sec";
        assert_eq!(path, wanted);
        assert_eq!(rate_text(24_690.0, MINUTE), "411.50");
        assert_eq!(rate_text(-1.0, MINUTE), "N/A");
    }

    #[test]
    fn only_one_server_is_asked() {
        let graphite = Url::parse("https://me:pw@g:8080/graphite/").unwrap();
        let url = picture_url(&graphite, Some("target=http://evil/@x")).unwrap();
        assert_eq!(url.to_string(), "https://me:***@g:8080/graphite/render?target=http://evil/@x");
        assert_eq!(url.user.as_deref(), Some("me:pw"));
        let plain = Url::parse("http://g").unwrap();
        assert_eq!(picture_url(&plain, None).unwrap().to_string(), "http://g/render");
    }
}
