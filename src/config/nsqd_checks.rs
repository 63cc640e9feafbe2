//! From nsqd's settings to its options: ranges, units, and what does not go together.
//!
//! The checks that the original has come first and in its words; the rest refuses values that it
//! would take and then fail on.

use std::path::PathBuf;

use shards::limits::Durability;
use shards::wire::names::Name;

use super::auth_address;
use super::duration::NS_PER_MS;
use super::nsqd::{
    AuthOptions, LookupdTlsOptions, MetricsOptions, NsqdOptions, StatsdOptions, TlsOptions,
    WithLookupd,
};
use super::nsqd_policy;
use super::settings::Settings;
use super::value::{TlsRequired, Value};
use crate::log::LogFormat;

/// The number of node ids; message ids have ten bits for it.
const NODE_IDS: i64 = 1024;
/// The only experiment that the original knows.
const TOPOLOGY_AWARE_CONSUMPTION: &str = "topology-aware-consumption";
/// A frame's length is a signed number of 32 bits, and a message has a header of its own in it.
const BODY_BYTES_MAX: i64 = 0x7fff_ffff - 64;
/// Whoever writes the original's default into a file asks for nothing.
const MEM_QUEUE_SIZE_DEFAULT: u64 = 10_000;
/// More shards than any machine has cores: a mistyped number, not a wish.
const SHARDS_MAX: i64 = 1024;

/// Turns settings into options; the checks that the original has come first, in its order.
/// What they are left with is what holds, as `/config` shows it.
pub fn read(mut settings: Settings) -> Result<NsqdOptions, String> {
    let options = read_all(&settings)?;
    // `/config` shows what holds, which is more than what was asked for.
    settings.set("tls-required", Value::TlsRequired(options.tls.required));
    Ok(NsqdOptions { settings, ..options })
}

fn read_all(s: &Settings) -> Result<NsqdOptions, String> {
    let max_deflate_level = check_range(s, "max-deflate-level", 1, 9, "[1,9]")?;
    let node_id = check_range(s, "node-id", 0, NODE_IDS - 1, "[0,1024)")?;
    let tls = read_tls(s)?;
    let auth = read_auth(s)?;
    let e2e_percentiles = read_percentiles(s)?;
    Ok(NsqdOptions {
        check: s.bool("check"),
        log_level: s.log_level("log-level"),
        log_prefix: s.text("log-prefix"),
        log_format: LogFormat::parse(&s.text("log-format"))?,
        node_id: u16::try_from(node_id).map_err(|error| error.to_string())?,
        tcp_address: s.text("tcp-address"),
        http_address: s.text("http-address"),
        https_address: s.text("https-address"),
        broadcast_address: s.text("broadcast-address"),
        broadcast_tcp_port: read_port(s, "broadcast-tcp-port")?,
        broadcast_http_port: read_port(s, "broadcast-http-port")?,
        lookupd_tcp_addresses: s.texts("lookupd-tcp-address"),
        lookupd_tls: read_lookupd_tls(s)?,
        with_lookupd: s.bool("with-lookupd").then(|| read_lookupd(s)),
        with_admin: s.bool("with-admin").then(|| s.text("with-admin-http-address")),
        topology_region: s.text("topology-region"),
        topology_zone: s.text("topology-zone"),
        topology_aware_consumption: is_topology_aware(s),
        greeting_timeout_ms: read_ms(s, "greeting-timeout", 1)?,
        peek: s.bool("peek"),
        drain_timeout_ms: read_ms(s, "drain-timeout", 0)?,
        shards: read_shards(s)?,
        acceptors: read_acceptors(s)?,
        topic_shards: read_topic_shards(s)?,
        memory_limit_bytes: s.bytes_if_given("memory-limit"),
        data_path: PathBuf::from(s.text("data-path")),
        durability: read_durability("durability", &s.text("durability"))?,
        topic_durability: read_topic_durability(s)?,
        limits: nsqd_policy::read(s)?,
        mem_queue_size: read_count(s, "mem-queue-size", 0)?,
        mem_queue_size_given: read_mem_queue_size_given(s)?,
        journal_limit_bytes: s.bytes_if_given("journal-limit").unwrap_or(u64::MAX),
        max_bytes_per_file: read_count(s, "max-bytes-per-file", 1)?,
        sync_every: read_count(s, "sync-every", 1)?,
        sync_timeout_ms: read_ms(s, "sync-timeout", 1)?,
        msg_timeout_ms: read_ms(s, "msg-timeout", 1)?,
        max_msg_timeout_ms: read_ms(s, "max-msg-timeout", 1)?,
        max_msg_size_bytes: read_body_size(s, "max-msg-size")?,
        max_req_timeout_ms: read_ms(s, "max-req-timeout", 0)?,
        max_defer_ms: read_defer(s)?,
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
        compression_memory_bytes: read_memory(s, "compression-memory"),
        http_body_memory_bytes: read_memory(s, "http-body-memory"),
        auth,
        statsd: read_statsd(s)?,
        e2e_percentiles,
        e2e_window_ms: read_ms(s, "e2e-processing-latency-window-time", 1)?,
        metrics: read_metrics(s)?,
        settings: s.clone(),
        tls,
    })
}

