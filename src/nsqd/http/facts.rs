//! What HTTP tells about the process that is not a shard's: who it is, its limits, its options.
//!
//! One value for all threads. What changes at run time (health, the options that PUT may change)
//! has a lock of its own; nothing on the way of a message takes one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::bodies::Bodies;
use super::policy::Turnstile;
use crate::log::LogLevel;
use crate::nsqd::floor::Floor;
use crate::nsqd::life::Life;
use crate::nsqd::startup::progress::Progress;

/// The process as HTTP shows it.
#[derive(Debug)]
pub struct Facts {
    /// The version of NSQ that clients may take this for.
    pub version: String,
    /// How others reach this node.
    pub broadcast_address: String,
    /// The machine's name.
    pub hostname: String,
    /// The real port: 0 when there is no such listener, -1 for a unix socket.
    pub tcp_port: i32,
    /// The real port: 0 when there is no such listener, -1 for a unix socket.
    pub http_port: i32,
    /// Where to go when plain HTTP is refused (`--tls-required`); `None` when it is not. 0 when
    /// there is no HTTPS either.
    pub https_required_port: Option<u16>,
    /// Whether publishing takes a secret that auth servers know.
    pub publish_needs_auth: bool,
    /// When the process started, by the calendar.
    pub start_time: SystemTime,
    /// When the process started, for the uptime.
    pub started: Instant,
    /// What clients may ask for at most.
    pub limits: Limits,
    /// Where this node is.
    pub topology_region: String,
    /// Where this node is, within the region.
    pub topology_zone: String,
    /// Whether messages can be stored.
    pub health: Health,
    /// Whether the disk has as much free space as it is to have.
    pub floor: Floor,
    /// What `/config` shows.
    pub options: Options,
    /// Whether anybody may look at messages.
    pub shows_messages: bool,
    /// Whether it turns, and whether it drains.
    pub life: Arc<Life>,
    /// Memory for bodies that are being read.
    pub bodies: Bodies,
    /// How far the start has come.
    pub progress: Progress,
    /// Taken while somebody changes where dead letters go, which concerns all shards.
    pub policy_changes: Turnstile,
}

/// Limits that HTTP applies or reports.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one message.
    pub msg_size_max: u64,
    /// Bytes of the body of `/mpub`.
    pub body_size_max: u64,
    /// The longest that a message may be deferred, in milliseconds.
    pub req_timeout_max_ms: u64,
    /// Reported only.
    pub heartbeat_interval_max: Duration,
    /// Reported only.
    pub output_buffer_size_max: u64,
    /// Reported only.
    pub output_buffer_timeout_max: Duration,
    /// Reported only.
    pub deflate_level_max: u32,
}

/// Whether the last attempt to store messages succeeded.
#[derive(Debug, Default)]
pub struct Health {
    /// By shard.
    troubles: Mutex<BTreeMap<u16, String>>,
}

impl Health {
    /// Says what is wrong on a shard, or with `None` that it is over.
    pub fn set(&self, shard: u16, trouble: Option<String>) {
        let mut troubles = lock(&self.troubles);
        match trouble {
            Some(trouble) => troubles.insert(shard, trouble),
            None => troubles.remove(&shard),
        };
    }

    /// Whether all is well.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        lock(&self.troubles).is_empty()
    }
}

/// `OK`, or `NOK - ` and what is wrong.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match lock(&self.troubles).values().next() {
            None => f.write_str("OK"),
            Some(trouble) => write!(f, "NOK - {trouble}"),
        }
    }
}

/// A lock whose value is whole at every moment, so that a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The option that PUT changes and nsqlookupd's peers follow.
pub const LOOKUPD_ADDRESSES: &str = "nsqlookupd_tcp_addresses";

/// The option that PUT changes and the log follows.
pub const LOG_LEVEL: &str = "log_level";

/// What follows the addresses of nsqlookupds.
type SetAddresses = Box<dyn Fn(&[String]) + Send + Sync>;

/// The options of the process by their names in a configuration file.
pub struct Options {
    /// Texts are shown bare, everything else as JSON; durations are nanoseconds.
    fixed: BTreeMap<String, Value>,
    lookupd_addresses: Mutex<Option<Vec<String>>>,
    set_lookupd_addresses: SetAddresses,
    log_level: Mutex<LogLevel>,
    set_log_level: Box<dyn Fn(LogLevel) + Send + Sync>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("fixed", &self.fixed).finish_non_exhaustive()
    }
}

/// Why an option could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSet {
    /// There is no such option, or it cannot change while the process runs.
    Option,
    /// The option cannot have this value.
    Value,
}

impl Options {
    /// All options but the two that can change, those two, and what makes the log follow.
    pub fn new(
        fixed: BTreeMap<String, Value>,
        lookupd_addresses: Vec<String>,
        log_level: LogLevel,
        set_log_level: impl Fn(LogLevel) + Send + Sync + 'static,
    ) -> Options {
        Options {
            fixed,
            lookupd_addresses: Mutex::new(Some(lookupd_addresses)),
            set_lookupd_addresses: Box::new(|_| ()),
            log_level: Mutex::new(log_level),
            set_log_level: Box::new(set_log_level),
        }
    }

