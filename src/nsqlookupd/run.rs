//! nsqlookupd from its options to its end: alone as a program, or on a thread of the broker's
//! process.

use std::cell::OnceCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use glommio::timer::Timer;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::http::LookupSite;
use super::limits::{CLOCK_TICK, STOP_GRACE};
use super::protocol::SessionSettings;
use super::registry::{RegistryCounts, RegistrySettings};
use super::shared::Shared;
use super::tcp::{self, TcpSettings};
use super::wire::WireSettings;
use crate::config::host;
use crate::config::nsqlookupd::{LookupdOptions, LookupdTls};
use crate::config::print;
use crate::config::version::{self, NSQ_VERSION};
use crate::http::server::{self, Limits};
use crate::log;
use crate::net::connections::{ConnectionCounter, ConnectionCounts, Listening, listen};
use crate::net::listeners::{self, BoundListener, ListenAddress};
use crate::net::thread::LightThread;
use crate::systemd;
use crate::tls::{ClientAuth, ServerFiles};

/// How long the thread may take to stop: both listeners' grace, and a little.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// Runs nsqlookupd until it is told to stop.
pub fn run(options: LookupdOptions) -> ExitCode {
    let _log = match log::start(&options.log_prefix, options.log_level, options.log_format) {
        Ok(guard) => guard,
        Err(error) => return log::fatal("nsqlookupd", &format!("cannot start the log: {error}")),
    };
    tracing::info!("{}", version::daemon_line("nsqlookupd"));
    options.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let failed = |problem| {
        let text = format!("failed to instantiate nsqlookupd - {problem}");
        log::fatal("nsqlookupd", &text)
    };
    if options.check {
        return check(&options).map_or_else(failed, |plan| print::checked(&plan));
    }
    // Before any thread starts, so that none of them takes a signal's default action.
    let mut signals = match Signals::new([SIGTERM, SIGINT]) {
        Ok(signals) => signals,
        Err(error) => {
            return log::fatal("nsqlookupd", &format!("cannot listen for signals - {error}"));
        }
    };
    let lookupd = match Lookupd::start(&options, ["TCP", "HTTP"]) {
        Ok(lookupd) => lookupd,
        Err(problem) => return failed(problem),
    };
    systemd::ready();
    if let Err(problem) = lookupd.feed_watchdog() {
        return log::fatal("nsqlookupd", &problem);
    }
    let signal = signals.forever().next();
    systemd::stopping();
    let name = signal.and_then(signal_hook::low_level::signal_name).unwrap_or("a signal");
    tracing::info!("NSQLOOKUPD: closing on {name}");
    lookupd.stop();
    tracing::info!("NSQLOOKUPD: bye");
    ExitCode::SUCCESS
}

/// Does what a start does, as far as others would not notice. The plan, one line each.
fn check(options: &LookupdOptions) -> Result<Vec<String>, String> {
    let (plan, listeners) = prepare(options, ["TCP", "HTTP"])?;
    // Whether there is an executor to be had.
    LightThread::start("check", |_| async {})?.stop(STOP_PATIENCE);
    let mut lines: Vec<String> = listeners.iter().map(bound_line).collect();
    let Plan { registry, tcp, tcp_connections_max, http, .. } = plan;
    lines.push(match (&tcp.wire.tls, tcp.wire.tls_required) {
        (None, _) => "TLS: nsqds are not served over TLS".to_owned(),
        (Some(_), false) => "TLS: nsqds may use it".to_owned(),
        (Some(_), true) => "TLS: nsqds have to use it".to_owned(),
    });
    lines.push(format!(
        "LIMITS: {tcp_connections_max} nsqds, {} HTTP connections, {} registrations",
        http.connections_max, registry.registrations_max
    ));
    lines.push(format!("NSQLOOKUPD: nsqds are told {}", options.broadcast_address));
    Ok(lines)
}

fn bound_line(bound: &BoundListener) -> String {
    format!("{}: bound to {}", bound.name, bound.address)
}

/// Numbers about nsqlookupd at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// When it started, in seconds since 1970.
    pub start_time_seconds: f64,
    /// What is registered.
    pub registry: RegistryCounts,
    /// Lookups that wait for a change.
    pub waiting: usize,
    /// Connections of producers.
    pub tcp: ConnectionCounts,
    /// Connections of HTTP clients.
    pub http: ConnectionCounts,
}

