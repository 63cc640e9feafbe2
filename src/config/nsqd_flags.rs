//! nsqd's flags: the original's with its defaults, and Shoal's own.

use super::flag::{Flag, Group, Program};
use super::nsqd_policy::LIMITS;
use super::value::Kind::{
    Bool, Bytes, Duration, Floats, Int, LogLevel, Text, Texts, TlsRequired, TlsVersion,
};
use super::version;

/// nsqd as the command line sees it.
pub static NSQD: Program = Program {
    name: "nsqd",
    about: "Receives, keeps and delivers messages: NSQ's daemon, thread per core.",
    version_line: version::daemon_line,
    groups: &[
        Group { title: "Basics", flags: BASICS },
        Group { title: "Addresses", flags: ADDRESSES },
        Group { title: "Cores and memory", flags: CORES },
        Group { title: "Data", flags: DATA },
        Group { title: "Messages", flags: MESSAGES },
        Group { title: "Limits", flags: LIMITS },
        Group { title: "What clients may ask for", flags: CLIENTS },
        Group { title: "Authorization", flags: AUTH },
        Group { title: "TLS", flags: TLS },
        Group { title: "Statistics", flags: STATISTICS },
        Group { title: "Experiments", flags: EXPERIMENTS },
    ],
};

const NO_SCAN: &str = "no effect: timeouts are exact, channels are not scanned";

const BASICS: &[Flag] = &[
    Flag::new("version", Bool, "false", "Print the version and exit").only_flag(),
    Flag::new("config", Text, "", "Path of a configuration file (TOML)").only_flag(),
    Flag::new(
        "print-config",
        Bool,
        "false",
        "Print every setting and where it comes from, and exit",
    )
    .only_flag(),
    Flag::new("check", Bool, "false", "Run the checks of a start, print the plan and exit")
        .only_flag(),
    Flag::new("log-level", LogLevel, "info", "Least level logged: debug, info, warn, error, fatal"),
    Flag::new("log-prefix", Text, "[nsqd] ", "What every line of the log begins with"),
    Flag::new("log-format", Text, "text", "What a line of the log is: text as NSQ's, or json"),
    Flag::new("verbose", Bool, "false", "it has no effect, use --log-level")
        .only_flag()
        .deprecated(),
    Flag::new("node-id", Int, "", "Part of message ids that no other nsqd has, 0 to 1023")
        .key("id")
        .computed("from the host name"),
    Flag::new("worker-id", Bool, "false", "it has no effect, use --node-id")
        .only_flag()
        .deprecated(),
];

const ADDRESSES: &[Flag] = &[
    Flag::new(
        "tcp-address",
        Text,
        "0.0.0.0:4150",
        "Where TCP clients connect: <host>:<port>, or the path of a unix socket",
    ),
    Flag::new(
        "http-address",
        Text,
        "0.0.0.0:4151",
        "Where HTTP clients connect: <host>:<port>, or the path of a unix socket; \"\" for nowhere",
    ),
    Flag::new(
        "https-address",
        Text,
        "0.0.0.0:4152",
        "Where HTTPS clients connect when there is a certificate: <host>:<port>; \"\" for nowhere",
    ),
    Flag::new("broadcast-address", Text, "", "Address that lookup servers give to clients")
        .computed("the host name"),
    Flag::new(
        "broadcast-tcp-port",
        Int,
        "0",
        "TCP port that lookup servers give to clients; 0 for the one that is listened on",
    ),
    Flag::new(
        "broadcast-http-port",
        Int,
        "0",
        "HTTP port that lookup servers give to clients; 0 for the one that is listened on",
    ),
    Flag::list("lookupd-tcp-address", Texts, "A nsqlookupd's TCP address; may be repeated")
        .key("nsqlookupd_tcp_addresses"),
    Flag::new("lookupd-tls", Bool, "false", "Encrypt the connections with nsqlookupds"),
    Flag::new(
        "lookupd-tls-root-ca-file",
        Text,
        "",
        "Path of the authorities of nsqlookupds' certificates (PEM); those of the machine if empty",
    ),
    Flag::new("lookupd-tls-cert", Text, "", "Path of the certificate shown to nsqlookupds (PEM)"),
    Flag::new("lookupd-tls-key", Text, "", "Path of that certificate's key (PEM)"),
    Flag::new(
        "lookupd-tls-insecure-skip-verify",
        Bool,
        "false",
        "Take any certificate of a nsqlookupd",
    ),
    Flag::new(
        "with-lookupd",
        Bool,
        "false",
        "Run a nsqlookupd in this process, and register there",
    ),
    Flag::new(
        "with-lookupd-tcp-address",
        Text,
        "0.0.0.0:4160",
        "Where other nsqds connect to that nsqlookupd: <host>:<port>",
    ),
    Flag::new(
        "with-lookupd-http-address",
        Text,
        "0.0.0.0:4161",
        "Where HTTP clients connect to that nsqlookupd: <host>:<port>",
    ),
    Flag::new("with-admin", Bool, "false", "Run nsqadmin's pages in this process"),
    Flag::new(
        "with-admin-http-address",
        Text,
        "0.0.0.0:4171",
        "Where browsers connect to these pages: <host>:<port>",
    ),
    Flag::new("topology-region", Text, "", "Region of this node, made of one or more zones"),
    Flag::new("topology-zone", Text, "", "Zone of this node, which fails as a whole"),
    Flag::new(
        "greeting-timeout",
        Duration,
        "5s",
        "How long a new connection may take to send the protocol's first four bytes",
    ),
    Flag::new(
        "drain-timeout",
        Duration,
        "0s",
        "How long draining (SIGUSR1, PUT /config/drain) may take; 0s for as long as it takes",
    ),
];

