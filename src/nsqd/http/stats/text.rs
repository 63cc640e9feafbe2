//! `/stats` for people: the original's layout to the column, as scripts cut it up too.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use shards::stats::{ChannelStats, ClientStats, Timing, TopicStats};

use crate::http::duration::GoDuration;

use super::super::facts::Facts;
use super::Report;

/// The time at which a report is made.
#[derive(Debug)]
pub struct Present {
    uptime: Duration,
    unix_s: i64,
    zone: TimeZone,
}

impl Present {
    /// Reads the clocks.
    #[must_use]
    pub fn now(facts: &Facts) -> Present {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Present {
            uptime: facts.started.elapsed(),
            unix_s: i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX),
            zone: TimeZone::system(),
        }
    }
}

/// The whole page.
#[must_use]
pub fn render(facts: &Facts, health: &str, report: &Report, present: &Present) -> String {
    let mut page = String::new();
    match page_into(&mut page, facts, health, report, present) {
        Ok(()) => page,
        Err(fmt::Error) => unreachable!("writing to a String does not fail"),
    }
}

fn page_into(
    page: &mut String,
    facts: &Facts,
    health: &str,
    report: &Report,
    present: &Present,
) -> fmt::Result {
    let build = env!("CARGO_PKG_VERSION");
    writeln!(page, "nsqd v{} (built w/shoal{build})", facts.version)?;
    writeln!(page, "start_time {}", rfc3339(facts.start_time, &present.zone))?;
    writeln!(page, "uptime {}", GoDuration(present.uptime))?;
    writeln!(page, "\nHealth: {health}")?;
    if let Some(memory) = &report.memory {
        writeln!(page, "\nMemory:")?;
        for (name, value) in memory.rows() {
            writeln!(page, "   {name:<25}\t{value}")?;
        }
    }
    topics(page, report.topics.as_deref().unwrap_or_default(), present)?;
    producers(page, report.producers.as_deref().unwrap_or_default(), present)
}

/// Seconds and offset, `Z` at Greenwich.
fn rfc3339(time: SystemTime, zone: &TimeZone) -> String {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    let time = time.to_zoned(zone.clone());
    let offset = if time.offset().is_zero() { "Z" } else { "%:z" };
    time.strftime(&format!("%Y-%m-%dT%H:%M:%S{offset}")).to_string()
}

fn topics(page: &mut String, topics: &[TopicStats], present: &Present) -> fmt::Result {
    // Every topic begins with a line end: with the first one it ends the heading.
    let heading = if topics.is_empty() { "\nTopics: None\n" } else { "\nTopics:" };
    page.push_str(heading);
    for topic in topics {
        let TopicStats { name, depth, backend_depth, message_count, .. } = topic;
        let paused = if topic.paused { "*P " } else { "   " };
        writeln!(
            page,
            "\n{paused}[{name:<15}] depth: {depth:<5} be-depth: {backend_depth:<5} \
             msgs: {message_count:<8} e2e%: {}",
            Latencies(topic.timing.as_ref())
        )?;
        for channel in &topic.channels {
            channel_line(page, channel)?;
            for client in channel.clients.as_deref().unwrap_or_default() {
                page.push_str("        ");
                client_line(page, client, present)?;
            }
        }
    }
    Ok(())
}

fn channel_line(page: &mut String, channel: &ChannelStats) -> fmt::Result {
    let ChannelStats { name, depth, backend_depth, in_flight_count, deferred_count, .. } = channel;
    let ChannelStats { requeue_count, timeout_count, message_count, .. } = channel;
    let paused = if channel.paused { "   *P " } else { "      " };
    writeln!(
        page,
        "{paused}[{name:<25}] depth: {depth:<5} be-depth: {backend_depth:<5} \
         inflt: {in_flight_count:<4} def: {deferred_count:<4} re-q: {requeue_count:<5} \
         timeout: {timeout_count:<5} msgs: {message_count:<8} e2e%: {}",
        Latencies(channel.timing.as_ref())
    )
}

