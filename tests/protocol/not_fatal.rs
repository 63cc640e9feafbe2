//! The three errors that leave the connection usable.

use std::time::Duration;

use super::case::State::{Closing, Subscribed};
use super::case::{Case, Then, check_all};
use crate::harness::{Broker, Client, on_each_peer};

const ID: &str = "0123456789abcdef";

#[test]
fn unknown_ids() {
    let fin = format!("error: E_FIN_FAILED FIN {ID} failed ID not in flight");
    let req = format!("error: E_REQ_FAILED REQ {ID} failed ID not in flight");
    let touch = format!("error: E_TOUCH_FAILED TOUCH {ID} failed ID not in flight");
    let all = [fin.as_str(), req.as_str(), touch.as_str()];
    let send_all = format!("FIN {ID}\nREQ {ID} 0\nTOUCH {ID}\n");
    let cases: Vec<Case<'_>> = [Subscribed, Closing]
        .into_iter()
        .flat_map(|state| {
            let case = |send, replies| Case { state, send, replies, then: Then::Open };
            [
                case("FIN 0123456789abcdef\n", &all[..1]),
                case("FIN 0123456789abcdef more\n", &all[..1]),
                case("FIN 0123456789abcdef\r\n", &all[..1]),
                case("REQ 0123456789abcdef 0\n", &all[1..2]),
                case("REQ 0123456789abcdef \n", &all[1..2]),
                case("REQ 0123456789abcdef 18446744073709551615\n", &all[1..2]),
                case("TOUCH 0123456789abcdef\n", &all[2..]),
                case(&send_all, &all),
            ]
        })
        .collect();
    check_all(&cases);
}

/// Ids are sixteen bytes of any kind, echoed as they came.
#[test]
fn ids_are_any_sixteen_bytes() {
    check_all(&[
        Case {
            state: Subscribed,
            send: "FIN zz<ff>\"\\!ZZ89abcd<00>y\n",
            replies: &["error: E_FIN_FAILED FIN zz<ff>\"\\!ZZ89abcd<00>y failed ID not in flight"],
            then: Then::Open,
        },
        Case {
            state: Subscribed,
            send: "TOUCH 0123456789ABCDEF\n",
            replies: &["error: E_TOUCH_FAILED TOUCH 0123456789ABCDEF failed ID not in flight"],
            then: Then::Open,
        },
    ]);
}

/// Only who holds a message may finish, return or touch it.
#[test]
fn ownership() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut owner = Client::consumer(&broker, "owned", "c", 1);
        let mut other = Client::consumer(&broker, "owned", "c", 0);
        let mut elsewhere = Client::consumer(&broker, "owned", "d", 0);
        owner.publish("owned", b"mine");
        let id = owner.delivery("mine", 1);
        for (command, code) in [("FIN", "E_FIN"), ("REQ", "E_REQ"), ("TOUCH", "E_TOUCH")] {
            let line = format!("{command} {id} 0");
            other.command(&line);
            let why = "client does not own message";
            other.expect(&format!("error: {code}_FAILED {command} {id} failed {why}"));
            elsewhere.command(&line);
            let why = "ID not in flight";
            elsewhere.expect(&format!("error: {code}_FAILED {command} {id} failed {why}"));
        }
        other.alive();
        owner.touch(&id);
        owner.fin(&id);
        owner.alive();
        owner.fin(&id);
        owner.expect(&format!("error: E_FIN_FAILED FIN {id} failed ID not in flight"));
        broker.await_channel("owned", "c", "in_flight_count", 0);
    });
}

/// A message that waits for its time after REQ is in nobody's flight.
#[test]
fn deferred_is_not_in_flight() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::consumer(&broker, "later", "c", 1);
        client.publish("later", b"x");
        let id = client.delivery("x", 1);
        client.req(&id, 60_000);
        client.fin(&id);
        client.expect(&format!("error: E_FIN_FAILED FIN {id} failed ID not in flight"));
        client.touch(&id);
        client.expect(&format!("error: E_TOUCH_FAILED TOUCH {id} failed ID not in flight"));
        client.req(&id, 0);
        client.expect(&format!("error: E_REQ_FAILED REQ {id} failed ID not in flight"));
        client.silent(Duration::from_millis(300));
        assert_eq!(broker.channel("later", "c")["deferred_count"], 1);
    });
}
