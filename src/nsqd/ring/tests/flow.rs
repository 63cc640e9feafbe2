//! Bytes through the ring: none lost, none doubled, all in order, whatever the ring runs out of.

use super::*;

use std::collections::HashMap;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

/// Echoes until every connection has ended, then closes them.
struct Echo {
    ring: Ring,
    /// Bytes that each socket has yet to be sent.
    unsent: HashMap<SocketKey, Vec<u8>>,
    ended: Vec<SocketKey>,
    /// Reading pauses while this many bytes wait to be sent.
    unsent_max: usize,
}

impl Echo {
    fn run(&mut self) {
        let start = Instant::now();
        while !self.unsent.is_empty() {
            assert!(start.elapsed() < PATIENCE, "the echo hangs");
            self.ring.wait(Some(Duration::from_secs(1)), || true).unwrap();
            let (unsent, ended) = (&mut self.unsent, &mut self.ended);
            self.ring.events(|event| match event {
                Event::Received { socket, bytes } => {
                    unsent.get_mut(&socket).unwrap().extend_from_slice(bytes);
                }
                Event::Ended { socket } => ended.push(socket),
                Event::Writable { .. } | Event::Quiet { .. } => {}
                other => panic!("unexpected {other:?}"),
            });
            self.send();
        }
    }

    fn send(&mut self) {
        for (key, bytes) in &mut self.unsent {
            let sent = self.ring.send(*key, bytes).unwrap();
            bytes.drain(..sent);
            if !bytes.is_empty() {
                self.ring.want_writable(*key);
            }
            if bytes.len() > self.unsent_max {
                self.ring.pause(*key);
            } else {
                self.ring.resume(*key);
            }
        }
        for key in std::mem::take(&mut self.ended) {
            if self.unsent[&key].is_empty() {
                self.ring.close(key);
                self.unsent.remove(&key);
            } else {
                self.ended.push(key);
            }
        }
    }
}

