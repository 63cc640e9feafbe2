//! The numbers of nsqlookupd in Prometheus's text format.

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::run::Statistics;
use crate::config::version::{NSQ_VERSION, SHOAL_VERSION};
use crate::http::respond::{Failure, Response, plain_text};
use crate::net::connections::ConnectionCounts;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};

/// The answer to `/metrics`.
///
/// # Errors
/// 500 when the numbers have no text form.
pub fn answer(statistics: &Statistics) -> Result<Response, Failure> {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    encoder.encode(&families(statistics), &mut text).map_err(|error| {
        tracing::error!("failed to encode metrics - {error}");
        Failure::internal()
    })?;
    let mut response = plain_text(StatusCode::OK, text);
    let format = HeaderValue::from_static(prometheus::TEXT_FORMAT);
    response.headers_mut().insert(CONTENT_TYPE, format);
    Ok(response)
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
    let both = |value: fn(&ConnectionCounts) -> f64| {
        [("tcp", value(tcp)), ("http", value(http))].map(|(listener, value)| {
            let mut label = LabelPair::default();
            label.set_name("listener".to_owned());
            label.set_value(listener.to_owned());
            (vec![label], value)
        })
    };
    [
        family(MetricType::GAUGE, "connections", "Connections", both(|of| of.open as f64)),
        family(
            MetricType::COUNTER,
            "connections_total",
            "Connections that were served",
            both(|of| of.accepted as f64),
        ),
        family(
            MetricType::COUNTER,
            "connections_refused_total",
            "Connections closed because there were too many",
            both(|of| of.refused as f64),
        ),
        family(
            MetricType::COUNTER,
            "connections_silent_total",
            "Connections closed for their silence",
            both(|of| of.silent as f64),
        ),
    ]
}

fn build_info() -> MetricFamily {
    let labels = [("version", NSQ_VERSION), ("shoal_version", SHOAL_VERSION)];
    let labels = labels.map(|(name, value)| {
        let mut label = LabelPair::default();
        label.set_name(name.to_owned());
        label.set_value(value.to_owned());
        label
    });
    family(MetricType::GAUGE, "build_info", "Versions", [(labels.to_vec(), 1.0)])
}

fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    family(MetricType::GAUGE, name, help, [(Vec::new(), value)])
}

fn family(
    kind: MetricType,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Vec<LabelPair>, f64)>,
) -> MetricFamily {
    let metrics = values.into_iter().map(|(labels, value)| {
        let mut metric = Metric::from_label(labels);
        if kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    });
    let mut family = MetricFamily::default();
    family.set_name(format!("nsqlookupd_{name}"));
    family.set_help(format!("{help}."));
    family.set_field_type(kind);
    family.set_metric(metrics.collect());
    family
}
