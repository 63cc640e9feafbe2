//! nsqadmin's options: what the flags and the file say, checked.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use hyper::header::HeaderName;
use ipnet::IpNet;

use super::duration::NS_PER_MS;
use super::nsqadmin_flags::NSQADMIN;
use super::settings::Settings;
use super::stop::Stop;
use super::value::Value;
use crate::http::client::Url;
use crate::log::{LogFormat, LogLevel};

/// Everything that nsqadmin is told.
#[derive(Clone, Debug)]
pub struct AdminOptions {
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
    /// Where browsers connect.
    pub http_address: String,
    /// What every path begins with: empty, or `/x` without a slash at its end.
    pub base_path: String,
    /// A folder from which `/static` is served instead of what is built in.
    pub dev_static_dir: Option<PathBuf>,
    /// Nodes: the ones that lookup servers list, or these.
    pub sources: Sources,
    /// Graphite and the names of series there.
    pub graphite: GraphiteOptions,
    /// Where to tell of actions.
    pub notification_endpoint: Option<Url>,
    /// How nodes are asked.
    pub upstream: UpstreamOptions,
    /// Who may do what.
    pub access: AccessOptions,
    /// What is remembered of polls.
    pub history: HistoryOptions,
}

/// Where the list of nodes comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// HTTP addresses of nsqlookupds.
    Lookupds(Vec<String>),
    /// HTTP addresses of nsqds.
    Nsqds(Vec<String>),
}

/// What is drawn from a Graphite.
#[derive(Clone, Debug)]
pub struct GraphiteOptions {
    /// As it was given; empty for none.
    pub url: String,
    /// Whether browsers reach it through this program.
    pub proxy: bool,
    /// Formats of keys, the prefix of nsqd's, and the interval in which it reports.
    pub counter_format: String,
    /// As the above, for gauges.
    pub gauge_format: String,
    /// `--statsd-prefix` of the nodes.
    pub statsd_prefix: String,
    /// `--statsd-interval` of the nodes.
    pub statsd_interval: Duration,
}

/// How nodes are asked.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for a whole request.
    pub request_timeout: Duration,
    /// Encryption, for nodes that want it.
    pub tls: ClientTlsOptions,
}

/// How connections to nodes are encrypted.
#[derive(Clone, Debug, Default)]
pub struct ClientTlsOptions {
    /// Whether any certificate will do.
    pub skip_verify: bool,
    /// Path of the authorities' certificates; empty for the system's.
    pub root_ca_file: String,
    /// Path of our certificate; empty for none.
    pub cert: String,
    /// Path of its key.
    pub key: String,
}

/// Who may do what.
#[derive(Clone, Debug)]
pub struct AccessOptions {
    /// Users that may act; none: everybody.
    pub admin_users: Vec<String>,
    /// The header that names the user.
    pub acl_header: HeaderName,
    /// Networks whose word is taken for that header; none: all.
    pub acl_trusted: Vec<IpNet>,
    /// The network from which options may be read and set; `None`: all.
    pub config_from: Option<IpNet>,
    /// Names under which the page may be called; none: any.
    pub hosts: Vec<String>,
    /// Whether messages may be published.
    pub publish: bool,
    /// Whether messages may be looked at.
    pub peek: bool,
}

/// What is remembered of polls.
#[derive(Clone, Copy, Debug)]
pub struct HistoryOptions {
    /// Time between two polls; `None` for no polls.
    pub interval: Option<Duration>,
    /// How far back.
    pub span: Duration,
    /// Memory for all of it.
    pub memory_bytes: u64,
}

impl AdminOptions {
    /// Reads the arguments after the program's name, and the file that they name.
    ///
    /// # Errors
    /// When the program should end before it has begun.
    pub fn load(args: &[OsString]) -> Result<AdminOptions, Stop> {
        let settings = Settings::load(&NSQADMIN, args)?;
        let options = read(settings).map_err(|problem| {
            Stop::Fatal(format!("failed to instantiate nsqadmin - {problem}"))
        })?;
        options.settings.print_if_asked(&NSQADMIN)?;
        Ok(options)
    }
}

