//! kill -9 at random moments, again and again, under load.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use super::drain::settle;
use super::load::{Ending, World};
use super::random::{Random, number, seed};
use super::report::{Report, Rules};
use super::{LASTING, durable};
use crate::harness::{
    Broker, Client, HttpConnection, Peer, SOON, TempDir, eventually, on_each_peer, on_each_shoal,
};

const PRODUCERS: u32 = 4;

/// What a run is made of.
#[derive(Clone, Copy)]
struct Plan {
    mode: &'static str,
    topics: usize,
    cycles: u64,
    /// Whether anybody consumes while the broker is killed; the original loses what is in flight.
    consumes: bool,
    /// Whether messages are deferred; the original loses those as well.
    defers: bool,
    /// How often it is killed while it starts, at the end of all.
    early: u64,
}

/// An address that no test takes that leaves the choice to the system.
pub fn address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 16;
        let address = SocketAddr::from(([127, 0, 0, 1], 20_000 + (turn % 10_000) as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// The kernel takes a ring's sockets down a moment after its process; these tests are about
/// messages, and `restarts_at_once` is about that.
pub fn is_free(address: SocketAddr) {
    eventually("the address is free", SOON, || TcpListener::bind(address).is_ok());
}

/// A broker that is killed and started again on the same folder and addresses.
struct Site {
    peer: Peer,
    plan: Plan,
    dir: Arc<TempDir>,
    tcp: SocketAddr,
    http: SocketAddr,
    random: Random,
    slowest: Duration,
}

impl Site {
    fn new(peer: Peer, plan: Plan, seed: u64) -> Self {
        let (tcp, http) = (address(), address());
        let (dir, random) = (Arc::new(TempDir::new()), Random::new(seed));
        Site { peer, plan, dir, tcp, http, random, slowest: Duration::ZERO }
    }

    /// The next start; what has nothing to do with the promise differs from one to the other.
    fn command(&mut self) -> Command {
        is_free(self.tcp);
        is_free(self.http);
        let mut flags = durable(self.peer, self.plan.mode);
        flags.push(format!("--tcp-address={}", self.tcp));
        flags.push(format!("--http-address={}", self.http));
        let mut peer = self.peer;
        if !peer.is_original() {
            let queue = self.random.pick(&["0", "10", "10000"]);
            let file = self.random.pick(&["1048576", "104857600"]);
            let memory = self.random.pick(&["16MB", "256MB"]);
            flags.push(format!("--mem-queue-size={queue}"));
            flags.push(format!("--max-bytes-per-file={file}"));
            flags.push(format!("--memory-limit={memory}"));
            if self.random.percent(20) {
                peer = Peer::Shoal { shards: 1 + self.random.below(3) };
            }
        }
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Broker::command(peer, &flags, &self.dir)
    }

    fn start(&mut self) -> Broker {
        let command = self.command();
        let start = Instant::now();
        let broker = Broker::spawn(command, self.dir.clone());
        self.slowest = self.slowest.max(start.elapsed());
        broker
    }

    /// Makes topics and channels, so that every message is meant for all of them.
    fn furnish(&mut self, world: &World) {
        let broker = self.start();
        let mut http = HttpConnection::new(broker.http);
        let mut post = |target: String| {
            assert_eq!(http.request("POST", &target, b"").status, 200, "{target}");
        };
        for (topic, channel) in channels(self.plan.topics) {
            post(format!("/topic/create?topic={topic}"));
            post(format!("/channel/create?topic={topic}&channel={channel}"));
            world.ledger.channel(&topic, channel);
        }
        broker.stop();
    }

    /// One life of the broker, from its start to its end, which is sudden most of the time.
    fn cycle(&mut self, world: &World) {
        // The original forgets what it took since the last sync of its positions.
        if !self.peer.is_original() && self.random.percent(10) {
            self.stillbirth(world);
        }
        let broker = self.start();
        thread::sleep(self.random.ms_below(1000));
        if self.plan.consumes && self.random.percent(20) {
            broker.stop();
            return world.ledger.killed();
        }
        if self.peer.is_original() && !self.plan.consumes {
            // What it is just moving from a topic to its channels it loses, too.
            world.paused.store(true, Ordering::Relaxed);
            let mut counts = String::new();
            eventually("it is quiet", 2 * SOON, || {
                thread::sleep(Duration::from_millis(300));
                let now = broker.request("GET", "/stats?include_mem=false&format=json", b"");
                let now = now.json()["topics"].to_string();
                std::mem::replace(&mut counts, now.clone()) == now
            });
        }
        broker.kill();
        world.ledger.killed();
        world.paused.store(false, Ordering::Relaxed);
    }

    /// A kill while it reads what there is, or while it has just begun to serve.
    fn stillbirth(&mut self, world: &World) {
        let after = self.random.ms_below(100);
        Broker::start_and_kill(self.command(), after);
        world.ledger.killed();
    }
}

/// Every topic has channel `a`, and every other one `b` as well.
pub fn channels(topics: usize) -> Vec<(String, &'static str)> {
    let of_topic = |number: usize| {
        let names = if number % 2 == 1 { &["a", "b"][..] } else { &["a"] };
        names.iter().map(move |channel| (format!("t{number}"), *channel))
    };
    (0..topics).flat_map(of_topic).collect()
}

/// Kills the broker under load, waits until all is drained, and has the ledger judge.
fn run(peer: Peer, plan: Plan) -> Report {
    let seed = seed(&format!("{peer:?} {} with {} topics", plan.mode, plan.topics));
    let mut site = Site::new(peer, plan, seed);
    let world = World::new(site.tcp, seed, plan.topics, plan.defers);
    let world = &world;
    site.furnish(world);
    let left = thread::scope(|scope| {
        let _ending = Ending(world);
        let producers: Vec<_> =
            (0..PRODUCERS).map(|id| scope.spawn(move || world.produce(id))).collect();
        if plan.consumes {
            consumers(scope, world);
        }
        (0..plan.cycles).for_each(|_| site.cycle(world));
        (0..plan.early).for_each(|_| site.stillbirth(world));
        let broker = site.start();
        thread::sleep(Duration::from_millis(200));
        world.producing.store(false, Ordering::Relaxed);
        for producer in producers {
            producer.join().unwrap();
        }
        settle(&broker, world)
    });
    let report = world.ledger.report(Rules::STRICT);
    eprintln!("{peer:?} {} slowest start {:?}: {report}", plan.mode, site.slowest);
    assert!(left.is_empty(), "does not come out: {left:?}\n{report}");
    report
}

/// Starts consumers for the first topics. Nobody takes from the channels of `t2` until all is calm.
pub fn consumers<'scope>(scope: &'scope Scope<'scope, '_>, world: &'scope World) {
    let live = channels(world.topics.min(12)).into_iter().filter(|(topic, _)| topic != "t2");
    for (id, (topic, channel)) in (1..).zip(live) {
        scope.spawn(move || world.consume(&topic, channel, id));
    }
}

/// Everything at once, in the modes that promise to survive it.
fn everything(mode: &'static str) {
    on_each_shoal("the original loses what is in flight or deferred", |peer| {
        let cycles = number("CRASH_CYCLES", 8);
        let plan = Plan { mode, topics: 6, cycles, consumes: true, defers: true, early: 0 };
        let report = run(peer, plan);
        report.assert_clean();
        assert!(report.acknowledged > 100, "hardly anything happened: {report}");
        assert!(report.redelivered > 0, "nothing was in flight at a kill: {report}");
    });
}

#[test]
fn written() {
    everything("written");
}

#[test]
fn synced() {
    everything("synced");
}

/// Whoever supervises the broker starts it again as soon as it is dead, on the same addresses.
#[test]
fn restarts_at_once() {
    on_each_peer(|peer| {
        let (tcp, http) = (address(), address());
        let dir = Arc::new(TempDir::new());
        let flags = [format!("--tcp-address={tcp}"), format!("--http-address={http}")];
        let flags = [flags[0].as_str(), flags[1].as_str()];
        for _ in 0..5 {
            let broker = Broker::start_in(peer, &flags, dir.clone());
            let mut client = Client::consumer(&broker, "t", "c", 1);
            client.alive();
            broker.kill();
        }
    });
}

/// Few messages on each of many topics: what is quiet must not be forgotten.
#[test]
fn a_thousand_topics() {
    on_each_shoal("the original syncs a file for each", |peer| {
        let cycles = number("CRASH_CYCLES", 8).div_ceil(3);
        let plan =
            Plan { mode: "written", topics: 1000, cycles, consumes: true, defers: true, early: 0 };
        run(peer, plan).assert_clean();
    });
}

/// Recovery that is interrupted again and again gets there in the end.
#[test]
fn killed_while_starting() {
    on_each_shoal("the original does not recover", |peer| {
        let early = 2 * number("CRASH_CYCLES", 8);
        let plan =
            Plan { mode: "written", topics: 6, cycles: 2, consumes: true, defers: true, early };
        run(peer, plan).assert_clean();
    });
}

/// What only waits, which the original keeps too.
#[test]
fn a_backlog() {
    on_each_peer(|peer| {
        for mode in LASTING {
            let plan =
                Plan { mode, topics: 3, cycles: 3, consumes: false, defers: false, early: 0 };
            run(peer, plan).assert_clean();
        }
    });
}

/// A broker that promises nothing: the same run has to find losses, or it finds nothing anywhere.
#[test]
fn memory_loses() {
    on_each_peer(|peer| {
        let plan =
            Plan { mode: "memory", topics: 6, cycles: 2, consumes: false, defers: true, early: 0 };
        let report = run(peer, plan);
        assert!(!report.lost.is_empty(), "{report}");
        assert_eq!(report.violations().len(), 1, "{:?}", report.violations());
    });
}

/// What is in flight: the original loses it, and the run has to find that.
#[test]
fn the_original_loses_what_is_in_flight() {
    if Peer::all() != [Peer::Original] {
        eprintln!("needs SHOAL_TEST_PEER");
        return;
    }
    let plan =
        Plan { mode: "written", topics: 6, cycles: 4, consumes: true, defers: false, early: 0 };
    assert!(!run(Peer::Original, plan).lost.is_empty());
}
