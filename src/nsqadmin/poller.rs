//! Looking at all nodes every so often, for the history.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use glommio::timer::Timer;

use super::cluster::{Cluster, Kind, Node, each};
use super::history::{History, NodePoll, Poll};

/// Polls take at most this share of the time: one in so many.
const IDLE_SHARE: u32 = 3;
/// How long a page that comes before the first poll waits for it.
const FIRST_POLL_PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks whether it is there.
const FIRST_POLL_TICK: Duration = Duration::from_millis(20);
/// Without polls, how old an answer may be that was asked for.
const ON_DEMAND_AGE_MAX: Duration = Duration::from_secs(1);

/// What is remembered, and who looks after it.
#[derive(Debug)]
pub struct Poller {
    history: RefCell<History>,
    /// Whether polls come by themselves.
    polls: bool,
    polled_at: Cell<Option<Instant>>,
    last_took: Cell<Duration>,
    count: Cell<u64>,
}

impl Poller {
    /// Nothing is known yet. Without an interval polls are made when somebody asks.
    pub fn new(history: History, polls: bool) -> Poller {
        Poller {
            history: RefCell::new(history),
            polls,
            polled_at: Cell::default(),
            last_took: Cell::default(),
            count: Cell::default(),
        }
    }

    /// What is remembered.
    pub fn history(&self) -> &RefCell<History> {
        &self.history
    }

    /// Polls made, how long the last one took, and how long ago it ended.
    pub fn counts(&self) -> (u64, Duration, Option<Duration>) {
        let ago = self.polled_at.get().map(|at| at.elapsed());
        (self.count.get(), self.last_took.get(), ago)
    }

    /// Makes sure that there is something to show.
    pub async fn freshen(&self, cluster: &Cluster) {
        if !self.polls {
            let fresh = |at: Instant| at.elapsed() < ON_DEMAND_AGE_MAX;
            if !self.polled_at.get().is_some_and(fresh) {
                self.poll(cluster).await;
            }
            return;
        }
        let asked_at = Instant::now();
        while self.polled_at.get().is_none() && asked_at.elapsed() < FIRST_POLL_PATIENCE {
            Timer::new(FIRST_POLL_TICK).await;
        }
    }

    /// Polls for ever. When polls take long they are made less often.
    pub async fn run(self: Rc<Self>, cluster: Rc<Cluster>, interval: Duration) {
        loop {
            let start = Instant::now();
            self.poll(&cluster).await;
            let took = start.elapsed();
            Timer::new(interval.saturating_sub(took).max(took * IDLE_SHARE)).await;
        }
    }

    async fn poll(&self, cluster: &Cluster) {
        let start = Instant::now();
        let poll = look(cluster).await;
        self.history.borrow_mut().take(poll);
        self.polled_at.set(Some(Instant::now()));
        self.last_took.set(start.elapsed());
        self.count.set(self.count.get() + 1);
    }
}

/// One look at all nodes.
async fn look(cluster: &Cluster) -> Poll {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut poll =
        Poll { at_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX), ..Poll::default() };
    match cluster.topics_and_nodes().await {
        Ok(found) => {
            (poll.known_topics, poll.listed) = found.value;
            poll.failed = found.failed;
        }
        Err(nobody) => {
            poll.unanswered = Some(nobody.to_string());
            poll.failed = nobody.failed;
            return poll;
        }
    }
    let addresses: Vec<String> = poll.listed.iter().map(Node::http_address).collect();
    let path = "stats?format=json&include_clients=false&include_mem=false";
    let said = each(addresses, |address| async move {
        let said = cluster.get(Kind::Nsqd, &address, path).await;
        (address, said, Instant::now())
    })
    .await;
    for (address, said, at) in said {
        match said {
            Ok(said) => {
                poll.nodes.insert(address, NodePoll { at, said });
            }
            Err(error) => {
                poll.failed.push(super::cluster::Failed::new(Kind::Nsqd, address, &error));
            }
        }
    }
    poll
}
