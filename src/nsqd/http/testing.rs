//! What the tests of this module need: shards that answer by script, and a hand-cranked connection.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::{Duration, Instant, UNIX_EPOCH};

use hyper::StatusCode;
use serde_json::json;
use shards::auth::Question;
use shards::policy::{Fates, Limit};
use shards::request::{ChannelAction, Publish, Reply, Request, Seen, TopicAction};
use shards::stats::{ChannelStats, ClientStats, ShardStats, TopicStats};
use shards::wire::names::Name;

use crate::http::respond::Failure;
use crate::log::LogLevel;
use crate::nsqd::control::auth::Outcome;
use crate::nsqd::life::Life;
use crate::nsqd::statistics::{Page, Wanted};

use super::Origin;
use super::desk::{Answers, Desk};
use super::facts::{Facts, Health, Limits, Options};
use super::memory;
use super::routes::Endpoint;
use super::serve::serve;
use super::socket::{DirtyList, HttpPeer, INPUT_BYTES_MAX, pair};
use super::stats::{Report, render};
use super::timers::Timers;

/// A waker that remembers.
#[derive(Debug, Default)]
pub struct Alarm(AtomicBool);

impl Alarm {
    /// Whether it rang since this was last asked.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).expect("a valid name")
}

pub fn facts() -> Facts {
    facts_with(|_| ())
}

pub fn facts_with(set_log_level: impl Fn(LogLevel) + Send + Sync + 'static) -> Facts {
    let fixed = BTreeMap::from([
        ("data_path".to_owned(), json!("/d")),
        ("topology_zone".to_owned(), json!("")),
        ("msg_timeout".to_owned(), json!(60_000_000_000_u64)),
        ("snappy".to_owned(), json!(true)),
    ]);
    Facts {
        version: "1.3.0".to_owned(),
        broadcast_address: "127.0.0.1".to_owned(),
        hostname: "vm".to_owned(),
        tcp_port: 14110,
        http_port: 14111,
        https_required_port: None,
        publish_needs_auth: false,
        start_time: UNIX_EPOCH + Duration::from_secs(1_795_417_140),
        started: Instant::now(),
        limits: Limits {
            msg_size_max: 100,
            body_size_max: 500,
            req_timeout_max_ms: 3_600_000,
            heartbeat_interval_max: Duration::from_secs(60),
            output_buffer_size_max: 65536,
            output_buffer_timeout_max: Duration::from_secs(30),
            deflate_level_max: 6,
        },
        topology_region: "r1".to_owned(),
        topology_zone: "az1".to_owned(),
        health: Health::default(),
        options: Options::new(fixed, Vec::new(), LogLevel::Info, set_log_level),
        shows_messages: true,
        life: life(),
        floor: crate::nsqd::floor::Floor::default(),
        bodies: super::bodies::Bodies::new(1 << 20),
        progress: crate::nsqd::startup::progress::Progress::default(),
        policy_changes: super::policy::Turnstile::default(),
    }
}

/// That of a process without workers.
fn life() -> Arc<Life> {
    let directory = std::env::temp_dir();
    let listeners = vec!["HTTP: 127.0.0.1:1".to_owned()];
    let started = Life::start(&[], directory, listeners, Duration::from_secs(60));
    started.expect("threads are to be had").0
}

/// Two topics with channels, a consumer and a producer, as the text and JSON samples show them.
pub fn example_stats() -> ShardStats {
    let client = ClientStats {
        client_id: "vm".to_owned(),
        hostname: "vm".to_owned(),
        user_agent: "nsq_tail/1.3.0".to_owned(),
        remote_address: "127.0.0.1:52292".to_owned(),
        state: 3,
        ready_count: 200,
        message_count: 200,
        finish_count: 200,
        connect_ts_s: 1_795_417_835,
        ..ClientStats::default()
    };
    let producer = ClientStats {
        remote_address: "@".to_owned(),
        user_agent: "to_nsq/1.3.0 go-nsq/1.1.0".to_owned(),
        pub_counts: Some((name("orders"), 200)),
        connect_ts_s: 1_795_414_200,
        ..client.clone()
    };
    let mut archive = channel("archive");
    archive.message_count = 200;
    archive.global_msg_count = 200;
    archive.client_count = 2;
    archive.clients = Some(vec![client, producer.clone()]);
    let mut orders = topic("orders", vec![archive]);
    orders.message_count = 200;
    orders.message_bytes = 1892;
    let mut paused = topic("with_chan", vec![channel("a#ephemeral")]);
    paused.paused = true;
    paused.channels[0].paused = true;
    ShardStats { topics: vec![orders, paused], producers: vec![producer], ..Default::default() }
}

