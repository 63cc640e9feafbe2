//! A page of metrics while it is written: a family at a time, so that memory is bounded by the
//! largest of them.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use prometheus::proto::{
    Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary,
};
use prometheus::{Result, TextEncoder};

use super::respond::{Failure, Response, plain_text};

/// A page.
#[derive(Debug)]
pub struct Exposition {
    text: String,
    series: usize,
    max: usize,
    left_out: usize,
}

/// Labels and their values.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

impl Exposition {
    /// An empty page with room for so many series.
    pub fn new(max: usize) -> Exposition {
        Exposition { text: String::new(), series: 0, max, left_out: 0 }
    }

    /// The page.
    pub fn text(self) -> Vec<u8> {
        self.text.into_bytes()
    }

    /// Series written.
    pub fn series(&self) -> usize {
        self.series
    }

    /// Series that may be written.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Series for which there is room.
    pub fn room(&self) -> usize {
        self.max.saturating_sub(self.series)
    }

    /// Series that found no room.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Notes that series find no room.
    pub fn leave_out(&mut self, series: usize) {
        self.left_out += series;
    }

    /// A number that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) -> Result<()> {
        self.family(
            MetricType::GAUGE,
            name,
            help,
            vec![metric(MetricType::GAUGE, &[], f64_of(value))],
        )
    }

    /// A number that only rises.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<()> {
        let kind = MetricType::COUNTER;
        self.family(kind, name, help, vec![metric(kind, &[], f64_of(value))])
    }

    /// A time.
    pub fn seconds(&mut self, name: &str, help: &str, time: Duration) -> Result<()> {
        let kind = MetricType::GAUGE;
        self.family(kind, name, help, vec![metric(kind, &[], time.as_secs_f64())])
    }

    /// Several numbers under one name.
    pub fn family(
        &mut self,
        kind: MetricType,
        name: &str,
        help: &str,
        metrics: Vec<Metric>,
    ) -> Result<()> {
        self.put(family(kind, name, help, metrics)).map(drop)
    }

    /// The same for rows that several families share: they come back.
    pub fn rows(
        &mut self,
        (kind, name, help): (MetricType, &str, &str),
        mut rows: Vec<Metric>,
        value: impl Fn(usize) -> f64,
    ) -> Result<Vec<Metric>> {
        for (index, row) in rows.iter_mut().enumerate() {
            set(row, kind, value(index));
        }
        Ok(self.put(family(kind, name, help, rows))?.take_metric())
    }

    /// A whole family; one without metrics is left out.
    pub fn put(&mut self, family: MetricFamily) -> Result<MetricFamily> {
        if family.get_metric().is_empty() {
            return Ok(family);
        }
        self.series += family.get_metric().iter().map(|of| series(of, &family)).sum::<usize>();
        let families = [family];
        TextEncoder::new().encode_utf8(&families, &mut self.text)?;
        let [family] = families;
        Ok(family)
    }
}

/// Several numbers under one name.
pub fn family(kind: MetricType, name: &str, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// How many lines a metric is.
fn series(metric: &Metric, of: &MetricFamily) -> usize {
    match of.get_field_type() {
        MetricType::SUMMARY => metric.get_summary().get_quantile().len() + 2,
        // The last bucket is written although it is not there.
        MetricType::HISTOGRAM => metric.get_histogram().get_bucket().len() + 3,
        _ => 1,
    }
}

/// A page as an answer.
pub fn response(text: impl Into<bytes::Bytes>) -> Response {
    let mut response = plain_text(StatusCode::OK, text);
    let format = HeaderValue::from_static(prometheus::TEXT_FORMAT);
    response.headers_mut().insert(CONTENT_TYPE, format);
    response
}

/// The answer when a page could not be written.
pub fn failed(error: &prometheus::Error) -> Failure {
    tracing::error!("failed to encode metrics - {error}");
    Failure::internal()
}

/// A gauge or a counter.
pub fn metric(kind: MetricType, labels: Labels<'_>, value: f64) -> Metric {
    let mut metric = labelled(labels);
    set(&mut metric, kind, value);
    metric
}

fn set(metric: &mut Metric, kind: MetricType, value: f64) {
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
}

/// Labels without a number.
pub fn labelled(labels: Labels<'_>) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}

/// Samples since the start, and percentiles of a window.
pub fn set_summary(
    metric: &mut Metric,
    count: u64,
    sum_s: f64,
    quantiles: impl Iterator<Item = (f64, f64)>,
) {
    let quantile = |(quantile, value): (f64, f64)| {
        let mut of = Quantile::default();
        of.set_quantile(quantile);
        of.set_value(value);
        of
    };
    let mut summary = Summary::default();
    summary.set_sample_count(count);
    summary.set_sample_sum(sum_s);
    summary.set_quantile(quantiles.map(quantile).collect());
    metric.set_summary(summary);
}

/// Prometheus has floats only.
#[allow(clippy::cast_precision_loss, reason = "above 2^53 the last digits do not matter")]
pub fn f64_of(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::{Exposition, labelled, metric, set_summary};
    use prometheus::proto::{Histogram, MetricType};

    #[test]
    fn series_are_the_lines_that_are_no_comments() {
        let mut page = Exposition::new(100);
        page.gauge("a", "A.", 1).unwrap();
        page.family(MetricType::GAUGE, "none", "Nothing.", Vec::new()).unwrap();
        let labels = [("topic", "t\"\\\n")];
        let rows = vec![labelled(&labels), labelled(&[("topic", "u")])];
        let rows = page.rows((MetricType::COUNTER, "b_total", "B."), rows, |at| at as f64).unwrap();
        page.rows((MetricType::GAUGE, "c", "C."), rows, |_| 7.5).unwrap();
        let mut histogram = metric(MetricType::GAUGE, &[], 0.0);
        histogram.set_histogram(Histogram::default());
        page.family(MetricType::HISTOGRAM, "d", "D.", vec![histogram]).unwrap();
        let mut summary = metric(MetricType::GAUGE, &[], 0.0);
        set_summary(&mut summary, 3, 1.5, [(0.5, 0.25), (1.0, 1.0)].into_iter());
        page.family(MetricType::SUMMARY, "e", "E.", vec![summary]).unwrap();
        let series = page.series();
        let text = String::from_utf8(page.text()).unwrap();
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), series, "{text}");
        assert!(text.contains("b_total{topic=\"t\\\"\\\\\\n\"} 0\n"), "{text}");
        assert!(text.contains("c{topic=\"u\"} 7.5\n"), "{text}");
        assert!(text.contains("e{quantile=\"0.5\"} 0.25\n"), "{text}");
        assert!(!text.contains("none"), "{text}");
    }
}
