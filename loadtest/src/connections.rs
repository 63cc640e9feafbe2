//! Connections that do nothing: what one of them costs a broker in memory, and all of them in CPU
//! time, while their heartbeats are answered.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::codec::{self, Kind};
use crate::conn::{Conn, Outbox, ReadBuffer};
use crate::cpu::{self, ProcessClock};
use crate::poll::{Event, Poller};
use crate::report::{Ending, Report};
use crate::watch::{Seen, Watcher};
use crate::window::{Counts, WAIT_MAX, Window};
use crate::{Error, Result, Target, Timing, greet};

/// What is left behind by the opening of connections is done by then.
const SETTLE: Duration = Duration::from_secs(1);

/// The driver's own files besides its connections.
const FILES_BESIDES: u64 = 64;

/// How often a watcher is asked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The shape of the load.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// How many.
    pub count: usize,
    /// They subscribe, to the target's topics and channels in turn; otherwise they only say hello.
    pub subscribe: bool,
}

/// What connections cost that do nothing.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Idle {
    /// Connections that were opened.
    pub opened: usize,
    /// Of these, those that the broker closed.
    pub closed: usize,
    /// How long it took to open them.
    pub open_seconds: f64,
    /// Heartbeats that were answered.
    pub heartbeats: u64,
    /// The broker's resident memory before and with them, if its process was named.
    pub rss_bytes: Option<(u64, u64)>,
    /// The growth, for one connection.
    pub rss_bytes_per_connection: Option<f64>,
    /// CPU time of the broker while nothing happened, as a share of one core.
    pub cpu_share: Option<f64>,
    /// The same in ticks of the kernel's statistics, a hundred to a second.
    pub cpu_ticks: Option<f64>,
}

struct Run<'r> {
    poller: Poller,
    buffer: ReadBuffer,
    members: Vec<Option<(Conn, Outbox)>>,
    closed: usize,
    heartbeats: u64,
    watcher: &'r mut dyn Watcher,
    begun: Instant,
    looked_at: Instant,
    whole: Duration,
}

/// Opens them, then watches the broker for the timing's window; its warm-up comes before the
/// first connection is opened.
pub fn run(
    target: &Target,
    shape: Connections,
    timing: Timing,
    watcher: &mut dyn Watcher,
) -> Result<Report> {
    cpu::raise_file_limit(shape.count as u64 + FILES_BESIDES).map_err(|error| {
        Error::Unfit(format!("{} connections need as many files: {error}", shape.count))
    })?;
    std::thread::sleep(timing.warmup);
    let clock = target.broker_pid.map(ProcessClock::of).transpose()?;
    let rss = || clock.map(|clock| clock.memory().map(|memory| memory.rss_bytes)).transpose();
    let before = rss()?;
    let begun = Instant::now();
    let mut run = Run {
        poller: Poller::new()?,
        buffer: ReadBuffer::new(),
        members: Vec::with_capacity(shape.count),
        closed: 0,
        heartbeats: 0,
        watcher,
        begun,
        looked_at: begun,
        whole: timing.window.saturating_add(SETTLE),
    };
    let mut go_on = run.open(target, shape)?;
    let open_seconds = begun.elapsed().as_secs_f64();
    run.begun = Instant::now();
    go_on = go_on && run.idle(SETTLE)?;
    let mut window = Window::new(target, Timing { warmup: Duration::ZERO, ..timing })?;
    window.open(Counts::default())?;
    go_on = go_on && run.idle(timing.window)?;
    let after = rss()?;
    window.close(Counts::default())?;
    let mut report = Report::new("connections", &window.measured()?, Counts::default());
    if !go_on {
        report.ending = Ending::Interrupted;
    }
    let (opened, cpu_s) = (run.members.len(), report.broker_cpu_seconds);
    let rss_bytes = before.zip(after);
    let of_one = |(before, after): (u64, u64)| (after as f64 - before as f64) / opened as f64;
    report.idle = Some(Idle {
        opened,
        closed: run.closed,
        open_seconds,
        heartbeats: run.heartbeats,
        rss_bytes,
        rss_bytes_per_connection: rss_bytes.map(of_one),
        cpu_share: cpu_s.map(|cpu_s| cpu_s / report.seconds),
        cpu_ticks: cpu_s.map(|cpu_s| cpu_s * 100.0),
    });
    Ok(report)
}

impl Run<'_> {
    /// One after the other; false when the watcher had enough.
    fn open(&mut self, target: &Target, shape: Connections) -> Result<bool> {
        let places = target.topics * target.channels;
        for token in 0..shape.count {
            let conn = if shape.subscribe {
                let turn = token % places;
                let topic = target.topic_name(turn / target.channels);
                let channel = target.channel_name(turn % target.channels);
                greet::consumer(target, &topic, &channel, token)?
            } else {
                greet::producer(target, token)?
            };
            conn.register(&self.poller)?;
            self.members.push(Some((conn, Outbox::default())));
            // Heartbeats of the first ones come while the last ones are being opened.
            if token.is_multiple_of(64) {
                self.step(Duration::ZERO)?;
                if !self.look() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn idle(&mut self, time: Duration) -> Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.step(WAIT_MAX.min(time.saturating_sub(begun.elapsed())))?;
            if !self.look() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn step(&mut self, timeout: Duration) -> Result<()> {
        for index in 0..self.poller.wait(timeout)? {
            self.on_event(self.poller.event(index))?;
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<()> {
        let Some((conn, outbox)) = &mut self.members[event.token] else { return Ok(()) };
        let mut beats = 0;
        if event.readable {
            let Ok(bytes) = conn.read(&mut self.buffer) else {
                self.members[event.token] = None;
                self.closed += 1;
                return Ok(());
            };
            let mut at = 0;
            while let Some(frame) = codec::next_frame(bytes, &mut at)? {
                match (frame.kind, frame.data) {
                    (Kind::Response, b"_heartbeat_") => beats += 1,
                    _ => return Err(codec::unexpected(&frame)),
                }
            }
            conn.keep(&bytes[at..]);
        }
        outbox.bytes.extend_from_slice(&b"NOP\n".repeat(beats));
        self.heartbeats += beats as u64;
        Ok(outbox.flush(conn, &self.poller)?)
    }

    fn look(&mut self) -> bool {
        if self.looked_at.elapsed() < LOOK_EVERY {
            return true;
        }
        self.looked_at = Instant::now();
        let elapsed = self.begun.elapsed();
        let share = (elapsed.as_secs_f64() / self.whole.as_secs_f64()).min(1.0);
        let published = (self.members.len() - self.closed) as u64;
        self.watcher.look(&Seen { elapsed, share, published, received: 0 })
    }
}
