//! nsqd's options: what the flags and the file say, checked, in units that the broker uses.

use std::ffi::OsString;
use std::path::PathBuf;

use shards::wire::names::Name;

use super::duration::NS_PER_MS;
use super::host;
use super::nsqd_flags::NSQD;
use super::settings::Settings;
use super::stop::Stop;
use super::value::{TlsRequired, TlsVersion, Value};
use crate::log::LogLevel;

/// The number of node ids; message ids have ten bits for it.
const NODE_IDS: i64 = 1024;
/// The only experiment that the original knows.
const TOPOLOGY_AWARE_CONSUMPTION: &str = "topology-aware-consumption";
/// A frame's length is a signed number of 32 bits, and a message has a header of its own in it.
const BODY_BYTES_MAX: i64 = 0x7fff_ffff - 64;
/// More shards than any machine has cores: a mistyped number, not a wish.
const SHARDS_MAX: i64 = 1024;

/// Everything that nsqd is told. Durations are rounded up to whole milliseconds.
#[derive(Clone, Debug)]
#[allow(
    dead_code,
    reason = "every flag is accepted, also those of features still to come"
)]
pub struct NsqdOptions {
    /// All flags with their values, for `/config`, and warnings for the log.
    pub settings: Settings,
    /// Only check and print the plan.
    pub check: bool,
    /// The least level that is logged.
    pub log_level: LogLevel,
    /// What every line of the log begins with.
    pub log_prefix: String,
    /// Part of message ids, below 1024.
    pub node_id: u16,
    /// Where TCP clients connect.
    pub tcp_address: String,
    /// Where HTTP clients connect; empty for nowhere.
    pub http_address: String,
    /// Where HTTPS clients connect; empty for nowhere.
    pub https_address: String,
    /// The address that lookup servers give to clients.
    pub broadcast_address: String,
    /// The TCP port that they give; 0 for the one that is listened on.
    pub broadcast_tcp_port: u16,
    /// The HTTP port that they give; 0 for the one that is listened on.
    pub broadcast_http_port: u16,
    /// Lookup servers.
    pub lookupd_tcp_addresses: Vec<String>,
    /// The region of this node; may be empty.
    pub topology_region: String,
    /// The zone of this node; may be empty.
    pub topology_zone: String,
    /// Whether channels prefer consumers of their own zone and region.
    pub topology_aware_consumption: bool,
    /// How long a new connection may take to say which protocol it speaks.
    pub greeting_timeout_ms: u64,
    /// Threads that own topics; 0 for one per usable core.
    pub shards: usize,
    /// Threads that accept connections.
    pub acceptors: usize,
    /// Topics with a shard of the operator's choice.
    pub topic_shards: Vec<(Name, usize)>,
    /// Memory for the messages of all shards; `None` for half of what there is.
    pub memory_limit_bytes: Option<u64>,
    /// The data directory as it was given; empty for the current one.
    pub data_path: PathBuf,
    /// Messages of a topic or channel that stay in memory.
    pub mem_queue_size: u64,
    /// Size at which a data file is full.
    pub max_bytes_per_file: u64,
    /// Messages between two syncs.
    pub sync_every: u64,
    /// Time between two syncs.
    pub sync_timeout_ms: u64,
    /// How long a client may keep a message by default.
    pub msg_timeout_ms: u64,
    /// The longest that it may ask for.
    pub max_msg_timeout_ms: u64,
    /// The largest message.
    pub max_msg_size_bytes: u32,
    /// The longest that a message may be put off.
    pub max_req_timeout_ms: u64,
    /// The largest body of a command.
    pub max_body_size_bytes: u32,
    /// Consumers of one channel; 0 for any number.
    pub max_channel_consumers: u64,
    /// The longest heartbeat interval that a client may ask for.
    pub max_heartbeat_interval_ms: u64,
    /// The highest RDY count.
    pub max_rdy_count: u64,
    /// The largest output buffer that a client may ask for.
    pub max_output_buffer_size_bytes: u64,
    /// The longest time between two flushes that a client may ask for.
    pub max_output_buffer_timeout_ms: u64,
    /// The shortest that it may ask for.
    pub min_output_buffer_timeout_ms: u64,
    /// What it gets when it does not ask.
    pub output_buffer_timeout_ms: u64,
    /// Whether clients may compress with deflate.
    pub deflate: bool,
    /// The highest deflate level.
    pub max_deflate_level: u8,
    /// Whether clients may compress with snappy.
    pub snappy: bool,
    /// Authorization of clients.
    pub auth: AuthOptions,
    /// Encryption.
    pub tls: TlsOptions,
    /// Reports to a statsd.
    pub statsd: StatsdOptions,
    /// Percentiles of processing times, above 0 and up to 1.
    pub e2e_percentiles: Vec<f64>,
    /// How far back they look.
    pub e2e_window_ms: u64,
}