/// Echoes `len` bytes for each of `clients`, and returns how often the buffers ran out.
fn echo(ring: Ring, reading: Reading, clients: usize, len: usize) -> u64 {
    let mut echo = Echo { ring, unsent: HashMap::new(), ended: Vec::new(), unsent_max: 64 << 10 };
    let mut threads = Vec::new();
    for client in 0..clients {
        let (key, stream) = added(&mut echo.ring, reading);
        echo.unsent.insert(key, Vec::new());
        threads.push(thread::spawn(move || {
            let sent = pattern(len, client as u64);
            let mut writer = stream.try_clone().unwrap();
            let expected = sent.clone();
            let writing = thread::spawn(move || {
                writer.write_all(&sent).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let mut got = Vec::new();
            (&stream).read_to_end(&mut got).unwrap();
            writing.join().unwrap();
            assert!(got == expected, "client {client} got {} of {len} bytes", got.len());
        }));
    }
    echo.run();
    assert_eq!(echo.ring.sockets(), 0);
    for thread in threads {
        thread.join().unwrap();
    }
    echo.ring.starvations()
}

#[test]
fn echoes_megabytes_with_ample_buffers() {
    echo(ring(64, 64, 16 << 10), Reading::Continuous, 4, 4 << 20);
}

#[test]
fn echoes_megabytes_when_buffers_run_out() {
    let starvations = echo(ring(64, 2, 1 << 10), Reading::Continuous, 8, 1 << 20);
    assert!(starvations > 0, "the buffers never ran out, so nothing was tested");
}

#[test]
fn echoes_through_queues_that_are_too_short() {
    echo(ring(1, 64, 512), Reading::Continuous, 16, 256 << 10);
}

#[test]
fn echoes_one_read_at_a_time() {
    echo(ring(16, 4, 4 << 10), Reading::Single, 8, 1 << 20);
}

#[test]
fn a_single_reading_takes_one_buffer_until_resumed() {
    let mut ring = ring(16, 8, 100);
    let (key, mut client) = added(&mut ring, Reading::Single);
    let sent = pattern(250, 1);
    send_all(&mut client, &sent);
    expect_silence(&mut ring, Duration::from_millis(50));
    let mut got = Vec::new();
    for expected in [100, 200, 250] {
        ring.resume(key);
        let seen = turn_until(&mut ring, |seen| !seen.is_empty());
        got.extend(received(&seen, key));
        assert_eq!(got.len(), expected);
        expect_silence(&mut ring, Duration::from_millis(20));
    }
    assert_eq!(got, sent);
    assert!(ring.pause(key), "a single reading that ended is quiet");
}

#[test]
fn quiet_comes_after_what_arrived_and_resume_takes_it_back() {
    let mut ring = ring(16, 8, 1 << 10);
    let (key, mut client) = added(&mut ring, Reading::Continuous);
    ring.poll().unwrap();
    send_all(&mut client, b"before");
    assert!(!ring.pause(key), "a receive is in flight");
    let seen = turn_until(&mut ring, |seen| matches!(seen.last(), Some(Seen::Quiet(_))));
    let before = received(&seen, key);
    send_all(&mut client, b"after");
    expect_silence(&mut ring, Duration::from_millis(50));
    ring.resume(key);
    let seen = turn_until(&mut ring, |seen| received(seen, key).ends_with(b"after"));
    assert_eq!([before, received(&seen, key)].concat(), b"beforeafter");

    assert!(!ring.pause(key));
    ring.resume(key);
    send_all(&mut client, b"on");
    let seen = turn_until(&mut ring, |seen| !received(seen, key).is_empty());
    assert_eq!(received(&seen, key), b"on");
    client.shutdown(Shutdown::Write).unwrap();
    let ended = turn_until(&mut ring, |seen| matches!(seen.last(), Some(Seen::Ended(_))));
    let both = seen.iter().chain(&ended);
    assert!(!both.into_iter().any(|event| matches!(event, Seen::Quiet(_))));
    expect_silence(&mut ring, Duration::from_millis(20));
}

/// Sends megabytes to a socket that is paused, resumed, and handed to and fro between two rings.
#[test]
fn a_socket_that_wanders_loses_nothing() {
    let mut rings = [ring(16, 4, 2 << 10), ring(16, 4, 2 << 10)];
    let sent = pattern(4 << 20, 9);
    let (mut key, mut client) = added(&mut rings[0], Reading::Continuous);
    let copy = sent.clone();
    let sender = thread::spawn(move || {
        client.write_all(&copy).unwrap();
        client
    });
    let mut got = Vec::new();
    let (mut here, mut moves) = (0, 0);
    let start = Instant::now();
    while got.len() < sent.len() {
        assert!(start.elapsed() < PATIENCE, "got {} bytes in {moves} moves", got.len());
        let seen = turn(&mut rings[here], Duration::from_millis(100));
        got.extend(received(&seen, key));
        let mut quiet = rings[here].pause(key);
        if moves % 3 == 0 {
            rings[here].resume(key);
            moves += 1;
            continue;
        }
        while !quiet {
            assert!(rings[here].take(key).is_none(), "taken while a receive was in flight");
            let seen = turn(&mut rings[here], Duration::from_millis(100));
            got.extend(received(&seen, key));
            quiet = seen.iter().any(|event| matches!(event, Seen::Quiet(_)));
        }
        let socket = rings[here].take(key).unwrap();
        assert!(rings[here].take(key).is_none(), "taken twice");
        here = 1 - here;
        key = rings[here].add(socket, Reading::Continuous);
        moves += 1;
    }
    sender.join().unwrap();
    assert!(got == sent, "the bytes were changed on their way");
    assert!(moves > 20, "only {moves} moves");
}

/// The buffers run out and end the receive, which the caller does not know when it pauses: the
/// cancel goes nowhere, and by the time the caller pauses again, a new receive is in flight.
#[test]
fn a_pause_whose_cancel_missed_still_leads_to_quiet() {
    let mut ring = ring(16, 1, 16);
    let (key, mut client) = added(&mut ring, Reading::Continuous);
    ring.poll().unwrap();
    send_all(&mut client, &[7; 17]);
    ring.wait(Some(PATIENCE), || true).unwrap();
    assert!(!ring.pause(key));
    ring.resume(key);
    let mut got = 0;
    ring.events(|event| match event {
        Event::Received { bytes, .. } => got += bytes.len(),
        other => panic!("unexpected {other:?}"),
    });
    assert_eq!((got, ring.starvations()), (16, 1));
    assert!(!ring.pause(key), "a new receive is in flight");
    let seen = turn_until(&mut ring, |seen| matches!(seen.last(), Some(Seen::Quiet(_))));
    assert_eq!(received(&seen, key).len(), 1);
}

#[test]
fn a_peer_that_ended_is_still_sent_to() {
    let mut ring = ring(16, 8, 1 << 10);
    let (key, mut client) = added(&mut ring, Reading::Continuous);
    send_all(&mut client, b"last words");
    client.shutdown(Shutdown::Write).unwrap();
    let seen = turn_until(&mut ring, |seen| matches!(seen.last(), Some(Seen::Ended(_))));
    assert_eq!(received(&seen, key), b"last words");
    assert_eq!(ring.send(key, b"answer").unwrap(), 6);
    ring.resume(key);
    expect_silence(&mut ring, Duration::from_millis(20));
    ring.end_sending(key);
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"answer");
}

#[test]
fn a_reset_connection_fails_once() {
    let mut ring = ring(16, 8, 1 << 10);
    let (key, client) = added(&mut ring, Reading::Continuous);
    ring.poll().unwrap();
    ring.send(key, b"unread, so that closing resets the connection").unwrap();
    drop(client);
    let seen = turn_until(&mut ring, |seen| !seen.is_empty());
    let reset = io::ErrorKind::ConnectionReset;
    assert!(
        matches!(&seen[..], [Seen::Failed(from, error)] if *from == key && error.kind() == reset),
        "{seen:?}"
    );
    ring.resume(key);
    expect_silence(&mut ring, Duration::from_millis(20));
    assert!(ring.send(key, b"x").is_err());
    assert!(ring.pause(key), "a failed socket is quiet");
}

#[test]
fn writable_comes_once_when_the_peer_reads_again() {
    let mut ring = ring(16, 8, 1 << 10);
    let (key, mut client) = added(&mut ring, Reading::Continuous);
    let chunk = pattern(64 << 10, 3);
    let mut sent = 0;
    loop {
        match ring.send(key, &chunk).unwrap() {
            0 => break,
            more => sent += more,
        }
    }
    ring.want_writable(key);
    ring.want_writable(key);
    expect_silence(&mut ring, Duration::from_millis(50));
    read_exactly(&mut client, sent);
    let seen = turn_until(&mut ring, |seen| !seen.is_empty());
    assert!(matches!(seen[..], [Seen::Writable(writable)] if writable == key), "{seen:?}");
    expect_silence(&mut ring, Duration::from_millis(20));
    assert!(ring.send(key, &chunk).unwrap() > 0);
}

#[test]
fn a_socket_in_non_blocking_mode_is_waited_for() {
    let mut ring = ring(16, 8, 1 << 10);
    let (server, mut client) = connection();
    server.set_nonblocking(true).unwrap();
    let key = ring.add(server.into(), Reading::Continuous);
    expect_silence(&mut ring, Duration::from_millis(20));
    send_all(&mut client, b"late");
    let seen = turn_until(&mut ring, |seen| !seen.is_empty());
    assert_eq!(received(&seen, key), b"late");
}

#[test]
fn a_caller_who_panics_loses_no_buffer() {
    let mut ring = ring(16, 2, 16);
    let (key, mut client) = added(&mut ring, Reading::Continuous);
    for _ in 0..5 {
        send_all(&mut client, b"boom");
        ring.wait(Some(PATIENCE), || true).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            ring.events(|_| std::panic::resume_unwind(Box::new("on purpose")));
        }));
        assert!(outcome.is_err());
    }
    send_all(&mut client, b"fine");
    let seen = turn_until(&mut ring, |seen| !seen.is_empty());
    assert_eq!(received(&seen, key), b"fine");
    assert_eq!(ring.starvations(), 0);
}