pub fn topic(text: &str, channels: Vec<ChannelStats>) -> TopicStats {
    TopicStats {
        retained_count: 0,
        retained_bytes: 0,
        retained_pressed_count: 0,
        name: name(text),
        depth: 0,
        backend_depth: 0,
        message_count: 0,
        message_bytes: 0,
        dropped: Fates::default(),
        limit: Limit::default(),
        timing: None,
        rejected_count: 0,
        full: None,
        paused: false,
        channels,
    }
}

pub fn channel(text: &str) -> ChannelStats {
    ChannelStats {
        name: name(text),
        depth: 0,
        backend_depth: 0,
        in_flight_count: 0,
        deferred_count: 0,
        message_count: 0,
        zone_local_msg_count: 0,
        region_local_msg_count: 0,
        global_msg_count: 0,
        requeue_count: 0,
        timeout_count: 0,
        finish_count: 0,
        processing_ms: 0,
        timing: None,
        dropped: Fates::default(),
        dead_letters: Fates::default(),
        redriven_count: 0,
        limit: Limit::default(),
        held_bytes: None,
        is_ruled: false,
        dead_lettering_count: 0,
        dead_lettering_waiting: 0,
        client_count: 0,
        paused: false,
        clients: Some(Vec::new()),
    }
}

/// Shards whose answers a test decides.
#[derive(Clone)]
pub struct FakeDesk(Rc<Inner>);

struct Inner {
    facts: Facts,
    answers: Answers,
    /// What was asked, not answered yet.
    open: RefCell<Vec<(u16, u64, Request)>>,
    /// Pages that were ordered, not answered yet.
    pages: Answers<Page>,
    ordered: RefCell<Vec<(u64, Wanted)>>,
    /// What was asked, in words.
    log: RefCell<Vec<String>>,
    /// What each shard has.
    stats: RefCell<Vec<ShardStats>>,
    mute: Cell<bool>,
    refusing: Cell<bool>,
    panicking: Cell<bool>,
}

impl Desk for FakeDesk {
    fn shards(&self) -> u16 {
        2
    }

    /// By the first letter, so that tests can tell.
    fn owner(&self, topic: &[u8]) -> u16 {
        u16::from(topic.first().is_some_and(|&first| first >= b'p'))
    }

    fn ask(&self, shard: u16, request: Request) -> impl Future<Output = Reply> + 'static {
        assert!(!self.0.panicking.get(), "the desk caught fire");
        self.0.log.borrow_mut().push(format!("{shard} {}", words(&request)));
        let (ticket, answer) = self.0.answers.expect().expect("room");
        self.0.open.borrow_mut().push((shard, ticket, request));
        answer
    }

    fn authorize(&self, _: Question) -> impl Future<Output = Outcome> + 'static {
        std::future::ready(Outcome::Failed)
    }

    fn page(&self, wanted: Wanted) -> impl Future<Output = Page> + 'static {
        let (ticket, page) = self.0.pages.expect().expect("room");
        self.0.ordered.borrow_mut().push((ticket, wanted));
        page
    }

    fn facts(&self) -> &Facts {
        &self.0.facts
    }

    fn count(&self, _: Option<Endpoint>, _: StatusCode) {}
}

/// A request in words.
fn words(request: &Request) -> String {
    match request {
        Request::Publish(publish) => format!("publish {}", messages(publish)),
        Request::CreateTopic(name) => format!("create {name}"),
        Request::Topic(name, action) => format!("{action:?} {name}"),
        Request::CreateChannel(topic, channel) => format!("create {topic}/{channel}"),
        Request::Channel(topic, channel, action) => format!("{action:?} {topic}/{channel}"),
        Request::Peek(peek) => {
            format!("peek {}/{} {:?} {}", peek.topic, peek.channel, peek.state, peek.limit)
        }
        Request::Configure(topic, ..) => format!("configure {topic}"),
        Request::Settings(topic, _) => format!("settings of {topic}"),
        Request::DeadLetterEdges => "dead letters".to_owned(),
        Request::Redrive(topic, channel, ..) => format!("redrive {topic}/{channel}"),
        Request::Seek(seek) => format!("seek {}/{} {:?}", seek.topic, seek.channel, seek.to),
        Request::RedriveStatus(topic, channel) => format!("redriving {topic}/{channel}"),
    }
}

fn messages(publish: &Publish) -> String {
    let mut rest = publish.bytes.as_slice();
    let mut texts = Vec::new();
    for &length in &publish.lengths {
        let (text, more) = rest.split_at(length as usize);
        texts.push(String::from_utf8_lossy(text).into_owned());
        rest = more;
    }
    assert!(rest.is_empty(), "bytes that belong to no message");
    let defer = publish.defer_ms;
    format!("{} {} defer {defer}", publish.topic, texts.join("|"))
}

