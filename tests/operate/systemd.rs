//! What systemd is told: ready, still well, and about to end.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use super::WHY;
use crate::harness::{
    Broker, Client, HttpConnection, Peer, SOON, TempDir, eventually, on_each_shoal, program,
};

/// The watchdog's time, in microseconds; it is fed four times as often.
const WATCHDOG_US: u64 = 800_000;

/// The socket that systemd would listen at.
pub struct Systemd {
    socket: UnixDatagram,
    _dir: TempDir,
}

impl Systemd {
    /// Has the command tell this one.
    pub fn listen(command: &mut Command) -> Systemd {
        let dir = TempDir::new();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", WATCHDOG_US.to_string());
        Systemd { socket, _dir: dir }
    }

    /// What is said next; `None` after that time.
    pub fn heard(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    fn await_text(&self, wanted: &str) {
        let start = Instant::now();
        while start.elapsed() < SOON {
            if self.heard(SOON).is_some_and(|text| text.contains(wanted)) {
                return;
            }
        }
        panic!("{wanted} was not said");
    }
}

#[test]
fn a_broker_tells_its_life() {
    on_each_shoal(WHY, |peer| {
        let dir = TempDir::new();
        let mut command = Broker::command(peer, &[], &dir);
        let systemd = Systemd::listen(&mut command);
        let mut broker = Broker::spawn(command, dir.into());
        systemd.await_text("READY=1");
        for _ in 0..3 {
            systemd.await_text("WATCHDOG=1");
        }
        Client::new(&broker).publish("t", b"x");
        broker.signal(libc::SIGUSR1);
        systemd.await_text("STATUS=draining");
        broker.signal(libc::SIGTERM);
        systemd.await_text("STOPPING=1");
        assert_eq!(broker.wait(SOON).code(), Some(0));
    });
}

#[test]
fn the_other_daemons_tell_theirs() {
    let address = "--http-address=127.0.0.1:0";
    for arguments in [
        &["nsqlookupd", "--tcp-address=127.0.0.1:0", address][..],
        &["nsqadmin", "--nsqd-http-address=127.0.0.1:1", address][..],
    ] {
        let mut command = Command::new(program(Peer::Shoal { shards: 1 }));
        command.args(arguments).stderr(std::process::Stdio::null());
        let systemd = Systemd::listen(&mut command);
        let mut child = command.spawn().unwrap();
        systemd.await_text("READY=1");
        for _ in 0..3 {
            systemd.await_text("WATCHDOG=1");
        }
        // SAFETY: the pid is our own child's, which has not been waited for.
        unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGTERM) };
        systemd.await_text("STOPPING=1");
        assert!(child.wait().unwrap().success());
    }
}

/// The thread of this name.
fn thread(broker: &Broker, name: &str) -> i32 {
    let tasks = format!("/proc/{}/task", broker.pid());
    let named = |id: &String| {
        let path = format!("{tasks}/{id}/comm");
        std::fs::read_to_string(path).is_ok_and(|found| found.trim() == name)
    };
    let ids = std::fs::read_dir(&tasks).unwrap();
    let mut ids = ids.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    ids.find(named).unwrap().parse().unwrap()
}

/// One thread alone is stopped as a debugger stops it.
#[test]
fn a_shard_that_does_not_turn_is_noticed() {
    let dir = TempDir::new();
    let mut command = Broker::command(Peer::Shoal { shards: 2 }, &[], &dir);
    let systemd = Systemd::listen(&mut command);
    let broker = Broker::spawn(command, dir.into());
    systemd.await_text("WATCHDOG=1");
    // Connections go to the shards in turn.
    let mut connections = [HttpConnection::new(broker.http), HttpConnection::new(broker.http)];
    for connection in &mut connections {
        assert_eq!(connection.request("GET", "/readyz", b"").status, 200);
    }
    let stopped = thread(&broker, "shard-1");
    // SAFETY: the thread is our own child's; it is let go below, or ends with the broker.
    let seized = unsafe { libc::ptrace(libc::PTRACE_ATTACH, stopped, 0, 0) };
    if seized != 0 {
        return eprintln!("skipped: a shard that stops: threads cannot be traced here");
    }
    // SAFETY: the pointer may be null.
    unsafe { libc::waitpid(stopped, std::ptr::null_mut(), libc::__WALL) };
    for connection in &mut connections {
        connection.send(b"GET /readyz HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    let answered = connections.iter_mut().find_map(|connection| connection.response_within(SOON));
    let answered = answered.expect("the shard that turns answers");
    assert_eq!(answered.status, 503);
    let reasons = answered.json()["reasons"].to_string();
    assert!(reasons.contains("shard 1 has not turned for 1s"), "{reasons}");
    while systemd.heard(Duration::from_millis(1)).is_some() {}
    let fed = systemd.heard(Duration::from_micros(2 * WATCHDOG_US));
    assert_eq!(fed, None, "the watchdog is not fed");
    // SAFETY: as above.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_DETACH, stopped, 0, 0) }, 0);
    systemd.await_text("WATCHDOG=1");
    eventually("it is ready again", SOON, || broker.request("GET", "/readyz", b"").status == 200);
}
