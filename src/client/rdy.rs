//! How `max_in_flight` is shared among the connections of one subscription. No I/O, no clock.

use std::time::Duration;

/// One connection, as far as its share is concerned.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The RDY that it has now.
    pub rdy: u32,
    /// The most that its nsqd takes.
    pub rdy_max: u32,
    /// How long ago its last message came.
    pub idle: Duration,
    /// How long ago its RDY changed between zero and more.
    pub since_change: Duration,
}

/// When a connection has to make room, while there are more connections than `max_in_flight`.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// It gave no message for so long.
    pub idle: Duration,
    /// It had its share for so long, messages or not.
    pub share: Duration,
}

/// The RDY of each connection from now on.
///
/// With enough for all, each gets an equal part. With fewer than connections, one each for as many
/// as possible; who is idle or had it long passes it on to who waited longest, so none starves.
#[must_use]
pub fn share(seats: &[Seat], in_flight_max: u32, patience: Patience) -> Vec<u32> {
    let count = u32::try_from(seats.len()).unwrap_or(u32::MAX);
    let shares = if count == 0 {
        Vec::new()
    } else if count <= in_flight_max {
        equal_parts(seats, in_flight_max, count)
    } else {
        take_turns(seats, in_flight_max as usize, patience)
    };
    let total: u64 = shares.iter().map(|&rdy| u64::from(rdy)).sum();
    assert!(total <= u64::from(in_flight_max), "{total} of {in_flight_max}");
    assert_eq!(shares.len(), seats.len());
    shares
}

fn equal_parts(seats: &[Seat], in_flight_max: u32, count: u32) -> Vec<u32> {
    let (part, mut left_over) = (in_flight_max / count, in_flight_max % count);
    let parts = seats.iter().map(|seat| {
        let extra = u32::from(left_over > 0);
        left_over -= extra;
        (part + extra).min(seat.rdy_max)
    });
    parts.collect()
}

fn take_turns(seats: &[Seat], places: usize, patience: Patience) -> Vec<u32> {
    let tired = |seat: &Seat| {
        // Time without a place is no idleness.
        seat.idle.min(seat.since_change) > patience.idle || seat.since_change > patience.share
    };
    let mut order: Vec<usize> = (0..seats.len()).collect();
    // First who has a place and may keep it, then who waited longest, then who has to make room.
    order.sort_by_key(|&at| {
        let seat = &seats[at];
        let rank = match (seat.rdy > 0, tired(seat)) {
            (true, false) => 0,
            (false, _) => 1,
            (true, true) => 2,
        };
        (rank, std::cmp::Reverse(seat.since_change))
    });
    let mut shares = vec![0; seats.len()];
    for &at in order.iter().take(places) {
        shares[at] = seats[at].rdy_max.min(1);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::{Patience, Seat, share};
    use std::time::Duration;

    const PATIENCE: Patience =
        Patience { idle: Duration::from_secs(10), share: Duration::from_secs(30) };

    fn seat(rdy: u32, idle_s: u64, since_change_s: u64) -> Seat {
        Seat {
            rdy,
            rdy_max: 2500,
            idle: Duration::from_secs(idle_s),
            since_change: Duration::from_secs(since_change_s),
        }
    }

    fn check(seats: &[Seat], in_flight_max: u32, expected: &[u32]) {
        assert_eq!(share(seats, in_flight_max, PATIENCE), expected, "{seats:?} {in_flight_max}");
    }

    #[test]
    fn enough_for_all_is_split_in_equal_parts() {
        check(&[], 5, &[]);
        check(&[seat(0, 0, 0)], 200, &[200]);
        check(&[seat(200, 0, 0), seat(0, 0, 0), seat(0, 0, 0)], 200, &[67, 67, 66]);
        check(&[seat(0, 0, 0), seat(0, 0, 0)], 2, &[1, 1]);
        check(&[seat(0, 0, 0)], 0, &[0]);
    }

    #[test]
    fn no_more_than_the_nsqd_takes() {
        check(&[seat(0, 0, 0)], 10_000, &[2500]);
    }

    #[test]
    fn a_place_is_kept_while_it_is_used() {
        check(&[seat(0, 60, 60), seat(1, 1, 20)], 1, &[0, 1]);
    }

    #[test]
    fn an_idle_connection_passes_its_place_on() {
        check(&[seat(1, 11, 11), seat(0, 60, 20), seat(0, 60, 25)], 1, &[0, 0, 1]);
    }

    #[test]
    fn a_new_place_is_not_idle_for_having_waited_long() {
        check(&[seat(1, 60, 5), seat(0, 60, 20)], 1, &[1, 0]);
    }

    #[test]
    fn a_busy_connection_passes_its_place_on_in_time() {
        check(&[seat(1, 0, 31), seat(0, 60, 20)], 1, &[0, 1]);
    }

    #[test]
    fn no_connection_starves() {
        let mut seats = vec![seat(0, 0, 0); 5];
        let mut turns = [0; 5];
        for _ in 0..200 {
            for (at, rdy) in share(&seats, 2, PATIENCE).into_iter().enumerate() {
                let seat = &mut seats[at];
                let changed = (rdy > 0) != (seat.rdy > 0);
                seat.rdy = rdy;
                seat.idle += Duration::from_secs(5);
                seat.since_change = if changed { Duration::ZERO } else { seat.since_change }
                    + Duration::from_secs(5);
                turns[at] += rdy;
            }
        }
        assert!(turns.iter().all(|&turns| turns > 60), "{turns:?}");
    }
}
