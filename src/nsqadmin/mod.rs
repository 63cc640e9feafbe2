//! nsqadmin: the cluster in the browser, and as JSON.
//!
//! It keeps nothing but the last polls. Every page asks the nodes anew, all at once, and shows what
//! those say that answer in time; the others are named.

pub mod program;

mod site;

mod health;
mod history;
mod poller;

mod access;
mod actions;
mod cluster;