fn read(mut settings: Settings) -> Result<AdminOptions, String> {
    let s = &settings;
    let sources = read_sources(s)?;
    let tls = read_tls(s)?;
    let graphite = read_graphite(s)?;
    let base_path = normal_base_path(&s.text("base-path"));
    let options = AdminOptions {
        check: s.bool("check"),
        log_level: s.log_level("log-level"),
        log_prefix: s.text("log-prefix"),
        log_format: LogFormat::parse(&s.text("log-format"))?,
        http_address: s.text("http-address"),
        base_path: base_path.trim_end_matches('/').to_owned(),
        dev_static_dir: Some(s.text("dev-static-dir")).filter(|d| !d.is_empty()).map(PathBuf::from),
        sources,
        graphite,
        notification_endpoint: read_endpoint(s)?,
        upstream: UpstreamOptions {
            connect_timeout: read_duration(s, "http-client-connect-timeout")?,
            request_timeout: read_duration(s, "http-client-request-timeout")?,
            tls,
        },
        access: read_access(s)?,
        history: read_history(s)?,
        settings: settings.clone(),
    };
    // `/config` shows what holds.
    settings.set("base-path", Value::Text(base_path));
    Ok(AdminOptions { settings, ..options })
}

fn read_sources(s: &Settings) -> Result<Sources, String> {
    let lookupds = s.texts("lookupd-http-address");
    let nsqds = s.texts("nsqd-http-address");
    match (lookupds.is_empty(), nsqds.is_empty()) {
        (true, true) => Err("--nsqd-http-address or --lookupd-http-address required".to_owned()),
        (false, false) => {
            Err("use --nsqd-http-address or --lookupd-http-address not both".to_owned())
        }
        (false, true) => Ok(Sources::Lookupds(lookupds)),
        (true, false) => Ok(Sources::Nsqds(nsqds)),
    }
}

fn read_tls(s: &Settings) -> Result<ClientTlsOptions, String> {
    let tls = ClientTlsOptions {
        skip_verify: s.bool("http-client-tls-insecure-skip-verify"),
        root_ca_file: s.text("http-client-tls-root-ca-file"),
        cert: s.text("http-client-tls-cert"),
        key: s.text("http-client-tls-key"),
    };
    if !tls.cert.is_empty() && tls.key.is_empty() {
        return Err("--http-client-tls-key must be specified with --http-client-tls-cert".into());
    }
    if !tls.key.is_empty() && tls.cert.is_empty() {
        return Err("--http-client-tls-cert must be specified with --http-client-tls-key".into());
    }
    Ok(tls)
}

fn read_graphite(s: &Settings) -> Result<GraphiteOptions, String> {
    let graphite = GraphiteOptions {
        url: s.text("graphite-url"),
        proxy: s.bool("proxy-graphite"),
        counter_format: s.text("statsd-counter-format"),
        gauge_format: s.text("statsd-gauge-format"),
        statsd_prefix: s.text("statsd-prefix"),
        statsd_interval: read_duration(s, "statsd-interval")?,
    };
    if graphite.proxy || !graphite.url.is_empty() {
        let url = &graphite.url;
        let parsed = Url::parse(url);
        parsed.map_err(|problem| format!("failed to parse --graphite-url ({url}) - {problem}"))?;
    }
    Ok(graphite)
}

fn read_endpoint(s: &Settings) -> Result<Option<Url>, String> {
    let url = s.text("notification-http-endpoint");
    if url.is_empty() {
        return Ok(None);
    }
    let parsed = Url::parse(&url);
    parsed.map(Some).map_err(|problem| {
        format!("failed to parse --notification-http-endpoint ({url}) - {problem}")
    })
}

