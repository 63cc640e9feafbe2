//! What a load reports, and who was the bottleneck.

mod text;

use serde::{Deserialize, Serialize};

use crate::connections::Idle;
use crate::latency::{Latency, Recorder};
use crate::ledger::Verification;
use crate::window::{Counts, Measured};

/// From this share of its cores on, a side counts as busy all the time.
const BUSY_SHARE: f64 = 0.95;

/// Who kept the rate from being higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// The broker used its cores up: the rate is the broker's.
    Broker,
    /// The driver used its core up and the broker did not: the rate is the driver's, and only
    /// the CPU time per message says something about the broker.
    Driver,
    /// Both were busy all the time.
    Both,
    /// Neither was: latency, the window or the rate asked for set the rate.
    Neither,
    /// The driver was busy all the time and the broker was not observed.
    Unknown,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// As it should: everything came, or nothing more did.
    #[default]
    Complete,
    /// Somebody ended it.
    Interrupted,
    /// What was under way took longer than it may.
    TimeUp,
    /// Something went wrong.
    Failed(String),
}

/// The result of one run; fields that came later have defaults, so that old results can be read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Which load.
    pub mode: String,
    /// How it ended.
    #[serde(default)]
    pub ending: Ending,
    /// Messages were sent when they were due, whether or not the broker kept up; the latencies of
    /// a closed loop leave out what a slow broker keeps from being sent at all.
    #[serde(default)]
    pub open_loop: bool,
    /// The rate of an open loop.
    pub rate_asked: Option<f64>,
    /// Messages within the window: received ones where there are consumers, else published ones.
    pub messages: u64,
    /// Messages confirmed within the window.
    pub published: u64,
    /// Messages received within the window.
    pub received: u64,
    /// The window.
    pub seconds: f64,
    /// Messages a second.
    pub rate: f64,
    /// CPU time of the driving thread.
    pub driver_cpu_seconds: f64,
    /// CPU time of the broker, if its process was named.
    pub broker_cpu_seconds: Option<f64>,
    /// The same for one message, in microseconds.
    pub broker_us_per_message: Option<f64>,
    /// CPU time on this machine that was neither the broker's nor the driver's: the noise.
    pub other_cpu_seconds: Option<f64>,
    /// The broker's memory when the window opened.
    pub broker_memory_before: Option<crate::cpu::Memory>,
    /// The broker's memory when the window closed, and its highest.
    pub broker_memory: Option<crate::cpu::Memory>,
    /// What the broker wrote within the window, where we may know.
    pub broker_io: Option<crate::cpu::Io>,
    /// Who kept the rate from being higher.
    pub limited_by: Limit,
    /// From the intended send time to the receipt.
    pub latency: Option<Latency>,
    /// From the intended send time to the broker's confirmation.
    pub confirmed: Option<Latency>,
    /// How late the driver itself was.
    pub late: Option<Latency>,
    /// Messages that were due and had to wait for room, because the broker took no more.
    #[serde(default)]
    pub held_back: u64,
    /// What became of the messages, where there are consumers that can tell them apart.
    pub verification: Option<Verification>,
    /// Consumers' connections that were taken up anew.
    #[serde(default)]
    pub reconnects: u64,
    /// Connections that do nothing.
    pub idle: Option<Idle>,
    /// Messages confirmed and received over the whole run, warm-up and drain included.
    pub total_published: u64,
    /// See `total_published`.
    pub total_received: u64,
    /// The latencies in full, by name.
    #[serde(skip)]
    pub recorders: Vec<(&'static str, Recorder)>,
}