/// Who says what clients may do.
#[derive(Clone, Debug)]
#[allow(
    dead_code,
    reason = "every flag is accepted, also those of features still to come"
)]
pub struct AuthOptions {
    /// Servers to ask: `host:port` or a URL. None: everybody may do everything.
    pub http_addresses: Vec<String>,
    /// Whether they are asked with POST instead of GET.
    pub post: bool,
    /// Time to connect.
    pub connect_timeout_ms: u64,
    /// Time for the whole request.
    pub request_timeout_ms: u64,
}

/// How connections are encrypted.
#[derive(Clone, Debug)]
#[allow(
    dead_code,
    reason = "every flag is accepted, also those of features still to come"
)]
pub struct TlsOptions {
    /// Path of the certificate; empty for no TLS.
    pub cert: String,
    /// Path of its key.
    pub key: String,
    /// `require`, `require-verify`, or anything else for no certificates of clients.
    pub client_auth_policy: String,
    /// Path of the authorities' certificates.
    pub root_ca_file: String,
    /// Which connections must be encrypted.
    pub required: TlsRequired,
    /// The oldest version that is accepted.
    pub min_version: TlsVersion,
}

/// What is sent to a statsd, and how.
#[derive(Clone, Debug)]
#[allow(
    dead_code,
    reason = "every flag is accepted, also those of features still to come"
)]
pub struct StatsdOptions {
    /// `host:port`; empty for no reports.
    pub address: String,
    /// Time between two reports.
    pub interval_ms: u64,
    /// Whether memory is reported too.
    pub mem_stats: bool,
    /// What keys begin with; `%s` stands for the host.
    pub prefix: String,
    /// The largest packet.
    pub udp_packet_size_bytes: u32,
    /// Whether `#ephemeral` topics and channels are left out.
    pub exclude_ephemeral: bool,
}

impl NsqdOptions {
    /// Reads the arguments after the program's name, and the file that they name.
    pub fn load(args: &[OsString]) -> Result<NsqdOptions, Stop> {
        let mut settings = Settings::load(&NSQD, args)?;
        let host = host::hostname();
        if settings.int_if_given("node-id").is_none() {
            settings.set("node-id", Value::Int(host::default_node_id(&host)));
        }
        if settings.text_if_given("broadcast-address").is_none() {
            settings.set("broadcast-address", Value::Text(host));
        }
        read(settings)
            .map_err(|problem| Stop::Fatal(format!("failed to instantiate nsqd - {problem}")))
    }
}