const CORES: &[Flag] = &[
    Flag::new("shards", Int, "0", "Threads that own topics; 0 for one per usable core"),
    Flag::new("acceptors", Int, "1", "Threads that accept connections; only 1 for now"),
    Flag::list(
        "topic-shard",
        Texts,
        "<topic>=<shard>: put a topic on this shard, counted from 0; may be repeated",
    ),
    Flag::new("memory-limit", Bytes, "", "Memory for messages of all shards, like 512MB or 4GB")
        .computed("half of what the machine or the cgroup has"),
];

const DATA: &[Flag] = &[
    Flag::new("data-path", Text, "", "Directory for data; it must exist; \"\" for the current one"),
    Flag::new(
        "durability",
        Text,
        "written",
        "What an OK promises: memory (queued), written (survives a crash), synced (a power cut)",
    ),
    Flag::list(
        "topic-durability",
        Texts,
        "<topic>=<durability>: another promise for this topic; may be repeated",
    ),
    Flag::new(
        "mem-queue-size",
        Int,
        "10000",
        "Messages of a topic kept in memory when given; without it, --memory-limit decides. \
         #ephemeral topics and channels keep so many in any case",
    ),
    Flag::new("max-bytes-per-file", Int, "104857600", "Size at which a data file is full"),
    Flag::new("journal-limit", Bytes, "512MB", "Disk space of the journals of all shards"),
    Flag::new("sync-every", Int, "2500", "Messages after which the journal is synced to disk"),
    Flag::new("sync-timeout", Duration, "2s", "Time after which the journal is synced to disk"),
    Flag::new("queue-scan-worker-pool-max", Int, "4", NO_SCAN),
    Flag::new("queue-scan-selection-count", Int, "20", NO_SCAN),
];

const MESSAGES: &[Flag] = &[
    Flag::new("msg-timeout", Duration, "1m", "How long a client may keep a message by default"),
    Flag::new("max-msg-timeout", Duration, "15m", "The longest msg-timeout a client may ask for"),
    Flag::new("max-msg-size", Int, "1048576", "The largest message, in bytes"),
    Flag::new("max-req-timeout", Duration, "1h", "The longest a message may be put off by REQ"),
    Flag::new("max-defer-time", Duration, "", "The longest a message may be put off by DPUB")
        .computed("max-req-timeout"),
    Flag::new("max-body-size", Int, "5242880", "The largest body of a command, in bytes"),
    Flag::new(
        "peek",
        Bool,
        "true",
        "Show messages at /channel/messages; never where --auth-http-address guards them",
    ),
    Flag::new(
        "http-body-memory",
        Bytes,
        "256MB",
        "Memory for bodies of /pub and /mpub that are being read, those under 16 KB not counted; \
         further ones wait, and after 5 seconds they are refused one by one",
    ),
    Flag::new("max-channel-consumers", Int, "0", "Consumers of one channel; 0 for any number"),
];

