//! The rows of the comparison: what is done to which brokers, and what is expected of Shoal.

mod all;

use loadtest::wrap::{Compression, Wrap};
use loadtest::{Target, numbered};
use serde_json::{Value, json};

use crate::broker::{Durability, NAME};
use crate::load::Load;

pub use all::ROWS;

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// How it is called on the command line.
    pub name: &'static str,
    /// How it is called in the table.
    pub title: &'static str,
    /// What is expected of Shoal.
    pub goal: Goal,
    /// What is done.
    pub load: Load,
    /// To what.
    pub setup: Setup,
}

/// What is expected of Shoal.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// CPU time of the broker for one message, at most.
    CpuUs(f64),
    /// CPU time is told, and nothing was promised.
    Told,
    /// CPU time of the broker for one message, at most so many times what it is in another row.
    TimesRow {
        /// At most.
        factor: f64,
        /// The name of the other row.
        of: &'static str,
    },
    /// Resident memory for one connection that does nothing, at most.
    IdleKib(f64),
    /// Latency, at most.
    LatencyMs {
        /// Of half of the messages.
        p50: f64,
        /// Of 99 in a hundred.
        p99: f64,
    },
}

/// What a row needs besides its load.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Topics that are published to.
    pub topics: usize,
    /// Channels on each of them.
    pub channels: usize,
    /// The only promise that the row is about; otherwise it is what the run asks for.
    pub durability: Option<Durability>,
    /// More arguments for Shoal.
    pub shoal: &'static [&'static str],
    /// More arguments for the original.
    pub original: &'static [&'static str],
    /// The original is meant to use its disk.
    pub on_disk: bool,
    /// The floor can stand in for a broker: it has one topic and one channel, stores nothing, and
    /// delivers one fixed message, so it has no latency.
    pub has_floor: bool,
    /// What the broker does when nothing more happens is measured, too.
    pub rests: bool,
    /// Every limit of Shoal's is set, and none is reached.
    pub bounded: bool,
    /// The load comes over TLS.
    pub tls: bool,
    /// The load comes compressed.
    pub compression: Compression,
    /// Shards that Shoal has.
    pub shards: usize,
}

/// Bounds that no row reaches.
fn of_topics() -> Value {
    json!({
        "max_bytes": 1_u64 << 40,
        "max_messages": 1_u64 << 40,
        "max_age_ms": 30 * 24 * 3_600_000_u64,
        "on_full": "drop-oldest",
        "dead_letter_topic": "dead",
    })
}

/// The same, with everything that only channels have.
fn of_channels() -> Value {
    let mut all = of_topics();
    all["max_attempts"] = json!(100);
    all["retry_backoff_ms"] = json!([1000, 10_000]);
    all["on_full"] = json!("dead-letter");
    all
}

impl Row {
    /// The topics and channels of this row on a broker.
    pub fn target(&self, broker: &Target) -> Target {
        let Setup { topics, channels, compression, .. } = self.setup;
        let wrap = Wrap { compression, ..broker.wrap.clone() };
        Target { topics, channels, wrap, ..broker.clone() }
    }

    /// What `nsqd.dat` says when a broker starts that is to have many topics: made one by one,
    /// that file would be written as often, and the original's memory be full of its garbage.
    ///
    /// Limits stand there as well; the original does not know them.
    pub fn metadata(&self) -> Option<String> {
        let Setup { topics, channels, bounded, .. } = self.setup;
        if topics == 1 && !bounded {
            return None;
        }
        let bounds = |more: Value| if bounded { more } else { json!({}) };
        let of_channel = bounds(of_channels());
        let channel = |name: &String| json!({"name": name, "paused": false, "shoal": of_channel});
        let channels: Vec<_> = match self.load {
            Load::Store(..) | Load::Exchange(..) => {
                numbered(NAME, channels).iter().map(channel).collect()
            }
            _ if bounded => numbered(NAME, channels).iter().map(channel).collect(),
            _ => Vec::new(),
        };
        let of_topic = bounds(of_topics());
        let topic = |name| {
            let channels = channels.clone();
            json!({"name": name, "paused": false, "channels": channels, "shoal": of_topic})
        };
        let topics: Vec<_> = numbered(NAME, topics).iter().map(topic).collect();
        Some(json!({"version": "1.3.0", "topics": topics}).to_string())
    }

    /// It is about what a broker keeps, in memory and on disk.
    pub fn is_about_storage(&self) -> bool {
        self.setup.on_disk || self.setup.rests
    }
}