    /// Has somebody follow the addresses of nsqlookupds.
    #[must_use]
    pub fn on_lookupd_addresses(self, set: impl Fn(&[String]) + Send + Sync + 'static) -> Options {
        Options { set_lookupd_addresses: Box::new(set), ..self }
    }

    /// An option's value; `None` when there is no such option.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value> {
        match name {
            LOOKUPD_ADDRESSES => Some(Value::from(lock(&self.lookupd_addresses).clone())),
            LOG_LEVEL => Some(Value::from(*lock(&self.log_level) as u8)),
            _ => self.fixed.get(name).cloned(),
        }
    }

    /// Changes an option.
    ///
    /// # Errors
    /// See [`NotSet`].
    pub fn set(&self, name: &str, value: &[u8]) -> Result<(), NotSet> {
        match name {
            LOOKUPD_ADDRESSES => {
                let addresses = addresses(value).ok_or(NotSet::Value)?;
                // Under the lock, so that who follows ends with what is shown.
                let mut shown = lock(&self.lookupd_addresses);
                (self.set_lookupd_addresses)(addresses.as_deref().unwrap_or_default());
                *shown = addresses;
            }
            LOG_LEVEL => {
                let name = std::str::from_utf8(value).map_err(|_| NotSet::Value)?;
                let level = LogLevel::parse(name).map_err(|_| NotSet::Value)?;
                *lock(&self.log_level) = level;
                (self.set_log_level)(level);
            }
            _ => return Err(NotSet::Option),
        }
        Ok(())
    }
}

/// A JSON array of texts, or `null`, which is kept apart from an empty array; a `null` inside the
/// array is an empty text. `None` for anything else.
fn addresses(json: &[u8]) -> Option<Option<Vec<String>>> {
    let list: Option<Vec<Option<String>>> = serde_json::from_slice(json).ok()?;
    Some(list.map(|list| list.into_iter().map(Option::unwrap_or_default).collect()))
}

#[cfg(test)]
mod tests {
    use super::{Health, NotSet, Options};
    use crate::log::LogLevel;
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    fn options(seen: &Arc<AtomicU8>) -> Options {
        let fixed = BTreeMap::from([("data_path".to_owned(), json!("/d"))]);
        let seen = seen.clone();
        let level = LogLevel::Info;
        Options::new(fixed, vec![], level, move |level| seen.store(level as u8, Ordering::Relaxed))
    }

    #[test]
    fn the_log_follows_its_option() {
        let seen = Arc::new(AtomicU8::new(0));
        let options = options(&seen);
        assert_eq!(options.get("log_level"), Some(json!(2)));
        assert_eq!(options.set("log_level", b"DEBUG"), Ok(()));
        assert_eq!(seen.load(Ordering::Relaxed), 1);
        assert_eq!(options.get("log_level"), Some(json!(1)));
        for bad in [&b"warning"[..], b"3", b"debug\n", b"\xff"] {
            assert_eq!(options.set("log_level", bad), Err(NotSet::Value));
        }
        assert_eq!(options.get("log_level"), Some(json!(1)));
    }

    #[test]
    fn lookupd_addresses_are_an_array_or_null() {
        let options = options(&Arc::default());
        assert_eq!(options.get("nsqlookupd_tcp_addresses"), Some(json!([])));
        assert_eq!(options.set("nsqlookupd_tcp_addresses", b" [\"a:1\", null]\n"), Ok(()));
        assert_eq!(options.get("nsqlookupd_tcp_addresses"), Some(json!(["a:1", ""])));
        assert_eq!(options.set("nsqlookupd_tcp_addresses", b"null"), Ok(()));
        assert_eq!(options.get("nsqlookupd_tcp_addresses"), Some(json!(null)));
        for bad in [&b"a:1"[..], b"\"a:1\"", b"[1]", b"{}"] {
            assert_eq!(options.set("nsqlookupd_tcp_addresses", bad), Err(NotSet::Value));
        }
    }

    #[test]
    fn who_follows_the_lookupd_addresses_is_told() {
        let (told, heard) = flume::unbounded();
        let options = options(&Arc::default())
            .on_lookupd_addresses(move |addresses| told.send(addresses.to_vec()).unwrap());
        assert_eq!(options.set("nsqlookupd_tcp_addresses", b"[\"a:1\",\"b:1\"]"), Ok(()));
        assert_eq!(options.set("nsqlookupd_tcp_addresses", b"{}"), Err(NotSet::Value));
        assert_eq!(options.set("nsqlookupd_tcp_addresses", b"null"), Ok(()));
        let all: Vec<Vec<String>> = heard.try_iter().collect();
        assert_eq!(all, [vec!["a:1".to_owned(), "b:1".to_owned()], Vec::new()]);
    }

    #[test]
    fn other_options_are_only_shown() {
        let options = options(&Arc::default());
        assert_eq!(options.get("data_path"), Some(json!("/d")));
        assert_eq!(options.set("data_path", b"/e"), Err(NotSet::Option));
        assert_eq!(options.get("verbose"), None);
    }

    #[test]
    fn health_is_ok_until_something_is_wrong() {
        let health = Health::default();
        assert_eq!(health.to_string(), "OK");
        health.set(0, Some("disk full".to_owned()));
        assert!(!health.is_ok());
        assert_eq!(health.to_string(), "NOK - disk full");
        health.set(0, None);
        assert!(health.is_ok());
    }
}
