//! What topics and channels may hold where nobody says anything else of them: flags, and their
//! checks.

use shards::policy::{AGE_MS_MAX, BYTES_MAX, Defaults, Keep, Limit, OnFull};

use super::duration::NS_PER_MS;
use super::flag::Flag;
use super::settings::Settings;
use super::value::Kind::{Bytes, Duration, Int, Text};

/// The flags. What they set can be set for each topic and channel over HTTP.
pub const LIMITS: &[Flag] = &[
    Flag::new("topic-max-bytes", Bytes, "0", "Bytes of messages that a topic may hold; 0 for any"),
    Flag::new("topic-max-messages", Int, "0", "Messages that a topic may hold; 0 for any number"),
    Flag::new("topic-max-age", Duration, "0", "Age of a topic's oldest message; 0 for any"),
    Flag::new("topic-on-full", Text, "reject", ON_FULL),
    Flag::new("channel-max-bytes", Bytes, "0", "The same for each channel: bytes"),
    Flag::new("channel-max-messages", Int, "0", "The same for each channel: messages"),
    Flag::new("channel-max-age", Duration, "0", "The same for each channel: age"),
    Flag::new("channel-on-full", Text, "reject", ON_FULL),
    Flag::new(
        "retention-bytes",
        Bytes,
        "0",
        "Bytes that each topic keeps of what all channels have finished; 0 for any, or none",
    ),
    Flag::new(
        "retention-age",
        Duration,
        "0",
        "Time for which it keeps that; 0 for any, or none. To be replayed: /channel/seek",
    ),
    Flag::new(
        "min-free-disk",
        Bytes,
        "0",
        "Free space of the data path's disk below which publishes are refused",
    ),
];

const ON_FULL: &str = "What happens then: reject (publishes are refused) or drop-oldest";

/// What they set.
#[derive(Clone, Copy, Debug)]
pub struct LimitOptions {
    /// What topics and channels may hold where nobody says anything else.
    pub defaults: Defaults,
    /// Free space of the disk below which publishes are refused; 0 for none.
    pub min_free_disk_bytes: u64,
}

/// Reads them.
///
/// # Errors
/// What is impossible, or contradicts something else.
pub fn read(s: &Settings) -> Result<LimitOptions, String> {
    let keep =
        Keep { bytes: read_bytes(s, "retention-bytes")?, age_ms: read_age(s, "retention-age")? };
    let (topic, channel) = (read_limit(s, "topic")?, read_limit(s, "channel")?);
    let defaults = Defaults { topic, channel, keep };
    let (topic, channel) = (&defaults.topic, &defaults.channel);
    for (what, of_topic, of_channel) in [
        ("bytes", topic.max_bytes, channel.max_bytes),
        ("messages", topic.max_messages, channel.max_messages),
        ("age", topic.max_age_ms, channel.max_age_ms),
    ] {
        if of_topic != 0 && of_channel > of_topic {
            return Err(format!("--channel-max-{what} must not be more than --topic-max-{what}"));
        }
    }
    Ok(LimitOptions { defaults, min_free_disk_bytes: read_bytes(s, "min-free-disk")? })
}

fn read_limit(s: &Settings, of: &str) -> Result<Limit, String> {
    let flag = format!("{of}-on-full");
    let on_full = match OnFull::parse(&s.text(&flag)) {
        Some(on_full @ (OnFull::Reject | OnFull::DropOldest)) => on_full,
        Some(OnFull::DeadLetter) => {
            let why = "dead-letter needs a dead_letter_topic, which only HTTP can name";
            return Err(format!("--{flag}: {why}"));
        }
        None => return Err(format!("--{flag} must be reject or drop-oldest")),
    };
    Ok(Limit {
        max_bytes: read_bytes(s, &format!("{of}-max-bytes"))?,
        max_messages: read_count(s, &format!("{of}-max-messages"))?,
        max_age_ms: read_age(s, &format!("{of}-max-age"))?,
        on_full,
    })
}

fn read_bytes(s: &Settings, name: &str) -> Result<u64, String> {
    let bytes = s.bytes_if_given(name).unwrap_or(0);
    if bytes > BYTES_MAX { Err(format!("--{name} must be at most {BYTES_MAX}")) } else { Ok(bytes) }
}

fn read_count(s: &Settings, name: &str) -> Result<u64, String> {
    u64::try_from(s.int(name)).map_err(|_| format!("--{name} must be at least 0"))
}

fn read_age(s: &Settings, name: &str) -> Result<u64, String> {
    let age_ms = u64::try_from(s.duration_ns(name)).map(|ns| ns.div_ceil(NS_PER_MS));
    let age_ms = age_ms.map_err(|_| format!("--{name} must be at least 0"))?;
    if age_ms > AGE_MS_MAX {
        Err(format!("--{name} must be at most {AGE_MS_MAX}ms"))
    } else {
        Ok(age_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use shards::policy::OnFull;

    use crate::config::nsqd::NsqdOptions;
    use crate::config::stop::Stop;

    fn load(line: &str) -> Result<NsqdOptions, Stop> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        NsqdOptions::load(&args)
    }

    #[test]
    fn bounds_are_read() {
        let options = load("").unwrap().limits;
        assert_eq!(options.defaults, shards::policy::Defaults::default());
        assert_eq!(options.min_free_disk_bytes, 0);
        let line = "--topic-max-bytes=10GB --channel-max-messages=7 --channel-on-full=drop-oldest \
                    --topic-max-age=2h --channel-max-age=1ns --min-free-disk=1MB \
                    --retention-bytes=1GB --retention-age=72h";
        let options = load(line).unwrap().limits;
        let defaults = options.defaults;
        assert_eq!((defaults.topic.max_bytes, defaults.topic.max_age_ms), (10 << 30, 7_200_000));
        assert_eq!(defaults.channel.max_messages, 7);
        assert_eq!((defaults.keep.bytes, defaults.keep.age_ms), (1 << 30, 72 * 3_600_000));
        assert_eq!(defaults.channel.on_full, OnFull::DropOldest);
        assert_eq!(defaults.topic.on_full, OnFull::Reject);
        assert_eq!((defaults.channel.max_age_ms, options.min_free_disk_bytes), (1, 1 << 20));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (line, text) in [
            ("--topic-max-messages=-1", "--topic-max-messages must be at least 0"),
            ("--channel-on-full=drop", "--channel-on-full must be reject or drop-oldest"),
            (
                "--topic-on-full=dead-letter",
                "--topic-on-full: dead-letter needs a dead_letter_topic, which only HTTP can name",
            ),
            (
                "--topic-max-messages=5 --channel-max-messages=6",
                "--channel-max-messages must not be more than --topic-max-messages",
            ),
            ("--retention-age=-1s", "--retention-age must be at least 0"),
            ("--topic-max-age=-1s", "--topic-max-age must be at least 0"),
            (
                "--topic-max-bytes=2000000TB",
                "--topic-max-bytes must be at most 1152921504606846976",
            ),
        ] {
            let end = load(line).expect_err(line);
            assert_eq!(end, Stop::Fatal(format!("failed to instantiate nsqd - {text}")), "{line}");
        }
    }
}
