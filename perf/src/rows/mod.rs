//! The rows of the comparison: what is done to which brokers, and what is expected of Shoal.

mod all;

use loadtest::wrap::{Compression, Wrap};
use loadtest::{Target, numbered};
use serde_json::json;

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
    /// The load comes over TLS.
    pub tls: bool,
    /// The load comes compressed.
    pub compression: Compression,
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
    pub fn metadata(&self) -> Option<String> {
        if self.setup.topics == 1 {
            return None;
        }
        let channel = |name: &String| json!({"name": name, "paused": false});
        let channels: Vec<_> = match self.load {
            Load::Store(..) | Load::Exchange(..) => {
                numbered(NAME, self.setup.channels).iter().map(channel).collect()
            }
            _ => Vec::new(),
        };
        let topic = |name| json!({"name": name, "paused": false, "channels": channels.clone()});
        let topics: Vec<_> = numbered(NAME, self.setup.topics).iter().map(topic).collect();
        Some(json!({"version": "1.3.0", "topics": topics}).to_string())
    }

    /// It is about what a broker keeps, in memory and on disk.
    pub fn is_about_storage(&self) -> bool {
        self.setup.on_disk || self.setup.rests
    }
}
