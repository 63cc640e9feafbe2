//! What workers count: threads that own topics, and the one that accepts connections.
//!
//! A few numbers are always told of each worker, since their sum says nothing. The others are
//! summed, unless somebody asks for them of each.

use std::time::Duration;

use prometheus::Result;
use prometheus::proto::{Bucket, Histogram, Metric, MetricType};

use crate::http::exposition::{Exposition, Labels, f64_of, labelled, metric, set_summary};
use crate::nsqd::disk::DiskMetrics;
use crate::nsqd::http::counts::RequestCounts;
use crate::nsqd::statistics::durations::Durations;
use crate::nsqd::statistics::office::{Gathered, WorkerReport};
use crate::nsqd::statistics::publishing::{PublishNumbers, QUANTILES};

use MetricType::{COUNTER, GAUGE, HISTOGRAM, SUMMARY};

/// One number of every worker.
struct Number {
    kind: MetricType,
    name: &'static str,
    help: &'static str,
    /// Told of each, also when nobody asks for that.
    each: bool,
    value: fn(&WorkerReport) -> u64,
}

const fn each(
    kind: MetricType,
    name: &'static str,
    help: &'static str,
    value: fn(&WorkerReport) -> u64,
) -> Number {
    Number { kind, name, help, each: true, value }
}

const fn sum(
    kind: MetricType,
    name: &'static str,
    help: &'static str,
    value: fn(&WorkerReport) -> u64,
) -> Number {
    Number { kind, name, help, each: false, value }
}

/// The shard as a machine.
const OF_SHARDS: [Number; 21] = [
    each(GAUGE, "nsq_shard_topics", "Topics that a shard owns.", |of| of.gauges.topics),
    each(GAUGE, "nsq_shard_channels", "Their channels.", |of| of.gauges.channels),
    each(GAUGE, "nsq_shard_clients", "Connections that a shard drives.", |of| of.gauges.clients),
    each(GAUGE, "nsq_shard_memory_bytes", "Memory for messages that is in use.", |of| {
        of.gauges.memory_bytes
    }),
    each(GAUGE, "nsq_shard_memory_limit_bytes", "The most that it may become.", |of| {
        of.gauges.memory_limit_bytes
    }),
    sum(GAUGE, "nsq_memory_reserved_bytes", "Memory for messages that was ever touched.", |of| {
        of.gauges.memory_reserved_bytes
    }),
    sum(GAUGE, "nsq_memory_index_bytes", "Memory for lists of messages.", |of| {
        of.gauges.index_bytes
    }),
    sum(
        COUNTER,
        "nsq_publishes_refused_total",
        "Publishes refused, for want of memory or disk.",
        |of| of.gauges.publishes_refused,
    ),
    sum(GAUGE, "nsq_publishes_waiting", "Publishes that wait for memory.", |of| {
        of.gauges.publishes_waiting
    }),
    sum(GAUGE, "nsq_put_off_messages", "Messages that consumers have put off.", |of| {
        of.gauges.put_off
    }),
    sum(GAUGE, "nsq_put_off_messages_max", "How many these may be.", |of| of.gauges.put_off_max),
    sum(GAUGE, "nsq_peeks", "Looks at channels that are under way.", |of| of.gauges.peeks),
    sum(GAUGE, "nsq_timers", "Timers that are set.", |of| of.gauges.timers),
    sum(GAUGE, "nsq_output_buffers_spare", "Output buffers kept for reuse.", |of| {
        of.gauges.spare_buffers
    }),
    sum(GAUGE, "nsq_http_replies_held", "Answers that wait until nsqd.dat is written.", |of| {
        of.gauges.replies_held
    }),
    sum(COUNTER, "nsq_client_connections_total", "Connections accepted.", |of| {
        of.gauges.clients_accepted
    }),
    sum(COUNTER, "nsq_client_moves_total", "Connections that came from another worker.", |of| {
        of.gauges.clients_adopted
    }),
    sum(COUNTER, "nsq_client_panics_total", "Connections ended by a panic.", |of| {
        of.gauges.clients_panicked
    }),
    sum(COUNTER, "nsq_socket_starvations_total", "Times that there was no such buffer.", |of| {
        of.numbers.starvations
    }),
    sum(GAUGE, "nsq_sockets_starved", "Sockets that wait for a buffer to receive into.", |of| {
        of.numbers.sockets_starved
    }),
    sum(
        COUNTER,
        "nsq_compression_refused_total",
        "Connections not compressed, for want of memory.",
        |of| of.numbers.compression_refused,
    ),
];