impl FakeDesk {
    pub fn new(facts: Facts) -> FakeDesk {
        let stats = vec![ShardStats::default(), ShardStats::default()];
        FakeDesk(Rc::new(Inner {
            facts,
            answers: Answers::default(),
            open: RefCell::default(),
            pages: Answers::default(),
            ordered: RefCell::default(),
            log: RefCell::default(),
            stats: RefCell::new(stats),
            mute: Cell::new(false),
            refusing: Cell::new(false),
            panicking: Cell::new(false),
        }))
    }

    pub fn put(&self, shard: usize, stats: ShardStats) {
        self.0.stats.borrow_mut()[shard] = stats;
    }

    /// Has no page come from now on.
    pub fn mute(&self) {
        self.0.mute.set(true);
    }

    pub fn refuse(&self) {
        self.0.refusing.set(true);
    }

    pub fn panic(&self, panicking: bool) {
        self.0.panicking.set(panicking);
    }

    /// What was asked since this was last called.
    pub fn asked(&self) -> Vec<String> {
        self.0.log.borrow_mut().drain(..).collect()
    }

    /// How many answers and pages are waited for.
    pub fn waiting(&self) -> usize {
        self.0.answers.waiting() + self.0.pages.waiting()
    }

    /// The oldest question without an answer.
    pub fn first_open(&self) -> (u64, u16) {
        let open = self.0.open.borrow();
        let (shard, ticket, _) = open.first().expect("something was asked");
        (*ticket, *shard)
    }

    /// Answers one question as if it had been done.
    pub fn settle(&self, ticket: u64) {
        self.0.answers.answer(ticket, Reply::Done);
    }

    /// Answers what is open; whether there was anything.
    fn answer_all(&self) -> bool {
        let open: Vec<_> = self.0.open.borrow_mut().drain(..).collect();
        let mut any = false;
        for (shard, ticket, request) in open {
            self.0.answers.answer(ticket, self.reply(shard, &request));
            any = true;
        }
        let ordered: Vec<_> = self.0.ordered.borrow_mut().drain(..).collect();
        for (ticket, wanted) in ordered.into_iter().filter(|_| !self.0.mute.get()) {
            self.0.pages.answer(ticket, self.answer_order(wanted));
            any = true;
        }
        any
    }

    fn reply(&self, shard: u16, request: &Request) -> Reply {
        let stats = &self.0.stats.borrow()[usize::from(shard)];
        let found = |name: &str| stats.topics.iter().find(|topic| topic.name.as_str() == name);
        if self.0.refusing.get() {
            return Reply::Refused("no".to_owned());
        }
        match request {
            Request::Publish(_) | Request::CreateTopic(_) => Reply::Done,
            Request::Topic(topic, _) => found(topic).map_or(Reply::TopicNotFound, |_| Reply::Done),
            Request::CreateChannel(topic, _) => {
                found(topic.as_str()).map_or(Reply::TopicNotFound, |_| Reply::Done)
            }
            Request::Channel(topic, channel, _) => {
                let Some(topic) = found(topic.as_str()) else {
                    return Reply::TopicNotFound;
                };
                let known = topic.channels.iter().any(|known| known.name == *channel);
                if known { Reply::Done } else { Reply::ChannelNotFound }
            }
            Request::Peek(_) => Reply::Seen(Seen::default()),
            Request::DeadLetterEdges => Reply::Edges(Vec::new()),
            Request::Configure(..)
            | Request::Settings(..)
            | Request::Redrive(..)
            | Request::Seek(_)
            | Request::RedriveStatus(..) => Reply::TopicNotFound,
        }
    }

    /// A page of what all shards have.
    fn answer_order(&self, wanted: Wanted) -> Page {
        let Wanted::Stats { query, memory, json } = wanted else {
            return Page::Metrics(format!("{wanted:?}").into_bytes());
        };
        if self.0.refusing.get() {
            return Page::Failed(Failure::internal());
        }
        let mut all = ShardStats::default();
        for stats in self.0.stats.borrow().iter() {
            all.add(filtered(stats, &query));
        }
        all.topics.sort_by_key(|topic| topic.name);
        let memory = memory.then(memory::read);
        render(&self.0.facts, &[], &Report::new(all, &query, memory), json)
    }
}

/// What a shard would answer.
fn filtered(stats: &ShardStats, query: &shards::stats::StatsQuery) -> ShardStats {
    let mut stats = stats.clone();
    if let Some(topic) = &query.topic {
        stats.topics.retain(|known| known.name.as_str() == topic);
    }
    if let Some(channel) = &query.channel {
        for topic in &mut stats.topics {
            topic.channels.retain(|known| known.name.as_str() == channel);
        }
    }
    if query.without_clients {
        stats.producers.clear();
        let channels = stats.topics.iter_mut().flat_map(|topic| &mut topic.channels);
        channels.for_each(|channel| channel.clients = None);
    }
    stats
}

