//! `/metrics`: this program's own numbers, for Prometheus.

use std::time::Duration;

use prometheus::Result as Encoded;
use prometheus::proto::MetricType;

use super::AdminSite;
use crate::config::version::{NSQ_VERSION, SHOAL_VERSION};
use crate::http::exposition::{self, Exposition, f64_of, metric};
use crate::http::respond::{Failure, Response};
use crate::nsqadmin::cluster::Kind;

/// More series than there are.
const SERIES_MAX: usize = 1000;

/// A metric and its values: labels' values, and the number.
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    labels: &'a [&'static str],
    values: Vec<(Vec<&'a str>, f64)>,
}

/// All numbers.
pub fn metrics(site: &AdminSite) -> Result<Response, Failure> {
    let text = encode(site).map_err(|error| exposition::failed(&error))?;
    Ok(exposition::response(text))
}

fn encode(site: &AdminSite) -> Encoded<Vec<u8>> {
    let mut page = Exposition::new(SERIES_MAX);
    about_requests(site, &mut page)?;
    about_actions(site, &mut page)?;
    about_polls(site, &mut page)?;
    let about = Family {
        name: "nsqadmin_build_info",
        help: "Always 1; the labels say what runs.",
        labels: &["version", "shoal_version"],
        values: vec![(vec![NSQ_VERSION, SHOAL_VERSION], 1.0)],
    };
    gauge(&mut page, &about)?;
    Ok(page.text())
}

fn about_requests(site: &AdminSite, page: &mut Exposition) -> Encoded<()> {
    let (mut counts, mut seconds) = (Vec::new(), Vec::new());
    for kind in [Kind::Lookupd, Kind::Nsqd] {
        let of = site.cluster.request_counts(kind);
        counts.push((vec![kind.name(), "ok"], f64_of(of.ok)));
        counts.push((vec![kind.name(), "failed"], f64_of(of.failed)));
        seconds.push((vec![kind.name()], of.time.as_secs_f64()));
    }
    counter(
        page,
        &Family {
            name: "nsqadmin_upstream_requests_total",
            help: "Requests to nodes and lookup servers.",
            labels: &["target", "result"],
            values: counts,
        },
    )?;
    counter(
        page,
        &Family {
            name: "nsqadmin_upstream_request_seconds_total",
            help: "Time that these requests took.",
            labels: &["target"],
            values: seconds,
        },
    )?;
    counter(
        page,
        &Family {
            name: "nsqadmin_http_requests_total",
            help: "Requests of browsers and scripts.",
            labels: &[],
            values: vec![(vec![], f64_of(site.requests.get()))],
        },
    )
}

fn about_actions(site: &AdminSite, page: &mut Exposition) -> Encoded<()> {
    let actions = site.actions.borrow();
    let of = |outcome| actions.get(outcome).copied().unwrap_or_default();
    let outcomes = ["done", "partly", "failed", "refused"];
    counter(
        page,
        &Family {
            name: "nsqadmin_actions_total",
            help: "What admins did, by what became of it.",
            labels: &["result"],
            values: outcomes.iter().map(|name| (vec![*name], f64_of(of(name)))).collect(),
        },
    )?;
    let notices = site.notifier.counts();
    counter(
        page,
        &Family {
            name: "nsqadmin_notifications_total",
            help: "Notifications of actions, by what became of them.",
            labels: &["result"],
            values: vec![
                (vec!["sent"], f64_of(notices.sent)),
                (vec!["failed"], f64_of(notices.failed)),
                (vec!["dropped"], f64_of(notices.dropped)),
            ],
        },
    )
}

fn about_polls(site: &AdminSite, page: &mut Exposition) -> Encoded<()> {
    let (count, took, ago) = site.poller.counts();
    counter(
        page,
        &Family {
            name: "nsqadmin_polls_total",
            help: "Looks at all nodes.",
            labels: &[],
            values: vec![(vec![], f64_of(count))],
        },
    )?;
    let history = site.poller.history().borrow();
    let seconds = |time: Option<Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64());
    let size = |count: usize| f64_of(count as u64);
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
        gauge(page, &Family { name, help, labels: &[], values })?;
    }
    gauge(
        page,
        &Family {
            name: "nsqadmin_nodes",
            help: "Nodes that answered the last poll, and that did not.",
            labels: &["state"],
            values: vec![(vec!["up"], size(up)), (vec!["down"], size(listed.saturating_sub(up)))],
        },
    )?;
    gauge(
        page,
        &Family {
            name: "nsqadmin_history_series",
            help: "Series of the history that are kept, and that found no room.",
            labels: &["state"],
            values: vec![(vec!["kept"], size(kept)), (vec!["left_out"], size(left_out))],
        },
    )
}

fn counter(page: &mut Exposition, family: &Family<'_>) -> Encoded<()> {
    put(page, MetricType::COUNTER, family)
}

fn gauge(page: &mut Exposition, family: &Family<'_>) -> Encoded<()> {
    put(page, MetricType::GAUGE, family)
}

fn put(page: &mut Exposition, kind: MetricType, family: &Family<'_>) -> Encoded<()> {
    let row = |(values, number): &(Vec<&str>, f64)| {
        let labels: Vec<_> = family.labels.iter().copied().zip(values.iter().copied()).collect();
        metric(kind, &labels, *number)
    };
    page.family(kind, family.name, family.help, family.values.iter().map(row).collect())
}
