//! nsqd from its options to its exit code: a thread per worker, and this one for signals.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use shards::limits::Options;
use shards::metadata::TopicMetadata;
use shards::placement::Placement;
use shards::upgrade::Room;
use shards::wire::names::Name;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::control::{Control, Inbox, discovery_timeout};
use super::crew::{Crew, PartsOf, RunningCrew};
use super::disk::Clerk;
use super::disk::limits::JOURNAL_BYTES;
use super::doorbell::Doorbell;
use super::floor::{self, Floor};
use super::http::bodies::Bodies;
use super::http::facts::{Facts, Health, Limits, Options as ShownOptions};
use super::http::memory::release as release_memory;
use super::http::policy::Turnstile;
use super::life::Life;
use super::life::watch::{Event, Watch};
use super::metadata::keeper::{Keeper, Reporter};
use super::metadata::{self, Loaded, Topics};
use super::recovery::{self, Ground, Recovery};
use super::ring;
use super::startup::progress::Progress;
use super::startup::reception::Reception;
use super::startup::{self, Prepared};
use super::statistics::page::BesideMetrics;
use super::statistics::start::{Statistics, Surroundings, complete_prefix, latency};
use super::worker::{Listening, Spoken};
use crate::config::host;
use crate::config::nsqd::NsqdOptions;
use crate::config::print;
use crate::config::value::{TlsRequired, Value};
use crate::config::version::{self, NSQ_VERSION};
use crate::log;
use crate::net::listeners::{BoundListener, ListenerSocket, UnixFile};
use crate::systemd;

/// Journal files without which a shard cannot work: one to write to, one to be freed, the next.
const JOURNAL_FILES_MIN: usize = 4;

/// What [runs beside](StartBeside) the broker.
pub struct Beside {
    /// What it counts.
    pub metrics: BesideMetrics,
    /// Ends it.
    pub stop: Box<dyn FnOnce()>,
}

/// Starts what the options ask to run in the broker's process, and tells the broker of it through
/// them. It ends after the broker.
pub type StartBeside = fn(&mut NsqdOptions) -> Result<Option<Beside>, String>;

/// Runs nsqd until it is told to stop.
pub fn run(mut options: NsqdOptions, beside: StartBeside) -> ExitCode {
    let started = Instant::now();
    let _log = match log::start(&options.log_prefix, options.log_level, options.log_format) {
        Ok(guard) => guard,
        Err(error) => return log::fatal("nsqd", &format!("cannot start the log: {error}")),
    };
    tracing::info!("{}", version::daemon_line("nsqd"));
    tracing::info!("ID: {}", options.node_id);
    let prepared = match prepare(&options) {
        Ok(prepared) => prepared,
        Err(problem) => {
            return log::fatal("nsqd", &format!("failed to instantiate nsqd - {problem}"));
        }
    };
    let loaded = match metadata::load(prepared.data_path.directory()) {
        Ok(loaded) => loaded,
        Err(problem) => return log::fatal("nsqd", &format!("failed to load metadata - {problem}")),
    };
    let plan = prepared.plan_lines(&options);
    for line in &plan {
        tracing::info!("{line}");
    }
    let warnings = options.settings.warnings.iter().chain(&prepared.warnings);
    for warning in warnings.chain(&loaded.content.warnings) {
        tracing::warn!("{warning}");
    }
    if prepared.tls.is_some() {
        tracing::info!("{}", startup::tls::version_line(&options.tls));
    }
    if options.check {
        return print::checked(&plan);
    }
    // Before any thread starts, so that none of them takes a signal's default action.
    let signals = match Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]) {
        Ok(signals) => signals,
        Err(error) => return log::fatal("nsqd", &format!("cannot listen for signals - {error}")),
    };
    let (metrics, stop_beside) = match beside(&mut options) {
        Ok(beside) => beside.map(|beside| (beside.metrics, beside.stop)).unzip(),
        Err(problem) => return log::fatal("nsqd", &problem),
    };
    let start = Start { started, signals, metrics };
    match serve(options, prepared, loaded, start) {
        Ok(()) => {
            stop_beside.into_iter().for_each(|stop| stop());
            tracing::info!("NSQ: bye");
            ExitCode::SUCCESS
        }
        Err(problem) => log::fatal("nsqd", &problem),
    }
}

fn prepare(options: &NsqdOptions) -> Result<Prepared, String> {
    ring::probe().map_err(|problem| problem.to_string())?;
    startup::prepare(options)
}

