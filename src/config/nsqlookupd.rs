//! nsqlookupd's flags and options: the original's, and Shoal's own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::flag::{Flag, Group, Program};
use super::host;
use super::settings::Settings;
use super::stop::Stop;
use super::value::Kind::{
    Bool, Duration as Time, Int, LogLevel as Level, Text, TlsVersion as Version,
};
use super::value::{TlsVersion, Value};
use super::version;
use crate::log::{LogFormat, LogLevel};

/// nsqlookupd as the command line sees it.
pub static NSQLOOKUPD: Program = Program {
    name: "nsqlookupd",
    about: "Tells consumers which nsqds have a topic: NSQ's directory.",
    version_line: version::daemon_line,
    groups: &[
        Group { title: "Basics", flags: BASICS },
        Group { title: "Addresses", flags: ADDRESSES },
        Group { title: "Producers", flags: PRODUCERS },
        Group { title: "Limits", flags: LIMITS },
        Group { title: "TLS of producers", flags: TLS },
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
    Flag::new("log-level", Level, "info", "Least level logged: debug, info, warn, error, fatal"),
    Flag::new("log-prefix", Text, "[nsqlookupd] ", "What every line of the log begins with"),
    Flag::new("log-format", Text, "text", "What a line of the log is: text as NSQ's, or json"),
    Flag::new("verbose", Bool, "false", "it has no effect, use --log-level")
        .only_flag()
        .deprecated(),
];

const ADDRESSES: &[Flag] = &[
    Flag::new(
        "tcp-address",
        Text,
        "0.0.0.0:4160",
        "Where nsqds connect: <host>:<port>; \"\" for any free port",
    ),
    Flag::new(
        "http-address",
        Text,
        "0.0.0.0:4161",
        "Where HTTP clients connect: <host>:<port>; \"\" for any free port",
    ),
    Flag::new("broadcast-address", Text, "", "Address that nsqds ask for a topic's channels")
        .computed("the host name"),
];

const PRODUCERS: &[Flag] = &[
    Flag::new(
        "inactive-producer-timeout",
        Time,
        "5m0s",
        "How long a nsqd may be without a ping before it is hidden",
    ),
    Flag::new(
        "tombstone-lifetime",
        Time,
        "45s",
        "How long a tombstone hides a nsqd from a topic's consumers",
    ),
    Flag::new(
        "client-timeout",
        Time,
        "15m0s",
        "How long a nsqd's connection may be silent before it is closed",
    ),
    Flag::new(
        "greeting-timeout",
        Time,
        "10s",
        "How long a nsqd may take for its greeting and for each command that it has begun",
    ),
];

const LIMITS: &[Flag] = &[
    Flag::new("max-connections", Int, "10000", "Connections of nsqds at a time"),
    Flag::new("max-http-connections", Int, "10000", "Connections of HTTP clients at a time"),
    Flag::new(
        "max-registrations",
        Int,
        "2000000",
        "Names of topics and channels, and nsqds under names, counted together",
    ),
    Flag::new("max-body-size", Int, "16384", "The largest body of a nsqd's IDENTIFY, in bytes"),
    Flag::new("max-lookup-wait", Time, "1m0s", "How long a /lookup may wait for a change"),
    Flag::new(
        "http-idle-timeout",
        Time,
        "15m0s",
        "How long an HTTP connection may be without a request before it is closed",
    ),
    Flag::new(
        "http-request-timeout",
        Time,
        "20s",
        "How long an HTTP request may take to arrive, and how long a client may take no answer",
    ),
];

const TLS: &[Flag] = &[
    Flag::new("tls-cert", Text, "", "Path of the certificate (PEM); with it nsqds may use TLS"),
    Flag::new("tls-key", Text, "", "Path of the certificate's key (PEM)"),
    Flag::new(
        "tls-client-auth-policy",
        Text,
        "",
        "What nsqds have to show: require (any certificate), require-verify (a valid one)",
    ),
    Flag::new("tls-root-ca-file", Text, "", "Path of the authorities of nsqds' certificates (PEM)"),
    Flag::new("tls-required", Bool, "false", "Refuse nsqds without TLS; a policy implies it"),
    Flag::new("tls-min-version", Version, "tls1.2", "The oldest version of TLS: tls1.2, tls1.3"),
];

/// Everything that nsqlookupd is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupdOptions {
    /// What the operator should hear about, one line each.
    pub warnings: Vec<String>,
    /// Only check and print the plan.
    pub check: bool,
    /// The least level that is logged.
    pub log_level: LogLevel,
    /// What every line of the log begins with.
    pub log_prefix: String,
    /// What a line of the log is.
    pub log_format: LogFormat,
    /// Where nsqds connect; never empty.
    pub tcp_address: String,
    /// Where HTTP clients connect; never empty.
    pub http_address: String,
    /// What nsqds are told of where this is.
    pub broadcast_address: String,
    /// A producer that has not pinged for longer is hidden.
    pub inactive_producer_timeout: Duration,
    /// How long a tombstone hides a producer.
    pub tombstone_lifetime: Duration,
    /// How long a producer's connection may be silent.
    pub client_timeout: Duration,
    /// How long a producer may take for what it has begun.
    pub greeting_timeout: Duration,
    /// Connections of producers.
    pub connections_max: usize,
    /// Connections of HTTP clients.
    pub http_connections_max: usize,
    /// Names, and producers under names.
    pub registrations_max: usize,
    /// The largest body of IDENTIFY.
    pub body_bytes_max: usize,
    /// How long a `/lookup` may wait.
    pub lookup_wait_max: Duration,
    /// How long an HTTP connection may be without a request.
    pub http_idle_timeout: Duration,
    /// How long an HTTP request may take to arrive, and a client take nothing of an answer.
    pub http_request_timeout: Duration,
    /// Encryption of producers' connections, if there is a certificate.
    pub tls: Option<LookupdTls>,
}

