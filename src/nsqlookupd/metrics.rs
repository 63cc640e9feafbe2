//! The numbers of nsqlookupd in Prometheus's text format.

use prometheus::proto::{MetricFamily, MetricType};

use MetricType::{COUNTER, GAUGE};

use super::run::Statistics;
use crate::config::version::{NSQ_VERSION, SHOAL_VERSION};
use crate::http::exposition::{self, Exposition, Labels, metric};
use crate::http::respond::{Failure, Response};
use crate::net::connections::ConnectionCounts;

/// More series than there are.
const SERIES_MAX: usize = 1000;

/// The answer to `/metrics`.
///
/// # Errors
/// 500 when the numbers have no text form.
pub fn answer(statistics: &Statistics) -> Result<Response, Failure> {
    let mut page = Exposition::new(SERIES_MAX);
    for family in families(statistics) {
        page.put(family).map_err(|error| exposition::failed(&error))?;
    }
    Ok(exposition::response(page.text()))
}

/// The numbers as families of metrics, for whoever shows them among others.
pub fn families(statistics: &Statistics) -> Vec<MetricFamily> {
    let of = &statistics.registry;
    let count = |count: usize| count as f64;
    let mut families = vec![
        build_info(),
        gauge("start_time_seconds", "When it started", statistics.start_time_seconds),
        gauge("producers", "Producers that are connected", count(of.producers)),
        gauge("inactive_producers", "Producers hidden for their silence", count(of.inactive)),
        gauge("topics", "Topics", count(of.topics)),
        gauge("channels", "Channels of all topics", count(of.channels)),
        gauge("registrations", "Names, and producers under names", count(of.registrations)),
        gauge("tombstones", "Producers hidden from a topic's consumers", count(of.tombstones)),
        gauge("waiting_lookups", "Lookups that wait for a change", count(statistics.waiting)),
    ];
    families.extend(connections(&statistics.tcp, &statistics.http));
    families
}

fn connections(tcp: &ConnectionCounts, http: &ConnectionCounts) -> [MetricFamily; 4] {
    let both = |kind, name, help, value: fn(&ConnectionCounts) -> f64| {
        let labels = ["tcp", "http"].map(|name| [("listener", name)]);
        family(kind, name, help, [(&labels[0][..], value(tcp)), (&labels[1][..], value(http))])
    };
    [
        both(GAUGE, "connections", "Connections", |of| of.open as f64),
        both(COUNTER, "connections_total", "Connections that were served", |of| of.accepted as f64),
        both(
            COUNTER,
            "connections_refused_total",
            "Connections closed because there were too many",
            |of| of.refused as f64,
        ),
        both(COUNTER, "connections_silent_total", "Connections closed for their silence", |of| {
            of.silent as f64
        }),
    ]
}

fn build_info() -> MetricFamily {
    let labels = [("version", NSQ_VERSION), ("shoal_version", SHOAL_VERSION)];
    family(GAUGE, "build_info", "Versions", [(&labels[..], 1.0)])
}

fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    family(GAUGE, name, help, [(&[][..], value)])
}

fn family<'a>(
    kind: MetricType,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels<'a>, f64)>,
) -> MetricFamily {
    let rows = values.into_iter().map(|(labels, value)| metric(kind, labels, value)).collect();
    exposition::family(kind, &format!("nsqlookupd_{name}"), &format!("{help}."), rows)
}
