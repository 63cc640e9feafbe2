//! The nsqlookupds of this node: found, kept connected, and told of every topic and channel.
//!
//! Reading order: `names` (where they are), `peer` (one of them), `wire` (TLS, or none), `session`
//! (what is said, pure), `answer` (what comes back, pure), `backoff`, `registry` (what there is to
//! tell).

mod answer;
mod backoff;
mod names;
mod peer;
mod registry;
mod session;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use glommio::timer::Timer;
use rustls::ClientConfig;
use shards::metadata::Registration;
use shards::wire::names::Name;

use super::limits::{NAMES_MAX, PEERS_MAX, RETRY_MIN, SETTLE_TICK};
use super::{ControlNumbers, Counters};
use crate::net::shield::Shielded;
use crate::tls::ClientFiles;
use answer::{LookupInfo, Trouble};
use names::Followed;
use peer::Peer;
use registry::Registry;

/// See the module's text.
#[derive(Debug)]
pub struct Peers {
    /// The body of IDENTIFY.
    identity: Vec<u8>,
    tls: Option<ClientFiles>,
    registry: RefCell<Registry>,
    names: RefCell<BTreeMap<String, Rc<Followed>>>,
    peers: RefCell<BTreeMap<SocketAddr, Rc<Peer>>>,
    counters: Counters,
    /// Addresses that were too many when it was last looked: as configured, and behind names.
    left_out: [Cell<usize>; 2],
}

impl Peers {
    /// Nobody to tell yet. Without files for it, there is no TLS.
    pub fn new(identity: Vec<u8>, tls: Option<ClientFiles>) -> Peers {
        Peers {
            identity,
            tls,
            registry: RefCell::default(),
            names: RefCell::default(),
            peers: RefCell::default(),
            counters: Counters::default(),
            left_out: Default::default(),
        }
    }

    /// How it stands with them.
    pub fn numbers(&self) -> ControlNumbers {
        let peers = self.peers.borrow();
        ControlNumbers {
            peers: peers.values().map(|peer| (peer.shown().to_owned(), peer.is_open())).collect(),
            names: self.names.borrow().len() as u64,
            left_out: self.left_out.iter().map(|count| count.get() as u64).sum(),
            connects: self.counters.connects.get(),
            failures: self.counters.failures.get(),
            untold: peers.values().map(|peer| peer.untold() as u64).sum(),
            ..ControlNumbers::default()
        }
    }

    /// From now on these are the nsqlookupds, by their addresses as configured.
    pub fn follow(self: &Rc<Self>, addresses: &[String]) {
        let mut wanted: BTreeSet<&String> = addresses.iter().collect();
        self.left_out[0].set(wanted.len().saturating_sub(NAMES_MAX));
        while wanted.len() > NAMES_MAX {
            let left_out = wanted.pop_last();
            tracing::error!("LOOKUP({left_out:?}): left out, {NAMES_MAX} addresses are the most");
        }
        self.names.borrow_mut().retain(|text, name| {
            let stays = wanted.contains(text);
            if !stays {
                tracing::info!("LOOKUP({text}): removing peer");
                name.stop();
            }
            stays
        });
        for text in wanted {
            if self.names.borrow().contains_key(text) {
                continue;
            }
            tracing::info!("LOOKUP({text}): adding peer");
            let name = Rc::new(Followed::new(text.clone()));
            self.names.borrow_mut().insert(text.clone(), name.clone());
            let task = Shielded::new("LOOKUP", name.run(self.clone()));
            glommio::spawn_local(task).detach();
        }
        self.reconcile();
    }

