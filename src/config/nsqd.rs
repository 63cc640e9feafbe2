//! nsqd's options: what the flags and the file say, checked, in units that the broker uses.

use std::ffi::OsString;
use std::path::PathBuf;

use shards::limits::Durability;
use shards::wire::names::Name;

use super::host;
use super::nsqd_checks;
use super::nsqd_flags::NSQD;
use super::nsqd_policy::LimitOptions;
use super::settings::Settings;
use super::stop::Stop;
use super::value::{TlsRequired, TlsVersion, Value};
use crate::log::{LogFormat, LogLevel};

/// Everything that nsqd is told. Durations are rounded up to whole milliseconds.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "every flag is accepted, also those of features still to come")]
pub struct NsqdOptions {
    /// All flags with their values, for `/config`, and warnings for the log.
    pub settings: Settings,
    /// Only check and print the plan.
    pub check: bool,
    /// The least level that is logged.
    pub log_level: LogLevel,
    /// What every line of the log begins with.
    pub log_prefix: String,
    /// What a line of the log is.
    pub log_format: LogFormat,
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
    /// How connections with them are encrypted; `None` when they are not.
    pub lookupd_tls: Option<LookupdTlsOptions>,
    /// A lookup server in this process, and where it is to listen.
    pub with_lookupd: Option<WithLookupd>,
    /// Where the admin pages of this process are to listen, if it has some.
    pub with_admin: Option<String>,
    /// The region of this node; may be empty.
    pub topology_region: String,
    /// The zone of this node; may be empty.
    pub topology_zone: String,
    /// Whether channels prefer consumers of their own zone and region.
    pub topology_aware_consumption: bool,
    /// How long a new connection may take to say which protocol it speaks.
    pub greeting_timeout_ms: u64,
    /// How long draining may take when nobody says so; 0 for as long as it takes.
    pub drain_timeout_ms: u64,
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
    /// What answers to publishes promise.
    pub durability: Durability,
    /// Topics with another promise.
    pub topic_durability: Vec<(Name, Durability)>,
    /// How much there may be.
    pub limits: LimitOptions,
    /// Messages of an ephemeral topic or channel.
    pub mem_queue_size: u64,
    /// Messages of any topic that stay in memory, when somebody said so.
    pub mem_queue_size_given: Option<u64>,
    /// Disk space of all journals.
    pub journal_limit_bytes: u64,
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
    /// The longest that a message may be put off by a consumer.
    pub max_req_timeout_ms: u64,
    /// The longest that a message may be put off by its producer.
    pub max_defer_ms: u64,
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
    /// Memory for compressed connections.
    pub compression_memory_bytes: usize,
    /// Memory for bodies of HTTP that are being read.
    pub http_body_memory_bytes: usize,
    /// Whether messages may be looked at over HTTP.
    pub peek: bool,
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
    /// What `/metrics` tells.
    pub metrics: MetricsOptions,
}

/// What `/metrics` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsOptions {
    /// Series, at most.
    pub series_max: usize,
    /// Whether counters have their older names, too.
    pub legacy_names: bool,
}

/// Where a lookup server in this process listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithLookupd {
    /// For producers.
    pub tcp_address: String,
    /// For HTTP clients.
    pub http_address: String,
}

/// Who says what clients may do.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// Servers to ask: `host:port` or a URL. None: everybody may do everything.
    pub http_addresses: Vec<String>,
    /// Whether they are asked with POST instead of GET.
    pub post: bool,
    /// Whether publishing by HTTP is asked about, too.
    pub over_http: bool,
    /// Time to connect.
    pub connect_timeout_ms: u64,
    /// Time for the whole request.
    pub request_timeout_ms: u64,
}

/// How connections are encrypted.
#[derive(Clone, Debug)]
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
    /// Handshakes that a thread has under way.
    pub handshakes_max: usize,
}

/// How connections with lookup servers are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupdTlsOptions {
    /// Path of the authorities' certificates; `None` for those of the machine.
    pub root_ca_file: Option<PathBuf>,
    /// Paths of the certificate that is shown to them, and of its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether any certificate of theirs will do.
    pub insecure: bool,
}

