//! Every bound of what the control thread does with lookup servers, by name.

use std::time::Duration;

/// Time between two pings of a nsqlookupd, as the original has it.
pub const PING_INTERVAL: Duration = Duration::from_secs(15);
/// The longest that a connection to a nsqlookupd may take to be made.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest that a nsqlookupd may say nothing while a command waits for its answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Commands sent to a nsqlookupd and not answered: over a slow link they share the way.
pub const UNANSWERED_MAX: usize = 256;
/// Largest answer. `OK`, an error or a few lines of JSON are far below it.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes received from a nsqlookupd at once.
pub const READ_BYTES: usize = 4 * 1024;
/// The first pause after a connection that ended or could not be made.
pub const RETRY_MIN: Duration = Duration::from_millis(250);
/// The longest pause, before a quarter is added or taken off by chance: together with the dial it
/// is shorter than the time between two pings.
pub const RETRY_MAX: Duration = Duration::from_secs(8);
/// A connection that lasted so long was a good one: the next pause is the first again.
pub const LASTED: Duration = Duration::from_secs(10);
/// The same failure is not told again within this time.
pub const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Time between two looks at what a name leads to.
pub const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);
/// The same while one of its addresses is not connected: it may have moved.
pub const RESOLVE_INTERVAL_TROUBLED: Duration = Duration::from_secs(5);
/// The longest that a name is waited for.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long an address that works is kept when its name does not lead to it any more: some
/// name servers give a part of the addresses at a time.
pub const ADDRESS_KEPT: Duration = Duration::from_secs(120);
/// Addresses of all nsqlookupds together.
pub const PEERS_MAX: usize = 64;
/// Addresses, as configured, that are followed.
pub const NAMES_MAX: usize = 64;

/// Topics whose channels are asked for at a time; others wait for their turn.
pub const QUESTIONS_AT_ONCE: usize = 32;
/// Channels that are made for a new topic, at most.
pub const CHANNELS_MAX: usize = 4096;
/// Largest answer to the question which channels a topic has.
pub const CHANNELS_BYTES_MAX: usize = 1 << 20;
/// How often it is looked whether nsqlookupds have been reached, while a topic waits for that.
pub const SETTLE_TICK: Duration = Duration::from_millis(10);
/// How much longer than the question itself a shard lets a topic wait.
pub const QUESTION_GRACE: Duration = Duration::from_secs(1);
/// How long the end of the process waits for this thread.
pub const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Questions to auth servers at a time; others wait for their turn.
pub const AUTH_QUERIES_AT_ONCE: usize = 128;
/// Different questions to auth servers that are asked or wait; more are answered at once, with no.
pub const AUTH_WAITING_MAX: usize = 16 * 1024;
/// Largest secret that an auth server is asked about: as a form it still fits into a URL.
pub const AUTH_SECRET_BYTES_MAX: usize = 16 * 1024;
/// Largest answer of an auth server.
pub const AUTH_ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Different patterns in one answer.
pub const AUTH_PATTERNS_MAX: usize = 1024;
/// Largest pattern, compiled.
pub const AUTH_PATTERN_BYTES: usize = 64 * 1024;