/// A nsqlookupd that runs on a thread of its own. Dropping it lets the thread end.
#[derive(Debug)]
pub struct Lookupd {
    thread: LightThread,
    asks: flume::Sender<Ask>,
    tcp_address: ListenAddress,
    http_address: ListenAddress,
}

/// Where other threads ask for its numbers. It does not keep nsqlookupd from ending.
#[derive(Clone, Debug)]
pub struct LookupdSurvey(flume::WeakSender<Ask>);

impl LookupdSurvey {
    /// The numbers; `None` when they do not come in time.
    pub fn ask(&self, patience: Duration) -> Option<Statistics> {
        let (reply, answer) = flume::bounded(1);
        self.0.upgrade()?.try_send(Ask::Statistics(reply)).ok()?;
        answer.recv_timeout(patience).ok()
    }
}

/// What other threads want of it.
enum Ask {
    /// Its numbers.
    Statistics(flume::Sender<Statistics>),
}

impl Lookupd {
    /// Starts it, and returns when both listeners are served. `names` are those of the listeners
    /// in the log.
    ///
    /// # Errors
    /// The reason, as the end of a line.
    pub fn start(options: &LookupdOptions, names: [&'static str; 2]) -> Result<Lookupd, String> {
        let (plan, [tcp, http]) = prepare(options, names)?;
        let (tcp_address, http_address) = (tcp.address.clone(), http.address.clone());
        let lines =
            [&tcp, &http].map(|bound| format!("{}: listening on {}", bound.name, bound.address));
        let (asks, asked) = flume::bounded(16);
        let (ready, readiness) = flume::bounded(1);
        let thread = LightThread::start("nsqlookupd", move |_| async move {
            match Running::start(plan, tcp, http) {
                Ok(running) => {
                    // The starting thread waits for it.
                    let _ = ready.send(Ok(()));
                    running.serve(&asked).await;
                }
                Err(problem) => drop(ready.send(Err(problem))),
            }
        })?;
        readiness.recv().unwrap_or_else(|_| Err("it ended at its start".to_owned()))?;
        lines.iter().for_each(|line| tracing::info!("{line}"));
        Ok(Lookupd { thread, asks, tcp_address, http_address })
    }

    /// Where a producer in the same process finds it.
    pub fn local_address(&self) -> String {
        local(&self.tcp_address)
    }

    /// Where HTTP clients in the same process find it.
    pub fn local_http_address(&self) -> String {
        local(&self.http_address)
    }

    /// Where other threads ask for its numbers.
    pub fn survey(&self) -> LookupdSurvey {
        LookupdSurvey(self.asks.downgrade())
    }

    /// Has systemd's watchdog fed, if there is one, as long as the thread answers.
    fn feed_watchdog(&self) -> Result<(), String> {
        let survey = self.survey();
        systemd::feed(move |patience| survey.ask(patience).is_some())
    }

    /// Ends it: what is being answered is answered, everything else is cut off.
    pub fn stop(self) {
        let Lookupd { thread, asks, .. } = self;
        drop(asks);
        thread.stop(STOP_PATIENCE);
    }
}

/// How an address is reached from here.
fn local(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) if address.ip().is_unspecified() => {
            format!("127.0.0.1:{}", address.port())
        }
        address => address.to_string(),
    }
}

/// What the thread is to know, and what it is to serve.
fn prepare(
    options: &LookupdOptions,
    names: [&'static str; 2],
) -> Result<(Plan, [BoundListener; 2]), String> {
    let tcp = bound(listeners::bind(names[0], &options.tcp_address)?)?;
    let http = bound(listeners::bind(names[1], &options.http_address)?)?;
    let plan = Plan {
        registry: registry_settings(options),
        tcp: tcp_settings(options, tcp.port(), http.port())?,
        tcp_connections_max: options.connections_max,
        http: http_limits(options),
        lookup_wait_max: options.lookup_wait_max,
    };
    Ok((plan, [tcp, http]))
}

fn bound(listener: Option<BoundListener>) -> Result<BoundListener, String> {
    listener.ok_or_else(|| "an address is missing".to_owned())
}

/// What the thread needs to know.
struct Plan {
    registry: RegistrySettings,
    tcp: TcpSettings,
    tcp_connections_max: usize,
    http: Limits,
    lookup_wait_max: Duration,
}

fn registry_settings(options: &LookupdOptions) -> RegistrySettings {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    RegistrySettings {
        inactive_after_ns: nanoseconds(options.inactive_producer_timeout),
        tombstone_ns: nanoseconds(options.tombstone_lifetime),
        registrations_max: options.registrations_max,
    }
}

fn tcp_settings(
    options: &LookupdOptions,
    tcp_port: i32,
    http_port: i32,
) -> Result<TcpSettings, String> {
    /// Its fields in the original's order.
    #[derive(Serialize)]
    struct About<'a> {
        broadcast_address: &'a str,
        hostname: &'a str,
        http_port: i32,
        tcp_port: i32,
        version: &'a str,
    }
    let broadcast_address = options.broadcast_address.as_str();
    let hostname = &host::hostname();
    let about = About { broadcast_address, hostname, http_port, tcp_port, version: NSQ_VERSION };
    let about = serde_json::to_string(&about).map_err(|error| error.to_string())?;
    Ok(TcpSettings {
        greeting_timeout: options.greeting_timeout,
        client_timeout: options.client_timeout,
        session: SessionSettings { about, body_bytes_max: options.body_bytes_max },
        wire: options.tls.as_ref().map(wire_settings).transpose()?.unwrap_or_default(),
    })
}

