//! What a client may do: asked of somebody else, kept with the connection for as long as it holds.
//!
//! The shard says whom it has to ask for, and is told what came of it. Which topics and channels
//! a grant is good for is decided by [`Rules`], which always answer the same.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use crate::wire::identify::GoString;
use crate::wire::names::Name;

/// What a client proves itself with. It is never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// As it came.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Secret {
        Secret(bytes.into())
    }

    /// For whoever checks it.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What is asked about a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// What it proves itself with.
    pub secret: Secret,
    /// Its address without the port; empty for a unix socket.
    pub remote_ip: String,
    /// Whether it is encrypted.
    pub tls: bool,
    /// The common name in its certificate; empty without one.
    pub common_name: String,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Publish to a topic.
    Publish(&'a Name),
    /// Consume a channel of a topic.
    Subscribe(&'a Name, &'a Name),
}

/// Which actions are allowed: the same ones as long as it lives.
pub trait Rules: fmt::Debug + Send + Sync {
    /// Whether this one is.
    fn allow(&self, action: Action<'_>) -> bool;
}

/// What a client was granted.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Who it is.
    pub identity: String,
    /// Where more is to be found about that.
    pub identity_url: String,
    /// How many entries the rules have; none at all is no grant.
    pub entries: usize,
    /// For how long it holds.
    pub ttl_ms: u64,
    /// What it may do.
    pub rules: Arc<dyn Rules>,
}

impl Grant {
    /// The answer to `AUTH`: compact JSON, keys in NSQ's order.
    #[must_use]
    pub fn answer(&self) -> String {
        alloc::format!(
            "{{\"identity\":{},\"identity_url\":{},\"permission_count\":{}}}",
            GoString(&self.identity),
            GoString(&self.identity_url),
            self.entries,
        )
    }
}

/// What came of a question. Why there is no grant is not the client's business.
pub type Verdict = Option<Arc<Grant>>;

/// What a connection has of all this. It moves with it.
#[derive(Debug, Default)]
pub struct Auth {
    /// What it proved itself with, to ask again.
    pub secret: Option<Secret>,
    /// What it was granted last.
    pub grant: Option<Arc<Grant>>,
    /// When that ends, on the clock that all shards share.
    pub expires_ms: u64,
    /// The topic that it was last found to be allowed to publish to.
    pub cleared: Option<Name>,
}

impl Auth {
    /// Whether it was granted anything.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.entries > 0)
    }
}
