//! Latency under a given rate: an open loop that sends when a message is due, whether or not the
//! broker keeps up, and counts from that instant to the receipt.
//!
//! So a broker that pauses is charged for every message that was due meanwhile (a closed loop
//! would wait with it and see one slow message). What the driver itself was late is reported
//! beside it.

use std::ops::Range;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::codec::{self, Frame};
use crate::conn::{Conn, Outbox};
use crate::consumer::Consumers;
use crate::poll::{Event, Poller};
use crate::report::Latency;
use crate::window::{Counts, WAIT_MAX, Window};
use crate::{Error, READ_BYTES_MAX, Report, Result, Target, Timing, cpu, producer};

/// After the last message was sent, so long without a receipt means that no more will come.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Sending goes on for so long after the last message that counts, so that this one, too, is
/// delivered out of the middle of the stream: a broker that holds messages until a buffer is
/// full would otherwise be charged for the end of the run.
const RUN_ON: Duration = Duration::from_millis(500);

/// Bytes at the front of a body: the message's number.
const STAMP_BYTES: usize = 8;

/// The shape of an open loop.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Messages a second over all producers.
    pub per_second: f64,
    /// Connections that publish, in turn.
    pub producers: usize,
    /// Connections that consume.
    pub consumers: usize,
    /// `RDY` on each.
    pub rdy: u32,
    /// Bytes of a body.
    pub size: usize,
    /// Look at the sockets without sleeping: the driver's own wake-ups are then not measured
    /// with the broker's, at the price of a whole core.
    pub spin: bool,
}

struct Sender {
    conn: Conn,
    outbox: Outbox,
}

struct Run {
    shape: Rate,
    poller: Poller,
    senders: Vec<Sender>,
    consumers: Consumers,
    buffer: Vec<u8>,
    request: Vec<u8>,
    begun: Instant,
    /// Messages to send in all.
    total: u64,
    /// Those that count.
    counted: Range<u64>,
    sent: u64,
    confirmed: u64,
    tally: Tally,
}

/// What came back.
struct Tally {
    latency_ns: Histogram<u64>,
    late_ns: Histogram<u64>,
    seen: Vec<bool>,
    counted: Range<u64>,
    interval_ns: f64,
    duplicated: u64,
    strange: u64,
}

/// Sends at the given rate for the given time, then waits for what is outstanding.
pub fn run(target: &Target, shape: Rate, timing: Timing) -> Result<Report> {
    cpu::sharpen_timers()?;
    let mut run = Run::connect(target, shape, timing)?;
    // The schedule, not the clock, opens and closes this window.
    let mut window = Window::new(target, timing)?;
    run.begun = Instant::now();
    run.send_until(run.counted.start)?;
    window.open(run.counts())?;
    run.send_until(run.counted.end)?;
    window.close(run.counts())?;
    run.send_until(run.total)?;
    run.drain()?;
    let mut report = Report::new("e2e", &window.measured()?, run.counts());
    report.latency = Some(run.tally.latency(run.sent));
    Ok(report)
}

impl Run {
    fn connect(target: &Target, shape: Rate, timing: Timing) -> Result<Self> {
        let poller = Poller::new()?;
        let mut senders = Vec::new();
        for token in 0..shape.producers {
            let conn = Conn::connect(target.tcp, codec::MAGIC, token)?;
            conn.register(&poller)?;
            senders.push(Sender { conn, outbox: Outbox::default() });
        }
        let consumers = shape.consumers;
        let mut consumers = Consumers::subscribe(target, consumers, senders.len(), &poller)?;
        consumers.ready(shape.rdy, &poller)?;
        let messages = |time: Duration| (shape.per_second * time.as_secs_f64()).ceil() as u64;
        let first = messages(timing.warmup);
        let counted = first..first + messages(timing.window);
        let total = counted.end + messages(RUN_ON);
        let body = producer::body(shape.size.max(STAMP_BYTES));
        Ok(Self {
            shape,
            poller,
            senders,
            consumers,
            buffer: vec![0; READ_BYTES_MAX],
            request: codec::publish(&target.topic, &body),
            begun: Instant::now(),
            total,
            counted: counted.clone(),
            sent: 0,
            confirmed: 0,
            tally: Tally::new(total, counted, 1e9 / shape.per_second)?,
        })
    }

    /// Sends each message when it is due, until `stop` of them are sent.
    fn send_until(&mut self, stop: u64) -> Result<()> {
        while self.sent < stop {
            self.send_due(stop)?;
            self.step()?;
        }
        Ok(())
    }

    /// Sends every message whose time has come, up to `stop`.
    fn send_due(&mut self, stop: u64) -> Result<()> {
        let now_ns = self.begun.elapsed().as_nanos() as u64;
        let stamp_at = self.request.len() - self.shape.size.max(STAMP_BYTES);
        while self.sent < stop && self.tally.due_ns(self.sent) <= now_ns {
            self.request[stamp_at..stamp_at + STAMP_BYTES]
                .copy_from_slice(&self.sent.to_be_bytes());
            let turn = (self.sent % self.senders.len() as u64) as usize;
            self.senders[turn].outbox.bytes.extend_from_slice(&self.request);
            self.tally.sent(self.sent, now_ns);
            self.sent += 1;
        }
        for sender in &mut self.senders {
            if !sender.outbox.bytes.is_empty() {
                sender.outbox.flush(&mut sender.conn, &self.poller)?;
            }
        }
        Ok(())
    }