fn wire_settings(tls: &LookupdTls) -> Result<WireSettings, String> {
    let files = ServerFiles {
        cert: tls.cert.clone(),
        key: tls.key.clone(),
        root_ca: tls.root_ca_file.clone(),
        client_auth: ClientAuth::parse(&tls.client_auth_policy),
        oldest: tls.min_version,
    };
    let config = files.load().map_err(|error| format!("failed to build TLS config - {error}"))?;
    Ok(WireSettings { tls: Some(config), tls_required: tls.required })
}

fn http_limits(options: &LookupdOptions) -> Limits {
    Limits {
        connections_max: options.http_connections_max,
        idle: options.http_idle_timeout,
        request: options.http_request_timeout,
        answer: options.http_request_timeout,
        keep_alive: true,
    }
}

/// Who can tell the numbers. The site has it before the listeners are there.
#[derive(Debug, Default)]
pub struct Gauges {
    start_time_seconds: f64,
    listeners: OnceCell<[ConnectionCounter; 2]>,
}

impl Gauges {
    fn new() -> Rc<Gauges> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Rc::new(Gauges { start_time_seconds: since.as_secs_f64(), listeners: OnceCell::new() })
    }

    /// The numbers of this moment.
    pub fn statistics(&self, shared: &Shared) -> Statistics {
        let counters = self.listeners.get().map(|both| both.each_ref());
        let [tcp, http] =
            counters.map(|both| both.map(ConnectionCounter::counts)).unwrap_or_default();
        Statistics {
            start_time_seconds: self.start_time_seconds,
            registry: shared.counts(),
            waiting: shared.waiting(),
            tcp,
            http,
        }
    }
}

/// It on its thread.
struct Running {
    shared: Rc<Shared>,
    gauges: Rc<Gauges>,
    listeners: [Listening; 2],
}

impl Running {
    fn start(plan: Plan, tcp: BoundListener, http: BoundListener) -> Result<Running, String> {
        let shared = Shared::new(plan.registry);
        let gauges = Gauges::new();
        let (registry, settings) = (shared.clone(), Rc::new(plan.tcp));
        let tcp = listen(tcp, plan.tcp_connections_max, move |connection| {
            tcp::serve(connection, registry.clone(), settings.clone())
        })?;
        let site = LookupSite::new(shared.clone(), gauges.clone(), plan.lookup_wait_max);
        let http = server::serve(http, Rc::new(site), plan.http)?;
        let listeners = [tcp, http];
        let counters = listeners.each_ref().map(Listening::counter);
        gauges.listeners.set(counters).map_err(|_| "it was started twice".to_owned())?;
        Ok(Running { shared, gauges, listeners })
    }

    /// Answers other threads until there are none that could ask.
    async fn serve(self, asked: &flume::Receiver<Ask>) {
        let shared = self.shared.clone();
        let clock = glommio::spawn_local(async move {
            loop {
                Timer::new(CLOCK_TICK).await;
                shared.with(|_, _| ());
            }
        });
        while let Ok(Ask::Statistics(reply)) = asked.recv_async().await {
            // Whoever asked may have given up.
            let _ = reply.try_send(self.gauges.statistics(&self.shared));
        }
        self.shared.stop();
        for listener in self.listeners {
            listener.stop(STOP_GRACE).await;
        }
        clock.cancel().await;
    }
}
