//! The judgement: what was lost, damaged, made up, mixed up, repeated or early.

use std::fmt;
use std::time::{Duration, Instant};

use super::ledger::{Answer, Book, Entry, Event, Key};

/// What is promised in the run that is judged.
#[derive(Clone, Copy)]
pub struct Rules {
    /// A FIN or REQ may be forgotten by a kill so soon afterwards.
    pub forgets: Duration,
    /// An acknowledged message may be lost by a kill so soon afterwards.
    pub loses: Option<Duration>,
    /// A FIN and a delivery that was on its way to the same consumer may cross within this time.
    pub crossing: Duration,
}

const CROSSING: Duration = Duration::from_millis(500);

impl Rules {
    /// Nothing acknowledged is lost; what a consumer said in the last second may be forgotten.
    pub const STRICT: Rules =
        Rules { forgets: Duration::from_secs(1), loses: None, crossing: CROSSING };
    /// For damaged files: whatever was finished may come again.
    pub const DAMAGED: Rules = Rules { forgets: Duration::MAX, loses: None, crossing: CROSSING };
}

/// Deferred messages may come so much too early when a restart lies between.
const EARLY: Duration = Duration::from_secs(1);

/// Numbers, and for what must not be, which ones.
#[derive(Default)]
pub struct Report {
    /// Bodies that went out to the broker.
    pub sent: usize,
    /// Of these, answered with `OK`,
    pub acknowledged: usize,
    /// with an error,
    pub refused: usize,
    /// and not at all.
    pub unknown: usize,
    /// How often something came out, over all channels.
    pub deliveries: usize,
    /// How often the broker died.
    pub kills: usize,
    /// Came again though not finished: in flight, requeued, timed out.
    pub redelivered: usize,
    /// Came again since a kill made the broker forget a FIN.
    pub forgotten: usize,
    /// Came out though refused; nothing forbids it, but it is worth a number.
    pub refused_delivered: usize,
    /// Lost within the time that the rules allow.
    pub lost_allowed: usize,
    /// Acknowledged, and never finished on a channel, since it did not come, or not again.
    pub lost: Vec<String>,
    /// Not what was sent.
    pub corrupt: Vec<String>,
    /// Never sent.
    pub invented: Vec<String>,
    /// From the wrong topic or channel.
    pub crossed: Vec<String>,
    /// Came again though finished long before any kill.
    pub repeated: Vec<String>,
    /// Came before it was due.
    pub early: Vec<String>,
    /// Came with an attempt count that says that it did not.
    pub attempts_zero: Vec<String>,
}

impl Report {
    /// Judges what was heard.
    pub fn new(book: &Book, rules: Rules) -> Self {
        let mut report = Report {
            sent: book.entries.len(),
            kills: book.kills.len(),
            corrupt: book.corrupt.clone(),
            invented: book.invented.clone(),
            crossed: book.crossed.clone(),
            ..Report::default()
        };
        for (key, entry) in &book.entries {
            match entry.answer {
                Answer::Acknowledged => report.acknowledged += 1,
                Answer::Refused => report.refused += 1,
                Answer::Unknown => report.unknown += 1,
            }
            for channel in book.channels.get(&entry.topic).into_iter().flatten() {
                let events = entry.channels.get(channel).map_or(&[][..], Vec::as_slice);
                let mut judge = Judge { report: &mut report, kills: &book.kills, rules };
                judge.channel(*key, channel, entry, events);
            }
        }
        report
    }

    /// What must not have happened, in words.
    pub fn violations(&self) -> Vec<String> {
        let kinds = [
            ("lost", &self.lost),
            ("corrupt", &self.corrupt),
            ("invented", &self.invented),
            ("crossed", &self.crossed),
            ("repeated", &self.repeated),
            ("early", &self.early),
            ("attempts 0", &self.attempts_zero),
        ];
        let found = kinds.iter().filter(|(_, list)| !list.is_empty());
        found
            .map(|(kind, list)| {
                let first: Vec<&str> = list.iter().take(5).map(String::as_str).collect();
                format!("{} {kind}: {}", list.len(), first.join("; "))
            })
            .collect()
    }

    /// Fails unless everything was as promised.
    #[track_caller]
    pub fn assert_clean(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "{self}\n{}", violations.join("\n"));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} kills; sent {}: acknowledged {}, refused {} ({} came out), unknown {}; \
             delivered {}, again {} unfinished and {} whose FIN was forgotten; lost {} (and {} \
             allowed), corrupt {}, invented {}, crossed {}, repeated {}, early {}",
            self.kills,
            self.sent,
            self.acknowledged,
            self.refused,
            self.refused_delivered,
            self.unknown,
            self.deliveries,
            self.redelivered,
            self.forgotten,
            self.lost.len(),
            self.lost_allowed,
            self.corrupt.len(),
            self.invented.len(),
            self.crossed.len(),
            self.repeated.len(),
            self.early.len(),
        )
    }
}

/// Judges one body on one channel after the other.
struct Judge<'a> {
    report: &'a mut Report,
    kills: &'a [Instant],
    rules: Rules,
}

