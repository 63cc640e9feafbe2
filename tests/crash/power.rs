//! Power cuts, and disks that fail: on a pretended disk that forgets what was not synced.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::disk::Cut;
use super::drain::settle;
use super::fuse::Faulty;
use super::ledger::{Answer, Key, body};
use super::load::{Ending, World};
use super::random::{Random, number, seed};
use super::report::{Report, Rules};
use super::{durable, skipped};
use crate::harness::{
    Broker, Client, HttpConnection, Peer, SOON, eventually, on_each_peer, on_each_shoal, publish,
};

const CUTS: [Cut; 3] = [Cut::Nothing, Cut::Prefix, Cut::Subset];
/// What is not synced at once is synced within this time.
const SYNC_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there can be no pretended disk here, if so.
fn cannot_mount() -> Option<String> {
    let result = thread::spawn(|| Faulty::new().map(drop)).join().unwrap();
    result.err().map(|error| format!("this process may not mount with FUSE: {error}"))
}

/// The disk itself: what it keeps and what it forgets, and that it fails when told to.
#[test]
fn the_disk_forgets() {
    if let Some(reason) = cannot_mount() {
        return skipped(&reason);
    }
    thread::spawn(|| {
        let faulty = Faulty::new().unwrap();
        let root = faulty.dir().path().to_path_buf();
        let sync_folder = || File::open(&root).unwrap().sync_all().unwrap();
        let mut random = Random::new(1);
        fs::write(root.join("nameless"), b"x").unwrap();
        File::open(root.join("nameless")).unwrap().sync_all().unwrap();
        faulty.cut(Cut::Nothing, &mut random);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
        let path = root.join("file");
        let mut file = File::create(&path).unwrap();
        file.write_all(&[1; 1000]).unwrap();
        file.sync_data().unwrap();
        sync_folder();
        file.write_all(&[2; 1000]).unwrap();
        file.write_all_at(&[3; 10], 100).unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap().len(), 2000);
        faulty.cut(Cut::Nothing, &mut random);
        assert_eq!(fs::read(&path).unwrap(), [1; 1000]);
        // A failed sync is the end of what it covered; later ones do not make up for it.
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[4; 512], 0).unwrap();
        faulty.faults.syncs.store(1, Ordering::Relaxed);
        assert_eq!(file.sync_all().unwrap_err().raw_os_error(), Some(libc::EIO));
        file.write_all_at(&[5; 512], 512).unwrap();
        file.sync_all().unwrap();
        drop(file);
        faulty.cut(Cut::Nothing, &mut random);
        let content = fs::read(&path).unwrap();
        assert_eq!(
            (content[..512].to_vec(), content[512..].to_vec()),
            (vec![1; 512], vec![5; 512])
        );
        faulty.faults.reads.store(true, Ordering::Relaxed);
        let mut buffer = [0; 10];
        let error = File::open(&path).unwrap().read(&mut buffer).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        faulty.faults.reads.store(false, Ordering::Relaxed);
        // Names: what was synced is there under its old name.
        fs::rename(&path, root.join("renamed")).unwrap();
        faulty.cut(Cut::Nothing, &mut random);
        assert!(path.exists());
        fs::rename(&path, root.join("renamed")).unwrap();
        sync_folder();
        faulty.cut(Cut::Subset, &mut random);
        assert!(root.join("renamed").exists() && !path.exists());
    })
    .join()
    .unwrap();
}

/// Clients and a broker on a pretended disk.
struct Site<'a> {
    peer: Peer,
    mode: &'a str,
    faulty: Faulty,
    tcp: u16,
    random: Random,
}

impl<'a> Site<'a> {
    fn new(peer: Peer, mode: &'a str) -> (Self, World) {
        let seed = seed(&format!("{peer:?} {mode} on a pretended disk"));
        let address = super::cycles::address();
        let faulty = Faulty::new().unwrap();
        let random = Random::new(seed);
        let site = Site { peer, mode, faulty, tcp: address.port(), random };
        let world = World::new(address, seed, 4, !peer.is_original());
        let broker = site.start();
        let mut http = HttpConnection::new(broker.http);
        for (topic, channel) in super::cycles::channels(world.topics) {
            http.request("POST", &format!("/topic/create?topic={topic}"), b"");
            http.request("POST", &format!("/channel/create?topic={topic}&channel={channel}"), b"");
            world.ledger.channel(&topic, channel);
        }
        broker.stop();
        (site, world)
    }

