//! The limit on memory: publishes are refused at it, and queued again below it.

use shards::limits::Options;

use super::world::wire::{Command, Frame};
use super::world::{Settings, World};

const BODY_BYTES: usize = 900;

fn small_world() -> World {
    let options = Options { memory_limit_bytes: 2 << 20, ..Options::default() };
    World::new(3, Settings { shards: 1, options, ..Settings::default() })
}

/// Publishes until refused; how many messages were queued.
fn fill(world: &mut World) -> usize {
    let producer = world.connect();
    let mut queued = 0;
    for _ in 0..4000 {
        world.publish(producer, 0, 0, &[BODY_BYTES]);
        world.quiesce();
        match world.connections[producer].frames.pop_front() {
            Some(Frame::Response(_)) => queued += 1,
            Some(Frame::Error(text)) => {
                assert_eq!(text, "E_PUB_FAILED PUB failed memory limit reached");
                return queued;
            }
            other => unreachable!("a publish was answered with {other:?}"),
        }
    }
    unreachable!("the limit was never reached")
}

fn drain(world: &mut World) -> usize {
    let consumer = world.connect();
    world.subscribe(consumer, 0, 0);
    world.set_ready(consumer, 2500);
    let mut drained = 0;
    loop {
        world.quiesce();
        let frames = std::mem::take(&mut world.connections[consumer].frames);
        let before = drained;
        for frame in frames {
            let Frame::Message(message) = frame else { continue };
            drained += 1;
            let line = [b"FIN ", &message.id[..], b"\n"].concat();
            world.write(consumer, &line, Some(Command::Finish(message.id)));
        }
        if drained == before {
            world.connections[consumer].reset = true;
            world.check();
            return drained;
        }
    }
}

#[test]
fn a_full_shard_refuses_and_recovers() {
    let mut world = small_world();
    for _ in 0..3 {
        let queued = fill(&mut world);
        // Of 2 MiB, less what the ends of segments waste.
        assert!((2000..2330).contains(&queued), "{queued}");
        world.check();
        assert_eq!(drain(&mut world), queued);
        let gauges = world.stats()[0].gauges;
        assert_eq!(gauges.memory_bytes, 0);
        world.judge(3);
    }
    assert_eq!(world.stats()[0].gauges.publishes_refused, 3);
}

#[test]
fn a_refused_mpub_keeps_what_had_room() {
    let mut world = small_world();
    let queued = fill(&mut world);
    let producer = world.connect();
    world.publish(producer, 0, 0, &[BODY_BYTES; 8]);
    world.check();
    let error = "E_MPUB_FAILED MPUB failed memory limit reached";
    assert_eq!(world.connections[producer].frames.front(), Some(&Frame::Error(error.to_owned())));
    let drained = drain(&mut world);
    assert!((queued..queued + 8).contains(&drained), "{drained} of {queued}");
    world.judge(3);
}
