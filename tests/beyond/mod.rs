//! What Shoal has beyond NSQ: attempts and dead letters, limits, deferral, replay. Clients are as
//! they always were.

mod attempts;
mod config;
mod deferral;
mod limits;
mod redrive;
