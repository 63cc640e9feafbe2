//! The HTTP interface: endpoints, publishing, statuses, headers.

mod bodies;
mod config;
mod conventions;
mod endpoints;
mod publish;
mod sweep;
mod wire;

use crate::harness::{Broker, Peer, on_each_peer};

/// Method and target, and the status and body that answer a request without a body.
type Row = (&'static str, u16, &'static str);

/// Sends each row's request in order, to one broker.
fn check(flags: &[&str], prepare: impl Fn(&Broker) + Sync, rows: &[Row]) {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, flags);
        prepare(&broker);
        for row in rows {
            check_row(peer, &broker, row);
        }
    });
}

fn check_row(peer: Peer, broker: &Broker, (request, status, body): &Row) {
    let (method, target) = request.split_once(' ').unwrap();
    let reply = broker.request(method, target, b"");
    let got = (reply.status, reply.text());
    assert_eq!(got, (*status, *body), "{peer:?} {request}");
}
