//! What can run in the broker's process beside it: nsqlookupd, on a thread of its own.
//!
//! The broker and nsqlookupd do not know each other; here they are introduced.

use std::ffi::OsString;

use crate::config::nsqd::NsqdOptions;
use crate::config::nsqlookupd::LookupdOptions;
use crate::nsqd::run::StopBeside;
use crate::nsqlookupd::run::Lookupd;

/// What its listeners are called in the broker's log.
const NAMES: [&str; 2] = ["TCP of nsqlookupd", "HTTP of nsqlookupd"];

/// Starts nsqlookupd if the options want it, and has the broker register with it.
///
/// # Errors
/// The reason, as the text of a fatal line.
pub fn start(options: &mut NsqdOptions) -> Result<Option<StopBeside>, String> {
    let Some(with) = &options.with_lookupd else { return Ok(None) };
    let flags = [
        ("tcp-address", &with.tcp_address),
        ("http-address", &with.http_address),
        ("broadcast-address", &options.broadcast_address),
    ];
    let args = flags.map(|(flag, value)| OsString::from(format!("--{flag}={value}")));
    let lookupd = LookupdOptions::load(&args)
        .map_err(|stop| format!("failed to instantiate nsqlookupd - {stop:?}"))?;
    let lookupd = Lookupd::start(&lookupd, NAMES)
        .map_err(|problem| format!("failed to instantiate nsqlookupd - {problem}"))?;
    let address = lookupd.local_address();
    if !options.lookupd_tcp_addresses.contains(&address) {
        options.lookupd_tcp_addresses.push(address);
    }
    Ok(Some(Box::new(move || lookupd.stop())))
}
