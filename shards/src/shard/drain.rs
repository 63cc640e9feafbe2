//! Draining: nothing more is taken in, and what is there goes out as ever.
//!
//! It is for a node that is about to be taken away. Publishes are refused with the original's words
//! for a broker that ends; consumers come, are served and finish until nothing is left.

use alloc::string::String;

use super::Shard;
use super::spill::Stalled;

/// What publishers are told, as by the original while it ends.
const EXITING: &str = "exiting";

/// What a shard still has to give out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Messages that wait: for a channel, or in one for a consumer.
    pub waiting: u64,
    /// Messages with a consumer, not finished yet.
    pub in_flight: u64,
    /// Messages that wait for their time.
    pub deferred: u64,
}

impl Remaining {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Remaining::default()
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Remaining) -> Remaining {
        Remaining {
            waiting: self.waiting + other.waiting,
            in_flight: self.in_flight + other.in_flight,
            deferred: self.deferred + other.deferred,
        }
    }
}

impl Shard {
    /// Takes in no more messages from now on; who waits to publish is refused at once.
    pub fn drain(&mut self) {
        if core::mem::replace(&mut self.draining, true) {
            return;
        }
        while let Some(stalled) = self.tiers.stalled.pop_front() {
            match stalled {
                Stalled::Batch(from, batch) => self.publish_batch(from, batch),
                Stalled::Http(ticket, publish) => self.publish_for_http(ticket, &publish),
            }
        }
        for key in self.tiers.take_waiting() {
            self.wake(key);
        }
    }

    /// Whether it takes in no more messages.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Why a publish is refused, if every one is.
    pub(super) fn refuses_all(&mut self) -> Option<String> {
        if !self.draining {
            return None;
        }
        self.publishes_refused += 1;
        Some(String::from(EXITING))
    }

