//! Three nsqlookupds and four nsqds, each on a machine of its own as far as the network goes:
//! killed, cut off, slow, restarted. Consumers end with every message, whoever is cut off is
//! registered again within one ping after it is back, and publishers notice nothing.
//!
//! As root only, since it makes network namespaces.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::lookupd::{Lookupd, Program};
use crate::harness::{Broker, Client, Frame, Peer, TempDir, is_root, program, request};

const LOOKUPDS: usize = 3;
const NSQDS: usize = 4;
const PING: Duration = Duration::from_secs(15);
/// How often consumers ask.
const POLL: Duration = Duration::from_millis(300);
/// Time between two messages of one producer.
const PACE: Duration = Duration::from_millis(4);
const TOPIC: &str = "t";
/// A topic that is made while some are cut off.
const LATER: &str = "later";

/// A network of namespaces around a bridge, gone when the test is.
struct Network {
    stem: String,
    machines: Vec<String>,
}

fn run(line: &str) {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {problem}");
}

impl Network {
    fn new() -> Network {
        let stem = format!("shoal{}", std::process::id() % 100_000);
        let mut network = Network { stem, machines: Vec::new() };
        let hub = network.hub();
        run(&format!("ip netns add {hub}"));
        network.machines.push(hub.clone());
        run(&format!("ip -n {hub} link set lo up"));
        run(&format!("ip -n {hub} link add bridge type bridge"));
        run(&format!("ip -n {hub} addr add 10.213.7.254/24 dev bridge"));
        run(&format!("ip -n {hub} link set bridge up"));
        for host in 1..=LOOKUPDS + NSQDS {
            network.add(host);
        }
        network
    }

    fn hub(&self) -> String {
        format!("{}hub", self.stem)
    }

    /// A machine with an address of its own.
    fn add(&mut self, host: usize) {
        let (hub, name) = (self.hub(), self.name(host));
        run(&format!("ip netns add {name}"));
        self.machines.push(name.clone());
        run(&format!("ip -n {hub} link add port{host} type veth peer name eth0 netns {name}"));
        run(&format!("ip -n {hub} link set port{host} master bridge up"));
        run(&format!("ip -n {name} addr add {}/24 dev eth0", address(host)));
        run(&format!("ip -n {name} link set lo up"));
        run(&format!("ip -n {name} link set eth0 up"));
    }

    fn name(&self, host: usize) -> String {
        format!("{}m{host}", self.stem)
    }

    /// Cuts a machine's cable, or joins it again.
    fn connect(&self, host: usize, is_up: bool) {
        let state = if is_up { "up" } else { "down" };
        run(&format!("ip -n {} link set port{host} {state}", self.hub()));
    }

    /// Makes the way to and from a machine slow and lossy, where the kernel can. False where not.
    fn slow_down(&self, host: usize) -> bool {
        let line =
            format!("-n {} qdisc add dev eth0 root netem delay 150ms loss 2%", self.name(host));
        Command::new("tc")
            .args(line.split(' '))
            .output()
            .is_ok_and(|output| output.status.success())
    }

    /// Has a command run on a machine.
    fn place(&self, command: &mut Command, machine: &str) {
        let namespace = File::open(format!("/run/netns/{machine}")).unwrap();
        // SAFETY: setns is a bare system call; the file lives in the closure.
        unsafe {
            command.pre_exec(move || {
                match libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
    }

    /// Moves this thread, and those that it starts, to the machine between all others.
    fn enter(&self) {
        let namespace = File::open(format!("/run/netns/{}", self.hub())).unwrap();
        // SAFETY: it changes nothing but the network of this thread.
        let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for machine in &self.machines {
            let _ = Command::new("ip").args(["netns", "del", machine]).output();
        }
    }
}

fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 213, 7, u8::try_from(host).unwrap())
}

/// Machines 1 to 3 have nsqlookupds, the others nsqds.
struct Cluster {
    network: Network,
    program: Program,
    lookupds: Vec<Option<Lookupd>>,
    nsqds: Vec<Option<Broker>>,
    dirs: Vec<Arc<TempDir>>,
}

impl Cluster {
    fn new(program: Program) -> Cluster {
        let network = Network::new();
        network.enter();
        let dirs = (0..NSQDS).map(|_| Arc::new(TempDir::new())).collect();
        let mut cluster = Cluster {
            network,
            program,
            lookupds: (0..LOOKUPDS).map(|_| None).collect(),
            nsqds: (0..NSQDS).map(|_| None).collect(),
            dirs,
        };
        (0..LOOKUPDS).for_each(|index| cluster.start_lookupd(index));
        (0..NSQDS).for_each(|index| cluster.start_nsqd(index));
        cluster
    }

