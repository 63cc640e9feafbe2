//! What operators ask of a topic or channel beyond NSQ: how much it may hold, how often a message
//! is delivered, and where those go that were delivered in vain.
//!
//! Everything here is plain values. Nothing of it is set in a broker that nobody asked for it, and
//! then nothing of it costs anything on a message's way. `change` is the one way to set it, for
//! HTTP and at a start, and `note` is what a dead letter carries along.

mod change;
mod note;

use alloc::vec::Vec;

pub use change::{Change, Problem, circle};
pub use note::{Fates, NOTE_BYTES_MAX, Note, Origin, Reason};

use crate::wire::names::Name;

/// What happens when a bound is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// Publishes are refused until there is room.
    #[default]
    Reject,
    /// The oldest messages make room.
    DropOldest,
    /// The oldest messages make room, and go to another topic.
    DeadLetter,
}

impl OnFull {
    /// As it is written in HTTP and in the metadata.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OnFull::Reject => "reject",
            OnFull::DropOldest => "drop-oldest",
            OnFull::DeadLetter => "dead-letter",
        }
    }

    /// What was written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<OnFull> {
        let all = [OnFull::Reject, OnFull::DropOldest, OnFull::DeadLetter];
        all.into_iter().find(|on_full| on_full.as_str() == text)
    }
}

/// How much a topic or channel may hold, as far as somebody said so; 0 is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of the log that its messages take.
    pub max_bytes: Option<u64>,
    /// Messages.
    pub max_messages: Option<u64>,
    /// Time since the oldest of them could first be delivered.
    pub max_age_ms: Option<u64>,
    /// What happens when one of these is reached.
    pub on_full: Option<OnFull>,
}

/// The bounds that hold; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Bytes of the log that its messages take.
    pub max_bytes: u64,
    /// Messages.
    pub max_messages: u64,
    /// Time since the oldest of them could first be delivered.
    pub max_age_ms: u64,
    /// What happens when one of these is reached.
    pub on_full: OnFull,
}

impl Limit {
    /// Whether there is any bound.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.max_bytes | self.max_messages | self.max_age_ms != 0
    }

    /// Whether messages go because they are too old.
    #[must_use]
    pub fn expires(&self) -> bool {
        self.max_age_ms != 0 && self.on_full != OnFull::Reject
    }
}

impl Bounds {
    /// The bounds that hold where `default` does unless something else was said.
    #[must_use]
    pub fn limit(&self, default: &Limit) -> Limit {
        Limit {
            max_bytes: self.max_bytes.unwrap_or(default.max_bytes),
            max_messages: self.max_messages.unwrap_or(default.max_messages),
            max_age_ms: self.max_age_ms.unwrap_or(default.max_age_ms),
            on_full: self.on_full.unwrap_or(default.on_full),
        }
    }
}

/// How much of what its channels have finished a topic keeps, as far as somebody said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Bytes of the log.
    pub bytes: Option<u64>,
    /// Time since it was published.
    pub age_ms: Option<u64>,
}

/// The retention that holds; 0 is no bound, and two of them are no retention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Bytes of the log.
    pub bytes: u64,
    /// Time since it was published.
    pub age_ms: u64,
}

impl Keep {
    /// Whether anything is kept.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.bytes | self.age_ms != 0
    }
}

impl Retention {
    /// The retention that holds where `default` does unless something else was said. A topic that
    /// goes with its last consumer keeps nothing.
    #[must_use]
    pub fn keep(&self, default: &Keep, topic: &Name) -> Keep {
        if topic.is_ephemeral() {
            return Keep::default();
        }
        Keep {
            bytes: self.bytes.unwrap_or(default.bytes),
            age_ms: self.age_ms.unwrap_or(default.age_ms),
        }
    }
}

/// What was said of a topic or of a channel. What is only for one of the two is never set in the
/// other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How much it may hold.
    pub bounds: Bounds,
    /// Where messages go that it may hold no longer, or that were delivered too often.
    pub dead_letter_topic: Option<Name>,
    /// Channels: deliveries of a message after which it goes there; 0 for any number.
    pub max_attempts: u16,
    /// Channels: how long a message waits after its first, second, … delivery in vain, in
    /// milliseconds. The last one holds for all that follow.
    pub retry_backoff_ms: Vec<u64>,
    /// Topics: how much of what is finished is kept.
    pub retention: Retention,
}

impl Policy {
    /// How long a message waits that was delivered so often.
    #[must_use]
    pub fn backoff_ms(&self, attempts: u16) -> u64 {
        let last = self.retry_backoff_ms.len().wrapping_sub(1);
        let index = usize::from(attempts).saturating_sub(1).min(last);
        self.retry_backoff_ms.get(index).copied().unwrap_or(0)
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Policy::default()
    }
}

/// What holds where nobody said anything of a topic or channel: the flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Of topics.
    pub topic: Limit,
    /// Of channels.
    pub channel: Limit,
    /// What topics keep of what is finished.
    pub keep: Keep,
}

/// Most deliveries that may be asked for: the count on the wire has 16 bits.
pub const MAX_ATTEMPTS: u64 = u16::MAX as u64;
/// Most delays of a list.
pub const BACKOFFS_MAX: usize = 32;
/// The longest time that may be asked for, in milliseconds: ten years.
pub const AGE_MS_MAX: u64 = 10 * 366 * 24 * 3_600_000;
/// The most bytes that may be asked for: an exbibyte.
pub const BYTES_MAX: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use super::{OnFull, Policy};

    #[test]
    fn the_last_delay_holds_for_all_that_follow() {
        let mut policy = Policy::default();
        assert_eq!(policy.backoff_ms(1), 0);
        policy.retry_backoff_ms = [10, 200].into();
        let waits: [u64; 4] = [1, 2, 3, u16::MAX].map(|attempts| policy.backoff_ms(attempts));
        assert_eq!(waits, [10, 200, 200, 200]);
    }

    #[test]
    fn what_happens_has_words() {
        for on_full in [OnFull::Reject, OnFull::DropOldest, OnFull::DeadLetter] {
            assert_eq!(OnFull::parse(on_full.as_str()), Some(on_full));
        }
        assert_eq!(OnFull::parse("Reject"), None);
    }
}