fn read_access(s: &Settings) -> Result<AccessOptions, String> {
    let cidr = |flag: &str, text: &str| {
        let problem =
            |_| format!("failed to parse --{flag} ({text}) - invalid CIDR address: {text}");
        text.parse::<IpNet>().map_err(problem)
    };
    let header = s.text("acl-http-header");
    let config_from = s.text("allow-config-from-cidr");
    let trusted = s.texts("acl-trusted-cidr");
    Ok(AccessOptions {
        admin_users: s.texts("admin-user"),
        acl_header: HeaderName::from_bytes(header.as_bytes())
            .map_err(|_| format!("--acl-http-header ({header}) is no name of a header"))?,
        acl_trusted: trusted
            .iter()
            .map(|text| cidr("acl-trusted-cidr", text))
            .collect::<Result<Vec<IpNet>, String>>()?,
        config_from: match config_from.as_str() {
            "" => None,
            text => Some(cidr("allow-config-from-cidr", text)?),
        },
        hosts: s.texts("allowed-host").iter().map(|host| host.to_lowercase()).collect(),
        publish: s.bool("allow-publish"),
        peek: s.bool("allow-peek"),
    })
}

fn read_history(s: &Settings) -> Result<HistoryOptions, String> {
    let interval = read_duration(s, "poll-interval")?;
    Ok(HistoryOptions {
        interval: (!interval.is_zero()).then_some(interval),
        span: read_duration(s, "history-time")?,
        memory_bytes: s.bytes_if_given("history-memory").unwrap_or_default(),
    })
}

/// A duration in whole milliseconds, rounded up: a short time never becomes none.
fn read_duration(s: &Settings, name: &str) -> Result<Duration, String> {
    u64::try_from(s.duration_ns(name))
        .map(|duration_ns| Duration::from_millis(duration_ns.div_ceil(NS_PER_MS)))
        .map_err(|_| format!("--{name} must be at least 0"))
}

