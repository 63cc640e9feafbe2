//! Consuming what was published before: a drain, or as much as goes in a given time.

use crate::consumer::{Answer, Consumers};
use crate::poll::Poller;
use crate::window::{Counts, StallWatch, WAIT_MAX, Window};
use crate::{Error, Report, Result, Target, Timing};

pub use crate::consumer::create_channel;

/// The shape of a consuming load.
#[derive(Clone, Copy, Debug)]
pub struct Consume {
    /// How many connections.
    pub connections: usize,
    /// `RDY` on each.
    pub rdy: u32,
    /// How many messages there are.
    pub count: u64,
}

/// Consumes until everything has come and the broker has handled every FIN, or until the window
/// is over; `mode` is the name in the report.
///
/// Without a warm-up the window opens before the first `RDY`, so that the whole drain is in it.
pub fn run(mode: &'static str, target: &Target, shape: Consume, timing: Timing) -> Result<Report> {
    let mut poller = Poller::new()?;
    let mut consumers = Consumers::subscribe(target, shape.connections, 0, &poller)?;
    let mut window = Window::new(target, timing)?;
    let mut watch = StallWatch::new();
    window.tick(Counts::default())?;
    consumers.ready(shape.rdy, &poller)?;
    while consumers.received < shape.count {
        step(target, &mut consumers, &mut poller, &mut watch, shape.count)?;
        if !window.tick(counts(&consumers))? {
            break;
        }
    }
    if consumers.received >= shape.count {
        consumers.close(&poller)?;
        while !consumers.are_closed() {
            step(target, &mut consumers, &mut poller, &mut watch, shape.count)?;
        }
        window.close(counts(&consumers))?;
    }
    if consumers.received > shape.count {
        let text = format!("{} came, {} were published", consumers.received, shape.count);
        return Err(Error::Miscount(text));
    }
    Ok(Report::new(mode, &window.measured()?, counts(&consumers)))
}

fn counts(consumers: &Consumers) -> Counts {
    Counts { published: 0, received: consumers.received }
}

fn step(
    target: &Target,
    consumers: &mut Consumers,
    poller: &mut Poller,
    watch: &mut StallWatch,
    count: u64,
) -> Result<()> {
    for index in 0..poller.wait(WAIT_MAX)? {
        consumers.on_event(target, poller.event(index), poller, |_, _| Answer::Finish)?;
    }
    let received = consumers.received;
    watch.check(received, || format!("{received} of {count} messages came"))
}
