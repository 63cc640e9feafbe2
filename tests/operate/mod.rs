//! Operating a broker: health, draining, systemd, the log, where settings come from, looking at
//! messages.

mod drain;
mod health;
mod peek;
pub mod recovery;
mod settings;
mod systemd;

/// Why the original is left out.
const WHY: &str = "the original has nothing of the kind";