/// How producers' connections are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupdTls {
    /// Path of the certificate.
    pub cert: PathBuf,
    /// Path of its key.
    pub key: PathBuf,
    /// `require`, `require-verify`, or empty for no certificates of producers.
    pub client_auth_policy: String,
    /// Path of the authorities' certificates; `None` for the machine's own.
    pub root_ca_file: Option<PathBuf>,
    /// Producers without TLS are refused.
    pub required: bool,
    /// The oldest version.
    pub min_version: TlsVersion,
}

impl LookupdOptions {
    /// Reads the arguments after the program's name, and the file that they name.
    pub fn load(args: &[OsString]) -> Result<LookupdOptions, Stop> {
        let mut settings = Settings::load(&NSQLOOKUPD, args)?;
        if settings.text_if_given("broadcast-address").is_none() {
            settings.set("broadcast-address", Value::Text(host::hostname()));
        }
        let options = read(settings.clone()).map_err(|problem| {
            Stop::Fatal(format!("failed to instantiate nsqlookupd - {problem}"))
        })?;
        settings.print_if_asked(&NSQLOOKUPD)?;
        Ok(options)
    }
}

fn read(settings: Settings) -> Result<LookupdOptions, String> {
    let s = &settings;
    Ok(LookupdOptions {
        check: s.bool("check"),
        log_level: s.log_level("log-level"),
        log_prefix: s.text("log-prefix"),
        log_format: LogFormat::parse(&s.text("log-format"))?,
        tcp_address: address(s, "tcp-address"),
        http_address: address(s, "http-address"),
        broadcast_address: s.text("broadcast-address"),
        inactive_producer_timeout: time(s, "inactive-producer-timeout"),
        tombstone_lifetime: time(s, "tombstone-lifetime"),
        client_timeout: positive_time(s, "client-timeout")?,
        greeting_timeout: positive_time(s, "greeting-timeout")?,
        connections_max: count(s, "max-connections")?,
        http_connections_max: count(s, "max-http-connections")?,
        registrations_max: count(s, "max-registrations")?,
        body_bytes_max: count(s, "max-body-size")?,
        lookup_wait_max: time(s, "max-lookup-wait"),
        http_idle_timeout: positive_time(s, "http-idle-timeout")?,
        http_request_timeout: positive_time(s, "http-request-timeout")?,
        tls: tls(s)?,
        warnings: settings.warnings,
    })
}

/// Nowhere is no place for a directory: as in the original, it is any free port.
fn address(s: &Settings, flag: &str) -> String {
    match s.text(flag) {
        text if text.is_empty() => ":0".to_owned(),
        text => text,
    }
}

/// A negative duration is as good as none, as in the original.
fn time(s: &Settings, flag: &str) -> Duration {
    Duration::from_nanos(u64::try_from(s.duration_ns(flag)).unwrap_or(0))
}

fn positive_time(s: &Settings, flag: &str) -> Result<Duration, String> {
    Some(time(s, flag))
        .filter(|time| !time.is_zero())
        .ok_or_else(|| format!("--{flag} must be above 0"))
}

/// Counts fit 32 bits, so that no sum of them is too large for anything.
fn count(s: &Settings, flag: &str) -> Result<usize, String> {
    i32::try_from(s.int(flag))
        .ok()
        .filter(|&count| count > 0)
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| format!("--{flag} must be [1,{}]", i32::MAX))
}