/// The percentiles that somebody measures: `232.5ms, 231.6ms`.
struct Latencies<'a>(Option<&'a Timing>);

impl fmt::Display for Latencies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.0.map_or(&[][..], |timing| &timing.e2e.values_ns);
        for (index, &value) in values.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            let (unit, name) = match value {
                0..=1_000 => (1, "ns"),
                1_001..=1_000_000 => (1_000, "us"),
                1_000_001..=1_000_000_000 => (1_000_000, "ms"),
                _ => (1_000_000_000, "s"),
            };
            #[allow(clippy::cast_precision_loss, reason = "one digit is shown")]
            let shown = value as f64 / f64::from(unit);
            write!(f, "{shown:.1}{name}")?;
        }
        Ok(())
    }
}

fn producers(page: &mut String, producers: &[ClientStats], present: &Present) -> fmt::Result {
    let heading = if producers.is_empty() { "\nProducers: None\n" } else { "\nProducers:\n" };
    page.push_str(heading);
    for producer in producers {
        page.push_str("   ");
        client_line(page, producer, present)?;
    }
    Ok(())
}

/// Who has published is shown as a producer, be it among consumers.
fn client_line(page: &mut String, client: &ClientStats, present: &Present) -> fmt::Result {
    let id = format!("{}:{} {}", client.hostname, port(client), client.user_agent);
    let seconds = u64::try_from(present.unix_s - client.connect_ts_s).unwrap_or(0);
    let connected = GoDuration(Duration::from_secs(seconds));
    if let Some((topic, count)) = &client.pub_counts {
        return writeln!(
            page,
            "[V2 {id:<21}] msgs: {count:<8} topics: {topic}={count} connected: {connected}"
        );
    }
    let ClientStats { state, in_flight_count, ready_count, finish_count, .. } = client;
    let ClientStats { requeue_count, message_count, .. } = client;
    writeln!(
        page,
        "[V2 {id:<21}] state: {state} inflt: {in_flight_count:<4} rdy: {ready_count:<4} \
         fin: {finish_count:<8} re-q: {requeue_count:<8} msgs: {message_count:<8} \
         connected: {connected}"
    )
}

/// What follows the last colon; a unix socket has no port.
fn port(client: &ClientStats) -> &str {
    client.remote_address.rsplit_once(':').map_or("", |(_, port)| port)
}

#[cfg(test)]
mod tests {
    use super::{Present, render, rfc3339};
    use crate::nsqd::http::memory::MemoryStats;
    use crate::nsqd::http::stats::Report;
    use crate::nsqd::http::testing;
    use jiff::tz::{Offset, TimeZone};
    use std::time::{Duration, UNIX_EPOCH};

    fn present() -> Present {
        let uptime = Duration::from_nanos(697_305_573_355);
        Present { uptime, unix_s: 1_795_417_837, zone: TimeZone::UTC }
    }

    #[test]
    fn looks_like_the_original() {
        let facts = testing::facts();
        let stats = testing::example_stats();
        let report = Report {
            topics: Some(stats.topics),
            producers: Some(stats.producers),
            memory: Some(MemoryStats { heap_in_use_bytes: 12, ..MemoryStats::default() }),
        };
        let page = render(&facts, "OK", &report, &present());
        let page = page.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        assert_eq!(page, include_str!("testdata/stats.txt"));
    }

    #[test]
    fn says_that_there_is_nothing() {
        let report = Report { topics: None, producers: None, memory: None };
        let page = render(&testing::facts(), "NOK - x", &report, &present());
        let expected = "\nHealth: NOK - x\n\nTopics: None\n\nProducers: None\n";
        assert!(page.ends_with(expected), "{page}");
    }

    #[test]
    fn the_start_is_in_local_time() {
        let time = UNIX_EPOCH + Duration::from_secs(1_795_417_140);
        assert_eq!(rfc3339(time, &TimeZone::UTC), "2026-11-23T06:59:00Z");
        let east = TimeZone::fixed(Offset::constant(2));
        assert_eq!(rfc3339(time, &east), "2026-11-23T08:59:00+02:00");
    }
}