/// Between workers.
const OF_MAIL: [Number; 6] = [
    each(GAUGE, "nsq_shard_mailbox_depth", "Letters that others left and were not taken.", |of| {
        of.numbers.mail_waiting.iter().sum()
    }),
    each(GAUGE, "nsq_shard_mailbox_unposted", "Letters for others that found no room.", |of| {
        of.numbers.mail_unposted.iter().sum()
    }),
    sum(GAUGE, "nsq_forwards_unanswered", "Publishes for other shards without an answer.", |of| {
        of.gauges.forwards_unanswered
    }),
    sum(GAUGE, "nsq_forward_bytes_unanswered", "Their bytes.", |of| {
        of.gauges.forward_bytes_unanswered
    }),
    sum(GAUGE, "nsq_forwards_blocked", "Connections that wait until there are fewer.", |of| {
        of.gauges.forwards_blocked
    }),
    sum(GAUGE, "nsq_http_requests_waiting", "Requests of HTTP that wait for shards.", |of| {
        of.numbers.http_waiting
    }),
];

/// HTTP and TLS.
const OF_CONNECTIONS: [Number; 7] = [
    sum(GAUGE, "nsq_http_connections", "Connections of HTTP.", |of| of.numbers.http_connections),
    sum(COUNTER, "nsq_http_connections_total", "Connections of HTTP that were opened.", |of| {
        of.numbers.http_connections_total
    }),
    sum(GAUGE, "nsq_http_grants", "Answers of auth servers kept for HTTP.", |of| {
        of.numbers.http_grants
    }),
    sum(GAUGE, "nsq_tls_handshakes", "Handshakes under way.", |of| of.numbers.handshakes),
    sum(GAUGE, "nsq_tls_handshakes_waiting", "Handshakes that stand in line.", |of| {
        of.numbers.handshakes_waiting
    }),
    sum(COUNTER, "nsq_tls_handshakes_begun_total", "Handshakes that were begun.", |of| {
        of.numbers.handshakes_total[0]
    }),
    sum(COUNTER, "nsq_tls_handshakes_total", "Handshakes that succeeded.", |of| {
        of.numbers.handshakes_total[1]
    }),
];

/// What is on the disk, and what was done there.
const OF_DISKS: [Number; 23] = [
    sum(GAUGE, "nsq_disk_trouble", "Shards whose disk refuses something.", |of| {
        of.gauges.disk_trouble.into()
    }),
    sum(GAUGE, "nsq_journal_files", "Journal files in use.", |of| of.gauges.journal_files),
    sum(GAUGE, "nsq_journal_files_max", "How many there may be.", |of| of.gauges.journal_files_max),
    sum(GAUGE, "nsq_journal_bytes", "Bytes in them.", |of| of.gauges.journal_bytes),
    sum(GAUGE, "nsq_journal_unsynced_messages", "Messages that are not synced.", |of| {
        of.gauges.journal_unsynced
    }),
    sum(GAUGE, "nsq_store_files", "Store files in use.", |of| of.gauges.store_files),
    sum(GAUGE, "nsq_store_bytes", "Bytes in them.", |of| of.gauges.store_bytes),
    sum(GAUGE, "nsq_store_live_bytes", "The part of that which is wanted.", |of| {
        of.gauges.store_live_bytes
    }),
    sum(GAUGE, "nsq_store_writes_waiting", "Segments to be stored.", |of| of.gauges.stores_waiting),
    sum(GAUGE, "nsq_store_reads_waiting", "Segments to be read back.", |of| {
        of.gauges.loads_waiting
    }),
    sum(COUNTER, "nsq_index_reads_total", "Indexes of deferred messages read back.", |of| {
        of.gauges.index_reads
    }),
    sum(COUNTER, "nsq_checkpoints_total", "Journal files that were made free.", |of| {
        of.gauges.checkpoints
    }),
    sum(GAUGE, "nsq_disk_operations", "Reads, writes and syncs under way.", |of| {
        of.numbers.file_operations
    }),
    sum(
        GAUGE,
        "nsq_disk_files",
        "Files that shards have, those of earlier starts included.",
        |of| disk(of).files,
    ),
    sum(
        COUNTER,
        "nsq_disk_files_damaged_total",
        "Files that made no sense and were set aside.",
        |of| disk(of).quarantined,
    ),
    sum(COUNTER, "nsq_disk_errors_total", "Operations that failed.", |of| disk(of).errors),
    sum(COUNTER, "nsq_journal_appends_total", "Batches appended to the journal.", |of| {
        disk(of).append_times.count()
    }),
    sum(COUNTER, "nsq_journal_append_bytes_total", "Their bytes.", |of| disk(of).append_bytes),
    sum(COUNTER, "nsq_disk_reads_total", "Places read.", |of| disk(of).reads),
    sum(COUNTER, "nsq_disk_read_bytes_total", "Their bytes.", |of| disk(of).read_bytes),
    sum(COUNTER, "nsq_disk_writes_total", "Writes to the store.", |of| disk(of).writes),
    sum(COUNTER, "nsq_disk_write_bytes_total", "Bytes written to journal and store.", |of| {
        disk(of).append_bytes + disk(of).write_bytes
    }),
    sum(COUNTER, "nsq_disk_fsyncs_total", "Syncs that went well.", |of| disk(of).syncs.count()),
];

