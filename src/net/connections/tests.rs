//! Connections over real sockets: counted, refused, ended for their silence, ended together.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_io::AsyncRead;

use super::{Connection, ConnectionCounts, listen};
use crate::net::listeners::{BoundListener, bind};
use crate::net::thread::LightThread;

const SOON: Duration = Duration::from_secs(10);

/// Reads until the end and leaves.
async fn read_all(mut connection: Connection) {
    let mut buffer = [0; 64];
    loop {
        let stream = &mut connection.stream;
        match poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buffer)).await {
            Ok(0) | Err(_) => return,
            Ok(_) => assert_ne!(&buffer[..5], b"panic", "as the client wishes"),
        }
    }
}

/// A server that only reads; connections are to say something within `silence`.
struct Server {
    thread: LightThread,
    counts: flume::Receiver<ConnectionCounts>,
}

fn server(bound: BoundListener, silence: Option<Duration>) -> Server {
    let (sender, counts) = flume::bounded(1);
    let thread = LightThread::start("test", move |stop| async move {
        let serve = move |connection: Connection| {
            connection.watch.within(silence);
            read_all(connection)
        };
        let listening = listen(bound, 2, serve).unwrap();
        stop.wait().await;
        let counts = listening.counter().counts();
        listening.stop(SOON).await;
        sender.send(counts).unwrap();
    });
    Server { thread: thread.unwrap(), counts }
}

impl Server {
    fn stop(self) -> ConnectionCounts {
        let start = Instant::now();
        self.thread.stop(SOON);
        assert!(start.elapsed() < SOON / 2, "stopping took {:?}", start.elapsed());
        self.counts.recv_timeout(SOON).unwrap()
    }
}

fn tcp() -> (BoundListener, String) {
    let bound = bind("TEST", "127.0.0.1:0").unwrap().unwrap();
    let address = bound.address.to_string();
    (bound, address)
}

/// Waits until the other side ends the connection.
fn assert_ended(mut client: impl Read) {
    // A reset is an end, too.
    let _ = client.read(&mut [0]).map(|read| assert_eq!(read, 0));
}

fn connect(address: &str) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    client
}

#[test]
fn one_too_many_is_closed_and_the_others_live() {
    let (bound, address) = tcp();
    let server = server(bound, None);
    let mut first = connect(&address);
    let second = connect(&address);
    assert_ended(connect(&address));
    first.write_all(b"still here").unwrap();
    drop(second);
    // The place is free once the server has seen it.
    let start = Instant::now();
    loop {
        let third = connect(&address);
        third.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        if (&third).read(&mut [0]).is_err() {
            break;
        }
        assert!(start.elapsed() < SOON);
    }
    let counts = server.stop();
    assert_eq!(counts.accepted, 3);
    assert!(counts.refused >= 1);
    assert_eq!(counts.silent, 0);
}

#[test]
fn a_silent_connection_is_ended() {
    let (bound, address) = tcp();
    let server = server(bound, Some(Duration::from_millis(100)));
    assert_ended(connect(&address));
    assert_eq!(server.stop(), ConnectionCounts { open: 0, accepted: 1, refused: 0, silent: 1 });
}

#[test]
fn a_panic_costs_one_connection() {
    let (bound, address) = tcp();
    let server = server(bound, None);
    let mut broken = connect(&address);
    let other = connect(&address);
    broken.write_all(b"panic").unwrap();
    assert_ended(broken);
    let counts = server.stop();
    assert_eq!((counts.open, counts.accepted), (1, 2));
    assert_ended(other);
}

#[test]
fn unix_sockets_are_served_and_stopped_alike() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let bound = bind("TEST", path.to_str().unwrap()).unwrap().unwrap();
    let server = server(bound, None);
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"hello").unwrap();
    let mut idle = UnixStream::connect(&path).unwrap();
    idle.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(idle.read(&mut [0]).is_err(), "nobody ended it");
    assert_eq!(server.stop().open, 2);
    assert_ended(client);
    assert!(!path.exists());
}
