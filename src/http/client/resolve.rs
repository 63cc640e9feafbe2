//! Names to addresses, on a thread: the system's resolver blocks, for half a minute if it must.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::Cause;
use crate::config::go_text::errno_text;

/// Lookups under way in the whole process; more at once mean that the resolver is stuck.
const LOOKUPS_MAX: usize = 64;

/// Lookups under way.
static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

/// Counts a lookup as long as its thread runs.
struct Ticket;

impl Ticket {
    fn take() -> Option<Ticket> {
        let more = |count: usize| (count < LOOKUPS_MAX).then_some(count + 1);
        LOOKUPS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Ticket)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        LOOKUPS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All addresses of a host, at least one. Whoever stops waiting leaves a thread behind that ends
/// by itself.
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Cause> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |text: String| Cause::Resolve { host: host.to_owned(), text };
    let Some(ticket) = Ticket::take() else {
        return Err(failed(format!("{LOOKUPS_MAX} names are being looked up already")));
    };
    let (sender, receiver) = flume::bounded(1);
    let name = host.to_owned();
    let lookup = move || {
        let found = (name.as_str(), port).to_socket_addrs();
        drop(ticket);
        // Nobody waits any more when the deadline has passed.
        let _ = sender.send(found.map(Iterator::collect::<Vec<SocketAddr>>));
    };
    let spawned = std::thread::Builder::new().name("resolve".to_owned()).spawn(lookup);
    spawned.map_err(|error| failed(errno_text(&error)))?;
    match receiver.recv_async().await {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(Ok(_)) => Err(failed("no such host".to_owned())),
        Ok(Err(error)) if error.raw_os_error().is_none() => {
            tracing::debug!("looking up {host} failed - {error}");
            Err(failed("no such host".to_owned()))
        }
        Ok(Err(error)) => Err(failed(errno_text(&error))),
        Err(_) => Err(failed("the resolver gave up".to_owned())),
    }
}