fn disk(of: &WorkerReport) -> DiskMetrics {
    of.numbers.disk.unwrap_or_default()
}

/// Bytes over sockets of all kinds.
fn write_traffic(page: &mut Exposition, workers: &[Named<'_>], detailed: bool) -> Result<()> {
    let directions = ["in", "out"].into_iter().enumerate();
    let rows = directions.flat_map(|(index, direction)| match detailed {
        true => {
            let row = |(name, of): &Named<'_>| {
                let labels = [("direction", direction), ("shard", name.as_str())];
                metric(COUNTER, &labels, f64_of(of.numbers.traffic_bytes[index]))
            };
            workers.iter().map(row).collect::<Vec<_>>()
        }
        false => {
            let all = workers.iter().map(|(_, of)| of.numbers.traffic_bytes[index]).sum();
            vec![metric(COUNTER, &[("direction", direction)], f64_of(all))]
        }
    });
    let help = "Bytes received and sent, as they are on the wire.";
    page.family(COUNTER, "nsq_tcp_bytes_total", help, rows.collect())
}

/// Requests of HTTP, by what they were about.
fn write_requests(page: &mut Exposition, workers: &[Named<'_>]) -> Result<()> {
    let mut all = RequestCounts::default();
    workers.iter().for_each(|(_, of)| all.add(&of.numbers.http_requests));
    let row = |(class, code, count): (&'static str, &'static str, u64)| {
        metric(COUNTER, &[("class", class), ("code", code)], f64_of(count))
    };
    let help = "Requests of HTTP that were answered, by what they are about and how.";
    page.family(COUNTER, "nsq_http_requests_total", help, all.rows().map(row).collect())
}

/// How long publishes take, of each shard: percentiles cannot be added up.
fn write_publishes(page: &mut Exposition, workers: &[Named<'_>]) -> Result<()> {
    let row = |(name, of): &Named<'_>| {
        let mut row = labelled(&[("shard", name)]);
        let PublishNumbers { count, sum_seconds, quantiles_seconds } = of.numbers.publishes;
        let quantiles = QUANTILES.into_iter().zip(quantiles_seconds);
        set_summary(&mut row, count, sum_seconds, quantiles);
        row
    };
    let shards = workers.iter().filter(|(name, _)| name != ACCEPTOR);
    let help = "How long publishes take on a shard, until what their answer promises is true; \
                percentiles of the last minute.";
    page.family(SUMMARY, "nsq_publish_duration_seconds", help, shards.map(row).collect())
}

/// The worker that has no topics: it accepts connections.
const ACCEPTOR: &str = "acceptor";

/// A worker's name, and what it said.
type Named<'a> = (String, &'a WorkerReport);

