//! Connections kept for the next request to the same server.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::request::Url;

/// Idle connections to one server.
const IDLE_PER_SERVER_MAX: usize = 2;
/// Idle connections altogether.
const IDLE_MAX: usize = 256;
/// The longest that one is kept.
const IDLE_TIME_MAX: Duration = Duration::from_secs(90);

/// The idle connections of one client.
#[derive(Debug, Default)]
pub struct Pool {
    servers: HashMap<Server, Vec<Idle>>,
    count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Server {
    https: bool,
    host: String,
    port: u16,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Server {
    fn of(url: &Url) -> Server {
        Server { https: url.https, host: url.host.clone(), port: url.port }
    }
}

impl Pool {
    /// The connection to this server that was used last, if it still stands.
    pub fn take(&mut self, url: &Url, now: Instant) -> Option<Connection> {
        self.forget_old(now);
        let server = Server::of(url);
        let idle = self.servers.get_mut(&server)?;
        let mut found = None;
        while found.is_none() && !idle.is_empty() {
            let mut last = idle.pop()?.connection;
            self.count -= 1;
            found = last.is_reusable().then_some(last);
        }
        if idle.is_empty() {
            self.servers.remove(&server);
        }
        found
    }

    /// Keeps a connection, if there is room.
    pub fn give(&mut self, url: &Url, connection: Connection, now: Instant) {
        self.forget_old(now);
        if self.count >= IDLE_MAX {
            return;
        }
        let idle = self.servers.entry(Server::of(url)).or_default();
        if idle.len() >= IDLE_PER_SERVER_MAX {
            return;
        }
        idle.push(Idle { connection, since: now });
        self.count += 1;
    }

    fn forget_old(&mut self, now: Instant) {
        let fresh = |idle: &Idle| now.saturating_duration_since(idle.since) < IDLE_TIME_MAX;
        self.servers.retain(|_, idle| {
            idle.retain(fresh);
            !idle.is_empty()
        });
        self.count = self.servers.values().map(Vec::len).sum();
    }
}
