//! The program: options, a thread with the server, signals.

use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::site::AdminSite;
use crate::config::go_text::errno_text;
use crate::config::nsqadmin::{AdminOptions, ClientTlsOptions, Sources, UpstreamOptions};
use crate::config::print;
use crate::config::value::TlsVersion;
use crate::config::version;
use crate::http::client::{Client, ClientOptions};
use crate::http::server::{self, Limits};
use crate::log;
use crate::net::listeners::{self, BoundListener};
use crate::net::thread::LightThread;
use crate::systemd;
use crate::tls::ClientFiles;

/// The program's name.
const NSQADMIN: &str = "nsqadmin";
/// How long answers under way may take at the end.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// How long the thread may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What browsers and scripts may hold.
const LIMITS: Limits = Limits {
    connections_max: 1024,
    idle: Duration::from_secs(120),
    request: Duration::from_secs(30),
    answer: Duration::from_secs(60),
    keep_alive: true,
};

/// Runs until a signal ends it.
pub fn run(options: AdminOptions) -> ExitCode {
    let _log = match log::start(&options.log_prefix, options.log_level, options.log_format) {
        Ok(log) => log,
        Err(error) => return log::fatal(NSQADMIN, &format!("cannot start the log - {error}")),
    };
    let mut signals = match Signals::new([SIGINT, SIGTERM]) {
        Ok(signals) => signals,
        Err(error) => return log::fatal(NSQADMIN, &format!("cannot handle signals - {error}")),
    };
    let failed = |problem| {
        let text = format!("failed to instantiate nsqadmin - {problem}");
        log::fatal(NSQADMIN, &text)
    };
    if let Err(problem) = check_addresses(&options.sources) {
        return failed(problem);
    }
    tracing::info!("{}", version::daemon_line(NSQADMIN));
    if options.check {
        return check(&options).map_or_else(failed, |plan| print::checked(&plan));
    }
    let admin = match start(options, "HTTP") {
        Ok(admin) => admin,
        Err(problem) => return failed(problem),
    };
    systemd::ready();
    if let Err(problem) = admin.feed_watchdog() {
        return log::fatal(NSQADMIN, &problem);
    }
    // The only two that are waited for.
    let _ = signals.forever().next();
    systemd::stopping();
    admin.stop();
    ExitCode::SUCCESS
}

/// Does what a start does, as far as others would not notice. The plan, one line each.
fn check(options: &AdminOptions) -> Result<Vec<String>, String> {
    let bound = bind("HTTP", options)?;
    let client = client_options(&options.upstream)?;
    // Whether there is an executor to be had.
    LightThread::start("check", |_| async {})?.stop(STOP_PATIENCE);
    let mut lines = vec![format!("{}: bound to {}", bound.name, bound.address)];
    let (what, addresses) = match &options.sources {
        Sources::Lookupds(addresses) => ("LOOKUP: to be asked", addresses),
        Sources::Nsqds(addresses) => ("NSQD: to be asked", addresses),
    };
    lines.extend(addresses.iter().map(|address| format!("{what}: {address}")));
    let over_tls = if client.tls.is_some() { "can" } else { "cannot" };
    lines.push(format!("TLS: nodes {over_tls} be asked over TLS"));
    Ok(lines)
}

fn bind(name: &'static str, options: &AdminOptions) -> Result<BoundListener, String> {
    listeners::bind(name, &options.http_address)?
        .ok_or_else(|| "--http-address must not be empty".to_owned())
}

/// A running nsqadmin.
#[derive(Debug)]
pub struct Admin {
    thread: LightThread,
    /// Where it is asked whether it turns.
    pulse: flume::Sender<flume::Sender<()>>,
}

impl Admin {
    /// Has systemd's watchdog fed, if there is one, as long as the thread answers.
    fn feed_watchdog(&self) -> Result<(), String> {
        let pulse = self.pulse.clone();
        systemd::feed(move |patience| {
            let (answer, answered) = flume::bounded(1);
            // Full means that it has not answered the last time.
            pulse.try_send(answer).is_ok() && answered.recv_timeout(patience).is_ok()
        })
    }

    /// Ends it.
    pub fn stop(self) {
        tracing::info!("{NSQADMIN}: closing");
        self.thread.stop(STOP_PATIENCE);
    }
}

/// Starts nsqadmin on a thread of its own; `name` is its listener's in the log, which runs already.
///
/// # Errors
/// When it cannot be; the text is complete.
pub fn start(options: AdminOptions, name: &'static str) -> Result<Admin, String> {
    options.settings.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let bound = bind(name, &options)?;
    let client = client_options(&options.upstream)?;
    tracing::info!("{name}: listening on {}", bound.address);
    let (ready, readiness) = flume::bounded(1);
    let (pulse, asked) = flume::bounded::<flume::Sender<()>>(1);
    let thread = LightThread::start(NSQADMIN, move |stop| async move {
        match serve(options, client, bound) {
            Ok(listening) => {
                // The starting thread waits for it.
                let _ = ready.send(Ok(()));
                let beating = glommio::spawn_local(async move {
                    while let Ok(answer) = asked.recv_async().await {
                        // Whoever asked may have given up.
                        let _ = answer.try_send(());
                    }
                });
                stop.wait().await;
                beating.cancel().await;
                listening.stop(STOP_GRACE).await;
            }
            Err(problem) => {
                let _ = ready.send(Err(problem));
            }
        }
    })?;
    match readiness.recv() {
        Ok(Ok(())) => Ok(Admin { thread, pulse }),
        Ok(Err(problem)) => Err(problem),
        Err(_) => Err("the thread ended at its start".to_owned()),
    }
}

fn serve(
    options: AdminOptions,
    client: ClientOptions,
    bound: BoundListener,
) -> Result<crate::net::connections::Listening, String> {
    let site = Rc::new(AdminSite::new(options, Client::new(client)));
    server::serve(bound, site, LIMITS)
}

/// How nodes are asked.
fn client_options(upstream: &UpstreamOptions) -> Result<ClientOptions, String> {
    let ClientTlsOptions { skip_verify, root_ca_file, cert, key } = &upstream.tls;
    let path = |text: &String| Some(PathBuf::from(text)).filter(|_| !text.is_empty());
    let files = ClientFiles {
        root_ca: path(root_ca_file),
        identity: path(cert).zip(path(key)),
        insecure: *skip_verify,
        oldest: TlsVersion::Tls12,
    };
    let asked_for = *skip_verify || files.root_ca.is_some() || files.identity.is_some();
    let tls = match files.load() {
        Ok(config) => Some(config),
        Err(problem) if asked_for => {
            return Err(format!("failed to build the TLS config of the client - {problem}"));
        }
        // A machine without authorities may have a cluster without TLS.
        Err(problem) => {
            tracing::warn!("nodes cannot be asked over TLS - {problem}");
            None
        }
    };
    Ok(ClientOptions {
        connect_timeout: upstream.connect_timeout,
        request_timeout: upstream.request_timeout,
        tls,
        ..ClientOptions::default()
    })
}

/// All addresses have to mean something now.
fn check_addresses(sources: &Sources) -> Result<(), String> {
    let (flag, addresses) = match sources {
        Sources::Lookupds(addresses) => ("lookupd-http-address", addresses),
        Sources::Nsqds(addresses) => ("nsqd-http-address", addresses),
    };
    for address in addresses {
        address.to_socket_addrs().map_err(|error| {
            format!("failed to resolve --{flag} ({address}) - {}", errno_text(&error))
        })?;
    }
    Ok(())
}