fn read_mem_queue_size_given(s: &Settings) -> Result<Option<u64>, String> {
    let messages = read_count(s, "mem-queue-size", 0)?;
    Ok(Some(messages).filter(|&messages| messages != MEM_QUEUE_SIZE_DEFAULT))
}

fn is_topology_aware(s: &Settings) -> bool {
    s.texts("enable-experiment").iter().any(|name| name == TOPOLOGY_AWARE_CONSUMPTION)
}

/// The longest that a producer may put a message off; a consumer's bound unless it has its own.
fn read_defer(s: &Settings) -> Result<u64, String> {
    match s.is_set("max-defer-time") {
        true => read_ms(s, "max-defer-time", 0),
        false => read_ms(s, "max-req-timeout", 0),
    }
}

fn read_lookupd(s: &Settings) -> WithLookupd {
    WithLookupd {
        tcp_address: s.text("with-lookupd-tcp-address"),
        http_address: s.text("with-lookupd-http-address"),
    }
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
        handshakes_max: usize::try_from(read_count(s, "tls-handshakes", 1)?).unwrap_or(usize::MAX),
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

/// Whoever does not say how long messages may be put off by producers means what consumers may.
fn read_lookupd_tls(s: &Settings) -> Result<Option<LookupdTlsOptions>, String> {
    let path = |flag: &str| Some(s.text(flag)).filter(|text| !text.is_empty()).map(PathBuf::from);
    let files = ["lookupd-tls-root-ca-file", "lookupd-tls-cert", "lookupd-tls-key"].map(path);
    let insecure = s.bool("lookupd-tls-insecure-skip-verify");
    if !s.bool("lookupd-tls") {
        let asked = insecure || files.iter().any(Option::is_some);
        return match asked {
            true => Err("--lookupd-tls-… does nothing without --lookupd-tls".to_owned()),
            false => Ok(None),
        };
    }
    if s.bool("with-lookupd") {
        return Err("--with-lookupd has no TLS, and --lookupd-tls is for all".to_owned());
    }
    let [root_ca_file, cert, key] = files;
    if cert.is_some() != key.is_some() {
        return Err("--lookupd-tls-cert and --lookupd-tls-key belong together".to_owned());
    }
    Ok(Some(LookupdTlsOptions { root_ca_file, identity: cert.zip(key), insecure }))
}

fn read_memory(s: &Settings, flag: &str) -> usize {
    let bytes = s.bytes_if_given(flag);
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX)
}

