//! Who owns what, and until when: keys, slots and descriptors.

use super::*;

use std::net::Shutdown;
use std::thread;

#[test]
fn a_stale_key_does_nothing() {
    let mut ring = ring(16, 8, 1 << 10);
    let (old, _client) = added(&mut ring, Reading::Continuous);
    ring.close(old);
    turn(&mut ring, Duration::from_millis(20));
    let (new, mut client) = added(&mut ring, Reading::Continuous);
    assert_eq!(new.index(), old.index(), "the slot is reused");
    assert_ne!(new, old);

    assert!(ring.pause(old), "no socket is quiet");
    ring.want_writable(old);
    ring.end_sending(old);
    ring.resume(old);
    ring.close(old);
    assert!(ring.take(old).is_none());
    assert_eq!(ring.send(old, b"x").unwrap_err().kind(), io::ErrorKind::NotConnected);
    let nowhere = SocketKey::from_u64(u64::MAX);
    ring.close(nowhere);
    assert!(ring.take(nowhere).is_none());

    assert_eq!(ring.sockets(), 1);
    send_all(&mut client, b"alive");
    let seen = turn_until(&mut ring, |seen| !seen.is_empty());
    assert_eq!(received(&seen, new), b"alive");
}

#[test]
fn nothing_is_heard_of_a_closed_socket() {
    let mut ring = ring(16, 4, 1 << 10);
    let (key, mut client) = added(&mut ring, Reading::Continuous);
    let flood = thread::spawn(move || {
        let bytes = pattern(1 << 16, 4);
        while client.write_all(&bytes).is_ok() {}
    });
    turn_until(&mut ring, |seen| received(seen, key).len() > 100_000);
    // Completions with the socket's bytes are now waiting to be taken.
    thread::sleep(Duration::from_millis(20));
    ring.poll().unwrap();
    ring.want_writable(key);
    ring.close(key);
    assert_eq!(ring.sockets(), 0);
    expect_silence(&mut ring, Duration::from_millis(50));
    flood.join().unwrap();

    // All buffers that were filled for it have come back.
    let (key, mut client) = added(&mut ring, Reading::Continuous);
    let sent = pattern(64 << 10, 5);
    let copy = sent.clone();
    let sender = thread::spawn(move || send_all(&mut client, &copy));
    let seen = turn_until(&mut ring, |seen| received(seen, key).len() == sent.len());
    assert!(received(&seen, key) == sent);
    sender.join().unwrap();
}

#[test]
fn a_taken_socket_is_whole_and_forgotten() {
    let mut ring = ring(16, 4, 1 << 10);
    let (key, mut client) = added(&mut ring, Reading::Single);
    ring.want_writable(key);
    ring.poll().unwrap();
    let mut socket = std::net::TcpStream::from(ring.take(key).unwrap());
    assert_eq!(ring.sockets(), 0);
    expect_silence(&mut ring, Duration::from_millis(20));
    socket.write_all(b"to the client").unwrap();
    assert_eq!(read_exactly(&mut client, 13), b"to the client");
    send_all(&mut client, b"to the server");
    let mut got = [0; 13];
    socket.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"to the server");
}

#[test]
fn dropping_the_ring_ends_its_connections() {
    let mut ring = ring(16, 4, 1 << 10);
    let (_, mut client) = added(&mut ring, Reading::Continuous);
    ring.poll().unwrap();
    let start = Instant::now();
    drop(ring);
    assert!(start.elapsed() < Duration::from_millis(500), "the kernel was not done in time");
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn two_thousand_connections_leave_no_descriptor_behind() {
    in_own_process(module_path!(), "two_thousand_connections_leave_no_descriptor_behind", || {
        let mut ring = ring(32, 8, 1 << 10);
        turn(&mut ring, Duration::ZERO);
        let before = descriptors();
        for round in 0..40 {
            let mut open: Vec<_> = (0..50).map(|_| added(&mut ring, Reading::Continuous)).collect();
            for (index, (key, client)) in open.iter_mut().enumerate() {
                live_and_die(&mut ring, *key, client, index + round);
            }
            drop(open);
            let start = Instant::now();
            while descriptors() > before {
                assert!(start.elapsed() < PATIENCE, "{} left of {before}", descriptors());
                let seen = turn(&mut ring, Duration::from_millis(1));
                close_finished(&mut ring, &seen);
            }
            assert_eq!(ring.sockets(), 0);
        }
        assert_eq!(descriptors(), before);
        drop(ring);
        // The ring itself and its doorbell.
        assert_eq!(descriptors(), before - 2);
    });
}

/// The ways in which a connection may come to its end.
fn live_and_die(ring: &mut Ring, key: SocketKey, client: &mut TcpStream, way: usize) {
    match way % 6 {
        0 => ring.close(key),
        1 => {
            send_all(client, b"in flight");
            ring.poll().unwrap();
            ring.close(key);
        }
        2 => client.shutdown(Shutdown::Write).unwrap(),
        3 => {
            ring.want_writable(key);
            ring.pause(key);
            ring.close(key);
        }
        4 => {
            ring.want_writable(key);
            ring.poll().unwrap();
            ring.send(key, b"unread: resets").unwrap();
        }
        _ => {
            send_all(client, b"quiet, then taken");
            if !ring.pause(key) {
                let seen = turn_until(ring, |seen| {
                    seen.iter().any(|event| matches!(event, Seen::Quiet(quiet) if *quiet == key))
                });
                close_finished(ring, &seen);
            }
            drop(ring.take(key).unwrap());
        }
    }
}

fn close_finished(ring: &mut Ring, seen: &[Seen]) {
    for event in seen {
        if let Seen::Ended(key) | Seen::Failed(key, _) = event {
            ring.close(*key);
        }
    }
}
