//! The profile of system calls for containers: a broker does all of its work within it.
//!
//! It is turned into a filter as a container's runtime does, and the broker is started behind that.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;

use serde_json::Value;

use super::packaging;
use crate::harness::{Broker, Client, SOON, TempDir, on_each_shoal};
use crate::upgrade::https::Https;
use crate::upgrade::{Authority, tls_flags};

/// Where the kernel's headers have the numbers of system calls.
const HEADERS: [&str; 3] = [
    "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "/usr/include/aarch64-linux-gnu/asm/unistd_64.h",
    "/usr/include/asm-generic/unistd.h",
];

/// The numbers of system calls by their names; `None` without headers.
fn numbers() -> Option<BTreeMap<String, u32>> {
    let text = HEADERS.iter().find_map(|path| fs::read_to_string(path).ok())?;
    let number = |line: &str| {
        let (name, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    Some(text.lines().filter_map(number).collect())
}

fn allowed() -> Vec<String> {
    let text = fs::read_to_string(packaging().join("seccomp/shoal.json")).unwrap();
    let profile: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let groups = profile["syscalls"].as_array().unwrap();
    let names = groups.iter().flat_map(|group| {
        assert_eq!(group["action"], "SCMP_ACT_ALLOW");
        group["names"].as_array().unwrap()
    });
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Allows these numbers; anything else is answered with EPERM.
fn filter(numbers: &[u32]) -> Vec<libc::sock_filter> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for &number in numbers {
        let jump = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        filter.push(libc::sock_filter { code: jump, jt: 0, jf: 1, k: number });
        filter.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    }
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    filter.push(statement(libc::BPF_RET | libc::BPF_K, refuse));
    filter
}

/// Puts the process that is about to be behind the filter.
fn confine(command: &mut std::process::Command, mut filter: Vec<libc::sock_filter>) {
    let enter = move || {
        let length = filter.len() as u16;
        let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
        // SAFETY: both are bare system calls; the program points to a filter that lives on.
        unsafe {
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) != 0
            {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes two system calls and allocates nothing.
    unsafe { command.pre_exec(enter) };
}

#[test]
fn a_broker_works_within_the_profile() {
    let Some(known) = numbers() else {
        eprintln!("skipped: the profile of system calls: the kernel's headers are not there");
        return;
    };
    let allowed: Vec<u32> = allowed().iter().filter_map(|name| known.get(name).copied()).collect();
    assert!(allowed.len() > 100, "{}", allowed.len());
    on_each_shoal("only Shoal has a profile", |peer| {
        let dir = TempDir::new();
        let mut command = Broker::command(peer, &["--durability=synced"], &dir);
        confine(&mut command, filter(&allowed));
        let broker = Broker::spawn(command, dir.into());
        let mut consumer = Client::consumer(&broker, "t", "c", 10);
        for number in 0..50 {
            Client::new(&broker).publish("t", format!("{number}").as_bytes());
            let id = consumer.delivery(&number.to_string(), 1);
            consumer.command(&format!("FIN {id}"));
        }
        assert_eq!(broker.request("GET", "/readyz", b"").status, 200);
        assert_eq!(broker.request("POST", "/debug/freememory", b"").status, 200);
        assert_eq!(broker.request("GET", "/stats?format=json", b"").status, 200);
        let again = Broker::start_in(peer, &[], broker.stop());
        assert_eq!(again.channel("t", "c")["depth"], 0);
    });
}

/// TLS, more messages than memory, and a stop with a backlog ask for nothing else.
#[test]
fn tls_and_a_backlog_beyond_memory_stay_within_the_profile() {
    let Some(known) = numbers() else { return };
    let allowed: Vec<u32> = allowed().iter().filter_map(|name| known.get(name).copied()).collect();
    let authority = Authority::new();
    on_each_shoal("only Shoal has a profile", |peer| {
        let dir = TempDir::new();
        let flags = tls_flags(&authority);
        let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        flags.push("--memory-limit=64MB");
        let mut command = Broker::command(peer, &flags, &dir);
        confine(&mut command, filter(&allowed));
        let mut broker = Broker::spawn(command, dir.into());
        broker.post("/topic/create?topic=t");
        broker.post("/channel/create?topic=t&channel=c");
        let mut https = Https::new(broker.https(), &authority.client(None, true));
        let batch = [&[b'x'; 1023][..], b"\n"].concat().repeat(4096);
        for _ in 0..16 {
            let published = https.request("POST", "/mpub?topic=t", &batch);
            assert_eq!(published, Ok((200, b"OK".to_vec())));
        }
        let on_disk = broker.channel("t", "c")["backend_depth"].as_i64();
        assert!(on_disk > Some(0), "{on_disk:?}");
        let again = Broker::start_in(peer, &[], broker.stop());
        assert_eq!(again.channel("t", "c")["depth"], 16 * 4096);
    });
}

/// The tests above could not fail if the filter did nothing.
#[test]
fn without_io_uring_the_filter_stops_a_broker() {
    let Some(known) = numbers() else { return };
    let names = allowed();
    let rest = names.iter().filter(|name| !name.starts_with("io_uring"));
    let rest: Vec<u32> = rest.filter_map(|name| known.get(name).copied()).collect();
    on_each_shoal("only Shoal has a profile", |peer| {
        let dir = TempDir::new();
        let mut command = Broker::command(peer, &[], &dir);
        confine(&mut command, filter(&rest));
        let exit = Broker::run(command, SOON);
        assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
        assert!(exit.output.contains("io_uring is forbidden here"), "{}", exit.output);
    });
}