    fn start_lookupd(&mut self, index: usize) {
        let host = index + 1;
        let flags = [
            format!("--tcp-address={}:4160", address(host)),
            format!("--http-address={}:4161", address(host)),
            format!("--broadcast-address={}", address(host)),
        ];
        let mut command = self.program.command(&flags);
        self.network.place(&mut command, &self.network.name(host));
        let process = Broker::spawn(command, Arc::new(TempDir::new()));
        self.lookupds[index] = Some(Lookupd { program: self.program, process });
    }

    fn start_nsqd(&mut self, index: usize) {
        let host = LOOKUPDS + 1 + index;
        let peer = Peer::Shoal { shards: 1 };
        let mut flags = vec![
            format!("--tcp-address={}:4150", address(host)),
            format!("--http-address={}:4151", address(host)),
            format!("--broadcast-address={}", address(host)),
            format!("--data-path={}", self.dirs[index].path().display()),
            "--http-client-request-timeout=1s".to_owned(),
        ];
        flags
            .extend((1..=LOOKUPDS).map(|at| format!("--lookupd-tcp-address={}:4160", address(at))));
        let mut command = Command::new(program(peer));
        command.args(peer.arguments(&flags));
        self.network.place(&mut command, &self.network.name(host));
        self.nsqds[index] = Some(Broker::spawn(command, self.dirs[index].clone()));
    }

    fn lookupd(&self, index: usize) -> &Lookupd {
        self.lookupds[index].as_ref().unwrap()
    }

