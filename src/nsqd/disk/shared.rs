//! Files of an earlier start, which several shards may need: who is the last to let one go has it
//! removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flume::Sender;
use shards::disk::Role;

use super::clerk::Order;

/// Somebody who wants to know when a file is not needed any more.
#[derive(Debug)]
pub(super) struct Watch {
    held: Arc<Held>,
}

impl Watch {
    /// Whether every user has let the file go.
    pub(super) fn is_gone(&self) -> bool {
        self.held.users.load(Ordering::Acquire) == 0
    }
}

/// One user's hold on a file. It has to be released for the file to be removed: a hold that is
/// merely dropped, at the end of the process, keeps the file for the next start.
#[derive(Debug)]
pub struct Shared {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    number: u32,
    role: Role,
    users: AtomicUsize,
    orders: Sender<Order>,
}

impl Shared {
    pub(super) fn new(number: u32, role: Role, orders: Sender<Order>) -> Shared {
        Shared { held: Arc::new(Held { number, role, users: AtomicUsize::new(1), orders }) }
    }

    /// The file's number.
    pub fn number(&self) -> u32 {
        self.held.number
    }

    /// What the file is for.
    pub fn role(&self) -> Role {
        self.held.role
    }

    /// A hold for one more user.
    #[must_use]
    pub fn another(&self) -> Shared {
        self.held.users.fetch_add(1, Ordering::Relaxed);
        Shared { held: self.held.clone() }
    }

    /// Tells when nobody needs the file any more.
    pub(super) fn watch(&self) -> Watch {
        Watch { held: self.held.clone() }
    }

    /// Needs the file no longer.
    pub fn release(self) {
        let Held { number, role, users, orders } = &*self.held;
        if users.fetch_sub(1, Ordering::AcqRel) == 1 {
            // When the thread is gone the process ends, and the next start sees to the file.
            let _ = orders.send(Order::Remove { number: *number, role: *role });
        }
    }
}