    /// Waits until something came or the next message is due.
    fn step(&mut self) -> Result<()> {
        let now_ns = self.begun.elapsed().as_nanos() as u64;
        let until_due = match self.sent < self.total {
            true => Duration::from_nanos(self.tally.due_ns(self.sent).saturating_sub(now_ns)),
            false => WAIT_MAX,
        };
        let timeout = if self.shape.spin { Duration::ZERO } else { until_due.min(WAIT_MAX) };
        for index in 0..self.poller.wait(timeout)? {
            self.on_event(self.poller.event(index))?;
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<()> {
        if event.token >= self.senders.len() {
            let (tally, begun) = (&mut self.tally, self.begun);
            // One reading of the clock for everything that one read brought.
            let mut now_ns = None;
            return self.consumers.on_event(event, &self.poller, |message| {
                let now_ns = *now_ns.get_or_insert_with(|| begun.elapsed().as_nanos() as u64);
                tally.received(message, now_ns);
            });
        }
        let sender = &mut self.senders[event.token];
        if event.readable {
            let bytes = sender.conn.read(&mut self.buffer)?;
            let (oks, used) = codec::count_oks(bytes)?;
            sender.conn.keep(&bytes[used..]);
            self.confirmed += oks as u64;
        }
        Ok(sender.outbox.flush(&mut sender.conn, &self.poller)?)
    }

    /// Waits for every message, or until none has come for [`SILENCE_MAX`].
    fn drain(&mut self) -> Result<()> {
        let (mut last, mut since) = (0, Instant::now());
        while self.consumers.received < self.sent || self.confirmed < self.sent {
            self.step()?;
            let progress = self.consumers.received + self.confirmed;
            if progress != last {
                (last, since) = (progress, Instant::now());
            } else if since.elapsed() > SILENCE_MAX {
                break;
            }
        }
        if self.tally.strange > 0 {
            let text = format!("{} messages of another run came", self.tally.strange);
            return Err(Error::Miscount(text));
        }
        Ok(())
    }

    fn counts(&self) -> Counts {
        Counts { published: self.confirmed, received: self.consumers.received }
    }
}

impl Tally {
    fn new(total: u64, counted: Range<u64>, interval_ns: f64) -> Result<Self> {
        Ok(Self {
            latency_ns: histogram()?,
            late_ns: histogram()?,
            seen: vec![false; total as usize],
            counted,
            interval_ns,
            duplicated: 0,
            strange: 0,
        })
    }

    /// When message `number` is to be sent, counted from the beginning of the run.
    fn due_ns(&self, number: u64) -> u64 {
        (number as f64 * self.interval_ns) as u64
    }

    fn sent(&mut self, number: u64, now_ns: u64) {
        if self.counted.contains(&number) {
            self.late_ns.saturating_record(now_ns.saturating_sub(self.due_ns(number)));
        }
    }

    fn received(&mut self, message: &Frame<'_>, now_ns: u64) {
        let number =
            message.body().first_chunk().map_or(u64::MAX, |stamp| u64::from_be_bytes(*stamp));
        let Some(seen) = usize::try_from(number).ok().and_then(|at| self.seen.get_mut(at)) else {
            self.strange += 1;
            return;
        };
        if std::mem::replace(seen, true) {
            self.duplicated += 1;
        } else if self.counted.contains(&number) {
            self.latency_ns.saturating_record(now_ns.saturating_sub(self.due_ns(number)));
        }
    }

    fn latency(&self, sent: u64) -> Latency {
        let at = |quantile| self.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
        let distinct = self.seen.iter().filter(|seen| **seen).count() as u64;
        Latency {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.latency_ns.max() as f64 / 1e3,
            late_p99_us: self.late_ns.value_at_quantile(0.99) as f64 / 1e3,
            lost: sent - distinct,
            duplicated: self.duplicated,
        }
    }
}

/// 1 µs to 100 s at three digits.
fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1_000, 100_000_000_000, 3)
        .map_err(|error| Error::Protocol(format!("no histogram: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Kind;

    fn message(number: u64) -> Vec<u8> {
        let mut data = vec![0; codec::MESSAGE_HEADER_BYTES];
        data.extend_from_slice(&number.to_be_bytes());
        data
    }

    fn receive(tally: &mut Tally, number: u64, now_ns: u64) {
        let data = message(number);
        tally.received(&Frame { kind: Kind::Message, data: &data }, now_ns);
    }

    #[test]
    fn latency_counts_from_when_a_message_was_due_and_not_from_when_it_left() {
        let mut tally = Tally::new(4, 0..4, 1_000_000.0).unwrap();
        // Everything was held up for 10 ms: the first message was due at 0, the fourth at 3 ms.
        for number in 0..4 {
            tally.sent(number, 10_000_000);
            receive(&mut tally, number, 10_000_000);
        }
        let latency = tally.latency(4);
        assert!((latency.max_us - 10_000.0).abs() < 10.0, "{latency:?}");
        assert!((latency.p50_us - 8_000.0).abs() < 10.0, "{latency:?}");
        assert!((latency.late_p99_us - 10_000.0).abs() < 10.0, "{latency:?}");
        assert_eq!((latency.lost, latency.duplicated), (0, 0));
    }

    #[test]
    fn losses_repeats_and_strangers_are_told_apart() {
        let mut tally = Tally::new(4, 1..3, 1_000.0).unwrap();
        receive(&mut tally, 0, 5_000);
        receive(&mut tally, 1, 5_000);
        receive(&mut tally, 1, 9_000);
        receive(&mut tally, 77, 9_000);
        let latency = tally.latency(4);
        assert_eq!((latency.lost, latency.duplicated, tally.strange), (2, 1, 1));
        // Only message 1 lies in the window, and only its first receipt counts.
        assert_eq!(tally.latency_ns.len(), 1);
    }
}
