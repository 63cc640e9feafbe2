//! Processes of nsqadmin and nsqlookupd, and requests with headers.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{HttpConnection, Peer, Reply, SOON, program};

/// A running program that serves HTTP.
pub struct Admin {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Where it takes HTTP.
    pub http: SocketAddr,
}

/// Where the original nsqadmin is, if it was named.
pub fn original_admin() -> Option<PathBuf> {
    std::env::var_os("SHOAL_TEST_ADMIN").map(PathBuf::from)
}

impl Admin {
    /// Our nsqadmin with these flags besides its address.
    pub fn start(flags: &[String]) -> Admin {
        let mut command = Command::new(program(Peer::Shoal { shards: 1 }));
        command.arg("nsqadmin").arg("--http-address=127.0.0.1:0").args(flags);
        Admin::spawn(command)
    }

    /// The original with the same flags.
    pub fn start_original(path: &Path, flags: &[String]) -> Admin {
        let mut command = Command::new(path);
        command.arg("--http-address=127.0.0.1:0").args(flags);
        Admin::spawn(command)
    }

    /// Any program that says where it listens.
    pub fn spawn(mut command: Command) -> Admin {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: prctl is a bare system call and allocates nothing between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (stderr, lines) = (child.stderr.take().unwrap(), log.clone());
        thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        let mut admin = Admin { child, log, http: SocketAddr::from(([127, 0, 0, 1], 0)) };
        admin.http = admin.address("HTTP: listening on ");
        admin
    }

    /// The address in the first line of the log that contains `text`.
    pub fn address(&mut self, text: &str) -> SocketAddr {
        let start = Instant::now();
        loop {
            if let Some(line) = self.log_line(text) {
                return line[line.find(text).unwrap() + text.len()..].trim().parse().unwrap();
            }
            let exited = self.child.try_wait().unwrap();
            assert!(exited.is_none(), "it ended with {exited:?}: {:?}", self.log.lock().unwrap());
            assert!(start.elapsed() < SOON, "it does not say {text:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The first line of the log that contains `text`.
    pub fn log_line(&self, text: &str) -> Option<String> {
        self.log.lock().unwrap().iter().find(|line| line.contains(text)).cloned()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `GET`, whatever the status.
    pub fn get(&self, target: &str) -> Reply {
        ask(self.http, "GET", target, &[], b"")
    }

    /// `GET` that has to succeed.
    pub fn json(&self, target: &str) -> Value {
        let reply = self.get(target);
        assert_eq!(reply.status, 200, "GET {target}: {}", reply.text());
        reply.json()
    }

    /// Any request with a JSON body.
    pub fn send(&self, method: &str, target: &str, body: &str) -> Reply {
        ask(self.http, method, target, &[], body.as_bytes())
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log.lock().unwrap();
            let tail = &log[log.len().saturating_sub(30)..];
            eprintln!("--- the end of its log ---\n{}\n---", tail.join("\n"));
        }
    }
}

/// A nsqlookupd of ours, and where producers connect to it.
pub fn lookupd() -> (Admin, SocketAddr) {
    let mut command = Command::new(program(Peer::Shoal { shards: 1 }));
    command.args(["nsqlookupd", "--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]);
    let mut lookupd = Admin::spawn(command);
    let tcp = lookupd.address("TCP: listening on ");
    (lookupd, tcp)
}

/// One request with these headers.
pub fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut head = format!("{method} {target} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str("Host: test\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut connection = HttpConnection::new(address);
    connection.send(&[head.as_bytes(), body].concat());
    connection.response()
}
