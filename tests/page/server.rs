//! A program that serves HTTP: nsqlookupd or nsqadmin, gone when the test is.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::harness::SOON;

/// What these programs log about their addresses.
const LISTENING: [&str; 2] = ["TCP: listening on ", "HTTP: listening on "];

/// A running program.
pub struct Server {
    child: Child,
    /// Where it takes HTTP.
    pub http: SocketAddr,
    /// Where it takes the protocol, if it does.
    pub tcp: Option<SocketAddr>,
}

impl Server {
    /// Starts this command and waits until it says where it listens for HTTP and, if `with_tcp`,
    /// for TCP.
    pub fn start(mut command: Command, with_tcp: bool) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: prctl is a bare system call and allocates nothing between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap();
        let (said, lines) = mpsc::channel();
        let stderr = child.stderr.take().unwrap();
        // Its log is read to the end, so that the program never waits for a reader.
        thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let _ = said.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        let mut found = [None; 2];
        while found[1].is_none() || (with_tcp && found[0].is_none()) {
            let line = lines.recv_timeout(SOON).expect("it says where it listens");
            for (address, text) in found.iter_mut().zip(LISTENING) {
                if let Some((_, rest)) = line.split_once(text) {
                    *address = Some(rest.trim().parse().unwrap());
                }
            }
        }
        Server { child, http: found[1].unwrap(), tcp: found[0] }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
