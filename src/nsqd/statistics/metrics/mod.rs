//! `/metrics`, in Prometheus's text format.
//!
//! Names follow Prometheus's rules; gauges of topics and channels have the names that NSQ's
//! existing dashboards use. The number of series is bounded: what belongs to the broker is always
//! there, topics come with all their channels or not at all, in the order of their names, and
//! connections last. `nsq_metrics_series_left_out` says how many found no room.

mod bounds;
mod broker;
mod clients;
mod host;
mod topics;
mod workers;

use std::time::{Duration, Instant};

use super::office::{Gathered, Sources};
use super::page::Detail;
use crate::http::exposition::Exposition;
use crate::nsqd::http::facts::Facts;

/// The least time over which it is told how busy a shard was.
const BUSY_WINDOW_MIN: Duration = Duration::from_secs(1);

/// More series than a page without shards has.
const EARLY_SERIES_MAX: usize = 1000;

/// The page of a process that has no shards yet.
///
/// # Errors
/// When something has no text form.
pub fn early(facts: &Facts) -> prometheus::Result<Vec<u8>> {
    let mut page = Exposition::new(EARLY_SERIES_MAX);
    host::write_start(&mut page, facts)?;
    Ok(page.text())
}

/// What is remembered from one page to the next.
#[derive(Debug, Default)]
pub struct Memory {
    /// Pages written.
    pages: u64,
    /// Orders that waited when this page was begun.
    pub orders_waiting: u64,
    /// How busy each worker was.
    busy: Vec<Busy>,
}

/// How busy one worker was.
#[derive(Clone, Copy, Debug)]
struct Busy {
    since: Instant,
    before: Duration,
    ratio: f64,
}

impl Busy {
    /// The share of its time that a worker has spent in turns; `all` is what it spent so far.
    fn ratio(&mut self, all: Duration, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= BUSY_WINDOW_MIN {
            let busy = all.saturating_sub(self.before);
            self.ratio = (busy.as_secs_f64() / elapsed.as_secs_f64()).min(1.0);
            (self.since, self.before) = (now, all);
        }
        self.ratio
    }
}

impl Memory {
    /// The page.
    ///
    /// # Errors
    /// When something has no text form.
    pub fn page(
        &mut self,
        gathered: &Gathered,
        sources: &Sources,
        detail: Detail,
    ) -> prometheus::Result<Vec<u8>> {
        let began = Instant::now();
        self.pages += 1;
        let mut page = Exposition::new(sources.series_max);
        host::write(&mut page, sources)?;
        broker::write(&mut page, gathered, sources)?;
        let busy = self.busy(gathered, sources.facts.started);
        workers::write(&mut page, gathered, &busy, detail.shards)?;
        for family in sources.beside.iter().flat_map(|beside| beside()) {
            page.put(family)?;
        }
        topics::write(&mut page, &gathered.stats.topics, sources)?;
        if detail.clients {
            clients::write(&mut page, &gathered.stats)?;
        }
        self.about_itself(&mut page, gathered, began)?;
        Ok(page.text())
    }

    fn busy(&mut self, gathered: &Gathered, started: Instant) -> Vec<f64> {
        let now = Instant::now();
        let fresh = Busy { since: started, before: Duration::ZERO, ratio: 0.0 };
        self.busy.resize(gathered.workers.len(), fresh);
        let both = self.busy.iter_mut().zip(&gathered.workers);
        both.map(|(busy, report)| match report {
            Some(report) => busy.ratio(report.numbers.turns.sum(), now),
            None => busy.ratio,
        })
        .collect()
    }

    fn about_itself(
        &self,
        page: &mut Exposition,
        gathered: &Gathered,
        began: Instant,
    ) -> prometheus::Result<()> {
        let whole = |count: usize| count as u64;
        page.counter("nsq_metrics_pages_total", "Pages of metrics written.", self.pages)?;
        page.gauge(
            "nsq_statistics_orders_waiting",
            "Pages and reports that wait for the one being written.",
            self.orders_waiting,
        )?;
        page.gauge(
            "nsq_scrape_shards_missing",
            "Shards that did not answer in time: their part of this page is missing.",
            whole(gathered.missing()),
        )?;
        page.gauge("nsq_scrape_parts", "Answers of shards for this page.", gathered.parts)?;
        page.seconds("nsq_scrape_gather_seconds", "How long they took.", gathered.took)?;
        page.seconds(
            "nsq_scrape_encode_seconds",
            "How long writing this page took.",
            began.elapsed(),
        )?;
        let (left_out, max) = (whole(page.left_out()), whole(page.max()));
        page.gauge(
            "nsq_metrics_series_left_out",
            "Series that this page has no room for.",
            left_out,
        )?;
        page.gauge("nsq_metrics_series_max", "How many there may be.", max)?;
        let series = whole(page.series()) + 1;
        page.gauge("nsq_metrics_series", "Series of this page.", series)
    }
}

#[cfg(test)]
mod tests {
    use super::Busy;
    use std::time::{Duration, Instant};

    #[test]
    fn how_busy_a_shard_is_is_told_over_a_second_at_least() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut busy = Busy { since: start, before: Duration::ZERO, ratio: 0.0 };
        let half = busy.ratio(Duration::from_secs(1), at(2000));
        assert!((half - 0.5).abs() < 1e-9, "{half}");
        assert!((busy.ratio(Duration::from_millis(1900), at(2900)) - half).abs() < 1e-9);
        let ninth = busy.ratio(Duration::from_millis(1900), at(3000));
        assert!((ninth - 0.9).abs() < 1e-9, "{ninth}");
    }
}