impl Report {
    /// The report of `mode`, of what its window measured and of the whole run's counts.
    pub fn new(mode: &str, measured: &Measured, total: Counts) -> Self {
        let counts = measured.counts;
        let messages = if counts.received > 0 { counts.received } else { counts.published };
        let broker = measured.broker;
        let cpu_s = broker.map(|broker| broker.cpu_s);
        Self {
            mode: mode.to_owned(),
            ending: Ending::Complete,
            open_loop: false,
            rate_asked: None,
            messages,
            published: counts.published,
            received: counts.received,
            seconds: measured.seconds,
            rate: messages as f64 / measured.seconds,
            driver_cpu_seconds: measured.driver_cpu_s,
            broker_cpu_seconds: cpu_s,
            broker_us_per_message: cpu_s.map(|cpu_s| cpu_s * 1e6 / messages.max(1) as f64),
            other_cpu_seconds: broker.map(|broker| broker.other_cpu_s),
            broker_memory_before: broker.map(|broker| broker.memory_before),
            broker_memory: broker.map(|broker| broker.memory),
            broker_io: broker.and_then(|broker| broker.io),
            limited_by: limit(measured),
            latency: None,
            confirmed: None,
            late: None,
            held_back: 0,
            verification: None,
            reconnects: 0,
            idle: None,
            total_published: total.published,
            total_received: total.received,
            recorders: Vec::new(),
        }
    }

    /// Nothing went wrong, and no message was lost, repeated, damaged or misled.
    pub fn is_sound(&self) -> bool {
        !matches!(self.ending, Ending::Failed(_)) && self.faults().is_none()
    }

    /// What is wrong with the messages, in words.
    pub fn faults(&self) -> Option<String> {
        let found = self.verification.filter(|found| !found.is_clean())?;
        let Verification { lost, duplicated, corrupt, foreign, misrouted, .. } = found;
        Some(format!(
            "{lost} lost, {duplicated} came twice, {corrupt} corrupt, {foreign} foreign, \
             {misrouted} on the wrong topic"
        ))
    }
}

fn limit(measured: &Measured) -> Limit {
    let driver_busy = measured.driver_cpu_s >= BUSY_SHARE * measured.seconds;
    let broker_busy = measured
        .broker
        .map(|broker| broker.cpu_s >= BUSY_SHARE * measured.seconds * broker.cores as f64);
    match (driver_busy, broker_busy) {
        (true, Some(true)) => Limit::Both,
        (true, Some(false)) => Limit::Driver,
        (true, None) => Limit::Unknown,
        (false, Some(true)) => Limit::Broker,
        (false, Some(false) | None) => Limit::Neither,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Memory;
    use crate::window::BrokerUse;

    fn measured(driver_cpu_s: f64, broker_cpu_s: Option<f64>, cores: usize) -> Measured {
        let memory = Memory { rss_bytes: 1, rss_max_bytes: 1 };
        let broker = broker_cpu_s.map(|cpu_s| BrokerUse {
            cpu_s,
            cores,
            other_cpu_s: 0.0,
            memory_before: memory,
            memory,
            io: None,
        });
        let counts = Counts { published: 1000, received: 0 };
        Measured { counts, seconds: 2.0, driver_cpu_s, broker }
    }

    #[test]
    fn a_saturated_driver_is_named() {
        assert_eq!(limit(&measured(1.99, Some(1.2), 1)), Limit::Driver);
        assert_eq!(limit(&measured(1.99, Some(1.98), 2)), Limit::Driver);
        assert_eq!(limit(&measured(1.99, Some(1.98), 1)), Limit::Both);
        assert_eq!(limit(&measured(1.0, Some(1.98), 1)), Limit::Broker);
        assert_eq!(limit(&measured(1.0, Some(1.0), 1)), Limit::Neither);
        assert_eq!(limit(&measured(1.99, None, 1)), Limit::Unknown);
        let bound = measured(1.99, Some(1.2), 1);
        let text = Report::new("mpub", &bound, Counts::default()).to_string();
        assert!(text.contains("THE DRIVER"), "{text}");
    }

    #[test]
    fn costs_are_for_one_message_and_rates_for_one_second() {
        let report = Report::new("pub", &measured(0.5, Some(1.0), 1), Counts::default());
        assert!((report.rate - 500.0).abs() < 1e-9);
        assert!((report.broker_us_per_message.unwrap() - 1000.0).abs() < 1e-9);
    }
}
