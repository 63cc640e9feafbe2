//! Reports to a statsd, with the original's names.
//!
//! A thread of its own waits for the next report, orders the totals and sends them over the time
//! until the next one, a packet at a time: a statsd that got them all at once would lose some. It
//! never holds anybody up, whatever becomes of the name or of the packets.

mod lines;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use flume::{Receiver, RecvTimeoutError, Sender};

use self::lines::Report;
use super::office::Totals;
use super::outpost::Errand;
use crate::config::nsqd::StatsdOptions;

/// How long the totals may take to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much of an interval the last packet stays away from the next report, as in the original.
const REST: Duration = Duration::from_secs(1);
/// How long the end of the process waits for this thread: what it was sending goes at once.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// The thread, as the main thread sees it.
#[derive(Debug)]
pub struct Statsd {
    stop: Sender<()>,
    finished: Receiver<()>,
}

impl Statsd {
    /// Starts the thread; `percentiles` are those that the shards measure.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(
        options: StatsdOptions,
        percentiles: Vec<f64>,
        errands: Sender<Errand>,
    ) -> io::Result<Statsd> {
        let (stop, stopped) = flume::bounded(1);
        let (finish, finished) = flume::bounded(1);
        thread::Builder::new().name("statsd".to_owned()).spawn(move || {
            let report = Report::new(percentiles, &options);
            let pusher = Pusher { report, options, stopped };
            pusher.run(&errands);
            // Nobody listens any more when the process is ending anyway.
            let _ = finish.send(());
        })?;
        Ok(Statsd { stop, finished })
    }

    /// Ends the thread.
    pub fn stop(self) {
        drop(self.stop);
        if self.finished.recv_timeout(STOP_PATIENCE).is_err() {
            tracing::warn!("the thread statsd did not stop in time");
        }
    }
}

/// What keys begin with: `%s` stands for the node, and a point follows.
#[must_use]
pub fn prefix(pattern: &str, broadcast_address: &str, http_port: u16) -> String {
    if pattern.is_empty() {
        return String::new();
    }
    // An IPv6 address keeps its brackets.
    let host = match broadcast_address.contains(':') {
        true => format!("[{broadcast_address}]:{http_port}"),
        false => format!("{broadcast_address}:{http_port}"),
    };
    let mut prefix = pattern.replace("%s", &host.replace(['.', ':'], "_"));
    if !prefix.ends_with('.') {
        prefix.push('.');
    }
    prefix
}

/// The thread.
struct Pusher {
    options: StatsdOptions,
    report: Report,
    stopped: Receiver<()>,
}

impl Pusher {
    /// Reports after each interval, until it is told to stop.
    fn run(mut self, errands: &Sender<Errand>) {
        let interval = Duration::from_millis(self.options.interval_ms);
        let mut next = Instant::now() + interval;
        while !self.is_over_at(next) {
            if let Err(problem) = self.push(errands, interval.saturating_sub(REST)) {
                tracing::error!("STATSD: {problem}");
            }
            // A report that took longer than the interval leaves out those that it missed.
            let now = Instant::now();
            while next <= now {
                next += interval;
            }
        }
        tracing::info!("STATSD: closing");
    }

    /// Waits until then, or until it is time to stop.
    fn is_over_at(&self, then: Instant) -> bool {
        !matches!(self.stopped.recv_deadline(then), Err(RecvTimeoutError::Timeout))
    }

    /// One report, sent over so much time.
    fn push(&mut self, errands: &Sender<Errand>, over: Duration) -> Result<(), String> {
        let address = &self.options.address;
        let socket = connect(address).map_err(|error| {
            format!("failed to create UDP socket to statsd({address}) - {error}")
        })?;
        tracing::info!("STATSD: pushing stats to {address}");
        let totals = totals(errands)?;
        let packets = self.report.packets(&totals);
        let pause = over / u32::try_from(packets.len().max(1)).unwrap_or(u32::MAX);
        let mut stopping = false;
        let mut refused = None;
        for packet in packets {
            if let Err(error) = socket.send(&packet) {
                // Nobody listens there; the rest may find somebody.
                refused = Some(error);
            }
            stopping = stopping || self.is_over_at(Instant::now() + pause);
        }
        match refused {
            Some(error) => Err(format!("failed to send to {address} - {error}")),
            None => Ok(()),
        }
    }
}

fn totals(errands: &Sender<Errand>) -> Result<Totals, String> {
    let (reply, answer) = flume::bounded(1);
    let lost = || "the statistics did not come".to_owned();
    errands.send_timeout(Errand::Totals(reply), PATIENCE).map_err(|_| lost())?;
    answer.recv_timeout(PATIENCE).ok().flatten().ok_or_else(lost)
}

/// A socket to a statsd; its name is looked up each time.
fn connect(address: &str) -> io::Result<UdpSocket> {
    let address = address.to_socket_addrs()?.next();
    let address = address.ok_or_else(|| io::Error::other("the name leads nowhere"))?;
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::prefix;

    #[test]
    fn the_prefix_names_the_node() {
        assert_eq!(prefix("nsq.%s", "127.0.0.1", 4151), "nsq.127_0_0_1_4151.");
        assert_eq!(prefix("nsq.%s", "::1", 4151), "nsq.[__1]_4151.");
        assert_eq!(prefix("%s.%s.", "h.x", 1), "h_x_1.h_x_1.");
        assert_eq!(prefix("plain", "h", 1), "plain.");
        assert_eq!(prefix("", "h", 1), "");
    }
}