/// Turns settings into options; the checks that the original has come first, in its order.
fn read(mut settings: Settings) -> Result<NsqdOptions, String> {
    let s = &settings;
    let max_deflate_level = check_range(s, "max-deflate-level", 1, 9, "[1,9]")?;
    let node_id = check_range(s, "node-id", 0, NODE_IDS - 1, "[0,1024)")?;
    let tls = read_tls(s)?;
    let auth = read_auth(s)?;
    let e2e_percentiles = read_percentiles(s)?;
    let topology_aware_consumption = s
        .texts("enable-experiment")
        .iter()
        .any(|name| name == TOPOLOGY_AWARE_CONSUMPTION);
    let options = NsqdOptions {
        check: s.bool("check"),
        log_level: s.log_level("log-level"),
        log_prefix: s.text("log-prefix"),
        node_id: u16::try_from(node_id).map_err(|error| error.to_string())?,
        tcp_address: s.text("tcp-address"),
        http_address: s.text("http-address"),
        https_address: s.text("https-address"),
        broadcast_address: s.text("broadcast-address"),
        broadcast_tcp_port: read_port(s, "broadcast-tcp-port")?,
        broadcast_http_port: read_port(s, "broadcast-http-port")?,
        lookupd_tcp_addresses: s.texts("lookupd-tcp-address"),
        topology_region: s.text("topology-region"),
        topology_zone: s.text("topology-zone"),
        topology_aware_consumption,
        greeting_timeout_ms: read_ms(s, "greeting-timeout", 1)?,
        shards: read_shards(s)?,
        acceptors: read_acceptors(s)?,
        topic_shards: read_topic_shards(s)?,
        memory_limit_bytes: s.bytes_if_given("memory-limit"),
        data_path: PathBuf::from(s.text("data-path")),
        mem_queue_size: read_count(s, "mem-queue-size", 0)?,
        max_bytes_per_file: read_count(s, "max-bytes-per-file", 1)?,
        sync_every: read_count(s, "sync-every", 1)?,
        sync_timeout_ms: read_ms(s, "sync-timeout", 1)?,
        msg_timeout_ms: read_ms(s, "msg-timeout", 1)?,
        max_msg_timeout_ms: read_ms(s, "max-msg-timeout", 1)?,
        max_msg_size_bytes: read_body_size(s, "max-msg-size")?,
        max_req_timeout_ms: read_ms(s, "max-req-timeout", 0)?,
        max_body_size_bytes: read_body_size(s, "max-body-size")?,
        max_channel_consumers: read_count(s, "max-channel-consumers", 0)?,
        max_heartbeat_interval_ms: read_ms(s, "max-heartbeat-interval", 1)?,
        max_rdy_count: read_count(s, "max-rdy-count", 1)?,
        max_output_buffer_size_bytes: read_count(s, "max-output-buffer-size", 1)?,
        max_output_buffer_timeout_ms: read_ms(s, "max-output-buffer-timeout", 0)?,
        min_output_buffer_timeout_ms: read_ms(s, "min-output-buffer-timeout", 0)?,
        output_buffer_timeout_ms: read_ms(s, "output-buffer-timeout", 0)?,
        deflate: s.bool("deflate"),
        max_deflate_level: u8::try_from(max_deflate_level).map_err(|error| error.to_string())?,
        snappy: s.bool("snappy"),
        auth,
        statsd: read_statsd(s)?,
        e2e_percentiles,
        e2e_window_ms: read_ms(s, "e2e-processing-latency-window-time", 1)?,
        settings: settings.clone(),
        tls,
    };
    // `/config` shows what holds, which is more than what was asked for.
    settings.set("tls-required", Value::TlsRequired(options.tls.required));
    Ok(NsqdOptions {
        settings,
        ..options
    })
}

fn read_tls(s: &Settings) -> Result<TlsOptions, String> {
    let (required, min_version) = match (s.value("tls-required"), s.value("tls-min-version")) {
        (Some(Value::TlsRequired(required)), Some(Value::TlsVersion(version))) => {
            (*required, *version)
        }
        other => unreachable!("the table has defaults of these kinds: {other:?}"),
    };
    let mut tls = TlsOptions {
        cert: s.text("tls-cert"),
        key: s.text("tls-key"),
        client_auth_policy: s.text("tls-client-auth-policy"),
        root_ca_file: s.text("tls-root-ca-file"),
        required,
        min_version,
    };
    if !tls.client_auth_policy.is_empty() && tls.required == TlsRequired::No {
        tls.required = TlsRequired::Yes;
    }
    let without_certificate = tls.cert.is_empty() && tls.key.is_empty();
    if without_certificate && tls.required != TlsRequired::No {
        return Err("cannot require TLS client connections without TLS key and cert".to_owned());
    }
    Ok(tls)
}

fn read_auth(s: &Settings) -> Result<AuthOptions, String> {
    let post = match s.text("auth-http-request-method").as_str() {
        "get" => false,
        "post" => true,
        _ => return Err("--auth-http-request-method must be post or get".to_owned()),
    };
    Ok(AuthOptions {
        http_addresses: s.texts("auth-http-address"),
        post,
        connect_timeout_ms: read_ms(s, "http-client-connect-timeout", 0)?,
        request_timeout_ms: read_ms(s, "http-client-request-timeout", 0)?,
    })
}

