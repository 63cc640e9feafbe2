//! The broker as a whole: connections, errors, nsqlookupds.

use std::time::Duration;

use prometheus::Result;
use prometheus::proto::MetricType;
use shards::stats::ClientLoad;
use shards::wire::errors::ERROR_CODES;

use crate::http::exposition::{Exposition, f64_of, metric};
use crate::nsqd::control::ControlNumbers;
use crate::nsqd::statistics::office::{Gathered, Sources};

/// How long the control thread may take to answer.
const CONTROL_PATIENCE: Duration = Duration::from_millis(500);

/// Writes it.
pub fn write(page: &mut Exposition, gathered: &Gathered, sources: &Sources) -> Result<()> {
    page.gauge(
        "nsq_healthy",
        "Whether messages can be stored, as /ping says.",
        u64::from(sources.facts.health.is_ok()),
    )?;
    write_topics(page, gathered)?;
    write_clients(page, &load(gathered), sources)?;
    write_errors(page, gathered)?;
    write_bodies(page, sources)?;
    let Some(numbers) = sources.survey.ask(CONTROL_PATIENCE) else { return Ok(()) };
    write_lookupds(page, &numbers)?;
    write_auth(page, &numbers)
}

fn write_bodies(page: &mut Exposition, sources: &Sources) -> Result<()> {
    let numbers = sources.facts.bodies.numbers();
    let help = "Memory for bodies of HTTP that are being read, small ones not counted.";
    page.gauge("nsq_http_body_memory_bytes", help, numbers.used_bytes as u64)?;
    let help = "How much that may be.";
    page.gauge("nsq_http_body_memory_limit_bytes", help, numbers.limit_bytes as u64)?;
    let help = "Bodies of HTTP that wait for memory.";
    page.gauge("nsq_http_bodies_waiting", help, numbers.waiting as u64)?;
    let help = "Bodies of HTTP that were refused because there was none in time.";
    page.counter("nsq_http_bodies_refused_total", help, numbers.refused)
}

fn write_auth(page: &mut Exposition, numbers: &ControlNumbers) -> Result<()> {
    let kind = MetricType::COUNTER;
    let row = |(result, count)| metric(kind, &[("result", result)], f64_of(count));
    let rows = ["granted", "denied", "failed"].into_iter().zip(numbers.auth_answered);
    let help = "Questions to auth servers, by what came of them.";
    page.family(kind, "nsq_auth_requests_total", help, rows.map(row).collect())?;
    page.gauge(
        "nsq_auth_questions",
        "Questions that auth servers are asked.",
        numbers.auth_running,
    )?;
    page.gauge(
        "nsq_auth_questions_waiting",
        "Questions to auth servers that wait for their turn.",
        numbers.auth_waiting,
    )
}

fn load(gathered: &Gathered) -> ClientLoad {
    let mut load = ClientLoad::default();
    gathered.workers.iter().flatten().for_each(|worker| load.add(worker.load));
    load
}

fn write_topics(page: &mut Exposition, gathered: &Gathered) -> Result<()> {
    let topics = &gathered.stats.topics;
    let channels: usize = topics.iter().map(|topic| topic.channels.len()).sum();
    page.gauge("nsq_topics", "Topics.", topics.len() as u64)?;
    page.gauge("nsq_channels", "Channels of all topics.", channels as u64)?;
    let channels = topics.iter().flat_map(|topic| &topic.channels);
    let (all, waiting) = channels.fold((0, 0), |(all, waiting), channel| {
        (all + channel.dead_lettering_count, waiting + channel.dead_lettering_waiting)
    });
    let help = "Messages on their way to another topic: dead letters, and those brought back.";
    page.gauge("nsq_transfers", help, all)?;
    let help = "Those of them that are not sent yet, or were not taken.";
    page.gauge("nsq_transfers_waiting", help, waiting)
}

