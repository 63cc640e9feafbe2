//! A connection that delivers messages, as the consumer keeps it.

use std::sync::Arc;
use std::time::Instant;

use super::codec::Command;
use super::connection::Connection;
use super::options::ConsumerOptions;
use super::rdy::{Patience, Seat, share};

/// A connection between its subscription and its end.
pub struct Live {
    /// The connection.
    pub connection: Arc<Connection>,
    rdy: u32,
    message_at: Instant,
    changed_at: Instant,
}

impl Live {
    /// Just subscribed, with RDY 0.
    pub fn new(connection: Arc<Connection>, now: Instant) -> Live {
        Live { connection, rdy: 0, message_at: now, changed_at: now }
    }

    /// Notes a sign that the nsqd has messages.
    pub fn message_came(&mut self, now: Instant) {
        self.message_at = now;
    }

    fn seat(&self, now: Instant) -> Seat {
        Seat {
            rdy: self.rdy,
            rdy_max: self.connection.rdy_max,
            idle: now.saturating_duration_since(self.message_at),
            since_change: now.saturating_duration_since(self.changed_at),
        }
    }

    fn set_rdy(&mut self, rdy: u32, now: Instant) {
        if rdy == self.rdy {
            return;
        }
        if (rdy > 0) != (self.rdy > 0) {
            self.changed_at = now;
        }
        self.rdy = rdy;
        // A failure closes the connection; its thread reports that.
        let _ = self.connection.send(&Command::Rdy(rdy));
    }
}

/// Gives each of a subscription's connections its part of `max_in_flight`.
pub fn share_rdy(connections: &mut [&mut Live], options: &ConsumerOptions) {
    let now = Instant::now();
    let seats: Vec<Seat> = connections.iter().map(|live| live.seat(now)).collect();
    let patience = Patience { idle: options.low_rdy_idle_timeout, share: options.low_rdy_timeout };
    let shares = share(&seats, options.in_flight_max(), patience);
    // Who gets less hears it first, so that there are not too many in flight in between.
    let mut changes: Vec<_> = connections.iter_mut().zip(shares).collect();
    changes.sort_by_key(|(live, rdy)| *rdy > live.rdy);
    for (live, rdy) in changes {
        live.set_rdy(rdy, now);
    }
}
