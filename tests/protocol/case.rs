//! One exchange as data, and the ways in which its bytes may arrive.

use std::fmt;

use crate::harness::{Broker, Client, Peer, SOON, bytes, on_each_peer};

/// The state that a connection is in when the bytes of a case are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was sent, not even the magic.
    Bare,
    /// After the magic.
    Init,
    /// After IDENTIFY with heartbeats off.
    NoHeartbeats,
    /// After SUB.
    Subscribed,
    /// After CLS.
    Closing,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It takes further commands.
    Open,
    /// The broker closes it.
    Closed,
}

/// How the bytes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// After the preparation was answered, in one write.
    Whole,
    /// Each byte in a segment of its own.
    Split,
    /// In one write with the magic, the preparation and other commands.
    Pipelined,
}

/// Bytes for the broker, and what it answers, both in the notation of `harness::bytes`.
pub struct Case<'a> {
    /// Where the connection stands.
    pub state: State,
    /// What is sent.
    pub send: &'a str,
    /// The frames that come, errors as `error: …`.
    pub replies: &'a [&'a str],
    /// What follows.
    pub then: Then,
}

impl fmt::Debug for Case<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sent = self.send.to_string();
        sent.truncate(120);
        write!(out, "{:?} {sent:?} -> {:?} {:?}", self.state, self.replies, self.then)
    }
}

impl State {
    /// The commands that lead here, and the replies they have.
    fn preparation(self) -> (&'static str, &'static [&'static str]) {
        match self {
            State::Bare => ("", &[]),
            State::Init => ("  V2", &[]),
            State::NoHeartbeats => ("  V2IDENTIFY\n<00000019>{\"heartbeat_interval\":-1}", &["OK"]),
            State::Subscribed => ("  V2SUB prepared c\n", &["OK"]),
            State::Closing => ("  V2SUB prepared c\nCLS\n", &["OK", "CLOSE_WAIT"]),
        }
    }
}

/// Where the connection stands, what is sent, and the error that closes it.
pub type Row = (State, &'static str, &'static str);

/// Checks rows that end in one error frame and the end of the connection.
pub fn check_errors(rows: &[Row]) {
    on_each_peer(|peer| check_errors_of(peer, rows));
}

fn check_errors_of(peer: Peer, rows: &[Row]) {
    let errors: Vec<String> = rows.iter().map(|row| format!("error: {}", row.2)).collect();
    let replies: Vec<[&str; 1]> = errors.iter().map(|error| [error.as_str()]).collect();
    let cases: Vec<Case<'_>> = rows
        .iter()
        .zip(&replies)
        .map(|(row, replies)| Case { state: row.0, send: row.1, replies, then: Then::Closed })
        .collect();
    check_on(&Broker::start(peer, &[]), peer, &cases);
}

/// Checks every case in every way of delivery, against every peer.
pub fn check_all(cases: &[Case<'_>]) {
    assert!(!cases.is_empty());
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        check_on(&broker, peer, cases);
    });
}

/// Checks every case against this broker.
pub fn check_on(broker: &Broker, peer: Peer, cases: &[Case<'_>]) {
    let mut failed = Vec::new();
    for case in cases {
        for delivery in [Delivery::Whole, Delivery::Split, Delivery::Pipelined] {
            if let Err(problem) = run(broker, case, delivery) {
                failed.push(format!("{peer:?} {delivery:?} {case:?}\n    {problem}"));
            }
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

/// One case, one way; says what was different.
pub fn run(broker: &Broker, case: &Case<'_>, delivery: Delivery) -> Result<(), String> {
    let (before, before_replies) = case.state.preparation();
    let mut client = Client::bare(broker.tcp);
    let mut wanted: Vec<&str> = before_replies.to_vec();
    match delivery {
        Delivery::Whole => {
            client.send(&bytes(before));
            for reply in wanted.drain(..) {
                client.expect(reply);
            }
            client.try_send(&bytes(case.send));
        }
        Delivery::Split => client.send_split(&[bytes(before), bytes(case.send)].concat()),
        Delivery::Pipelined => {
            let mut all = bytes(before);
            if case.state != State::Bare {
                all.extend(bytes("NOP\nPUB elsewhere\n<00000001>xNOP\n"));
                wanted.push("OK");
            }
            all.extend(bytes(case.send));
            client.try_send(&all);
        }
    }
    wanted.extend(case.replies);
    expect_replies(&mut client, &wanted)?;
    expect_then(&mut client, case.then)
}

/// Compares the next frames with `wanted`.
pub fn expect_replies(client: &mut Client, wanted: &[&str]) -> Result<(), String> {
    for reply in wanted {
        match client.next(SOON) {
            Ok(frame) if frame.describe() == *reply => {}
            Ok(frame) => return Err(format!("wanted {reply:?}, got {frame:?}")),
            Err(end) => return Err(format!("wanted {reply:?}, got {end:?}")),
        }
    }
    Ok(())
}

fn expect_then(client: &mut Client, then: Then) -> Result<(), String> {
    if then == Then::Open {
        client.try_send(&bytes("PUB after\n<00000001>x"));
        return expect_replies(client, &["OK"]);
    }
    match client.next(SOON) {
        Err(crate::harness::End::Closed) => Ok(()),
        other => Err(format!("wanted the connection closed, got {other:?}")),
    }
}