fn read_statsd(s: &Settings) -> Result<StatsdOptions, String> {
    let packet_size = check_range(s, "statsd-udp-packet-size", 1, 65507, "[1,65507]")?;
    Ok(StatsdOptions {
        address: s.text("statsd-address"),
        interval_ms: read_ms(s, "statsd-interval", 1)?,
        mem_stats: s.bool("statsd-mem-stats"),
        prefix: s.text("statsd-prefix"),
        udp_packet_size_bytes: u32::try_from(packet_size).map_err(|error| error.to_string())?,
        exclude_ephemeral: s.bool("statsd-exclude-ephemeral"),
    })
}

fn read_percentiles(s: &Settings) -> Result<Vec<f64>, String> {
    let percentiles = s.floats("e2e-processing-latency-percentile");
    match percentiles
        .iter()
        .find(|&&value| !(value > 0.0 && value <= 1.0))
    {
        Some(value) => Err(format!(
            "invalid E2E processing latency percentile: {value}"
        )),
        None => Ok(percentiles),
    }
}

fn read_topic_shards(s: &Settings) -> Result<Vec<(Name, usize)>, String> {
    let mut topic_shards: Vec<(Name, usize)> = Vec::new();
    for text in s.texts("topic-shard") {
        let wrong = || format!("--topic-shard must be <topic>=<shard>, not {text:?}");
        let (topic, shard) = text.rsplit_once('=').ok_or_else(wrong)?;
        let shard = shard.parse().map_err(|_| wrong())?;
        let name = Name::parse(topic.as_bytes())
            .ok_or_else(|| format!("--topic-shard: {topic:?} is no valid topic name"))?;
        if topic_shards
            .iter()
            .any(|(other, other_shard)| *other == name && *other_shard != shard)
        {
            return Err(format!("--topic-shard puts {name} on two shards"));
        }
        topic_shards.push((name, shard));
    }
    Ok(topic_shards)
}

fn read_shards(s: &Settings) -> Result<usize, String> {
    let shards = check_range(s, "shards", 0, SHARDS_MAX, "[0,1024]")?;
    usize::try_from(shards).map_err(|error| error.to_string())
}

fn read_acceptors(s: &Settings) -> Result<usize, String> {
    match s.int("acceptors") {
        1 => Ok(1),
        other => Err(format!("--acceptors must be 1 for now, not {other}")),
    }
}

fn read_port(s: &Settings, name: &str) -> Result<u16, String> {
    u16::try_from(s.int(name)).map_err(|_| format!("--{name} must be [0,65535]"))
}

fn read_body_size(s: &Settings, name: &str) -> Result<u32, String> {
    let range = format!("[1,{BODY_BYTES_MAX}]");
    let bytes = check_range(s, name, 1, BODY_BYTES_MAX, &range)?;
    u32::try_from(bytes).map_err(|error| error.to_string())
}

fn read_count(s: &Settings, name: &str, least: u64) -> Result<u64, String> {
    u64::try_from(s.int(name))
        .ok()
        .filter(|&count| count >= least)
        .ok_or_else(|| format!("--{name} must be at least {least}"))
}

/// A duration in milliseconds, rounded up: a short time never becomes none.
fn read_ms(s: &Settings, name: &str, least_ms: u64) -> Result<u64, String> {
    u64::try_from(s.duration_ns(name))
        .map(|duration_ns| duration_ns.div_ceil(NS_PER_MS))
        .ok()
        .filter(|&duration_ms| duration_ms >= least_ms)
        .ok_or_else(|| format!("--{name} must be at least {least_ms}ms"))
}