/// What a start has besides its options.
struct Start {
    /// When the process started.
    started: Instant,
    /// Signals that it gets.
    signals: Signals,
    /// What runs beside the broker, as metrics.
    metrics: Option<BesideMetrics>,
}

/// Starts the workers, waits for a signal, stops them.
fn serve(
    mut options: NsqdOptions,
    Prepared { cores, memory_limit_bytes, data_path, tcp, http, https, tls, .. }: Prepared,
    mut loaded: Loaded,
    Start { started, signals, metrics: beside }: Start,
) -> Result<(), String> {
    complete_ports(&mut options, [tcp.as_ref(), http.as_ref()]);
    let directory = data_path.directory().to_owned();
    let bound = [&tcp, &http, &https].map(Option::as_ref);
    let inbox = Inbox::new();
    let survey = inbox.survey();
    let listeners: Vec<_> = bound.into_iter().flatten().map(announcement).collect();
    let room = Room::new(options.compression_memory_bytes);
    let shards = cores.of_shards.len();
    let crew = Crew::new(shards + 1).map_err(|error| format!("cannot make doorbells - {error}"))?;
    let (life, events) = start_life(&options, &crew, &directory, bound)?;
    let facts = Arc::new(facts(&options, &inbox, bound, (life.clone(), started)));
    let drainer = inbox.drainer();
    let for_http = bound[1..].iter().copied().flatten();
    let reception = Reception::open(for_http, &facts, tls.as_ref())?;
    let (listening, _unix_files): (Vec<_>, Vec<_>) =
        tcp.into_iter().chain(http).chain(https).map(listening).unzip();
    let memory_limit_bytes = usize::try_from(memory_limit_bytes).unwrap_or(usize::MAX) / shards;
    let overrides = overrides(&options);
    let placement = |worker: usize| Placement::new(worker as u16, shards as u16, &overrides);
    floor::watch(&facts, &directory)?;
    let ground = Ground { options: &options, directory: &directory, progress: &facts.progress };
    let recovery = recovery::bring_back(ground, &mut loaded, &placement(0), &crew.doorbells)?;
    let Recovery { clerk, parts, sequence_floor } = recovery;
    let mut topics = topics_of_shards(&loaded.content.topics, &placement(0)).into_iter();
    let (keeper, reporters) = keep(loaded, &crew.doorbells)?;
    let (control, lines) = Control::start(inbox, &options, &facts, &crew.doorbells)?;
    let around = Surroundings { facts: &facts, survey, room: &room, beside };
    let (statistics, outposts) = Statistics::start(&options, around, &crew.doorbells)?;
    let mut ends = reporters.into_iter().zip(lines).zip(outposts);
    let (mut parts, mut listening) = (parts.into_iter(), Some(listening));
    reception.map_or(Ok(()), Reception::leave)?;
    let core_of = |worker: usize| cores.of_shards.get(worker).copied();
    let crew = crew.start(core_of, |worker| {
        let ((reporter, line), outpost) = ends.next().expect("each worker has its ends");
        PartsOf {
            options: shard_options(&options, memory_limit_bytes, shards, &room),
            placement: placement(worker),
            // Listeners belong to the last worker, which accepts and has no topics.
            listening: listening.take_if(|_| worker == shards).unwrap_or_default(),
            topics: topics.next().unwrap_or_default(),
            part: parts.next(),
            sequence_floor,
            reporter,
            line,
            outpost,
            latency: latency(&options),
            facts: facts.clone(),
            tls: tls.clone(),
            handshakes_max: options.tls.handshakes_max,
            started,
        }
    })?;
    facts.progress.end();
    let watch = Watch::start(life, events, signals, tls, drainer)?;
    announce(&listeners, started);
    wait(watch);
    Running { control, statistics, crew, keeper, clerk }.stop();
    drop(data_path);
    Ok(())
}

/// The threads of a broker that serves.
struct Running {
    control: Control,
    statistics: Statistics,
    crew: RunningCrew,
    keeper: Keeper,
    clerk: Clerk,
}

impl Running {
    fn stop(self) {
        let Running { control, mut statistics, crew, keeper, clerk } = self;
        // First, so that nobody is sent here any more.
        control.stop();
        statistics.stop_reports();
        crew.stop();
        statistics.stop();
        keeper.stop();
        clerk.stop();
    }
}

