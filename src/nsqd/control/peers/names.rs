//! A configured address: a name and a port, looked up again and again, since it may come to lead
//! elsewhere, and to several nsqlookupds.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Peers;
use crate::http::client::resolve::resolve;
use crate::http::client::within;
use crate::nsqd::control::limits::{
    ADDRESS_KEPT, RESOLVE_INTERVAL, RESOLVE_INTERVAL_TROUBLED, RESOLVE_TIMEOUT,
};
use crate::nsqd::control::stir::Stir;

/// See the module's text.
#[derive(Debug)]
pub struct Followed {
    /// As configured.
    pub text: String,
    /// Where it leads, and when it last did.
    addresses: RefCell<BTreeMap<SocketAddr, Instant>>,
    /// It was looked up, or could not be.
    tried: Cell<bool>,
    stopped: Cell<bool>,
    stir: Stir,
}

impl Followed {
    /// A name that nobody has looked up yet.
    pub fn new(text: String) -> Followed {
        Followed {
            text,
            addresses: RefCell::default(),
            tried: Cell::default(),
            stopped: Cell::default(),
            stir: Stir::default(),
        }
    }

    /// The host of it.
    pub fn host(&self) -> &str {
        split(&self.text).map_or(&self.text, |(host, _)| host)
    }

    /// Where it leads.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.borrow().keys().copied().collect()
    }

    /// Whether it leads there.
    pub fn leads_to(&self, address: SocketAddr) -> bool {
        self.addresses.borrow().contains_key(&address)
    }

    /// Whether it was looked up, or could not be.
    pub fn is_tried(&self) -> bool {
        self.tried.get()
    }

    /// It is not wanted any more.
    pub fn stop(&self) {
        self.stopped.set(true);
        self.stir.stir();
    }

    /// One of its addresses is not connected any more: it may have moved.
    pub fn lost(&self) {
        self.stir.stir();
    }

    /// Looks it up until it is stopped.
    pub async fn run(self: Rc<Self>, of: Rc<Peers>) {
        let mut complained = None;
        while !self.stopped.get() {
            let now = Instant::now();
            match look_up(&self.text).await {
                Ok(found) => {
                    complained = None;
                    self.take(&found, now, |address| of.is_open(address));
                }
                Err(text) if complained.as_ref() != Some(&text) => {
                    tracing::error!("LOOKUP({}): {text}", self.text);
                    complained = Some(text);
                }
                Err(_) => {}
            }
            self.tried.set(true);
            if self.stopped.get() {
                return;
            }
            of.reconcile();
            self.rest(&of, now).await;
        }
    }

    async fn rest(&self, of: &Peers, since: Instant) {
        while !self.stopped.get() {
            let addresses = self.addresses();
            let well = |&at: &SocketAddr| of.is_open(at) || of.has_other_family(at);
            let troubled = addresses.is_empty() || !addresses.iter().all(well);
            let interval = if troubled { RESOLVE_INTERVAL_TROUBLED } else { RESOLVE_INTERVAL };
            let left = (since + interval).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.stir.pause(left).await;
        }
    }

    /// Takes over where it leads now. An address that works stays for a while.
    fn take(&self, found: &[SocketAddr], now: Instant, works: impl Fn(SocketAddr) -> bool) {
        let mut addresses = self.addresses.borrow_mut();
        addresses.extend(found.iter().map(|&address| (address, now)));
        addresses.retain(|&address, seen| {
            let recently: Duration = now.duration_since(*seen);
            recently.is_zero() || (recently < ADDRESS_KEPT && works(address))
        });
    }
}

/// All addresses of a `host:port`.
async fn look_up(text: &str) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = split(text)?;
    let found = within(RESOLVE_TIMEOUT, resolve(host, port)).await;
    let late = || format!("dial tcp: lookup {host}: i/o timeout");
    found.ok_or_else(late)?.map_err(|cause| cause.to_string())
}

/// Host and port of an address as Go writes it.
fn split(text: &str) -> Result<(&str, u16), String> {
    let wrong = |what: &str| format!("dial tcp: address {text}: {what}");
    let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("missing port in address"))?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(|| wrong("missing ']' in address"))?,
        None if host.contains(':') => return Err(wrong("too many colons in address")),
        None => host,
    };
    let port = port.parse().map_err(|_| wrong("invalid port"))?;
    // As for Go, nobody in particular is this machine.
    Ok((if host.is_empty() { "localhost" } else { host }, port))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{ADDRESS_KEPT, Followed, split};

    #[test]
    fn an_address_is_split_as_in_go() {
        assert_eq!(split("h:4160"), Ok(("h", 4160)));
        assert_eq!(split("[::1]:4160"), Ok(("::1", 4160)));
        assert_eq!(split(":4160"), Ok(("localhost", 4160)));
        for bad in ["", "h", "h:", "h:x", "h:65536", "::1:4160", "[::1:4160", "http://h:4160"] {
            let text = split(bad).unwrap_err();
            assert!(text.starts_with("dial tcp: address"), "{bad}: {text}");
        }
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_followed() {
        let name = Followed::new("l:1".to_owned());
        let at = |last: u8| format!("10.0.0.{last}:1").parse().unwrap();
        let start = Instant::now();
        let check = |found: &[u8], works: &[u8], after_s: u64, leads_to: &[u8]| {
            let found: Vec<_> = found.iter().map(|&last| at(last)).collect();
            let works: Vec<_> = works.iter().map(|&last| at(last)).collect();
            let now = start + Duration::from_secs(after_s);
            name.take(&found, now, |address| works.contains(&address));
            let leads_to: Vec<_> = leads_to.iter().map(|&last| at(last)).collect();
            assert_eq!(name.addresses(), leads_to, "after {after_s} s");
        };
        check(&[1, 2], &[], 0, &[1, 2]);
        // What does not work and is not named any more is gone, what works is kept.
        check(&[2, 3], &[2], 30, &[2, 3]);
        check(&[4], &[2], 60, &[2, 4]);
        check(&[4], &[2], 29 + ADDRESS_KEPT.as_secs(), &[2, 4]);
        check(&[4], &[2], 30 + ADDRESS_KEPT.as_secs(), &[4]);
        check(&[2, 4], &[], 31 + ADDRESS_KEPT.as_secs(), &[2, 4]);
    }
}
