//! `/metrics`: this program's own numbers, for Prometheus.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use prometheus::{CounterVec, GaugeVec, Opts, Registry, TextEncoder};

use super::AdminSite;
use crate::config::version::{NSQ_VERSION, SHOAL_VERSION};
use crate::http::respond::{Failure, Response};
use crate::nsqadmin::cluster::Kind;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// A metric and its values: labels' values, and the number.
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    labels: &'a [&'a str],
    values: Vec<(Vec<&'a str>, f64)>,
}

/// All numbers.
pub fn metrics(site: &AdminSite) -> Result<Response, Failure> {
    let text = encode(site).map_err(|error| {
        tracing::error!("failed to encode metrics - {error}");
        Failure::internal()
    })?;
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    Ok(response)
}

fn encode(site: &AdminSite) -> prometheus::Result<String> {
    let registry = Registry::new();
    about_requests(site, &registry)?;
    about_actions(site, &registry)?;
    about_polls(site, &registry)?;
    gauge(
        &registry,
        Family {
            name: "nsqadmin_build_info",
            help: "Always 1; the labels say what runs.",
            labels: &["version", "shoal_version"],
            values: vec![(vec![NSQ_VERSION, SHOAL_VERSION], 1.0)],
        },
    )?;
    TextEncoder::new().encode_to_string(&registry.gather())
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus has floats only")]
fn number(count: u64) -> f64 {
    count as f64
}

fn about_requests(site: &AdminSite, registry: &Registry) -> prometheus::Result<()> {
    let (mut counts, mut seconds) = (Vec::new(), Vec::new());
    for kind in [Kind::Lookupd, Kind::Nsqd] {
        let of = site.cluster.request_counts(kind);
        counts.push((vec![kind.name(), "ok"], number(of.ok)));
        counts.push((vec![kind.name(), "failed"], number(of.failed)));
        seconds.push((vec![kind.name()], of.time.as_secs_f64()));
    }
    counter(
        registry,
        Family {
            name: "nsqadmin_upstream_requests_total",
            help: "Requests to nodes and lookup servers.",
            labels: &["target", "result"],
            values: counts,
        },
    )?;
    counter(
        registry,
        Family {
            name: "nsqadmin_upstream_request_seconds_total",
            help: "Time that these requests took.",
            labels: &["target"],
            values: seconds,
        },
    )?;
    counter(
        registry,
        Family {
            name: "nsqadmin_http_requests_total",
            help: "Requests of browsers and scripts.",
            labels: &[],
            values: vec![(vec![], number(site.requests.get()))],
        },
    )
}

fn about_actions(site: &AdminSite, registry: &Registry) -> prometheus::Result<()> {
    let actions = site.actions.borrow();
    let of = |outcome| actions.get(outcome).copied().unwrap_or_default();
    let outcomes = ["done", "partly", "failed", "refused"];
    counter(
        registry,
        Family {
            name: "nsqadmin_actions_total",
            help: "What admins did, by what became of it.",
            labels: &["result"],
            values: outcomes.iter().map(|name| (vec![*name], number(of(name)))).collect(),
        },
    )?;
    let notices = site.notifier.counts();
    counter(
        registry,
        Family {
            name: "nsqadmin_notifications_total",
            help: "Notifications of actions, by what became of them.",
            labels: &["result"],
            values: vec![
                (vec!["sent"], number(notices.sent)),
                (vec!["failed"], number(notices.failed)),
                (vec!["dropped"], number(notices.dropped)),
            ],
        },
    )
}

fn about_polls(site: &AdminSite, registry: &Registry) -> prometheus::Result<()> {
    let (count, took, ago) = site.poller.counts();
    counter(
        registry,
        Family {
            name: "nsqadmin_polls_total",
            help: "Looks at all nodes.",
            labels: &[],
            values: vec![(vec![], number(count))],
        },
    )?;
    let history = site.poller.history().borrow();
    let seconds = |time: Option<Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64());
    #[allow(clippy::cast_precision_loss, reason = "Prometheus has floats only")]
    let size = |count: usize| count as f64;
    let (kept, left_out) = history.rings().counts();
    let up = history.last().map_or(0, |poll| poll.nodes.len());
    let listed = history.last().map_or(0, |poll| poll.listed.len());
    for (name, help, values) in [
        (
            "nsqadmin_poll_duration_seconds",
            "What the last poll took.",
            [(vec![], seconds(Some(took)))].to_vec(),
        ),
        ("nsqadmin_poll_age_seconds", "How long ago it ended.", [(vec![], seconds(ago))].to_vec()),
    ] {
        gauge(registry, Family { name, help, labels: &[], values })?;
    }
    gauge(
        registry,
        Family {
            name: "nsqadmin_nodes",
            help: "Nodes that answered the last poll, and that did not.",
            labels: &["state"],
            values: vec![(vec!["up"], size(up)), (vec!["down"], size(listed.saturating_sub(up)))],
        },
    )?;
    gauge(
        registry,
        Family {
            name: "nsqadmin_history_series",
            help: "Series of the history that are kept, and that found no room.",
            labels: &["state"],
            values: vec![(vec!["kept"], size(kept)), (vec!["left_out"], size(left_out))],
        },
    )
}

fn counter(registry: &Registry, family: Family<'_>) -> prometheus::Result<()> {
    let vector = CounterVec::new(Opts::new(family.name, family.help), family.labels)?;
    for (labels, value) in &family.values {
        vector.get_metric_with_label_values(labels)?.inc_by(*value);
    }
    registry.register(Box::new(vector))
}

fn gauge(registry: &Registry, family: Family<'_>) -> prometheus::Result<()> {
    let vector = GaugeVec::new(Opts::new(family.name, family.help), family.labels)?;
    for (labels, value) in &family.values {
        vector.get_metric_with_label_values(labels)?.set(*value);
    }
    registry.register(Box::new(vector))
}
