//! Producers and consumers at once on one topic, in balance, each channel receiving everything:
//! what is outstanding is capped, so that the broker is never asked to store more than it delivers.

use crate::consumer::{Answer, Consumers};
use crate::poll::Poller;
use crate::producer::{Producers, Publish};
use crate::window::{Counts, StallWatch, WAIT_MAX, Window};
use crate::{Error, Report, Result, Target, Timing};

/// The shape of a steady flow.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// The producing side.
    pub publish: Publish,
    /// How many connections consume.
    pub consumers: usize,
    /// `RDY` on each.
    pub rdy: u32,
    /// Messages sent and not yet received, at most; with several channels, on average.
    pub outstanding_max: u64,
}

struct Run<'t> {
    target: &'t Target,
    shape: Flow,
    poller: Poller,
    producers: Producers,
    consumers: Consumers,
    watch: StallWatch,
    /// Channels, each of which receives every message.
    copies: u64,
    /// Requests that the producers were allowed so far.
    granted: u64,
}

/// Publishes and consumes for the given time, then lets what is outstanding come out; every
/// message that was confirmed must come exactly once on each channel.
pub fn run(target: &Target, shape: Flow, timing: Timing) -> Result<Report> {
    if shape.consumers < target.channels {
        return Err(Error::Unfit("a channel without a consumer".to_owned()));
    }
    let copies = target.channels as u64;
    let poller = Poller::new()?;
    let producers = Producers::connect(target, shape.publish, &poller)?;
    let first_token = shape.publish.connections;
    let mut consumers = Consumers::subscribe(target, shape.consumers, first_token, &poller)?;
    consumers.ready(shape.rdy, &poller)?;
    let watch = StallWatch::new();
    let mut run = Run { target, shape, poller, producers, consumers, watch, copies, granted: 0 };
    let mut window = Window::new(target, timing)?;
    loop {
        run.grant()?;
        run.step()?;
        if !window.tick(run.counts())? {
            break;
        }
    }
    run.producers.budget = 0;
    while run.counts().published < run.sent() || run.counts().received < run.sent() * copies {
        run.step()?;
    }
    run.consumers.close(&run.poller)?;
    while !run.consumers.are_closed() {
        run.step()?;
    }
    run.check_counts()?;
    Ok(Report::new("flow", &window.measured()?, run.counts()))
}

impl Run<'_> {
    /// Lets the producers send what the cap leaves room for, in whole groups of requests.
    fn grant(&mut self) -> Result<()> {
        let per_request = self.shape.publish.messages_per_request();
        let allowed =
            (self.consumers.received / self.copies + self.shape.outstanding_max) / per_request;
        let more = allowed.saturating_sub(self.granted);
        if more >= self.shape.publish.together as u64 {
            self.granted += more;
            self.producers.grant(more, &self.poller)?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        for index in 0..self.poller.wait(WAIT_MAX)? {
            let event = self.poller.event(index);
            if event.token < self.shape.publish.connections {
                self.producers.on_event(event, &self.poller)?;
            } else {
                self.consumers.on_event(self.target, event, &self.poller, |_, _| Answer::Finish)?;
            }
        }
        let counts = self.counts();
        let sent = self.sent();
        self.watch.check(counts.published + counts.received, || {
            format!("sent {sent}, confirmed {}, received {}", counts.published, counts.received)
        })
    }

    fn counts(&self) -> Counts {
        Counts { published: self.producers.published(), received: self.consumers.received }
    }

    /// Messages sent, confirmed or not.
    fn sent(&self) -> u64 {
        self.producers.sent * self.shape.publish.messages_per_request()
    }

    fn check_counts(&self) -> Result<()> {
        let (counts, sent) = (self.counts(), self.sent());
        if counts.published == sent && counts.received == sent * self.copies {
            return Ok(());
        }
        let (published, received) = (counts.published, counts.received);
        let text = format!("sent {sent}, confirmed {published}, received {received}");
        Err(Error::Miscount(text))
    }
}
