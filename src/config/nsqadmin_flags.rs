//! nsqadmin's flags: the original's with its defaults, and Shoal's own.

use super::flag::{Flag, Group, Program};
use super::value::Kind::{Bool, Bytes, Duration, LogLevel, Text, Texts};
use super::version;

/// nsqadmin as the command line sees it.
pub static NSQADMIN: Program = Program {
    name: "nsqadmin",
    about: "Shows and steers a cluster in the browser: NSQ's admin pages and their JSON.",
    version_line: version::daemon_line,
    groups: &[
        Group { title: "Basics", flags: BASICS },
        Group { title: "The cluster", flags: CLUSTER },
        Group { title: "Access", flags: ACCESS },
        Group { title: "History", flags: HISTORY },
        Group { title: "Graphite", flags: GRAPHITE },
    ],
};

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
    Flag::new("log-prefix", Text, "[nsqadmin] ", "What every line of the log begins with"),
    Flag::new("log-format", Text, "text", "What a line of the log is: text as NSQ's, or json"),
    Flag::new("verbose", Bool, "false", "it has no effect, use --log-level")
        .only_flag()
        .deprecated(),
    Flag::new("http-address", Text, "0.0.0.0:4171", "Where browsers connect: <host>:<port>"),
    Flag::new("base-path", Text, "/", "What the path of every URL begins with"),
    Flag::new("dev-static-dir", Text, "", "Serve /static from this directory (for development)"),
];

const CLUSTER: &[Flag] = &[
    Flag::list(
        "lookupd-http-address",
        Texts,
        "A nsqlookupd's HTTP address, <host>:<port>; may be repeated",
    )
    .key("nsqlookupd_http_addresses"),
    Flag::list(
        "nsqd-http-address",
        Texts,
        "A nsqd's HTTP address, <host>:<port>, where there is no nsqlookupd; may be repeated",
    )
    .key("nsqd_http_addresses"),
    Flag::new("http-client-connect-timeout", Duration, "2s", "Time to connect to a node"),
    Flag::new("http-client-request-timeout", Duration, "5s", "Time for a whole request to a node"),
    Flag::new(
        "http-client-tls-insecure-skip-verify",
        Bool,
        "false",
        "Take any certificate of a node",
    ),
    Flag::new("http-client-tls-root-ca-file", Text, "", "Path of the authorities' certificates"),
    Flag::new("http-client-tls-cert", Text, "", "Path of the certificate shown to nodes"),
    Flag::new("http-client-tls-key", Text, "", "Path of its key"),
];

const ACCESS: &[Flag] = &[
    Flag::list(
        "admin-user",
        Texts,
        "A user that may change things; may be repeated. Without it everybody may",
    )
    .key("admin_users"),
    Flag::new(
        "acl-http-header",
        Text,
        "X-Forwarded-User",
        "The header in which a proxy names the user",
    ),
    Flag::list(
        "acl-trusted-cidr",
        Texts,
        "A network whose word is taken for that header; may be repeated. Without it any",
    )
    .key("acl_trusted_cidrs"),
    Flag::list(
        "allowed-host",
        Texts,
        "A host name under which the pages may be called, against rebinding of names; may be \
         repeated. Without it any",
    )
    .key("allowed_hosts"),
    Flag::new(
        "allow-config-from-cidr",
        Text,
        "127.0.0.1/8",
        "The network from which /config may be used; empty for any",
    ),
    Flag::new("allow-publish", Bool, "true", "Whether admins may publish messages"),
    Flag::new("allow-peek", Bool, "true", "Whether admins may look at messages"),
    Flag::new(
        "notification-http-endpoint",
        Text,
        "",
        "A URL to which every action is sent with POST",
    ),
];

const HISTORY: &[Flag] = &[
    Flag::new(
        "poll-interval",
        Duration,
        "5s",
        "Time between two looks at all nodes, for rates and charts; 0s for none",
    ),
    Flag::new("history-time", Duration, "15m", "How far back charts reach"),
    Flag::new("history-memory", Bytes, "64MB", "Memory for the history of polls"),
];

const GRAPHITE: &[Flag] = &[
    Flag::new("graphite-url", Text, "", "The URL of a Graphite that draws charts"),
    Flag::new("proxy-graphite", Bool, "false", "Have browsers reach Graphite through this program"),
    Flag::new(
        "statsd-counter-format",
        Text,
        "stats.counters.%s.count",
        "What statsd makes of the key of a counter; empty for the key alone",
    ),
    Flag::new(
        "statsd-gauge-format",
        Text,
        "stats.gauges.%s",
        "What statsd makes of the key of a gauge; empty for the key alone",
    ),
    Flag::new("statsd-prefix", Text, "nsq.%s", "--statsd-prefix of the nodes"),
    Flag::new("statsd-interval", Duration, "1m", "--statsd-interval of the nodes"),
];