fn check_range(s: &Settings, name: &str, low: i64, high: i64, range: &str) -> Result<i64, String> {
    let number = s.int(name);
    if number < low || number > high {
        return Err(format!("--{name} must be {range}"));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use shards::wire::names::Name;

    use super::NsqdOptions;
    use crate::config::nsqd_flags::NSQD;
    use crate::config::stop::Stop;
    use crate::config::value::{Kind, TlsRequired, TlsVersion};
    use crate::log::LogLevel;

    fn load(line: &str) -> Result<NsqdOptions, Stop> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        NsqdOptions::load(&args)
    }

    #[test]
    fn defaults_are_the_originals() {
        let options = load("").unwrap();
        assert_eq!(options.tcp_address, "0.0.0.0:4150");
        assert_eq!(options.http_address, "0.0.0.0:4151");
        assert_eq!(options.log_level, LogLevel::Info);
        assert_eq!(options.log_prefix, "[nsqd] ");
        assert_eq!(options.msg_timeout_ms, 60_000);
        assert_eq!(options.max_msg_timeout_ms, 900_000);
        assert_eq!(options.max_req_timeout_ms, 3_600_000);
        assert_eq!(options.max_msg_size_bytes, 1_048_576);
        assert_eq!(options.max_body_size_bytes, 5_242_880);
        assert_eq!(options.mem_queue_size, 10_000);
        assert_eq!(options.max_rdy_count, 2500);
        assert_eq!(options.min_output_buffer_timeout_ms, 25);
        assert_eq!(options.output_buffer_timeout_ms, 250);
        assert_eq!(options.max_deflate_level, 6);
        assert_eq!(options.tls.min_version, TlsVersion::Tls10);
        assert_eq!(options.statsd.udp_packet_size_bytes, 508);
        assert_eq!(options.shards, 0);
        assert_eq!(options.memory_limit_bytes, None);
        assert!(options.deflate && options.snappy && !options.topology_aware_consumption);
        assert!(!options.broadcast_address.is_empty());
        assert!(
            options.settings.warnings.is_empty(),
            "{:?}",
            options.settings.warnings
        );
    }

    #[test]
    fn every_flag_of_the_original_is_accepted() {
        // The original's list in the order of its documentation.
        let names = "version config log-level log-prefix verbose worker-id node-id tcp-address \
            http-address https-address broadcast-address broadcast-tcp-port broadcast-http-port \
            lookupd-tcp-address auth-http-address auth-http-request-method \
            http-client-connect-timeout http-client-request-timeout topology-region topology-zone \
            data-path mem-queue-size max-bytes-per-file sync-every sync-timeout \
            queue-scan-worker-pool-max queue-scan-selection-count msg-timeout max-msg-timeout \
            max-msg-size max-req-timeout max-body-size max-heartbeat-interval max-rdy-count \
            max-output-buffer-size max-output-buffer-timeout min-output-buffer-timeout \
            output-buffer-timeout max-channel-consumers statsd-address statsd-interval \
            statsd-mem-stats statsd-prefix statsd-udp-packet-size statsd-exclude-ephemeral \
            e2e-processing-latency-percentile e2e-processing-latency-window-time tls-cert tls-key \
            tls-client-auth-policy tls-root-ca-file tls-required tls-min-version deflate \
            max-deflate-level snappy enable-experiment";
        for name in names.split_whitespace() {
            let flag = NSQD
                .find(name)
                .unwrap_or_else(|| panic!("--{name} is missing"));
            assert!(!flag.help.is_empty(), "--{name} has no help");
        }
    }

    #[test]
    fn flags_and_keys_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for flag in NSQD.flags() {
            assert!(
                seen.insert(flag.name.to_owned()),
                "--{} is there twice",
                flag.name
            );
        }
        let mut keys = std::collections::BTreeSet::new();
        for key in NSQD.flags().filter_map(|flag| flag.toml_key()) {
            assert!(keys.insert(key.clone()), "{key} is there twice");
        }
    }

    #[track_caller]
    fn check_fatal(line: &str, text: &str) {
        let end = load(line).expect_err(line);
        assert_eq!(
            end,
            Stop::Fatal(format!("failed to instantiate nsqd - {text}")),
            "{line}"
        );
    }

    #[test]
    fn wrong_values_are_fatal_with_the_originals_words() {
        check_fatal("--max-deflate-level=0", "--max-deflate-level must be [1,9]");
        check_fatal(
            "--max-deflate-level=10",
            "--max-deflate-level must be [1,9]",
        );
        check_fatal("--node-id=1024", "--node-id must be [0,1024)");
        check_fatal("--node-id=-1", "--node-id must be [0,1024)");
        check_fatal(
            "--tls-required",
            "cannot require TLS client connections without TLS key and cert",
        );
        check_fatal(
            "--tls-client-auth-policy=require",
            "cannot require TLS client connections without TLS key and cert",
        );
        check_fatal(
            "--auth-http-request-method=GET",
            "--auth-http-request-method must be post or get",
        );
        check_fatal(
            "--e2e-processing-latency-percentile=1.5",
            "invalid E2E processing latency percentile: 1.5",
        );
        check_fatal(
            "--e2e-processing-latency-percentile=NaN",
            "invalid E2E processing latency percentile: NaN",
        );
    }

    #[test]
    fn wrong_values_that_the_original_would_take_are_fatal_too() {
        check_fatal("--acceptors=2", "--acceptors must be 1 for now, not 2");
        check_fatal("--shards=-1", "--shards must be [0,1024]");
        check_fatal(
            "--topic-shard=a",
            "--topic-shard must be <topic>=<shard>, not \"a\"",
        );
        check_fatal(
            "--topic-shard=a=x",
            "--topic-shard must be <topic>=<shard>, not \"a=x\"",
        );
        check_fatal(
            "--topic-shard=a/b=1",
            "--topic-shard: \"a/b\" is no valid topic name",
        );
        check_fatal(
            "--topic-shard=a=1 --topic-shard=a=2",
            "--topic-shard puts a on two shards",
        );
        check_fatal(
            "--broadcast-tcp-port=65536",
            "--broadcast-tcp-port must be [0,65535]",
        );
        check_fatal("--max-msg-size=0", "--max-msg-size must be [1,2147483583]");
        check_fatal("--mem-queue-size=-1", "--mem-queue-size must be at least 0");
        check_fatal("--msg-timeout=-1s", "--msg-timeout must be at least 1ms");
    }

    #[test]
    fn shoals_own_flags_are_read() {
        let line = "--shards=3 --topic-shard=a=0 -topic-shard b#ephemeral=2 --memory-limit=1GB \
                    --greeting-timeout=100us";
        let options = load(line).unwrap();
        assert_eq!(options.shards, 3);
        let names = [
            Name::parse(b"a").unwrap(),
            Name::parse(b"b#ephemeral").unwrap(),
        ];
        assert_eq!(options.topic_shards, [(names[0], 0), (names[1], 2)]);
        assert_eq!(options.memory_limit_bytes, Some(1 << 30));
        assert_eq!(options.greeting_timeout_ms, 1);
    }

    #[test]
    fn a_client_policy_makes_tls_required() {
        let line = "--tls-cert=c --tls-key=k --tls-client-auth-policy=require";
        let options = load(line).unwrap();
        assert_eq!(options.tls.required, TlsRequired::Yes);
        assert_eq!(options.settings.shown("tls_required").as_deref(), Some("2"));
        assert_eq!(options.settings.warnings.len(), 3);
    }

    #[test]
    fn a_feature_that_is_not_there_yet_is_said_when_its_flag_is_set() {
        let warnings = load("--snappy=false --statsd-address=")
            .unwrap()
            .settings
            .warnings;
        assert!(warnings.is_empty(), "{warnings:?}");
        let warnings = load("--lookupd-tcp-address=a:1").unwrap().settings.warnings;
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].starts_with("--lookupd-tcp-address is set, but "),
            "{warnings:?}"
        );
    }

    #[test]
    fn keys_of_the_file_are_the_originals() {
        for (name, key) in [
            ("node-id", Some("id")),
            ("lookupd-tcp-address", Some("nsqlookupd_tcp_addresses")),
            ("auth-http-address", Some("auth_http_addresses")),
            (
                "e2e-processing-latency-percentile",
                Some("e2e_processing_latency_percentiles"),
            ),
            ("enable-experiment", Some("enable_experiment")),
            ("tls-root-ca-file", Some("tls_root_ca_file")),
            ("verbose", None),
            ("worker-id", None),
            ("config", None),
        ] {
            assert_eq!(
                NSQD.find(name).unwrap().toml_key().as_deref(),
                key,
                "{name}"
            );
        }
        assert_eq!(NSQD.find("worker-id").unwrap().kind, Kind::Bool);
    }
}