fn read_auth(s: &Settings) -> Result<AuthOptions, String> {
    let post = match s.text("auth-http-request-method").as_str() {
        "get" => false,
        "post" => true,
        _ => return Err("--auth-http-request-method must be post or get".to_owned()),
    };
    let http_addresses = s.texts("auth-http-address");
    for address in &http_addresses {
        auth_address::is_secure(address)
            .map_err(|problem| format!("--auth-http-address: {problem}"))?;
    }
    let over_http = s.bool("http-require-auth");
    if over_http && http_addresses.is_empty() {
        return Err("--http-require-auth needs an --auth-http-address".to_owned());
    }
    Ok(AuthOptions {
        http_addresses,
        post,
        over_http,
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

fn read_metrics(s: &Settings) -> Result<MetricsOptions, String> {
    let series_max = usize::try_from(read_count(s, "metrics-max-series", 1)?);
    Ok(MetricsOptions {
        series_max: series_max.unwrap_or(usize::MAX),
        legacy_names: s.bool("metrics-legacy-names"),
    })
}

fn read_percentiles(s: &Settings) -> Result<Vec<f64>, String> {
    let percentiles = s.floats("e2e-processing-latency-percentile");
    match percentiles.iter().find(|&&value| !(value > 0.0 && value <= 1.0)) {
        Some(value) => Err(format!("invalid E2E processing latency percentile: {value}")),
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
        if topic_shards.iter().any(|(other, other_shard)| *other == name && *other_shard != shard) {
            return Err(format!("--topic-shard puts {name} on two shards"));
        }
        topic_shards.push((name, shard));
    }
    Ok(topic_shards)
}

fn read_durability(flag: &str, text: &str) -> Result<Durability, String> {
    match text {
        "memory" => Ok(Durability::Memory),
        "written" => Ok(Durability::Written),
        "synced" => Ok(Durability::Synced),
        other => Err(format!("--{flag} must be memory, written or synced, not {other:?}")),
    }
}

fn read_topic_durability(s: &Settings) -> Result<Vec<(Name, Durability)>, String> {
    let mut topics: Vec<(Name, Durability)> = Vec::new();
    for text in s.texts("topic-durability") {
        let wrong = || format!("--topic-durability must be <topic>=<durability>, not {text:?}");
        let (topic, durability) = text.rsplit_once('=').ok_or_else(wrong)?;
        let durability = read_durability("topic-durability", durability)?;
        let name = Name::parse(topic.as_bytes())
            .ok_or_else(|| format!("--topic-durability: {topic:?} is no valid topic name"))?;
        if topics.iter().any(|(other, before)| *other == name && *before != durability) {
            return Err(format!("--topic-durability promises two things for {name}"));
        }
        topics.push((name, durability));
    }
    Ok(topics)
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

    use crate::config::nsqd::NsqdOptions;
    use crate::config::stop::Stop;

    fn load(line: &str) -> Result<NsqdOptions, Stop> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        NsqdOptions::load(&args)
    }

    #[track_caller]
    fn check_fatal(line: &str, text: &str) {
        let end = load(line).expect_err(line);
        assert_eq!(end, Stop::Fatal(format!("failed to instantiate nsqd - {text}")), "{line}");
    }

    #[test]
    fn wrong_values_are_fatal_with_the_originals_words() {
        check_fatal("--max-deflate-level=0", "--max-deflate-level must be [1,9]");
        check_fatal("--max-deflate-level=10", "--max-deflate-level must be [1,9]");
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
    fn tls_with_lookup_servers_is_whole_or_not_at_all() {
        let alone = "--lookupd-tls-… does nothing without --lookupd-tls";
        check_fatal("--lookupd-tls-cert=c --lookupd-tls-key=k", alone);
        check_fatal("--lookupd-tls-insecure-skip-verify", alone);
        let pair = "--lookupd-tls-cert and --lookupd-tls-key belong together";
        check_fatal("--lookupd-tls --lookupd-tls-cert=c", pair);
        check_fatal("--lookupd-tls --lookupd-tls-key=k", pair);
        let with = "--with-lookupd has no TLS, and --lookupd-tls is for all";
        check_fatal("--lookupd-tls --with-lookupd", with);
    }

    #[test]
    fn wrong_values_that_the_original_would_take_are_fatal_too() {
        check_fatal("--acceptors=2", "--acceptors must be 1 for now, not 2");
        check_fatal("--shards=-1", "--shards must be [0,1024]");
        check_fatal("--topic-shard=a", "--topic-shard must be <topic>=<shard>, not \"a\"");
        check_fatal("--topic-shard=a=x", "--topic-shard must be <topic>=<shard>, not \"a=x\"");
        check_fatal("--topic-shard=a/b=1", "--topic-shard: \"a/b\" is no valid topic name");
        check_fatal("--topic-shard=a=1 --topic-shard=a=2", "--topic-shard puts a on two shards");
        check_fatal("--broadcast-tcp-port=65536", "--broadcast-tcp-port must be [0,65535]");
        check_fatal("--max-msg-size=0", "--max-msg-size must be [1,2147483583]");
        check_fatal("--mem-queue-size=-1", "--mem-queue-size must be at least 0");
        check_fatal("--msg-timeout=-1s", "--msg-timeout must be at least 1ms");
    }
}