/// What is sent to a statsd, and how.
#[derive(Clone, Debug)]
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
        let options = nsqd_checks::read(settings)
            .map_err(|problem| Stop::Fatal(format!("failed to instantiate nsqd - {problem}")))?;
        options.settings.print_if_asked(&NSQD)?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use shards::limits::Durability;
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
        assert!(options.settings.warnings.is_empty(), "{:?}", options.settings.warnings);
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
            let flag = NSQD.find(name).unwrap_or_else(|| panic!("--{name} is missing"));
            assert!(!flag.help.is_empty(), "--{name} has no help");
        }
    }

    #[test]
    fn flags_and_keys_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for flag in NSQD.flags() {
            assert!(seen.insert(flag.name.to_owned()), "--{} is there twice", flag.name);
        }
        let mut keys = std::collections::BTreeSet::new();
        for key in NSQD.flags().filter_map(|flag| flag.toml_key()) {
            assert!(keys.insert(key.clone()), "{key} is there twice");
        }
    }

    #[test]
    fn shoals_own_flags_are_read() {
        let line = "--shards=3 --topic-shard=a=0 -topic-shard b#ephemeral=2 --memory-limit=1GB \
                    --greeting-timeout=100us";
        let options = load(line).unwrap();
        assert_eq!(options.shards, 3);
        let names = [Name::parse(b"a").unwrap(), Name::parse(b"b#ephemeral").unwrap()];
        assert_eq!(options.topic_shards, [(names[0], 0), (names[1], 2)]);
        assert_eq!(options.memory_limit_bytes, Some(1 << 30));
        assert_eq!(options.greeting_timeout_ms, 1);
    }

    #[test]
    fn connections_with_lookup_servers_may_be_encrypted() {
        assert_eq!(load("").unwrap().lookupd_tls, None);
        let tls = load("--lookupd-tls").unwrap().lookupd_tls.unwrap();
        assert_eq!((tls.root_ca_file, tls.identity, tls.insecure), (None, None, false));
        let flags = "--lookupd-tls --lookupd-tls-root-ca-file=r --lookupd-tls-cert=c \
                     --lookupd-tls-key=k";
        let tls = load(flags).unwrap().lookupd_tls.unwrap();
        assert_eq!(tls.root_ca_file, Some("r".into()));
        assert_eq!(tls.identity, Some(("c".into(), "k".into())));
    }

    #[test]
    fn a_lookup_server_in_the_process_is_asked_for() {
        assert_eq!(load("--with-lookupd-tcp-address=:1").unwrap().with_lookupd, None);
        let with = load("--with-lookupd --with-lookupd-http-address=h:2").unwrap().with_lookupd;
        let with = with.unwrap();
        assert_eq!(
            (with.tcp_address.as_str(), with.http_address.as_str()),
            ("0.0.0.0:4160", "h:2")
        );
    }

    #[test]
    fn promises_are_read() {
        let options = load("").unwrap();
        assert_eq!((options.durability, options.mem_queue_size_given), (Durability::Written, None));
        assert_eq!(options.max_defer_ms, options.max_req_timeout_ms);
        let line = "--durability=synced --topic-durability=a=memory --mem-queue-size=0 \
                    --max-req-timeout=2h --max-defer-time=720h --journal-limit=64MB";
        let options = load(line).unwrap();
        assert_eq!(options.durability, Durability::Synced);
        let name = Name::parse(b"a").unwrap();
        assert_eq!(options.topic_durability, [(name, Durability::Memory)]);
        assert_eq!(options.mem_queue_size_given, Some(0));
        assert_eq!((options.max_req_timeout_ms, options.max_defer_ms), (7_200_000, 2_592_000_000));
        assert_eq!(options.journal_limit_bytes, 64 << 20);
        for wrong in [
            "--durability=often",
            "--topic-durability=a",
            "--topic-durability=a=b",
            "--topic-durability=*=memory",
            "--topic-durability=a=memory --topic-durability=a=synced",
        ] {
            assert!(matches!(load(wrong), Err(Stop::Fatal(_))), "{wrong}");
        }
    }

    #[test]
    fn a_client_policy_makes_tls_required() {
        let line = "--tls-cert=c --tls-key=k --tls-client-auth-policy=require";
        let options = load(line).unwrap();
        assert_eq!(options.tls.required, TlsRequired::Yes);
        assert_eq!(options.settings.shown()["tls_required"], 2);
        assert!(options.settings.warnings.is_empty(), "{:?}", options.settings.warnings);
    }

    #[test]
    fn no_feature_of_the_original_is_missing() {
        let line = "--statsd-address=a:1 --auth-http-address=a:1 \
                    --e2e-processing-latency-percentile=0.5 \
                    --enable-experiment=topology-aware-consumption";
        let warnings = load(line).unwrap().settings.warnings;
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn keys_of_the_file_are_the_originals() {
        for (name, key) in [
            ("node-id", Some("id")),
            ("lookupd-tcp-address", Some("nsqlookupd_tcp_addresses")),
            ("auth-http-address", Some("auth_http_addresses")),
            ("e2e-processing-latency-percentile", Some("e2e_processing_latency_percentiles")),
            ("enable-experiment", Some("enable_experiment")),
            ("tls-root-ca-file", Some("tls_root_ca_file")),
            ("verbose", None),
            ("worker-id", None),
            ("config", None),
        ] {
            assert_eq!(NSQD.find(name).unwrap().toml_key().as_deref(), key, "{name}");
        }
        assert_eq!(NSQD.find("worker-id").unwrap().kind, Kind::Bool);
    }
}
