//! Publishing in a closed loop: MPUB, PUB and HTTP, and filling topics with an exact count.

use crate::poll::Poller;
use crate::producer::{Producers, Publish, Request};
use crate::window::{Counts, StallWatch, WAIT_MAX, Window};
use crate::{Error, Report, Result, Target, Timing, broker_stats};

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
        Request::Dpub(_) => "dpub",
        Request::Http => "http",
    };
    Ok(Report::new(mode, &window.measured()?, counts(&producers)))
}

/// Publishes at least `count` messages, until all channels hold them; `mode` is the name in the
/// report. All of it counts: a broker that copies messages into its channels later pays for that.
///
/// With several topics the window ends with the last answer, since to say what all of them hold
/// costs a broker more than the load.
pub fn store(mode: &'static str, target: &Target, shape: Publish, count: u64) -> Result<Report> {
    let mut window = Window::new(target, Timing::WHOLE)?;
    window.open(Counts::default())?;
    let producers = publish_exactly(target, shape, count)?;
    if target.topics == 1 {
        broker_stats::wait_for_depth(target, producers.published())?;
    }
    window.close(counts(&producers))?;
    Ok(Report::new(mode, &window.measured()?, counts(&producers)))
}

/// Publishes at least `count` messages of `size` bytes by MPUB, as fast as it goes; returns how
/// many they were (the last batch is a whole one).
pub fn fill(target: &Target, count: u64, size: usize) -> Result<u64> {
    /// Large enough to be quick, small enough for any limit on a body.
    const BATCH: usize = 200;
    let request = Request::Mpub(BATCH);
    let shape = Publish { request, connections: 2, size, in_flight: 2, together: 1, stays: false };
    Ok(publish_exactly(target, shape, count)?.published())
}

/// Publishes `count` messages, rounded up to whole requests.
fn publish_exactly(target: &Target, shape: Publish, count: u64) -> Result<Producers> {
    let mut poller = Poller::new()?;
    let mut producers = Producers::connect(target, shape, &poller)?;
    let mut watch = StallWatch::new();
    producers.grant(count.div_ceil(shape.messages_per_request()), &poller)?;
    while producers.budget > 0 {
        step(&mut producers, &mut poller, &mut watch)?;
    }
    drain(&mut producers, &mut poller, &mut watch)?;
    Ok(producers)
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
