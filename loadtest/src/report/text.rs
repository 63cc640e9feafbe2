//! A report as a table for people.

use std::fmt;

use super::{Ending, Limit, Report};
use crate::connections::Idle;
use crate::latency::Latency;

/// The driver sent this much too late, at the 99th percentile: then it is part of the latency.
const LATE_MAX_US: f64 = 1_000.0;

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pace = match (self.rate_asked, self.mode.as_str()) {
            (Some(rate), _) => format!("open loop, {rate:.0} messages/s asked for"),
            (None, "connections") => "nothing is sent".to_owned(),
            (None, _) => "closed loop, as fast as it goes".to_owned(),
        };
        row(out, "mode", format_args!("{}: {pace}", self.mode))?;
        self.fmt_counts(out)?;
        let driver_s = self.driver_cpu_seconds;
        let driver_share = 100.0 * driver_s / self.seconds;
        row(out, "driver CPU", format_args!("{driver_s:.3} s ({driver_share:.0} %)"))?;
        self.fmt_broker(out)?;
        self.fmt_latencies(out)?;
        self.fmt_verification(out)?;
        if let Some(idle) = &self.idle {
            idle.fmt(out)?;
        }
        self.fmt_remarks(out)?;
        let limit = match self.limited_by {
            Limit::Broker => "the broker",
            Limit::Driver => "THE DRIVER: this rate says nothing about the broker",
            Limit::Both => "broker and driver alike",
            Limit::Neither if self.open_loop => "the rate that was asked for",
            Limit::Neither => "neither side's CPU",
            Limit::Unknown => "perhaps the driver: name the broker's process to know",
        };
        write!(out, "{:<21}{limit}", "limited by")
    }
}

impl Report {
    fn fmt_counts(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.idle.is_some() {
            return row(out, "seconds", format_args!("{:.3}", self.seconds));
        }
        row(out, "messages", self.messages)?;
        row(out, "published, received", format_args!("{}, {}", self.published, self.received))?;
        row(out, "seconds", format_args!("{:.3}", self.seconds))?;
        row(out, "rate", format_args!("{:.0} messages/s", self.rate))
    }

    fn fmt_broker(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(cpu_s), Some(us)) = (self.broker_cpu_seconds, self.broker_us_per_message) else {
            return Ok(());
        };
        let share = 100.0 * cpu_s / self.seconds;
        match self.idle {
            Some(_) => row(out, "broker CPU", format_args!("{cpu_s:.3} s ({share:.1} %)"))?,
            None => {
                let text = format_args!("{cpu_s:.3} s ({share:.0} %), {us:.3} us/message");
                row(out, "broker CPU", text)?;
            }
        }
        if let (Some(before), Some(memory)) = (self.broker_memory_before, self.broker_memory) {
            let (now, max) = (memory.rss_bytes >> 20, memory.rss_max_bytes >> 20);
            let text = format_args!("{} to {now} MiB, highest {max} MiB", before.rss_bytes >> 20);
            row(out, "broker memory", text)?;
        }
        if let Some(io) = self.broker_io.filter(|_| self.idle.is_none()) {
            let of_one = |bytes| bytes as f64 / self.messages.max(1) as f64;
            let (stored, written) = (of_one(io.write_bytes), of_one(io.wchar));
            let text = format_args!("{stored:.1} B/message to storage, {written:.1} by calls");
            row(out, "broker wrote", text)?;
        }
        if let Some(other_s) = self.other_cpu_seconds {
            let share = 100.0 * other_s / self.seconds;
            row(out, "other processes", format_args!("{other_s:.3} s ({share:.0} % of a core)"))?;
        }
        Ok(())
    }

    fn fmt_latencies(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [("to the receipt", self.latency), ("to the confirmation", self.confirmed)];
        let late = [("sent late by", self.late.filter(|_| self.open_loop))];
        let mut all = all.into_iter().chain(late).peekable();
        if all.clone().all(|(_, latency)| latency.is_none()) {
            return Ok(());
        }
        let from = if self.open_loop { "intended send" } else { "send, closed loop" };
        let names = ["p50", "p90", "p99", "p99.9", "p99.99", "max"];
        write!(out, "{:<21}", format!("ms from {}", from.split(',').next().unwrap_or(from)))?;
        names.iter().try_for_each(|name| write!(out, "{name:>10}"))?;
        writeln!(out)?;
        for (name, latency) in all.by_ref() {
            let Some(latency) = latency else { continue };
            write!(out, "{:<21}", format!("  {name}"))?;
            values(&latency).iter().try_for_each(|us| write!(out, "{:>10.3}", us / 1e3))?;
            writeln!(out)?;
        }
        if !self.open_loop {
            let text = "of a closed loop: not comparable with those of an open one";
            row(out, "latencies", text)?;
        }
        Ok(())
    }

    fn fmt_verification(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(found) = self.verification else { return Ok(()) };
        let what = if found.checksums { "checksums and numbers" } else { "numbers only" };
        let text = format_args!("{what} of {} deliveries", found.expected);
        row(out, "verified", text)?;
        let verdict = self.faults().map(|faults| faults.to_uppercase());
        row(out, "verdict", verdict.unwrap_or_else(|| "none lost, repeated or corrupt".into()))?;
        if found.redelivered + self.reconnects > 0 {
            let (again, anew) = (found.redelivered, self.reconnects);
            let text = format_args!("{again} deliveries were a later attempt, {anew} reconnects");
            row(out, "torment", text)?;
        }
        Ok(())
    }

    fn fmt_remarks(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ending {
            Ending::Complete => {}
            Ending::Interrupted => row(out, "ended", "early: what was under way is not judged")?,
            Ending::TimeUp => row(out, "ended", "WHEN TIME WAS UP: not everything had come")?,
            Ending::Failed(text) => row(out, "FAILED", text)?,
        }
        if self.held_back > 0 {
            let text = format_args!("{} messages: the broker took no more", self.held_back);
            row(out, "held back", text)?;
        }
        if self.late.is_some_and(|late| self.open_loop && late.p99_us > LATE_MAX_US) {
            row(out, "DRIVER LATE", "these latencies are partly the driver's or the machine's")?;
        }
        Ok(())
    }
}

impl Idle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { opened, closed, open_seconds, heartbeats, .. } = self;
        row(out, "connections", format_args!("{opened} in {open_seconds:.3} s, {closed} closed"))?;
        row(out, "heartbeats", heartbeats)?;
        if let (Some((before, after)), Some(one)) = (self.rss_bytes, self.rss_bytes_per_connection)
        {
            let (before, after, one) = (before >> 10, after >> 10, one / 1024.0);
            let text =
                format_args!("{before} KiB before, {after} KiB with them: {one:.2} KiB each");
            row(out, "resident memory", text)?;
        }
        if let Some(ticks) = self.cpu_ticks {
            row(out, "CPU ticks at rest", format_args!("{ticks:.1}"))?;
        }
        Ok(())
    }
}

/// As in the table's head.
fn values(latency: &Latency) -> [f64; 6] {
    let Latency { p50_us, p90_us, p99_us, p999_us, p9999_us, max_us, .. } = *latency;
    [p50_us, p90_us, p99_us, p999_us, p9999_us, max_us]
}

fn row(out: &mut fmt::Formatter<'_>, name: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(out, "{name:<21}{value}")
}