/// The topics whose shards were chosen by hand.
fn overrides(options: &NsqdOptions) -> Vec<(Name, u16)> {
    options.topic_shards.iter().map(|&(topic, shard)| (topic, shard as u16)).collect()
}

/// Serves until it is time to stop.
fn wait(watch: Watch) {
    // What was read to start takes as much as ten thousand quiet topics do.
    release_memory();
    let reason = watch.run();
    systemd::stopping();
    tracing::info!("NSQ: closing{reason}");
}

/// The life of the process with these workers and listeners, and what happens to it.
fn start_life(
    options: &NsqdOptions,
    crew: &Crew,
    directory: &Path,
    bound: [Option<&BoundListener>; 3],
) -> Result<(Arc<Life>, flume::Receiver<Event>), String> {
    let shown = |bound: &BoundListener| format!("{}: {}", bound.name, bound.address);
    let listeners = bound.into_iter().flatten().map(shown).collect();
    let drain_timeout = Duration::from_millis(options.drain_timeout_ms);
    Life::start(&crew.doorbells, directory.to_owned(), listeners, drain_timeout)
}

/// Ports for others that nobody set are those that are listened on, also where options are shown.
fn complete_ports(options: &mut NsqdOptions, listeners: [Option<&BoundListener>; 2]) {
    let ports = [&mut options.broadcast_tcp_port, &mut options.broadcast_http_port];
    let flags = ["broadcast-tcp-port", "broadcast-http-port"];
    for ((port, listener), flag) in ports.into_iter().zip(listeners).zip(flags) {
        // A unix socket has none.
        let real = listener.and_then(|listener| u16::try_from(listener.port()).ok());
        if let (0, Some(real)) = (*port, real) {
            *port = real;
            options.settings.set(flag, Value::Int(real.into()));
        }
    }
    complete_prefix(options);
}

/// The topics that were read, by the shard that owns them now.
fn topics_of_shards(topics: &Topics, placement: &Placement) -> Vec<Vec<TopicMetadata>> {
    let mut of_shards = vec![Vec::new(); usize::from(placement.shards)];
    for topic in topics.values() {
        of_shards[usize::from(placement.owner(&topic.name))].push(topic.clone());
    }
    of_shards
}

/// Has the metadata kept from now on.
fn keep(loaded: Loaded, doorbells: &[Doorbell]) -> Result<(Keeper, Vec<Reporter>), String> {
    let Loaded { file, content } = loaded;
    for name in file.remove_unfinished() {
        tracing::info!("NSQ: removed {name}, which an earlier run left unfinished");
    }
    Keeper::start(file, content.topics, doorbells)
        .map_err(|error| format!("cannot start a thread - {error}"))
}

/// Says where it listens, and that it is ready.
fn announce(listeners: &[String], started: Instant) {
    for listener in listeners {
        tracing::info!("{listener}");
    }
    tracing::info!("ready in {} ms", started.elapsed().as_millis());
    systemd::ready();
}

fn announcement(listener: &BoundListener) -> String {
    format!("{}: listening on {}", listener.name, listener.address)
}

/// A bound listener as a worker takes it, and what removes a unix socket's file in the end.
fn listening(bound: BoundListener) -> (Listening, Option<UnixFile>) {
    let BoundListener { name, socket, unix_file, .. } = bound;
    let socket = match socket {
        ListenerSocket::Tcp(listener) => OwnedFd::from(listener),
        ListenerSocket::Unix(listener) => OwnedFd::from(listener),
    };
    let spoken = match name {
        "HTTP" => Spoken::Http,
        "HTTPS" => Spoken::Https,
        _ => Spoken::Nsq,
    };
    (Listening { socket, spoken }, unix_file)
}

/// How many files the journal of each shard may have.
pub(super) fn journal_files(options: &NsqdOptions, shards: usize) -> usize {
    let files = options.journal_limit_bytes / JOURNAL_BYTES;
    usize::try_from(files).unwrap_or(usize::MAX).div_ceil(shards).max(JOURNAL_FILES_MIN)
}