    /// Waits until a nsqlookupd knows all nsqds by a topic. How long that took.
    #[track_caller]
    fn await_all(&self, index: usize, topic: &str, within: Duration) -> Duration {
        let start = Instant::now();
        while self.lookupd(index).producers(topic) != NSQDS {
            let took = start.elapsed();
            assert!(took < within, "{topic} at {index} not within {within:?}");
            thread::sleep(Duration::from_millis(50));
        }
        start.elapsed()
    }
}

/// What producers and consumers have to do with each other.
#[derive(Default)]
struct Shared {
    /// Messages that were acknowledged.
    published: Mutex<BTreeSet<u64>>,
    received: Mutex<BTreeSet<u64>>,
    /// How long each publish took that was acknowledged, by phase.
    times: Mutex<BTreeMap<&'static str, Vec<Duration>>>,
    phase: Mutex<&'static str>,
    stop_producing: AtomicBool,
    stop_consuming: AtomicBool,
}

/// Publishes to one nsqd, whatever happens to it.
fn produce(shared: &Shared, index: usize, nsqd: SocketAddr) {
    let mut number = (index as u64) << 32;
    let mut client: Option<Client> = None;
    while !shared.stop_producing.load(Ordering::Relaxed) {
        thread::sleep(PACE);
        let Some(open) = client.as_mut() else {
            client = Client::try_new(nsqd);
            continue;
        };
        number += 1;
        let start = Instant::now();
        let sent = open.try_send(&crate::harness::publish(TOPIC, &number.to_be_bytes()));
        match open.next(Duration::from_secs(5)) {
            Ok(Frame::Response(body)) if sent && body == b"OK" => {
                let phase = *shared.phase.lock().unwrap();
                shared.times.lock().unwrap().entry(phase).or_default().push(start.elapsed());
                shared.published.lock().unwrap().insert(number);
            }
            Ok(Frame::Response(body)) if body == b"_heartbeat_" => open.command("NOP"),
            _ => client = None,
        }
    }
}

/// Asks one nsqlookupd after the other, and consumes from every nsqd that any of them knows.
fn discover(shared: &Arc<Shared>) {
    let mut consumed: BTreeSet<SocketAddr> = BTreeSet::new();
    let lost: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
    while !shared.stop_consuming.load(Ordering::Relaxed) {
        for host in 1..=LOOKUPDS {
            for nsqd in producers(SocketAddr::from((address(host), 4161))) {
                if consumed.insert(nsqd) {
                    let (shared, lost) = (shared.clone(), lost.clone());
                    thread::spawn(move || {
                        consume(&shared, nsqd);
                        lost.lock().unwrap().push(nsqd);
                    });
                }
            }
        }
        for nsqd in lost.lock().unwrap().drain(..) {
            consumed.remove(&nsqd);
        }
        thread::sleep(POLL);
    }
}

/// The nsqds that have the topic, as one nsqlookupd says; none when it says nothing.
fn producers(lookupd: SocketAddr) -> Vec<SocketAddr> {
    // One that is cut off takes nobody's time but its own.
    if TcpStream::connect_timeout(&lookupd, Duration::from_millis(500)).is_err() {
        return Vec::new();
    }
    let (send, answer) = channel();
    thread::spawn(move || {
        let target = format!("/lookup?topic={TOPIC}");
        // Nobody waits any more when it took too long.
        let _ = send.send(request(lookupd, "GET", &target, b"").json());
    });
    let Ok(answer) = answer.recv_timeout(Duration::from_secs(1)) else { return Vec::new() };
    let producers = answer["producers"].as_array().cloned().unwrap_or_default();
    let address = |producer: serde_json::Value| {
        let text = format!("{}:{}", producer["broadcast_address"].as_str()?, producer["tcp_port"]);
        text.parse().ok()
    };
    producers.into_iter().filter_map(address).collect()
}

/// Consumes from one nsqd until it is gone.
fn consume(shared: &Shared, nsqd: SocketAddr) {
    let Some(mut client) = Client::try_new(nsqd) else { return };
    if !client.try_send(format!("SUB {TOPIC} c\nRDY 100\n").as_bytes()) {
        return;
    }
    while !shared.stop_consuming.load(Ordering::Relaxed) {
        match client.next(Duration::from_secs(1)) {
            Ok(Frame::Message(message)) => {
                let number = u64::from_be_bytes(message.body[..].try_into().unwrap());
                shared.received.lock().unwrap().insert(number);
                if !client.try_send(format!("FIN {}\n", message.id).as_bytes()) {
                    return;
                }
            }
            Ok(Frame::Response(body)) if body == b"_heartbeat_" => client.command("NOP"),
            Ok(Frame::Response(_)) | Err(crate::harness::End::Silent) => {}
            Ok(Frame::Error(_)) | Err(crate::harness::End::Closed) => return,
        }
    }
}

#[test]
fn clusters_that_are_torn_apart_lose_nothing() {
    if !is_root() {
        return eprintln!("skipped: network namespaces can be made by root only");
    }
    // The thread moves into another network, and those that it starts.
    thread::spawn(|| tear_apart(&mut Cluster::new(Program::Shoal))).join().unwrap();
}

fn tear_apart(cluster: &mut Cluster) {
    let shared = Arc::new(Shared::default());
    *shared.phase.lock().unwrap() = "calm";
    let mut threads = Vec::new();
    for index in 0..NSQDS {
        let shared = shared.clone();
        let nsqd = SocketAddr::from((address(LOOKUPDS + 1 + index), 4150));
        threads.push(thread::spawn(move || produce(&shared, index, nsqd)));
    }
    let discovering = shared.clone();
    let discoverer = thread::spawn(move || discover(&discovering));
    for index in 0..LOOKUPDS {
        cluster.await_all(index, TOPIC, Duration::from_secs(10));
    }
    thread::sleep(Duration::from_secs(3));
    *shared.phase.lock().unwrap() = "torn";
    suffer(cluster);
    shared.stop_producing.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    await_all(&shared);
    shared.stop_consuming.store(true, Ordering::Relaxed);
    discoverer.join().unwrap();
    compare_times(&shared);
}

/// One is killed, one is cut off, one is slow; an nsqd is killed and one is cut off.
fn suffer(cluster: &mut Cluster) {
    if !cluster.network.slow_down(2) {
        eprintln!("no slow link: this kernel has no netem");
    }
    cluster.lookupds[0].take().unwrap().process.kill();
    cluster.network.connect(3, false);
    cluster.nsqds[0].take().unwrap().kill();
    // While two of three are away, one nsqd comes back and is found through the third.
    thread::sleep(Duration::from_secs(1));
    cluster.start_nsqd(0);
    cluster.await_all(1, TOPIC, Duration::from_secs(10));
    for nsqd in cluster.nsqds.iter().flatten() {
        nsqd.post(&format!("/topic/create?topic={LATER}"));
    }
    cluster.await_all(1, LATER, Duration::from_secs(10));
    // Long enough for every nsqd to notice that nobody answers any more.
    thread::sleep(PING + Duration::from_secs(6));
    cluster.network.connect(3, true);
    cluster.start_lookupd(0);
    let killed = cluster.await_all(0, LATER, PING);
    let cut_off = cluster.await_all(2, LATER, PING.saturating_sub(killed));
    eprintln!("registered again {killed:?} and {:?} after healing", killed + cut_off);
}

/// Every message that was acknowledged comes.
fn await_all(shared: &Shared) {
    let start = Instant::now();
    loop {
        let published = shared.published.lock().unwrap().clone();
        let received = shared.received.lock().unwrap();
        let missing = published.difference(&received).count();
        drop(received);
        if missing == 0 {
            assert!(published.len() > 1000, "{} messages only", published.len());
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{missing} of {}", published.len());
        thread::sleep(Duration::from_millis(200));
    }
}

fn compare_times(shared: &Shared) {
    let times = shared.times.lock().unwrap();
    let p99 = |phase: &str| {
        let mut times = times[phase].clone();
        times.sort_unstable();
        times[(times.len() - 1) * 99 / 100]
    };
    let (calm, torn) = (p99("calm"), p99("torn"));
    eprintln!("p99 of a publish: {calm:?}, then {torn:?}");
    // The machine may be busier by now, but nsqlookupds are waited for much longer than that.
    let most = calm * 4 + Duration::from_millis(50);
    assert!(torn < most, "p99 {torn:?}, before {calm:?}");
}