/// Writes all of it; `busy` says how busy each worker was.
pub fn write(
    page: &mut Exposition,
    gathered: &Gathered,
    busy: &[f64],
    detailed: bool,
) -> Result<()> {
    let last = gathered.workers.len().saturating_sub(1);
    let name = |worker: usize| {
        if worker == last { ACCEPTOR.to_owned() } else { worker.to_string() }
    };
    let told = gathered.workers.iter().enumerate();
    let workers: Vec<Named<'_>> =
        told.filter_map(|(worker, of)| Some((name(worker), of.as_ref()?))).collect();
    write_turns(page, &workers, detailed)?;
    let ratios = busy.iter().enumerate();
    let ratios = ratios.map(|(worker, &ratio)| metric(GAUGE, &[("shard", &name(worker))], ratio));
    let help = "The share of its time that a worker spends in turns, over a second at least.";
    page.family(GAUGE, "nsq_shard_busy_ratio", help, ratios.collect())?;
    for number in OF_SHARDS.iter().chain(&OF_MAIL).chain(&OF_CONNECTIONS).chain(&OF_DISKS) {
        let rows = rows(number, &workers, detailed);
        page.family(number.kind, number.name, number.help, rows)?;
    }
    write_requests(page, &workers)?;
    write_publishes(page, &workers)?;
    write_traffic(page, &workers, detailed)?;
    write_disk_times(page, &workers, detailed)
}

fn rows(number: &Number, workers: &[Named<'_>], detailed: bool) -> Vec<Metric> {
    if detailed || number.each {
        let row = |(name, of): &Named<'_>| {
            metric(number.kind, &[("shard", name)], f64_of((number.value)(of)))
        };
        return workers.iter().map(row).collect();
    }
    let all = workers.iter().map(|(_, of)| (number.value)(of)).sum();
    vec![metric(number.kind, &[], f64_of(all))]
}

fn write_turns(page: &mut Exposition, workers: &[Named<'_>], detailed: bool) -> Result<()> {
    let name = "nsq_shard_loop_latency_seconds";
    let help = "How long turns are: as long everything else on the worker waits.";
    page.family(HISTOGRAM, name, help, times(workers, detailed, |of| of.numbers.turns))?;
    for (name, help, value) in [
        (
            "nsq_shard_busy_seconds_total",
            "Time spent in turns.",
            (|of| of.numbers.turns.sum().as_secs_f64()) as fn(&WorkerReport) -> f64,
        ),
        ("nsq_shard_turn_max_seconds", "The longest turn since the start.", |of| {
            of.numbers.turns.max().as_secs_f64()
        }),
    ] {
        let kind = if name.ends_with("_total") { COUNTER } else { GAUGE };
        let row = |(worker, of): &Named<'_>| metric(kind, &[("shard", worker)], value(of));
        page.family(kind, name, help, workers.iter().map(row).collect())?;
    }
    Ok(())
}

fn write_disk_times(page: &mut Exposition, workers: &[Named<'_>], detailed: bool) -> Result<()> {
    let (name, help) = ("nsq_disk_fsync_duration_seconds", "How long syncs take.");
    page.family(HISTOGRAM, name, help, times(workers, detailed, |of| disk(of).syncs))?;
    let (name, help) =
        ("nsq_journal_append_duration_seconds", "How long appends to the journal take.");
    page.family(HISTOGRAM, name, help, times(workers, detailed, |of| disk(of).append_times))
}

/// Of each worker, or of all together.
fn times(workers: &[Named<'_>], detailed: bool, of: fn(&WorkerReport) -> Durations) -> Vec<Metric> {
    if detailed {
        let row = |(name, report): &Named<'_>| histogram(&[("shard", name)], &of(report));
        return workers.iter().map(row).collect();
    }
    let mut all = Durations::default();
    workers.iter().for_each(|(_, report)| all.add(&of(report)));
    vec![histogram(&[], &all)]
}

/// Durations in buckets.
fn histogram(labels: Labels<'_>, durations: &Durations) -> Metric {
    let bucket = |(bound, count): (Duration, u64)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound.as_secs_f64());
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut histogram = Histogram::default();
    histogram.set_bucket(durations.cumulative().map(bucket).collect());
    histogram.set_sample_count(durations.count());
    histogram.set_sample_sum(durations.sum().as_secs_f64());
    let mut metric = labelled(labels);
    metric.set_histogram(histogram);
    metric
}