fn shard_options(
    options: &NsqdOptions,
    memory_limit_bytes: usize,
    shards: usize,
    room: &Room,
) -> Options {
    let ms = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Options {
        version: NSQ_VERSION,
        node_id: u64::from(options.node_id),
        max_msg_bytes: i64::from(options.max_msg_size_bytes),
        max_body_bytes: i64::from(options.max_body_size_bytes),
        max_rdy_count: ms(options.max_rdy_count),
        msg_timeout_ms: ms(options.msg_timeout_ms),
        max_msg_timeout_ms: ms(options.max_msg_timeout_ms),
        max_req_timeout_ms: ms(options.max_req_timeout_ms),
        max_defer_ms: ms(options.max_defer_ms),
        max_heartbeat_interval_ms: ms(options.max_heartbeat_interval_ms),
        max_output_buffer_bytes: ms(options.max_output_buffer_size_bytes),
        min_output_buffer_timeout_ms: ms(options.min_output_buffer_timeout_ms),
        max_output_buffer_timeout_ms: ms(options.max_output_buffer_timeout_ms),
        output_buffer_timeout_ms: ms(options.output_buffer_timeout_ms),
        tls: !(options.tls.cert.is_empty() && options.tls.key.is_empty()),
        tls_required: options.tls.required != TlsRequired::No,
        auth_required: !options.auth.http_addresses.is_empty(),
        snappy: options.snappy,
        deflate: options.deflate,
        max_deflate_level: i64::from(options.max_deflate_level),
        max_channel_consumers: options.max_channel_consumers,
        mem_queue_size: options.mem_queue_size,
        resident_messages_max: options.mem_queue_size_given,
        deferred_fresh_max: shards::deferral::FRESH_MAX,
        put_off_max: shards::limits::PUT_OFF_MAX,
        memory_limit_bytes,
        durability: options.durability,
        topic_durability: options.topic_durability.clone(),
        defaults: options.limits.defaults,
        journal_files_max: journal_files(options, shards),
        journal_file_bytes: JOURNAL_BYTES as u32,
        store_file_bytes: u32::try_from(options.max_bytes_per_file).unwrap_or(u32::MAX / 2),
        sync_every: options.sync_every,
        sync_timeout_ms: options.sync_timeout_ms,
        greeting_timeout_ms: options.greeting_timeout_ms,
        discovery_timeout_ms: discovery_timeout(options).as_millis() as u64,
        topology_aware: options.topology_aware_consumption,
        topology_region: options.topology_region.clone(),
        topology_zone: options.topology_zone.clone(),
        compression_room: room.clone(),
    }
}

/// What HTTP tells; the listeners are those of TCP, HTTP and HTTPS.
fn facts(
    options: &NsqdOptions,
    inbox: &Inbox,
    [tcp, http, https]: [Option<&BoundListener>; 3],
    (life, started): (Arc<Life>, Instant),
) -> Facts {
    let port = |listener: Option<&BoundListener>| listener.map_or(0, BoundListener::port);
    Facts {
        version: NSQ_VERSION.to_owned(),
        broadcast_address: options.broadcast_address.clone(),
        hostname: host::hostname(),
        tcp_port: port(tcp),
        http_port: port(http),
        https_required_port: (options.tls.required == TlsRequired::Yes)
            .then(|| u16::try_from(port(https)).unwrap_or(0)),
        publish_needs_auth: options.auth.over_http,
        start_time: SystemTime::now(),
        started,
        limits: Limits {
            msg_size_max: u64::from(options.max_msg_size_bytes),
            body_size_max: u64::from(options.max_body_size_bytes),
            req_timeout_max_ms: options.max_defer_ms,
            heartbeat_interval_max: Duration::from_millis(options.max_heartbeat_interval_ms),
            output_buffer_size_max: options.max_output_buffer_size_bytes,
            output_buffer_timeout_max: Duration::from_millis(options.max_output_buffer_timeout_ms),
            deflate_level_max: u32::from(options.max_deflate_level),
        },
        topology_region: options.topology_region.clone(),
        topology_zone: options.topology_zone.clone(),
        health: Health::default(),
        options: shown_options(options).on_lookupd_addresses(inbox.lookupds()),
        // Who may consume is asked of servers, which nobody asks over HTTP.
        shows_messages: options.peek && options.auth.http_addresses.is_empty(),
        life,
        floor: Floor::new(options.limits.min_free_disk_bytes),
        bodies: Bodies::new(options.http_body_memory_bytes),
        progress: Progress::default(),
        policy_changes: Turnstile::default(),
    }
}

/// The options as `/config` shows them.
fn shown_options(options: &NsqdOptions) -> ShownOptions {
    let lookupds = options.lookupd_tcp_addresses.clone();
    ShownOptions::new(options.settings.shown(), lookupds, options.log_level, log::set_level)
}