fn tls(s: &Settings) -> Result<Option<LookupdTls>, String> {
    let (cert, key) = (s.text("tls-cert"), s.text("tls-key"));
    let client_auth_policy = s.text("tls-client-auth-policy");
    let required = s.bool("tls-required") || !client_auth_policy.is_empty();
    match (cert.is_empty(), key.is_empty()) {
        (true, true) if required => {
            return Err("cannot require TLS of nsqds without --tls-cert and --tls-key".to_owned());
        }
        (true, true) => return Ok(None),
        (false, false) => {}
        _ => return Err("--tls-cert and --tls-key go together".to_owned()),
    }
    if !matches!(client_auth_policy.as_str(), "" | "require" | "require-verify") {
        return Err(format!(
            "--tls-client-auth-policy must be require or require-verify, not {client_auth_policy:?}"
        ));
    }
    let root_ca_file = Some(s.text("tls-root-ca-file")).filter(|path| !path.is_empty());
    let Some(Value::TlsVersion(min_version)) = s.value("tls-min-version") else {
        unreachable!("the table has a default of this kind");
    };
    Ok(Some(LookupdTls {
        cert: cert.into(),
        key: key.into(),
        client_auth_policy,
        root_ca_file: root_ca_file.map(PathBuf::from),
        required,
        min_version: *min_version,
    }))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::time::Duration;

    use super::{LookupdOptions, NSQLOOKUPD};
    use crate::config::stop::Stop;

    fn load(line: &str) -> Result<LookupdOptions, Stop> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        LookupdOptions::load(&args)
    }

    #[test]
    fn defaults_are_the_originals() {
        let options = load("").unwrap();
        assert_eq!(options.tcp_address, "0.0.0.0:4160");
        assert_eq!(options.http_address, "0.0.0.0:4161");
        assert_eq!(options.log_prefix, "[nsqlookupd] ");
        assert_eq!(options.inactive_producer_timeout, Duration::from_secs(300));
        assert_eq!(options.tombstone_lifetime, Duration::from_secs(45));
        assert!(!options.broadcast_address.is_empty());
        assert!(options.warnings.is_empty() && options.tls.is_none());
    }

    #[test]
    fn every_flag_of_the_original_is_accepted_under_its_key() {
        for (name, key) in [
            ("version", None),
            ("config", None),
            ("log-level", Some("log_level")),
            ("log-prefix", Some("log_prefix")),
            ("verbose", None),
            ("tcp-address", Some("tcp_address")),
            ("http-address", Some("http_address")),
            ("broadcast-address", Some("broadcast_address")),
            ("inactive-producer-timeout", Some("inactive_producer_timeout")),
            ("tombstone-lifetime", Some("tombstone_lifetime")),
        ] {
            let flag = NSQLOOKUPD.find(name).unwrap_or_else(|| panic!("--{name} is missing"));
            assert_eq!(flag.toml_key().as_deref(), key, "{name}");
        }
    }

    #[test]
    fn odd_values_are_taken_as_the_original_takes_them() {
        let options = load("--tcp-address= --inactive-producer-timeout=-1s").unwrap();
        assert_eq!(options.tcp_address, ":0");
        assert_eq!(options.inactive_producer_timeout, Duration::ZERO);
        assert!(matches!(load("--inactive-producer-timeout=5"), Err(Stop::Usage(_))));
    }

    #[test]
    fn wrong_values_are_named() {
        for (line, problem) in [
            ("--max-connections=0", "--max-connections must be [1,2147483647]"),
            ("--max-registrations=-1", "--max-registrations must be [1,2147483647]"),
            ("--client-timeout=0s", "--client-timeout must be above 0"),
            ("--tls-cert=c", "--tls-cert and --tls-key go together"),
            ("--tls-required", "cannot require TLS of nsqds without --tls-cert and --tls-key"),
            (
                "--tls-cert=c --tls-key=k --tls-client-auth-policy=maybe",
                "--tls-client-auth-policy must be require or require-verify, not \"maybe\"",
            ),
        ] {
            let end = load(line).expect_err(line);
            let text = format!("failed to instantiate nsqlookupd - {problem}");
            assert_eq!(end, Stop::Fatal(text), "{line}");
        }
    }

    #[test]
    fn a_policy_makes_tls_required() {
        let tls = load("--tls-cert=c --tls-key=k").unwrap().tls.unwrap();
        assert!(!tls.required && tls.root_ca_file.is_none());
        let line = "--tls-cert=c --tls-key=k --tls-client-auth-policy=require-verify";
        assert!(load(line).unwrap().tls.unwrap().required);
    }
}
