//! Sleeping and waking.

use super::*;

use std::thread;

/// What this thread has used of the processor so far.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable and of the size that the call expects.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn an_idle_ring_sleeps() {
    let mut ring = ring(64, 16, 4 << 10);
    let connections: Vec<_> = (0..20).map(|_| added(&mut ring, Reading::Continuous)).collect();
    let doorbell = ring.doorbell();
    turn(&mut ring, Duration::ZERO);
    doorbell.ring();
    let (wall, processor) = (Instant::now(), processor_time());
    let mut turns = 0;
    while wall.elapsed() < Duration::from_millis(500) {
        turn(&mut ring, Duration::from_millis(100));
        turns += 1;
    }
    let used = processor_time() - processor;
    assert!(used < Duration::from_millis(50), "used {used:?} doing nothing");
    assert!(turns <= 10, "woke {turns} times for nothing");
    drop(connections);
}

#[test]
fn a_zero_wait_returns_at_once() {
    let mut ring = ring(64, 16, 4 << 10);
    let start = Instant::now();
    for _ in 0..100 {
        assert!(turn(&mut ring, Duration::ZERO).is_empty());
        ring.poll().unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn polling_alone_hears_everything() {
    let mut ring = ring(64, 16, 4 << 10);
    let (key, mut client) = added(&mut ring, Reading::Continuous);
    let start = Instant::now();
    for round in 0..100_u8 {
        send_all(&mut client, &[round]);
        let mut heard = false;
        while !heard {
            assert!(start.elapsed() < PATIENCE, "round {round} was not heard");
            ring.poll().unwrap();
            ring.events(|event| {
                let Event::Received { socket, bytes } = event else { return };
                heard = socket == key && *bytes == [round];
            });
        }
    }
}

#[test]
fn an_endless_wait_is_not_refused() {
    let mut ring = ring(64, 16, 4 << 10);
    let doorbell = ring.doorbell();
    let caller = thread::spawn(move || {
        while !doorbell.is_asleep() {
            thread::yield_now();
        }
        doorbell.ring();
    });
    ring.wait(Some(Duration::MAX), || true).unwrap();
    caller.join().unwrap();
}

#[test]
fn the_doorbell_wakes_a_sleeper_again_and_again() {
    const RINGS: usize = 2_000;
    let mut ring = ring(64, 16, 4 << 10);
    let doorbell = ring.doorbell();
    let caller = thread::spawn(move || {
        for _ in 0..RINGS {
            let start = Instant::now();
            while !doorbell.is_asleep() {
                assert!(start.elapsed() < PATIENCE, "the sleeper does not sleep");
                thread::yield_now();
            }
            doorbell.ring();
        }
    });
    let mut heard = 0;
    while heard < RINGS {
        let start = Instant::now();
        ring.wait(None, || true).unwrap();
        assert!(start.elapsed() < PATIENCE);
        ring.events(|event| {
            assert!(matches!(event, Event::Doorbell));
            heard += 1;
        });
    }
    caller.join().unwrap();
}

#[test]
fn who_finds_work_does_not_sleep() {
    let mut ring = ring(64, 16, 4 << 10);
    let start = Instant::now();
    ring.wait(Some(PATIENCE), || false).unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(!ring.doorbell().is_asleep());
}
