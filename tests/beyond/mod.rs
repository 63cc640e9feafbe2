//! What Shoal has beyond NSQ: attempts and dead letters, limits, deferral, replay. Clients are as
//! they always were.

mod attempts;
mod clients;
mod config;
mod deferral;
mod docs;
mod hostile;
mod limits;
mod messages;
mod redrive;
mod replay;
mod shown;
