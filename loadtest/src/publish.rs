//! Publishing in a closed loop: MPUB, PUB and HTTP, and filling a topic with an exact count.

use crate::poll::Poller;
use crate::producer::{Producers, Publish, Request};
use crate::window::{Counts, StallWatch, WAIT_MAX, Window};
use crate::{Error, Report, Result, Target, Timing};

/// Publishes for the given time; nobody consumes, so a backlog grows.
pub fn run(target: &Target, shape: Publish, timing: Timing) -> Result<Report> {
    let mut poller = Poller::new()?;
    let mut producers = Producers::connect(target, shape, &poller)?;
    let mut window = Window::new(target, timing)?;
    let mut watch = StallWatch::new();
    producers.grant(u64::MAX, &poller)?;
    loop {
        step(&mut producers, &mut poller, &mut watch)?;
        if !window.tick(counts(&producers))? {
            break;
        }
    }
    producers.budget = 0;
    drain(&mut producers, &mut poller, &mut watch)?;
    let mode = match shape.request {
        Request::Pub => "pub",
        Request::Mpub(_) => "mpub",
        Request::Http => "http",
    };
    Ok(Report::new(mode, &window.measured()?, counts(&producers)))
}

/// Publishes at least `count` messages of `size` bytes by MPUB, as fast as it goes; returns how
/// many they were (the last batch is a whole one).
pub fn fill(target: &Target, count: u64, size: usize) -> Result<u64> {
    /// Large enough to be quick, small enough for any limit on a body.
    const BATCH: usize = 200;
    let shape =
        Publish { request: Request::Mpub(BATCH), connections: 2, size, in_flight: 2, together: 1 };
    let mut poller = Poller::new()?;
    let mut producers = Producers::connect(target, shape, &poller)?;
    let mut watch = StallWatch::new();
    producers.grant(count.div_ceil(BATCH as u64), &poller)?;
    while producers.budget > 0 {
        step(&mut producers, &mut poller, &mut watch)?;
    }
    drain(&mut producers, &mut poller, &mut watch)?;
    Ok(producers.published())
}

fn counts(producers: &Producers) -> Counts {
    Counts { published: producers.published(), received: 0 }
}

fn step(producers: &mut Producers, poller: &mut Poller, watch: &mut StallWatch) -> Result<()> {
    for index in 0..poller.wait(WAIT_MAX)? {
        producers.on_event(poller.event(index), poller)?;
    }
    watch.check(producers.answered, || {
        let waiting = producers.sent - producers.answered;
        format!("{waiting} publishes were not answered")
    })
}

/// Waits for the answers to what is under way.
fn drain(producers: &mut Producers, poller: &mut Poller, watch: &mut StallWatch) -> Result<()> {
    while producers.answered < producers.sent {
        step(producers, poller, watch)?;
    }
    if producers.answered > producers.sent {
        return Err(Error::Protocol("more answers than publishes".to_owned()));
    }
    Ok(())
}