/// All actions, for tests that go through them.
pub const TOPIC_ACTIONS: [TopicAction; 4] =
    [TopicAction::Delete, TopicAction::Empty, TopicAction::Pause, TopicAction::Unpause];
pub const CHANNEL_ACTIONS: [ChannelAction; 4] =
    [ChannelAction::Delete, ChannelAction::Empty, ChannelAction::Pause, ChannelAction::Unpause];

/// A connection whose task runs only when it was woken, with the test as loop and client.
pub struct Connection {
    task: Option<Pin<Box<dyn Future<Output = ()>>>>,
    alarm: Arc<Alarm>,
    pub peer: HttpPeer,
    pub timers: Timers,
    pub now: Instant,
    pub desk: FakeDesk,
    received: Vec<u8>,
    answering: bool,
}

impl Connection {
    pub fn new(desk: &FakeDesk) -> Connection {
        let (socket, peer) = pair(1, DirtyList::default());
        // Ahead of the real clock, so that only the test moves the time.
        let now = Instant::now() + Duration::from_secs(3600);
        let timers = Timers::new(now);
        let origin = Origin { remote: "127.0.0.1:49552".to_owned(), secure: None };
        let task = serve(socket, desk.clone(), timers.clone(), origin);
        let alarm = Arc::new(Alarm(AtomicBool::new(true)));
        let task: Pin<Box<dyn Future<Output = ()>>> = Box::pin(task);
        let (desk, received) = (desk.clone(), Vec::new());
        Connection { task: Some(task), alarm, peer, timers, now, desk, received, answering: true }
    }

    /// Leaves the desk's questions open from now on.
    pub fn hold_answers(&mut self) {
        self.answering = false;
    }

    /// Runs until nothing moves.
    pub fn settle(&mut self) {
        let waker = self.alarm.clone().into();
        loop {
            if self.alarm.take()
                && let Some(task) = &mut self.task
                && let Poll::Ready(()) = task.as_mut().poll(&mut Context::from_waker(&waker))
            {
                self.task = None;
            }
            let answered = self.answering && self.desk.answer_all();
            let output = self.peer.output();
            self.received.extend_from_slice(output);
            let moved = output.len();
            self.peer.sent(moved);
            if !answered
                && moved == 0
                && (self.task.is_none() || !self.alarm.0.load(Ordering::Relaxed))
            {
                return;
            }
        }
    }

    /// Sends bytes as a loop would: a receive whenever one is wanted.
    pub fn send(&mut self, mut bytes: &[u8]) {
        self.settle();
        while !bytes.is_empty() && self.peer.wants_input() {
            let (now, later) = bytes.split_at(bytes.len().min(INPUT_BYTES_MAX));
            self.peer.feed(now);
            self.settle();
            bytes = later;
        }
    }

    pub fn advance(&mut self, by: Duration) {
        self.now += by;
        self.timers.advance(self.now);
        self.settle();
    }

    /// Everything received since this was last called.
    pub fn received(&mut self) -> String {
        self.settle();
        String::from_utf8_lossy(&std::mem::take(&mut self.received)).into_owned()
    }

    /// Whether the server has ended the connection.
    pub fn is_over(&self) -> bool {
        self.task.is_none() && self.peer.is_closed()
    }
}

/// One request on a connection of its own, and the response without its `Date`.
pub fn ask(desk: &FakeDesk, request: &str) -> String {
    let mut connection = Connection::new(desk);
    connection.send(request.as_bytes());
    without_date(&connection.received())
}

pub fn without_date(response: &str) -> String {
    let lines = response.split_inclusive("\r\n");
    lines.filter(|line| !line.starts_with("Date: ")).collect()
}

/// A request with a body of known length.
pub fn request(method: &str, uri: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {uri} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// Status and body of the answer to a request with a body.
pub fn post(desk: &FakeDesk, uri: &str, body: &str) -> String {
    short(&ask(desk, &request("POST", uri, body)))
}

/// Status and body of the answer to a request without one.
pub fn get(desk: &FakeDesk, uri: &str) -> String {
    short(&ask(desk, &format!("GET {uri} HTTP/1.1\r\nHost: h\r\n\r\n")))
}

/// `200 OK|body`
pub fn short(response: &str) -> String {
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((response, "no end of head"));
    let status = head.lines().next().unwrap_or_default();
    let code = status.split(' ').nth(1).unwrap_or_default();
    format!("{code}|{body}")
}

/// A log level as `facts_with` passes it on.
pub fn level_cell() -> (Arc<AtomicU8>, impl Fn(LogLevel) + Send + Sync + 'static) {
    let cell = Arc::new(AtomicU8::new(0));
    let inner = cell.clone();
    (cell, move |level| inner.store(level as u8, Ordering::Relaxed))
}