const CLIENTS: &[Flag] = &[
    Flag::new("max-heartbeat-interval", Duration, "1m", "The longest heartbeat interval"),
    Flag::new("max-rdy-count", Int, "2500", "The highest RDY count"),
    Flag::new("max-output-buffer-size", Int, "65536", "The largest output buffer, in bytes"),
    Flag::new("max-output-buffer-timeout", Duration, "30s", "The longest wait before a flush"),
    Flag::new("min-output-buffer-timeout", Duration, "25ms", "The shortest wait before a flush"),
    Flag::new("output-buffer-timeout", Duration, "250ms", "The wait before a flush by default"),
    Flag::new("deflate", Bool, "true", "Let clients compress with deflate"),
    Flag::new("max-deflate-level", Int, "6", "The highest deflate level, 1 to 9"),
    Flag::new("snappy", Bool, "true", "Let clients compress with snappy"),
    Flag::new(
        "compression-memory",
        Bytes,
        "256MB",
        "Memory for compressed connections (deflate takes 420 KB for each, snappy up to 80 KB); \
         clients beyond that are told that it is off",
    ),
];

const AUTH: &[Flag] = &[
    Flag::list(
        "auth-http-address",
        Texts,
        "An auth server: <host>:<port> or a whole URL; may be repeated. Secrets may have 16 KB, \
         answers 256 KB and 1024 patterns; 128 questions are asked at a time",
    )
    .key("auth_http_addresses"),
    Flag::new("auth-http-request-method", Text, "get", "How auth servers are asked: get or post"),
    Flag::new(
        "http-require-auth",
        Bool,
        "false",
        "Let only those publish by HTTP who send \"Authorization: Bearer <secret>\" with a secret \
         that the auth servers grant that for",
    ),
    Flag::new("http-client-connect-timeout", Duration, "2s", "Time to connect to a server by HTTP"),
    Flag::new("http-client-request-timeout", Duration, "5s", "Time for a request to a server"),
];

const TLS: &[Flag] = &[
    Flag::new("tls-cert", Text, "", "Path of the certificate (PEM); read again at SIGHUP"),
    Flag::new("tls-key", Text, "", "Path of its key (PEM)"),
    Flag::new(
        "tls-client-auth-policy",
        Text,
        "",
        "Certificates of clients: require, or require-verify",
    ),
    Flag::new("tls-root-ca-file", Text, "", "Path of the authorities' certificates"),
    Flag::new("tls-required", TlsRequired, "false", "Refuse clients without TLS"),
    Flag::new(
        "tls-min-version",
        TlsVersion,
        "tls1.0",
        "The oldest TLS accepted: tls1.2, tls1.3; tls1.0 and tls1.1 mean tls1.2",
    ),
    Flag::new(
        "tls-handshakes",
        Int,
        "1024",
        "TLS handshakes that a thread has under way; further ones wait for their turn",
    ),
];

const STATISTICS: &[Flag] = &[
    Flag::new("statsd-address", Text, "", "UDP <host>:<port> of a statsd; empty for none"),
    Flag::new("statsd-interval", Duration, "1m", "Time between two reports"),
    Flag::new("statsd-mem-stats", Bool, "true", "Report memory as well"),
    Flag::new("statsd-prefix", Text, "nsq.%s", "What keys begin with; %s becomes the host"),
    Flag::new("statsd-udp-packet-size", Int, "508", "Size of a packet, in bytes"),
    Flag::new("statsd-exclude-ephemeral", Bool, "false", "Leave out #ephemeral ones"),
    Flag::list(
        "e2e-processing-latency-percentile",
        Floats,
        "Percentiles of the processing time, above 0 and up to 1.0, like 1.0,0.99; may be repeated",
    )
    .key("e2e_processing_latency_percentiles"),
    Flag::new(
        "e2e-processing-latency-window-time",
        Duration,
        "10m",
        "Time that percentiles look back; a channel takes up to 70 KB for them",
    ),
    Flag::new(
        "metrics-max-series",
        Int,
        "200000",
        "Series that /metrics tells at most; topics beyond that are left out",
    ),
    Flag::new(
        "metrics-legacy-names",
        Bool,
        "false",
        "Tell counters under the names of NSQ's older dashboards, too",
    ),
];

const EXPERIMENTS: &[Flag] = &[Flag::list(
    "enable-experiment",
    Texts,
    "Switch an experiment on: topology-aware-consumption (consumers of this node's zone first, \
     then those of its region); may be repeated",
)];
