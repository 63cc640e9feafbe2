//! What a load reports, and who was the bottleneck.

use std::fmt;

use serde::Serialize;

use crate::window::{Counts, Measured};

/// From this share of its cores on, a side counts as busy all the time.
const BUSY_SHARE: f64 = 0.95;

/// Who kept the rate from being higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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

/// Latencies from the intended send time to the receipt, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half of the messages were faster.
    pub p50_us: f64,
    /// 99 in a hundred were faster.
    pub p99_us: f64,
    /// 999 in a thousand were faster.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
    /// The driver's own share: how late it sent, 99 in a hundred.
    pub late_p99_us: f64,
    /// Messages sent and not received.
    pub lost: u64,
    /// Messages received more than once.
    pub duplicated: u64,
}

/// The result of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which load.
    pub mode: &'static str,
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
    /// The broker's memory when the window closed, and its highest.
    pub broker_memory: Option<crate::cpu::Memory>,
    /// What the broker wrote within the window, where we may know.
    pub broker_io: Option<crate::cpu::Io>,
    /// Who kept the rate from being higher.
    pub limited_by: Limit,
    /// Open-loop runs only.
    pub latency: Option<Latency>,
    /// Messages confirmed and received over the whole run, warm-up and drain included.
    pub total_published: u64,
    /// See `total_published`.
    pub total_received: u64,
}

impl Report {
    /// The report of `mode`, of what its window measured and of the whole run's counts.
    pub fn new(mode: &'static str, measured: &Measured, total: Counts) -> Self {
        let counts = measured.counts;
        let messages = if counts.received > 0 { counts.received } else { counts.published };
        let broker = measured.broker;
        let cpu_s = broker.map(|broker| broker.cpu_s);
        Self {
            mode,
            messages,
            published: counts.published,
            received: counts.received,
            seconds: measured.seconds,
            rate: messages as f64 / measured.seconds,
            driver_cpu_seconds: measured.driver_cpu_s,
            broker_cpu_seconds: cpu_s,
            broker_us_per_message: cpu_s.map(|cpu_s| cpu_s * 1e6 / messages.max(1) as f64),
            other_cpu_seconds: broker.map(|broker| broker.other_cpu_s),
            broker_memory: broker.map(|broker| broker.memory),
            broker_io: broker.and_then(|broker| broker.io),
            limited_by: limit(measured),
            latency: None,
            total_published: total.published,
            total_received: total.received,
        }
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

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let driver_share = 100.0 * self.driver_cpu_seconds / self.seconds;
        writeln!(out, "mode                 {}", self.mode)?;
        writeln!(out, "messages             {}", self.messages)?;
        writeln!(out, "published, received  {}, {}", self.published, self.received)?;
        writeln!(out, "seconds              {:.3}", self.seconds)?;
        writeln!(out, "rate                 {:.0} messages/s", self.rate)?;
        let driver_s = self.driver_cpu_seconds;
        writeln!(out, "driver CPU           {driver_s:.3} s ({driver_share:.0} %)")?;
        self.fmt_broker(out)?;
        if let Some(latency) = &self.latency {
            latency.fmt(out)?;
        }
        let limit = match self.limited_by {
            Limit::Broker => "the broker",
            Limit::Driver => "THE DRIVER: this rate says nothing about the broker",
            Limit::Both => "broker and driver alike",
            Limit::Neither => "neither side's CPU",
            Limit::Unknown => "perhaps the driver: name the broker's process to know",
        };
        write!(out, "limited by           {limit}")
    }
}

impl Report {
    fn fmt_broker(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(cpu_s), Some(us)) = (self.broker_cpu_seconds, self.broker_us_per_message) else {
            return Ok(());
        };
        let share = 100.0 * cpu_s / self.seconds;
        writeln!(out, "broker CPU           {cpu_s:.3} s ({share:.0} %), {us:.3} us/message")?;
        if let Some(memory) = self.broker_memory {
            let (now, max) = (memory.rss_bytes >> 20, memory.rss_max_bytes >> 20);
            writeln!(out, "broker memory        {now} MiB, highest {max} MiB")?;
        }
        if let Some(io) = self.broker_io {
            let of_one = |bytes| bytes as f64 / self.messages.max(1) as f64;
            let (stored, written) = (of_one(io.write_bytes), of_one(io.wchar));
            writeln!(
                out,
                "broker wrote         {stored:.1} B/message to storage, {written:.1} by calls"
            )?;
        }
        if let Some(other_s) = self.other_cpu_seconds {
            let share = 100.0 * other_s / self.seconds;
            writeln!(out, "other processes      {other_s:.3} s ({share:.0} % of a core)")?;
        }
        Ok(())
    }
}

impl Latency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "latency p50          {:.0} us", self.p50_us)?;
        writeln!(out, "latency p99          {:.0} us", self.p99_us)?;
        writeln!(out, "latency p99.9        {:.0} us", self.p999_us)?;
        writeln!(out, "latency max          {:.0} us", self.max_us)?;
        writeln!(out, "sent late, p99       {:.0} us", self.late_p99_us)?;
        writeln!(out, "lost, duplicated     {}, {}", self.lost, self.duplicated)
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
        let text =
            Report::new("mpub", &measured(1.99, Some(1.2), 1), Counts::default()).to_string();
        assert!(text.contains("THE DRIVER"), "{text}");
    }

    #[test]
    fn costs_are_for_one_message_and_rates_for_one_second() {
        let report = Report::new("pub", &measured(0.5, Some(1.0), 1), Counts::default());
        assert!((report.rate - 500.0).abs() < 1e-9);
        assert!((report.broker_us_per_message.unwrap() - 1000.0).abs() < 1e-9);
    }
}
