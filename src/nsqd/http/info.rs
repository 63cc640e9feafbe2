//! `/ping` and `/info`.

use std::time::{Duration, UNIX_EPOCH};

use hyper::StatusCode;
use serde::Serialize;

use crate::http::respond::{Response, plain_text, v1_json};

use super::facts::Facts;

/// `/ping`: 200 while messages can be stored, else 500 and why not.
#[must_use]
pub fn ping(facts: &Facts) -> Response {
    let healthy = facts.health.is_ok();
    let status = if healthy { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    plain_text(status, facts.health.to_string())
}

/// `/info`: who this is and what clients may ask for. Durations are nanoseconds.
#[must_use]
pub fn info(facts: &Facts) -> Response {
    #[derive(Serialize)]
    struct Info<'a> {
        version: &'a str,
        broadcast_address: &'a str,
        hostname: &'a str,
        http_port: i32,
        tcp_port: i32,
        start_time: u64,
        max_heartbeat_interval: u64,
        max_output_buffer_size: u64,
        max_output_buffer_timeout: u64,
        max_deflate_level: u32,
        topology_zone: &'a str,
        topology_region: &'a str,
    }
    v1_json(&Info {
        version: &facts.version,
        broadcast_address: &facts.broadcast_address,
        hostname: &facts.hostname,
        http_port: facts.http_port,
        tcp_port: facts.tcp_port,
        start_time: facts.start_time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        max_heartbeat_interval: nanoseconds(facts.limits.heartbeat_interval_max),
        max_output_buffer_size: facts.limits.output_buffer_size_max,
        max_output_buffer_timeout: nanoseconds(facts.limits.output_buffer_timeout_max),
        max_deflate_level: facts.limits.deflate_level_max,
        topology_zone: &facts.topology_zone,
        topology_region: &facts.topology_region,
    })
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