impl Judge<'_> {
    fn channel(&mut self, key: Key, channel: &str, entry: &Entry, events: &[Event]) {
        let name = format!("{key:?} on {}/{channel}", entry.topic);
        let mut deliveries = 0;
        let mut finished: Option<Instant> = None;
        let mut due = entry.due;
        for (serial, event) in events.iter().enumerate() {
            match *event {
                Event::Delivered { at, .. } if self.crosses(serial, events, finished, at) => {
                    deliveries += 1;
                }
                Event::Delivered { at, attempts } => {
                    self.again(&name, events, finished, at);
                    if due.is_some_and(|due| at + EARLY < due) {
                        self.report.early.push(name.clone());
                    }
                    if attempts == 0 {
                        self.report.attempts_zero.push(name.clone());
                    }
                    deliveries += 1;
                    (finished, due) = (None, None);
                }
                Event::Finished { at, .. } => finished = Some(at),
                // A REQ may be forgotten just as a FIN: then the message comes at once.
                Event::Requeued { at, delay, .. } => {
                    due = (!self.forgotten(at, Instant::now())).then_some(at + delay);
                }
            }
        }
        self.report.deliveries += deliveries;
        match entry.answer {
            Answer::Acknowledged if finished.is_none() => {
                self.lost(name, entry, events, deliveries);
            }
            Answer::Refused if deliveries > 0 => self.report.refused_delivered += 1,
            _ => {}
        }
    }

    /// Whether a delivery was under way when the FIN of an earlier one came in, which ended it: a
    /// FIN names the message and not the delivery. What is said of that one is then refused.
    fn crosses(
        &self,
        serial: usize,
        events: &[Event],
        finished: Option<Instant>,
        at: Instant,
    ) -> bool {
        let said = |event: &Event| match *event {
            Event::Finished { of, .. } | Event::Requeued { of, .. } => of == serial,
            Event::Delivered { .. } => false,
        };
        finished.is_some_and(|finished| {
            at - finished <= self.rules.crossing
                && !self.kills.iter().any(|kill| (finished..=at).contains(kill))
                && !events.iter().any(said)
        })
    }

    /// A delivery that is not the first needs a reason.
    fn again(&mut self, name: &str, events: &[Event], finished: Option<Instant>, at: Instant) {
        let is_first = matches!(events[0], Event::Delivered { at: first, .. } if first == at);
        match finished {
            _ if is_first => {}
            None => self.report.redelivered += 1,
            Some(finished) if self.forgotten(finished, at) => self.report.forgotten += 1,
            Some(finished) => {
                let (since, history) = (at - finished, self.history(events));
                self.report.repeated.push(format!("{name}, {since:?} after its FIN: {history}"));
            }
        }
    }

    /// What happened to a message, in milliseconds from its first delivery, for who has to find
    /// out why.
    fn history(&self, events: &[Event]) -> String {
        let Some(Event::Delivered { at: first, .. }) = events.first() else { return String::new() };
        let mut all: Vec<(Instant, String)> = Vec::new();
        for event in events {
            all.push(match *event {
                Event::Delivered { at, attempts } => (at, format!("delivered ({attempts})")),
                Event::Finished { of, at } => (at, format!("FIN of {of}")),
                Event::Requeued { of: usize::MAX, at, .. } => (at, "refused".to_string()),
                Event::Requeued { of, at, delay } => (at, format!("REQ of {of} {delay:?}")),
            });
        }
        let last = all.last().map_or(*first, |(at, _)| *at);
        let kills = self.kills.iter().filter(|kill| **kill >= *first && **kill <= last);
        all.extend(kills.map(|kill| (*kill, "killed".to_string())));
        all.sort();
        let line =
            |(at, what): &(Instant, String)| format!("{} {what}", (*at - *first).as_millis());
        all.iter().map(line).collect::<Vec<_>>().join(", ")
    }

    /// Whether a kill between the two may have made the broker forget the first.
    fn forgotten(&self, said: Instant, at: Instant) -> bool {
        let follows = |kill: &&Instant| **kill >= said && **kill <= at;
        self.rules.forgets == Duration::MAX
            || self.kills.iter().filter(follows).any(|kill| *kill - said <= self.rules.forgets)
    }

    fn lost(&mut self, name: String, entry: &Entry, events: &[Event], deliveries: usize) {
        let follows = |kill: &&Instant| **kill >= entry.answered;
        // An answer may be read after the broker is dead.
        let allowed = self.rules.loses.is_some_and(|window| {
            let mut kills = self.kills.iter().filter(|kill| **kill >= entry.sent);
            kills.any(|kill| kill.saturating_duration_since(entry.answered) <= window)
        });
        if allowed {
            self.report.lost_allowed += 1;
        } else {
            let mut kills = self.kills.iter().filter(follows);
            let age = kills.next().map(|kill| *kill - entry.answered);
            let (bytes, kind) =
                (entry.bytes, if entry.due.is_some() { "deferred" } else { "plain" });
            let history = self.history(events);
            self.report.lost.push(format!(
                "{name}, {kind}, {bytes} bytes, came {deliveries} times, acknowledged {age:?} \
                 before a kill: {history}"
            ));
        }
    }
}
