//! The versions that programs name: the NSQ release whose behaviour they keep, and Shoal's own.

/// The NSQ release that clients, tools and lookup servers are told.
pub const NSQ_VERSION: &str = "1.3.0";

/// Shoal's own version.
pub const SHOAL_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The line of `nsqd --version`, which is also the first line of the log.
pub fn daemon_line(program: &str) -> String {
    let rust = env!("CARGO_PKG_RUST_VERSION");
    format!("{program} v{NSQ_VERSION} (built w/rust{rust}; shoal v{SHOAL_VERSION})")
}

/// The line of a tool's `--version`, as the original's tools print it.
pub fn tool_line(program: &str) -> String {
    format!("{program} v{NSQ_VERSION}")
}