/// The base path as the original makes it: `/` in front, none at the end, no `.`, `..`, `//`.
fn normal_base_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::time::Duration;

    use super::{AdminOptions, Sources, normal_base_path};
    use crate::config::nsqadmin_flags::NSQADMIN;
    use crate::config::stop::Stop;

    fn load(line: &str) -> Result<AdminOptions, Stop> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        AdminOptions::load(&args)
    }

    #[track_caller]
    fn check_fatal(line: &str, text: &str) {
        let end = load(line).expect_err(line);
        assert_eq!(end, Stop::Fatal(format!("failed to instantiate nsqadmin - {text}")), "{line}");
    }

    #[test]
    fn defaults_are_the_originals() {
        let options = load("--nsqd-http-address=h:4151").unwrap();
        assert_eq!(options.http_address, "0.0.0.0:4171");
        assert_eq!((options.base_path.as_str(), options.log_prefix.as_str()), ("", "[nsqadmin] "));
        assert_eq!(options.sources, Sources::Nsqds(vec!["h:4151".to_owned()]));
        assert_eq!(options.graphite.counter_format, "stats.counters.%s.count");
        assert_eq!(options.graphite.gauge_format, "stats.gauges.%s");
        assert_eq!(options.graphite.statsd_prefix, "nsq.%s");
        assert_eq!(options.graphite.statsd_interval, Duration::from_secs(60));
        assert_eq!(options.upstream.connect_timeout, Duration::from_secs(2));
        assert_eq!(options.upstream.request_timeout, Duration::from_secs(5));
        assert_eq!(options.access.acl_header, "x-forwarded-user");
        let config_from = options.access.config_from.unwrap();
        assert!(config_from.contains(&"127.9.9.9".parse::<std::net::IpAddr>().unwrap()));
        assert!(!config_from.contains(&"10.0.0.1".parse::<std::net::IpAddr>().unwrap()));
        assert!(options.settings.warnings.is_empty(), "{:?}", options.settings.warnings);
        assert_eq!(options.settings.shown()["base_path"], "/");
        assert_eq!(options.settings.shown()["statsd_interval"], 60_000_000_000_i64);
    }

    #[test]
    fn every_flag_of_the_original_is_accepted_under_its_key() {
        let names = "version config log-level log-prefix verbose http-address base-path \
            dev-static-dir graphite-url proxy-graphite statsd-counter-format statsd-gauge-format \
            statsd-prefix statsd-interval notification-http-endpoint http-client-connect-timeout \
            http-client-request-timeout http-client-tls-insecure-skip-verify \
            http-client-tls-root-ca-file http-client-tls-cert http-client-tls-key \
            allow-config-from-cidr acl-http-header lookupd-http-address nsqd-http-address \
            admin-user";
        for name in names.split_whitespace() {
            let flag = NSQADMIN.find(name).unwrap_or_else(|| panic!("--{name} is missing"));
            assert!(!flag.help.is_empty(), "--{name} has no help");
        }
        for (name, key) in [
            ("lookupd-http-address", Some("nsqlookupd_http_addresses")),
            ("nsqd-http-address", Some("nsqd_http_addresses")),
            ("admin-user", Some("admin_users")),
            ("http-client-tls-key", Some("http_client_tls_key")),
            ("verbose", None),
        ] {
            assert_eq!(NSQADMIN.find(name).unwrap().toml_key().as_deref(), key, "{name}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_fatal_in_the_originals_words() {
        check_fatal("", "--nsqd-http-address or --lookupd-http-address required");
        let both = "--nsqd-http-address=a:1 --lookupd-http-address=b:1";
        check_fatal(both, "use --nsqd-http-address or --lookupd-http-address not both");
        let one = "--nsqd-http-address=a:1";
        check_fatal(
            &format!("{one} --http-client-tls-cert=c"),
            "--http-client-tls-key must be specified with --http-client-tls-cert",
        );
        check_fatal(
            &format!("{one} --http-client-tls-key=k"),
            "--http-client-tls-cert must be specified with --http-client-tls-key",
        );
        check_fatal(
            &format!("{one} --allow-config-from-cidr=10.0.0.1"),
            "failed to parse --allow-config-from-cidr (10.0.0.1) - invalid CIDR address: 10.0.0.1",
        );
        check_fatal(
            &format!("{one} --acl-http-header=a:b"),
            "--acl-http-header (a:b) is no name of a header",
        );
        let end = load(&format!("{one} --notification-http-endpoint=h:1")).unwrap_err();
        let Stop::Fatal(text) = end else { panic!("another end: {end:?}") };
        assert!(text.contains("failed to parse --notification-http-endpoint (h:1) - "), "{text}");
    }

    #[test]
    fn base_paths_are_made_alike() {
        for (given, normal) in [
            ("", "/"),
            ("/", "/"),
            ("nsq", "/nsq"),
            ("/nsq/x/", "/nsq/x"),
            ("//nsq/./y/../x", "/nsq/x"),
            ("/..", "/"),
        ] {
            assert_eq!(normal_base_path(given), normal, "{given}");
        }
        let options = load("--nsqd-http-address=a:1 --base-path=nsq/x/").unwrap();
        assert_eq!(options.base_path, "/nsq/x");
        assert_eq!(options.settings.shown()["base_path"], "/nsq/x");
    }

    #[test]
    fn our_own_flags_are_read() {
        let line = "--nsqd-http-address=a:1 --poll-interval=0s --acl-trusted-cidr=10.0.0.0/8 \
                    --acl-trusted-cidr=::1/128 --allow-peek=false --history-memory=1MB \
                    --allowed-host=Admin.Example";
        let options = load(line).unwrap();
        assert!(options.history.interval.is_none() && !options.access.peek);
        assert_eq!(options.access.acl_trusted.len(), 2);
        assert_eq!(options.access.hosts, ["admin.example"]);
        assert_eq!(options.history.memory_bytes, 1 << 20);
    }
}