    fn start(&self) -> Broker {
        self.start_with(&[])
    }

    fn start_with(&self, more: &[&str]) -> Broker {
        let mut flags = durable(self.peer, self.mode);
        if self.peer.is_original() {
            // It writes before it answers, and syncs now and then.
            flags.retain(|flag| !flag.starts_with("--sync-every"));
        }
        flags.push(format!("--tcp-address=127.0.0.1:{}", self.tcp));
        flags.push(format!("--sync-timeout={}s", SYNC_TIMEOUT.as_secs()));
        let flags: Vec<&str> =
            flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        super::cycles::is_free(([127, 0, 0, 1], self.tcp).into());
        Broker::start_in(self.peer, &flags, self.faulty.dir())
    }

    /// SIGKILL, and the power is gone at the same moment.
    fn cut(&mut self, world: &World, broker: Broker) {
        broker.kill();
        world.ledger.killed();
        // One kind only helps to find out why.
        let kind = number("CRASH_CUT", self.random.below(CUTS.len()) as u64);
        self.faulty.cut(CUTS[kind as usize], &mut self.random);
    }
}

/// Cuts the power so often, under load; `during` may add to that each time.
fn run(
    peer: Peer,
    mode: &str,
    cuts: u64,
    rules: Rules,
    during: impl Fn(&Site<'_>, &Broker),
) -> Report {
    let (mut site, world) = Site::new(peer, mode);
    let world = &world;
    let left = thread::scope(|scope| {
        let _ending = Ending(world);
        let producers: Vec<_> = (0..4).map(|id| scope.spawn(move || world.produce(id))).collect();
        if !peer.is_original() {
            super::cycles::consumers(scope, world);
        }
        for _ in 0..cuts {
            let broker = site.start();
            thread::sleep(site.random.ms_below(700));
            during(&site, &broker);
            site.cut(world, broker);
        }
        let broker = site.start();
        world.producing.store(false, Ordering::Relaxed);
        for producer in producers {
            producer.join().unwrap();
        }
        settle(&broker, world)
    });
    let report = world.ledger.report(rules);
    let syncs = site.faulty.faults.synced.load(Ordering::Relaxed);
    eprintln!("{peer:?} {mode}, {syncs} syncs: {report}");
    assert!(left.is_empty(), "does not come out: {left:?}\n{report}");
    assert!(syncs > 0, "nothing was ever synced");
    report
}

/// FINs reach the disk with the next sync at the latest.
const AFTER_CUTS: Rules = Rules {
    forgets: Duration::from_secs(4),
    loses: None,
    // The disk is a thread of this process: where that gets no time, a shard reads late.
    crossing: Duration::from_secs(5),
};

/// In this mode `OK` means that it is on the disk.
#[test]
fn synced_loses_nothing() {
    if let Some(reason) = cannot_mount() {
        return skipped(&reason);
    }
    on_each_shoal("the original answers before it syncs", |peer| {
        let cuts = number("CRASH_CYCLES", 6);
        run(peer, "synced", cuts, AFTER_CUTS, |_, _| {}).assert_clean();
    });
}

/// In this mode a cut costs what was taken since the last sync, and nothing older; what comes out
/// is whole.
#[test]
fn written_loses_the_last_moment() {
    if let Some(reason) = cannot_mount() {
        return skipped(&reason);
    }
    on_each_shoal("the original answers before it writes", |peer| {
        let window = SYNC_TIMEOUT + Duration::from_secs(1);
        let rules = Rules { loses: Some(window), ..AFTER_CUTS };
        let cuts = number("CRASH_CYCLES", 6).div_ceil(3);
        // Long enough for some messages to be old; from `t2` nobody takes them.
        run(peer, "written", cuts, rules, |_, _| thread::sleep(window + SYNC_TIMEOUT))
            .assert_clean();
    });
}

/// A disk that forgets, under a broker that does not sync before it answers: the run has to find
/// losses, or it finds nothing anywhere.
#[test]
fn without_syncs_messages_are_lost() {
    if let Some(reason) = cannot_mount() {
        return skipped(&reason);
    }
    on_each_peer(|peer| {
        let report = run(peer, "written", 4, AFTER_CUTS, |_, _| {});
        assert!(!report.lost.is_empty(), "{report}");
    });
}

/// A sync fails: nothing that it covered is acknowledged, or the broker sees to it in another way.
#[test]
fn a_sync_fails() {
    if let Some(reason) = cannot_mount() {
        return skipped(&reason);
    }
    on_each_shoal("the original goes on as if nothing had happened", |peer| {
        let report = run(peer, "synced", 3, AFTER_CUTS, |site, broker| {
            let faults = &site.faulty.faults;
            faults.syncs.store(2, Ordering::Relaxed);
            eventually("syncs fail", SOON, || faults.syncs.load(Ordering::Relaxed) == 0);
            // Long enough for false promises.
            thread::sleep(Duration::from_millis(300));
            let said = |text: &str| broker.log_line(text).is_some();
            assert!(said("nput/output error"), "the broker does not say that its disk failed");
        });
        report.assert_clean();
    });
}

/// Files that cannot be read at the start: it stops with a word about it or goes on without them;
/// when they can be read again, everything is there.
#[test]
fn reads_fail_at_the_start() {
    if let Some(reason) = cannot_mount() {
        return skipped(&reason);
    }
    on_each_shoal("the original has another log", |peer| {
        let (mut site, world) = Site::new(peer, "synced");
        let world = &world;
        let broker = site.start();
        thread::scope(|scope| {
            let _ending = Ending(world);
            let producer = scope.spawn(move || world.produce(1));
            thread::sleep(Duration::from_millis(500));
            world.producing.store(false, Ordering::Relaxed);
            producer.join().unwrap();
        });
        site.cut(world, broker);
        let faults = &site.faulty.faults;
        faults.reads.store(true, Ordering::Relaxed);
        let flags = durable(peer, "synced");
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Broker::start_and_kill(Broker::command(peer, &flags, &site.faulty.dir()), SOON / 10);
        faults.reads.store(false, Ordering::Relaxed);
        let broker = site.start();
        world.over.store(false, Ordering::Relaxed);
        let left = settle(&broker, world);
        let report = world.ledger.report(AFTER_CUTS);
        assert!(left.is_empty(), "does not come out: {left:?}\n{report}");
        report.assert_clean();
        assert!(report.acknowledged > 10, "{report}");
    });
}

/// More than fits into the memory of [`reads_fail_for_a_while`].
const MUCH: u32 = 700;
const PADDING: usize = 60_000;

/// Publishes so much to `t0` that most of it is only on the disk.
fn publish_much(world: &World, broker: &Broker) {
    let mut random = Random::new(9);
    let mut client = Client::new(broker);
    for sequence in 0..MUCH {
        let body = body(Key { producer: 9, sequence }, PADDING, &mut random);
        let key = world.ledger.sent("t0", &body, None);
        client.send(&publish("t0", &body));
        client.ok();
        world.ledger.answered(&[key], Answer::Acknowledged);
    }
}

/// While what is on the disk cannot be read, other topics go on; and when it can, it is there.
#[test]
fn reads_fail_for_a_while() {
    if let Some(reason) = cannot_mount() {
        return skipped(&reason);
    }
    on_each_shoal("the original has another log", |peer| {
        let (site, world) = Site::new(peer, "written");
        let mut broker = site.start_with(&["--memory-limit=16MB"]);
        publish_much(&world, &broker);
        let faults = &site.faulty.faults;
        faults.reads.store(true, Ordering::Relaxed);
        world.calm.store(true, Ordering::Relaxed);
        let taken = world.sweep("t0", "a", MUCH as usize);
        assert!(taken < MUCH as usize, "nothing had to be read: {taken}");
        let mut other = Client::consumer(&broker, "other#ephemeral", "c", 1);
        for number in 0..20 {
            let body = number.to_string();
            other.publish("other#ephemeral", body.as_bytes());
            let id = other.delivery(&body, 1);
            other.fin(&id);
        }
        faults.reads.store(false, Ordering::Relaxed);
        // It need not notice by itself.
        broker.kill();
        world.ledger.killed();
        broker = site.start();
        let left = settle(&broker, &world);
        let report = world.ledger.report(AFTER_CUTS);
        eprintln!("{peer:?}, {taken} of {MUCH} came while reads failed: {report}");
        assert!(left.is_empty(), "does not come out: {left:?}\n{report}");
        report.assert_clean();
    });
}
