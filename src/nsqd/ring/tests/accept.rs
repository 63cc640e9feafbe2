//! Connections coming in, also when there is no room for them.

use super::*;

fn listening(ring: &mut Ring) -> (usize, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    (ring.listen(listener.into()), address)
}

fn accepted(seen: Vec<Seen>) -> Vec<(usize, OwnedFd)> {
    let pairs = seen.into_iter().map(|event| match event {
        Seen::Accepted(listener, socket) => (listener, socket),
        other => panic!("unexpected {other:?}"),
    });
    pairs.collect()
}

#[test]
fn accepts_from_every_listener() {
    let mut ring = ring(16, 4, 1 << 10);
    let (one, one_address) = listening(&mut ring);
    let (two, two_address) = listening(&mut ring);
    assert_ne!(one, two);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(TcpStream::connect(one_address).unwrap());
        clients.push(TcpStream::connect(two_address).unwrap());
    }
    let connections = accepted(turn_until(&mut ring, |seen| seen.len() == 40));
    for index in [one, two] {
        assert_eq!(connections.iter().filter(|(listener, _)| *listener == index).count(), 20);
    }
    for (_, socket) in connections {
        assert_modes(&socket);
        ring.add(socket, Reading::Continuous);
    }
    for client in &mut clients {
        send_all(client, b"hello");
    }
    turn_until(&mut ring, |seen| seen.len() == 40);
}

/// A connection must not block the shard, nor leak into another program.
fn assert_modes(socket: &OwnedFd) {
    use std::os::fd::AsRawFd;
    // SAFETY: F_GETFD takes no third argument.
    let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFD) };
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    // SAFETY: F_GETFL takes no third argument.
    let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) };
    assert_eq!(flags & libc::O_NONBLOCK, libc::O_NONBLOCK);
}

#[test]
fn a_stopped_listener_is_gone_and_the_other_goes_on() {
    let mut ring = ring(16, 4, 1 << 10);
    let (one, one_address) = listening(&mut ring);
    let (two, two_address) = listening(&mut ring);
    ring.poll().unwrap();
    ring.stop_accept(one);
    ring.stop_accept(one);
    ring.resume_accept(one);
    expect_silence(&mut ring, Duration::from_millis(20));
    assert!(TcpStream::connect(one_address).is_err(), "the listener still listens");
    let _client = TcpStream::connect(two_address).unwrap();
    let connections = accepted(turn_until(&mut ring, |seen| !seen.is_empty()));
    assert_eq!(connections[0].0, two);
}

#[test]
fn nothing_accepted_is_lost_when_a_listener_stops() {
    in_own_process(module_path!(), "nothing_accepted_is_lost_when_a_listener_stops", || {
        let mut ring = ring(16, 4, 1 << 10);
        turn(&mut ring, Duration::ZERO);
        let before = descriptors();
        let (listener, address) = listening(&mut ring);
        ring.poll().unwrap();
        let clients: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
        ring.poll().unwrap();
        assert_eq!(descriptors(), before + 1 + 20, "the kernel has accepted");
        ring.stop_accept(listener);
        expect_silence(&mut ring, Duration::from_millis(20));
        assert_eq!(descriptors(), before + 10, "only the clients' ends are left");
        drop(clients);

        let (_, address) = listening(&mut ring);
        ring.poll().unwrap();
        let clients: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
        ring.poll().unwrap();
        drop(ring);
        // Without the ring and its doorbell.
        assert_eq!(descriptors(), before - 2 + clients.len());
    });
}

#[test]
fn accepting_pauses_when_descriptors_run_out() {
    in_own_process(module_path!(), "accepting_pauses_when_descriptors_run_out", || {
        let mut ring = ring(16, 4, 1 << 10);
        let (listener, address) = listening(&mut ring);
        let clients: Vec<_> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
        limit_descriptors(64);
        let mut spare = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            spare.push(file);
        }
        spare.truncate(spare.len() - 2);

        let mut kept = Vec::new();
        let seen =
            turn_until(&mut ring, |seen| matches!(seen.last(), Some(Seen::AcceptPaused(..))));
        for event in seen {
            match event {
                Seen::Accepted(_, socket) => kept.push(socket),
                Seen::AcceptPaused(index, error) => {
                    assert_eq!(index, listener);
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        assert_eq!(kept.len(), 2);
        expect_silence(&mut ring, Duration::from_millis(100));

        // Resumed too early, it pauses again; with room, the rest comes in.
        ring.resume_accept(listener);
        let seen = turn_until(&mut ring, |seen| !seen.is_empty());
        assert!(matches!(seen[..], [Seen::AcceptPaused(..)]), "{seen:?}");
        drop(spare);
        limit_descriptors(1000);
        ring.resume_accept(listener);
        ring.resume_accept(listener);
        assert_eq!(accepted(turn_until(&mut ring, |seen| seen.len() == 2)).len(), 2);
        drop(clients);
    });
}

/// Sets how many descriptors this process may have.
fn limit_descriptors(max: u64) {
    let limit = libc::rlimit { rlim_cur: max, rlim_max: 1000 };
    // SAFETY: `limit` is readable and of the size that the call expects.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(result, 0);
}