    /// Connects to all addresses that the names lead to, and to no others.
    fn reconcile(self: &Rc<Self>) {
        let mut wanted: BTreeMap<SocketAddr, (String, String)> = BTreeMap::new();
        for name in self.names.borrow().values() {
            let shown = |address: SocketAddr| match address.to_string() {
                text if text == name.text => text,
                text => format!("{} at {text}", name.text),
            };
            let told = |address| (address, (shown(address), name.host().to_owned()));
            wanted.extend(name.addresses().into_iter().map(told));
        }
        self.left_out[1].set(wanted.len().saturating_sub(PEERS_MAX));
        while wanted.len() > PEERS_MAX {
            let left_out = wanted.pop_last();
            tracing::error!("LOOKUP({left_out:?}): left out, {PEERS_MAX} nsqlookupds are the most");
        }
        self.peers.borrow_mut().retain(|address, peer| {
            let stays = wanted.contains_key(address);
            if !stays {
                tracing::debug!("LOOKUPD({}): not wanted any more", peer.shown());
                peer.stop();
            }
            stays
        });
        for (address, (shown, host)) in wanted {
            let known = self.peers.borrow().get(&address).cloned();
            if known.as_ref().is_some_and(|peer| peer.is_running()) {
                continue;
            }
            let peer = known.unwrap_or_else(|| Rc::new(Peer::new(address, shown, host)));
            self.peers.borrow_mut().insert(address, peer.clone());
            let task = Shielded::new("LOOKUPD", peer.run(self.clone()));
            glommio::spawn_local(task).detach();
        }
    }

    /// Topics are like this now, or gone.
    pub fn register(&self, topics: Vec<(Name, Option<Registration>)>) {
        let names: Vec<Name> = topics.iter().map(|(name, _)| *name).collect();
        for (name, topic) in topics {
            self.registry.borrow_mut().set(name, topic);
        }
        for peer in self.peers.borrow().values() {
            peer.tell(&names);
        }
    }

    /// Where connected nsqlookupds answer HTTP.
    pub fn http_addresses(&self) -> BTreeSet<String> {
        let peers = self.peers.borrow();
        peers.values().filter_map(|peer| peer.info()?.http_address()).collect()
    }

    /// Whether each was reached, or could not be: nobody can say more about them.
    pub fn is_settled(&self) -> bool {
        self.names.borrow().values().all(|name| name.is_tried())
            && self.peers.borrow().values().all(|peer| peer.is_tried())
    }

    /// Ends all connections. True when all have ended.
    pub fn stop(&self) -> bool {
        self.names.borrow().values().for_each(|name| name.stop());
        self.peers.borrow().values().for_each(|peer| peer.stop());
        !self.peers.borrow().values().any(|peer| peer.is_running())
    }

    /// What a new connection encrypts with. The files are read each time: they may be new.
    fn tls(&self) -> Result<Option<Arc<ClientConfig>>, Trouble> {
        let load = |files: &ClientFiles| files.load();
        let loaded = self.tls.as_ref().map(load).transpose();
        loaded.map_err(|error| Trouble::Tls(error.to_string()))
    }

    fn is_open(&self, address: SocketAddr) -> bool {
        self.peers.borrow().get(&address).is_some_and(|peer| peer.is_open())
    }

    /// A connection has ended: names that led there may lead elsewhere by now.
    fn lost(&self, address: SocketAddr) {
        let names = self.names.borrow();
        names.values().filter(|name| name.leads_to(address)).for_each(|name| name.lost());
    }

    /// Another address, of the other family, with a connection to the same nsqlookupd: a name such
    /// as `localhost` leads to both, and one registration is enough.
    fn twin(&self, address: SocketAddr, info: &LookupInfo) -> Option<SocketAddr> {
        let peers = self.peers.borrow();
        let mut others = peers.values().filter(|other| {
            other.address.is_ipv4() != address.is_ipv4() && other.info().as_ref() == Some(info)
        });
        others.next().map(|twin| twin.address)
    }

    /// Whether a name that leads there is connected in the other family.
    fn has_other_family(&self, address: SocketAddr) -> bool {
        let names = self.names.borrow();
        let mut twins = names.values().filter(|name| name.leads_to(address)).flat_map(|name| {
            name.addresses().into_iter().filter(|other| other.is_ipv4() != address.is_ipv4())
        });
        twins.any(|other| self.is_open(other))
    }

    /// Waits until an address is not connected any more.
    async fn outlive(&self, address: SocketAddr, is_over: impl Fn() -> bool) {
        while self.is_open(address) && !is_over() {
            Timer::new(RETRY_MIN).await;
        }
    }
}

/// Waits until the nsqlookupds were reached, or could not be.
pub async fn settled(peers: &Peers) {
    while !peers.is_settled() {
        Timer::new(SETTLE_TICK).await;
    }
}
