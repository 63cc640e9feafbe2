//! What was counted between two instants, and what it cost.

use std::io;
use std::time::{Duration, Instant};

use crate::cpu::{self, Io, Memory, ProcessClock};
use crate::{Error, Result, STALL_MAX, Target, Timing};

/// Messages that went in and came out so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Messages that the broker has confirmed.
    pub published: u64,
    /// Messages that were received and finished.
    pub received: u64,
}

/// One instant of a run.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    counts: Counts,
    driver_ns: u64,
    broker_ns: u64,
    machine_ns: u64,
    /// Only where we may know.
    io: Option<Io>,
}

/// A stretch of time over which a load is measured.
pub struct Window {
    clock: Option<ProcessClock>,
    timing: Timing,
    begun: Instant,
    opened: Option<Mark>,
    closed: Option<Mark>,
    /// When it opened, and when it closed.
    memory_before: Option<Memory>,
    memory: Option<Memory>,
}

/// What a [`Window`] saw.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Messages that went in and came out within it.
    pub counts: Counts,
    /// How long it was.
    pub seconds: f64,
    /// CPU time of the driving thread.
    pub driver_cpu_s: f64,
    /// The broker's side, if its process was named.
    pub broker: Option<BrokerUse>,
}

/// What the broker used while a window was open.
#[derive(Clone, Copy, Debug)]
pub struct BrokerUse {
    /// CPU time of all its threads.
    pub cpu_s: f64,
    /// Cores it may run on.
    pub cores: usize,
    /// CPU time on this machine that was neither the broker's nor the driver's.
    pub other_cpu_s: f64,
    /// Its memory when the window opened.
    pub memory_before: Memory,
    /// Its memory when the window closed.
    pub memory: Memory,
    /// What it wrote, if the system lets us know.
    pub io: Option<Io>,
}

impl Window {
    /// A window that [`Window::tick`] opens after the warm-up and closes at its end; without a
    /// warm-up it is open from the first tick.
    pub fn new(target: &Target, timing: Timing) -> Result<Self> {
        let clock = target.broker_pid.map(ProcessClock::of).transpose()?;
        let begun = Instant::now();
        Ok(Self {
            clock,
            timing,
            begun,
            opened: None,
            closed: None,
            memory_before: None,
            memory: None,
        })
    }

    /// Opens or closes the window when it is time; false once it is closed.
    pub fn tick(&mut self, counts: Counts) -> Result<bool> {
        if self.opened.is_none() && self.begun.elapsed() >= self.timing.warmup {
            self.open(counts)?;
        }
        if let Some(opened) = &self.opened
            && opened.at.elapsed() >= self.timing.window
        {
            self.close(counts)?;
        }
        Ok(self.closed.is_none())
    }

    /// Opens the window now.
    pub fn open(&mut self, counts: Counts) -> Result<()> {
        assert!(self.opened.is_none(), "a window opens once");
        self.memory_before = self.clock.map(|clock| clock.memory()).transpose()?;
        self.opened = Some(self.mark(counts)?);
        Ok(())
    }

    /// Closes the window now, unless it is closed.
    pub fn close(&mut self, counts: Counts) -> Result<()> {
        if self.closed.is_none() {
            self.closed = Some(self.mark(counts)?);
            self.memory = self.clock.map(|clock| clock.memory()).transpose()?;
        }
        Ok(())
    }

    /// Ends it before its time, or when it has not even begun.
    pub fn close_early(&mut self, counts: Counts) -> Result<()> {
        if self.opened.is_none() {
            self.open(counts)?;
        }
        self.close(counts)
    }

    /// What it saw; an error if it never opened or closed.
    pub fn measured(&self) -> Result<Measured> {
        let (Some(opened), Some(closed)) = (self.opened, self.closed) else {
            return Err(Error::Stalled("the load ended before its window opened".to_owned()));
        };
        let driver_ns = closed.driver_ns - opened.driver_ns;
        let broker = match (self.clock, self.memory_before.zip(self.memory)) {
            (Some(clock), Some((memory_before, memory))) => {
                let broker_ns = closed.broker_ns - opened.broker_ns;
                let other_ns = (closed.machine_ns - opened.machine_ns)
                    .saturating_sub(broker_ns)
                    .saturating_sub(driver_ns);
                let (cpu_s, other_cpu_s) = (seconds(broker_ns), seconds(other_ns));
                let io = closed.io.zip(opened.io).map(|(closed, opened)| closed.since(opened));
                let cores = clock.cores()?;
                Some(BrokerUse { cpu_s, cores, other_cpu_s, memory_before, memory, io })
            }
            _ => None,
        };
        Ok(Measured {
            counts: Counts {
                published: closed.counts.published - opened.counts.published,
                received: closed.counts.received - opened.counts.received,
            },
            seconds: (closed.at - opened.at).as_secs_f64(),
            driver_cpu_s: seconds(driver_ns),
            broker,
        })
    }

    fn mark(&self, counts: Counts) -> io::Result<Mark> {
        Ok(Mark {
            at: Instant::now(),
            counts,
            driver_ns: cpu::thread_cpu_ns()?,
            broker_ns: self.clock.map_or(Ok(0), |clock| clock.cpu_ns())?,
            machine_ns: cpu::machine_busy_ns()?,
            io: self.clock.and_then(|clock| clock.io().ok()),
        })
    }
}

/// Notices that a run no longer moves.
pub struct StallWatch {
    last: u64,
    since: Instant,
}

impl StallWatch {
    /// Starts watching.
    pub fn new() -> Self {
        Self { last: 0, since: Instant::now() }
    }

    /// An error naming `what` once `progress` has stayed the same for [`STALL_MAX`].
    pub fn check(&mut self, progress: u64, what: impl FnOnce() -> String) -> Result<()> {
        if progress != self.last {
            self.last = progress;
            self.since = Instant::now();
        } else if self.since.elapsed() >= STALL_MAX {
            return Err(Error::Stalled(what()));
        }
        Ok(())
    }
}

impl Default for StallWatch {
    fn default() -> Self {
        Self::new()
    }
}

/// How long a wait for input may last before the window and the stall watch are looked at again.
pub const WAIT_MAX: Duration = Duration::from_millis(50);

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
