//! What can run in the broker's process beside it, each on a thread of its own: nsqlookupd, and
//! nsqadmin's pages.
//!
//! The three do not know each other; here they are introduced.

use std::ffi::OsString;
use std::time::Duration;

use prometheus::proto::MetricFamily;

use crate::config::nsqadmin::AdminOptions;
use crate::config::nsqd::NsqdOptions;
use crate::config::nsqlookupd::LookupdOptions;
use crate::nsqadmin::program::{self, Admin};
use crate::nsqd::run::Beside;
use crate::nsqlookupd::metrics;
use crate::nsqlookupd::run::{Lookupd, LookupdSurvey};

/// What its listeners are called in the broker's log.
const NAMES: [&str; 2] = ["TCP of nsqlookupd", "HTTP of nsqlookupd"];
/// How long nsqlookupd may take to say what it counts.
const LOOKUPD_PATIENCE: Duration = Duration::from_millis(500);
/// What the listener of the pages is called there.
const ADMIN_NAME: &str = "HTTP of nsqadmin";

/// Starts what the options want, and has the broker register with a nsqlookupd.
///
/// # Errors
/// The reason, as the text of a fatal line.
pub fn start(options: &mut NsqdOptions) -> Result<Option<Beside>, String> {
    let lookupd = start_lookupd(options)?;
    let admin = start_admin(options, lookupd.as_ref())?;
    if lookupd.is_none() && admin.is_none() {
        return Ok(None);
    }
    let survey = lookupd.as_ref().map(Lookupd::survey);
    Ok(Some(Beside {
        metrics: Box::new(move || survey.as_ref().map(lookupd_metrics).unwrap_or_default()),
        stop: Box::new(move || {
            admin.into_iter().for_each(Admin::stop);
            lookupd.into_iter().for_each(Lookupd::stop);
        }),
    }))
}

/// What nsqlookupd counts; nothing when it takes too long to say so.
fn lookupd_metrics(survey: &LookupdSurvey) -> Vec<MetricFamily> {
    survey.ask(LOOKUPD_PATIENCE).as_ref().map(metrics::families).unwrap_or_default()
}

fn start_lookupd(options: &mut NsqdOptions) -> Result<Option<Lookupd>, String> {
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
    Ok(Some(lookupd))
}

/// The pages show what the nsqlookupd of this process lists, or else this broker alone.
fn start_admin(options: &NsqdOptions, lookupd: Option<&Lookupd>) -> Result<Option<Admin>, String> {
    let Some(address) = &options.with_admin else { return Ok(None) };
    let source = match lookupd {
        Some(lookupd) => format!("--lookupd-http-address={}", lookupd.local_http_address()),
        None => format!("--nsqd-http-address={}", local(&options.http_address)),
    };
    let args = [OsString::from(source), OsString::from(format!("--http-address={address}"))];
    let admin = AdminOptions::load(&args)
        .map_err(|stop| format!("failed to instantiate nsqadmin - {stop:?}"))?;
    let admin = program::start(admin, ADMIN_NAME)
        .map_err(|problem| format!("failed to instantiate nsqadmin - {problem}"))?;
    Ok(Some(admin))
}

/// How an address that is listened on is reached from here.
fn local(address: &str) -> String {
    let any = ["0.0.0.0:", "[::]:", ":"];
    let port = any.iter().find_map(|any| address.strip_prefix(any));
    port.map_or_else(|| address.to_owned(), |port| format!("127.0.0.1:{port}"))
}