fn write_clients(page: &mut Exposition, load: &ClientLoad, sources: &Sources) -> Result<()> {
    let kind = MetricType::GAUGE;
    let rows = |label: &'static str, values: &[(&'static str, u64)]| {
        let row =
            |&(name, value): &(&'static str, u64)| metric(kind, &[(label, name)], f64_of(value));
        values.iter().map(row).collect::<Vec<_>>()
    };
    let kinds =
        [("producer", load.producers), ("consumer", load.consumers), ("other", load.others)];
    let help = "Connections, by what they do; one that publishes and consumes counts twice.";
    page.family(kind, "nsq_client_connections", help, rows("kind", &kinds))?;
    let layers = [("tls", load.tls), ("snappy", load.snappy), ("deflate", load.deflate)];
    let help = "Connections that are encrypted or compressed.";
    page.family(kind, "nsq_client_connections_layered", help, rows("layer", &layers))?;
    for (name, help, value) in [
        ("nsq_client_connections_paused", "Connections that are not read from.", load.paused),
        ("nsq_client_output_bytes", "Bytes that wait to be sent.", load.output_bytes),
        ("nsq_client_input_bytes", "Bytes that are no whole command yet.", load.input_bytes),
        ("nsq_client_answers_pending", "Answers that wait for other shards.", load.pending),
    ] {
        page.gauge(name, help, value)?;
    }
    let (room, all) = &sources.compression;
    let used = all.saturating_sub(room.left_bytes()) as u64;
    page.gauge("nsq_compression_memory_bytes", "Memory for compressed connections.", used)?;
    let help = "How much that may be.";
    page.gauge("nsq_compression_memory_limit_bytes", help, *all as u64)
}

fn write_errors(page: &mut Exposition, gathered: &Gathered) -> Result<()> {
    let mut counts = [0; ERROR_CODES.len()];
    for worker in gathered.workers.iter().flatten() {
        for (count, (_, more)) in counts.iter_mut().zip(worker.gauges.errors.iter()) {
            *count += more;
        }
    }
    let kind = MetricType::COUNTER;
    let row = |(code, count): (&'static str, u64)| metric(kind, &[("code", code)], f64_of(count));
    let rows = ERROR_CODES.into_iter().zip(counts).map(row).collect();
    page.family(kind, "nsq_client_errors_total", "Error frames, by their codes.", rows)
}

fn write_lookupds(page: &mut Exposition, numbers: &ControlNumbers) -> Result<()> {
    let kind = MetricType::GAUGE;
    let row = |(lookupd, up): &(String, bool)| {
        metric(kind, &[("lookupd", lookupd)], f64::from(u8::from(*up)))
    };
    let rows = numbers.peers.iter().map(row).collect();
    page.family(kind, "nsq_lookupd_up", "Whether a nsqlookupd is connected.", rows)?;
    for (name, help, value) in [
        ("nsq_lookupd_connects_total", "Connections made with nsqlookupds.", numbers.connects),
        (
            "nsq_lookupd_failures_total",
            "Connections with nsqlookupds that ended or could not be made.",
            numbers.failures,
        ),
    ] {
        page.counter(name, help, value)?;
    }
    for (name, help, value) in [
        ("nsq_lookupd_names", "Addresses of nsqlookupds that are followed.", numbers.names),
        ("nsq_lookupd_left_out", "Addresses of nsqlookupds that are too many.", numbers.left_out),
        (
            "nsq_lookupd_questions",
            "New topics for whose channels nsqlookupds are asked.",
            numbers.questions_running,
        ),
        (
            "nsq_lookupd_questions_waiting",
            "New topics that wait for their turn.",
            numbers.questions_waiting,
        ),
        (
            "nsq_lookupd_topics_untold",
            "Topics that changed and that nsqlookupds have not been told of.",
            numbers.untold,
        ),
    ] {
        page.gauge(name, help, value)?;
    }
    Ok(())
}
