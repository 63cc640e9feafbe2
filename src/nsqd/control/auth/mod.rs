//! Who may do what, asked of auth servers.
//!
//! Clients that are asked about wait, and nobody else. Those of whom the same is known are asked
//! about together, so many at a time, and each question is answered: with a grant, or with
//! nothing. What a client proved itself with is in no text that leaves this module.
//!
//! Reading order: `query` (what is sent to a server), `answer` (what comes back), `pattern`.

mod answer;
mod pattern;
mod query;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shards::auth::{Grant, Question};
use shards::slots::Key;

use super::limits::{AUTH_QUERIES_AT_ONCE, AUTH_SECRET_BYTES_MAX, AUTH_WAITING_MAX};
use super::line::End;
use crate::net::shield::Shielded;
pub use query::Servers;

/// What came of a question.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The client may do something.
    Granted(Arc<Grant>),
    /// An auth server says no.
    Denied,
    /// Nobody could be asked, or nothing that was answered makes sense.
    Failed,
}

impl Outcome {
    /// The grant, if there is one.
    pub fn grant(self) -> Option<Arc<Grant>> {
        match self {
            Outcome::Granted(grant) => Some(grant),
            Outcome::Denied | Outcome::Failed => None,
        }
    }
}

/// Who waits for an answer, on which worker.
#[derive(Clone, Copy, Debug)]
pub enum Asker {
    /// A client of the shard.
    Client(usize, Key),
    /// A request of HTTP.
    Ticket(usize, u64),
}

/// A question whose turn has not come.
#[derive(Debug)]
struct Waiting {
    question: Question,
    start_by: Instant,
}

/// All questions of this node.
#[derive(Debug)]
pub struct Authorizer {
    servers: Servers,
    ends: Rc<Vec<End>>,
    /// The longest that a question waits for its turn.
    patience: Duration,
    waiting: RefCell<VecDeque<Waiting>>,
    /// Who waits for the answer to which question, be it asked already or not.
    askers: RefCell<HashMap<Question, Vec<Asker>>>,
    running: Cell<usize>,
    /// Questions that were granted, denied, and failed.
    answered: Cell<[u64; 3]>,
}

impl Authorizer {
    /// No questions yet. Each is answered through the end of the worker that asks.
    pub fn new(servers: Servers, ends: Rc<Vec<End>>, patience: Duration) -> Authorizer {
        let (waiting, askers, running) = (RefCell::default(), RefCell::default(), Cell::default());
        let answered = Cell::default();
        Authorizer { servers, ends, patience, waiting, askers, running, answered }
    }

    /// Questions that are asked, and those that wait for their turn.
    pub fn counts(&self) -> (u64, u64) {
        (self.running.get() as u64, self.waiting.borrow().len() as u64)
    }

    /// Questions that were granted, denied, and failed.
    pub fn answered(&self) -> [u64; 3] {
        self.answered.get()
    }

    fn count(&self, outcome: &Outcome) {
        let mut answered = self.answered.get();
        let index = match outcome {
            Outcome::Granted(_) => 0,
            Outcome::Denied => 1,
            Outcome::Failed => 2,
        };
        answered[index] += 1;
        self.answered.set(answered);
    }

    /// Somebody waits for the answer to a question.
    pub fn ask(self: &Rc<Self>, asker: Asker, question: Question) {
        let length = question.secret.reveal().len();
        if length > AUTH_SECRET_BYTES_MAX {
            let who = who(&question);
            tracing::warn!("AUTH: {who}: a secret of {length} bytes > {AUTH_SECRET_BYTES_MAX}");
            self.count(&Outcome::Denied);
            return self.tell(asker, &Outcome::Denied);
        }
        let mut askers = self.askers.borrow_mut();
        if let Some(askers) = askers.get_mut(&question) {
            return askers.push(asker);
        }
        if askers.len() >= AUTH_WAITING_MAX {
            let who = who(&question);
            tracing::error!("AUTH: {who}: {AUTH_WAITING_MAX} questions wait already");
            self.count(&Outcome::Failed);
            return self.tell(asker, &Outcome::Failed);
        }
        askers.insert(question.clone(), vec![asker]);
        drop(askers);
        let start_by = Instant::now() + self.patience;
        self.waiting.borrow_mut().push_back(Waiting { question, start_by });
        self.start();
    }

    fn start(self: &Rc<Self>) {
        while self.running.get() < AUTH_QUERIES_AT_ONCE {
            let Some(Waiting { question, start_by }) = self.waiting.borrow_mut().pop_front() else {
                return;
            };
            let turn = Turn::new(self, question);
            if start_by < Instant::now() {
                let who = who(&turn.question);
                tracing::error!("AUTH: {who}: auth servers are too slow, its turn did not come");
                continue;
            }
            let task = Shielded::new("AUTH", self.clone().run(turn));
            glommio::spawn_local(task).detach();
        }
    }

    async fn run(self: Rc<Self>, mut turn: Turn) {
        turn.outcome = self.servers.query(&turn.question).await.unwrap_or_else(|failure| {
            tracing::warn!("AUTH: {}: {}", who(&turn.question), failure.text);
            if failure.denied { Outcome::Denied } else { Outcome::Failed }
        });
        drop(turn);
        self.start();
    }

    fn tell(&self, asker: Asker, outcome: &Outcome) {
        match asker {
            Asker::Client(worker, client) => self.ends[worker].authorized(client, outcome),
            Asker::Ticket(worker, ticket) => self.ends[worker].http_authorized(ticket, outcome),
        }
    }
}

/// A client as the log names it.
fn who(question: &Question) -> String {
    let ip = match question.remote_ip.as_str() {
        "" => "unix socket",
        ip => ip,
    };
    match question.common_name.as_str() {
        "" => format!("client {ip}"),
        name => format!("client {ip} {name:?}"),
    }
}

/// A question that is being answered. However that ends, whoever waits is told.
struct Turn {
    authorizer: Rc<Authorizer>,
    question: Question,
    outcome: Outcome,
}

impl Turn {
    fn new(authorizer: &Rc<Authorizer>, question: Question) -> Turn {
        authorizer.running.set(authorizer.running.get() + 1);
        Turn { authorizer: authorizer.clone(), question, outcome: Outcome::Failed }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Turn { authorizer, question, outcome } = self;
        authorizer.running.set(authorizer.running.get() - 1);
        authorizer.count(outcome);
        let askers = authorizer.askers.borrow_mut().remove(question);
        for asker in askers.into_iter().flatten() {
            authorizer.tell(asker, outcome);
        }
    }
}