    /// What is left to give out. A message counts for each channel that still has it; what no
    /// channel was given counts once.
    #[must_use]
    pub fn remaining(&self) -> Remaining {
        let mut remaining = Remaining::default();
        for (_, topic) in self.topics.iter() {
            remaining.waiting += topic.depth();
            for channel in topic.channels.iter().filter_map(|&key| self.channels.get(key)) {
                remaining.waiting += channel.depth(topic.handed);
                remaining.in_flight += channel.outstanding.in_flight();
                remaining.deferred += channel.outstanding.deferred();
            }
        }
        remaining
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    use super::Remaining;
    use crate::client::Peer;
    use crate::limits::Options;
    use crate::log::pool::CHUNK_BYTES;
    use crate::placement::Placement;
    use crate::request::{Publish, Reply, Request};
    use crate::shard::{Now, Parts, Shard, Socket};
    use crate::slots::Key;
    use crate::wire::frame;
    use crate::wire::names::Name;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    /// Shard `me` of two; topic `t0` lives on the first, `t1` on the second.
    fn shard(me: u16) -> Shard {
        let placement = Placement::new(me, 2, &[(name("t0"), 0), (name("t1"), 1)]);
        let options = Options::default();
        let parts =
            Parts { options, placement, workers: 2, now: Now::default(), seed: 1, disk: false };
        Shard::new(parts, Box::new(|| Some(Vec::leak(alloc::vec![0; CHUNK_BYTES]))))
    }

    fn client(shard: &mut Shard, input: &[u8]) -> Key {
        let client = shard.connect(Socket(7), Peer::default());
        shard.received(client, &[&b"  V2"[..], input].concat());
        client
    }

    fn exchange(from: &mut Shard, to: &mut Shard, me: u16) {
        from.finish_turn();
        while let Some((_, letter)) = from.take_letter() {
            to.mail(me, letter);
        }
    }

    fn is_refused(output: &[u8], verb: &str) -> bool {
        let text = alloc::format!("E_{verb}_FAILED {verb} failed exiting");
        output.windows(text.len()).any(|window| window == text.as_bytes())
    }

    #[test]
    fn publishes_are_refused_wherever_their_topic_lives_and_make_no_topics() {
        let (mut here, mut there) = (shard(0), shard(1));
        here.drain();
        there.drain();
        for (topic, verb) in [("t0", "PUB"), ("t1", "PUB"), ("new", "PUB")] {
            let input = alloc::format!("{verb} {topic}\n\0\0\0\x01x");
            let client = client(&mut here, input.as_bytes());
            exchange(&mut here, &mut there, 0);
            exchange(&mut there, &mut here, 1);
            assert!(is_refused(here.output(client), verb), "{topic}");
        }
        let mpub = client(&mut here, b"MPUB t0\n\0\0\0\x0d\0\0\0\x01\0\0\0\x05hello");
        assert!(is_refused(here.output(mpub), "MPUB"));
        let dpub = client(&mut here, b"DPUB t0 5\n\0\0\0\x01x");
        assert!(is_refused(here.output(dpub), "DPUB"));
        let publish = |topic| Publish {
            topic: name(topic),
            bytes: b"x".to_vec(),
            lengths: alloc::vec![1],
            defer_ms: 0,
        };
        for (ticket, topic) in [(1, "t0"), (2, "t1")] {
            here.ask(here.placement.owner(&name(topic)), ticket, Request::Publish(publish(topic)));
            exchange(&mut here, &mut there, 0);
            exchange(&mut there, &mut here, 1);
            let reply = here.take_reply();
            let refused = matches!(
                &reply,
                Some((of, Reply::Refused(why))) if *of == ticket && why == "exiting"
            );
            assert!(refused, "{topic}: {reply:?}");
        }
        assert_eq!((here.topics.iter().count(), there.topics.iter().count()), (0, 0));
    }

    #[test]
    fn what_another_shard_sent_before_it_heard_of_it_is_refused_here() {
        let (mut here, mut there) = (shard(0), shard(1));
        let client = client(&mut here, b"PUB t1\n\0\0\0\x01x");
        there.drain();
        exchange(&mut here, &mut there, 0);
        exchange(&mut there, &mut here, 1);
        assert!(is_refused(here.output(client), "PUB"));
        assert_eq!(there.topics.iter().count(), 0);
    }

    #[test]
    fn consumers_are_served_until_nothing_is_left() {
        let mut shard = shard(0);
        let producer =
            client(&mut shard, b"PUB t0\n\0\0\0\x01xPUB t0\n\0\0\0\x01yDPUB t0 50\n\0\0\0\x01z");
        shard.finish_turn();
        assert_eq!(shard.output(producer), frame::OK.repeat(3));
        assert_eq!(shard.remaining(), Remaining { waiting: 3, in_flight: 0, deferred: 0 });
        shard.drain();
        let consumer = client(&mut shard, b"SUB t0 c\nRDY 9\n");
        shard.finish_turn();
        assert_eq!(shard.remaining(), Remaining { waiting: 0, in_flight: 2, deferred: 1 });
        shard.begin_turn(Now { mono_ms: 60, wall_ns: 0 });
        shard.finish_turn();
        assert_eq!(shard.remaining(), Remaining { waiting: 0, in_flight: 3, deferred: 0 });
        let output = shard.output(consumer)[frame::OK.len()..].to_vec();
        // Each is a size, a type, a timestamp, attempts, an id of 16 bytes and a byte.
        for message in output.chunks(4 + 4 + 8 + 2 + 16 + 1) {
            assert!(!shard.remaining().is_empty());
            shard.received(consumer, &[b"FIN ", &message[18..34], b"\n"].concat());
        }
        assert!(shard.remaining().is_empty(), "{:?}", shard.remaining());
        assert_eq!(
            shard.remaining().plus(Remaining { waiting: 1, in_flight: 2, deferred: 3 }).deferred,
            3
        );
    }
}
