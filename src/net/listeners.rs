//! The sockets that clients connect to: TCP for `host:port`, else a unix socket at that path.
//!
//! They are bound with SO_REUSEADDR, so that a restart need not wait for old connections, and
//! *without* SO_REUSEPORT, so that a port in use is an error and not a port that two brokers
//! share. The words of the errors are the original's.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::go_text::errno_text;

/// Connections that wait to be accepted; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// How long an address may be in use before that is an error.
const ADDRESS_IN_USE_PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait before it is tried again.
const ADDRESS_IN_USE_PAUSE: Duration = Duration::from_millis(20);

/// A socket that listens, does not block, and has not accepted anything yet.
#[derive(Debug)]
pub struct BoundListener {
    /// `TCP`, `HTTP` or `HTTPS`, for the log.
    pub name: &'static str,
    /// The socket.
    pub socket: ListenerSocket,
    /// Where it listens; the port is the real one.
    pub address: ListenAddress,
    /// Removes a unix socket's file when it is dropped; to be kept until the end.
    #[allow(dead_code, reason = "held for what its drop does")]
    pub unix_file: Option<UnixFile>,
}

/// A listening socket of either family.
#[derive(Debug)]
pub enum ListenerSocket {
    /// IPv4 or IPv6, or both for a wildcard: IPv4 clients then have IPv4-mapped addresses, and
    /// `IpAddr::to_canonical` tells the real ones.
    Tcp(TcpListener),
    /// A path.
    Unix(UnixListener),
}

impl ListenerSocket {
    /// The next connection that waits.
    ///
    /// # Errors
    /// `WouldBlock` when none does, or what is wrong with it.
    pub fn accept(&self) -> io::Result<OwnedFd> {
        Ok(match self {
            ListenerSocket::Tcp(listener) => listener.accept()?.0.into(),
            ListenerSocket::Unix(listener) => listener.accept()?.0.into(),
        })
    }
}

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A path.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => path.display().fmt(f),
        }
    }
}

impl BoundListener {
    /// The socket once more, for whoever accepts from it until its owner does.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn another(&self) -> io::Result<ListenerSocket> {
        Ok(match &self.socket {
            ListenerSocket::Tcp(listener) => ListenerSocket::Tcp(listener.try_clone()?),
            ListenerSocket::Unix(listener) => ListenerSocket::Unix(listener.try_clone()?),
        })
    }

    /// The port as `/info` shows it: -1 for a unix socket.
    pub fn port(&self) -> i32 {
        match &self.address {
            ListenAddress::Tcp(address) => i32::from(address.port()),
            ListenAddress::Unix(_) => -1,
        }
    }
}

/// Listens at `address`; an empty one is nowhere. The error is complete, as in
/// `listen (127.0.0.1:4150) failed - listen tcp 127.0.0.1:4150: bind: address already in use`.
pub fn bind(name: &'static str, address: &str) -> Result<Option<BoundListener>, String> {
    if address.is_empty() {
        return Ok(None);
    }
    let bound = match split_host_port(address) {
        Some((host, port)) => bind_tcp(name, host, port),
        None => bind_unix(name, Path::new(address)),
    };
    bound.map(Some).map_err(|problem| format!("listen ({address}) failed - listen {problem}"))
}

/// Listens for HTTPS, which is never a unix socket.
pub fn bind_https(address: &str) -> Result<Option<BoundListener>, String> {
    if !address.is_empty() && split_host_port(address).is_none() {
        let problem = format!("tcp: address {address}: missing port in address");
        return Err(format!("listen ({address}) failed - listen {problem}"));
    }
    bind("HTTPS", address)
}

/// Takes `host:port` or `[host]:port` apart; `None` when the text is neither, and so a path.
fn split_host_port(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':')?;
    let inner = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let clean = |text: &str| !text.contains(['[', ']']);
    (clean(inner) && clean(port)).then_some((inner, port))
}

fn bind_tcp(name: &'static str, host: &str, port: &str) -> Result<BoundListener, String> {
    let port = read_port(port).map_err(|problem| format!("tcp: {problem}"))?;
    let mut first_problem = None;
    for candidate in candidates(host, port).map_err(|problem| format!("tcp: {problem}"))? {
        match listen_patiently(candidate.address) {
            Ok(listener) => {
                let address = listener.local_addr().map_err(|error| errno_text(&error))?;
                return Ok(BoundListener {
                    name,
                    socket: ListenerSocket::Tcp(listener),
                    address: ListenAddress::Tcp(address),
                    unix_file: None,
                });
            }
            Err(error) => {
                let problem = format!("tcp {}: bind: {}", candidate.shown, errno_text(&error));
                first_problem.get_or_insert(problem);
            }
        }
    }
    Err(first_problem.unwrap_or_else(|| format!("tcp: lookup {host}: no such host")))
}

/// Listens, also when a process that was killed just now has not quite let go of the address: the
/// kernel ends its rings, and what they listen with, a moment after it.
fn listen_patiently(address: SocketAddr) -> io::Result<TcpListener> {
    let began = Instant::now();
    loop {
        match listen_tcp(address) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && began.elapsed() < ADDRESS_IN_USE_PATIENCE =>
            {
                thread::sleep(ADDRESS_IN_USE_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// An address to try, and how it is called when it cannot be bound.
struct Candidate {
    address: SocketAddr,
    shown: String,
}

/// The addresses of a host. A wildcard is both families at once, or IPv4 where there is no IPv6;
/// a name's IPv4 addresses come first, as in the original.
fn candidates(host: &str, port: u16) -> Result<Vec<Candidate>, String> {
    if matches!(host, "" | "0.0.0.0" | "::") {
        let any: [SocketAddr; 2] =
            [(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()];
        let shown = if host == "::" { format!("[::]:{port}") } else { format!("{host}:{port}") };
        return Ok(any.map(|address| Candidate { address, shown: shown.clone() }).into());
    }
    let mut addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|_| format!("lookup {host}: no such host"))?
        .collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let candidate = |address: SocketAddr| Candidate { address, shown: address.to_string() };
    Ok(addresses.into_iter().map(candidate).collect())
}

fn read_port(port: &str) -> Result<u16, String> {
    if port.is_empty() {
        return Ok(0);
    }
    match port.parse::<i64>() {
        Ok(number) => u16::try_from(number).map_err(|_| format!("address {port}: invalid port")),
        Err(_) => Err(format!("lookup tcp/{port}: unknown port")),
    }
}

fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let SocketAddr::V6(v6) = address {
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    listen(&socket, &address.into())?;
    Ok(socket.into())
}

fn listen(socket: &Socket, address: &SockAddr) -> io::Result<()> {
    socket.bind(address)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)
}

fn bind_unix(name: &'static str, path: &Path) -> Result<BoundListener, String> {
    let problem =
        |error: io::Error| format!("unix {}: bind: {}", path.display(), errno_text(&error));
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(problem)?;
    let address = SockAddr::unix(path).map_err(problem)?;
    remove_stale(path, &address).map_err(problem)?;
    listen(&socket, &address).map_err(problem)?;
    let unix_file = UnixFile::of(path).map_err(problem)?;
    Ok(BoundListener {
        name,
        socket: ListenerSocket::Unix(socket.into()),
        address: ListenAddress::Unix(path.to_owned()),
        unix_file: Some(unix_file),
    })
}

/// Removes a socket's file that a killed process left: nobody listens behind it any more.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A process that listens and is stuck must not make this one wait.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Ok(()),
    }
}

/// Removes the file of a unix socket when it is dropped, unless it is another's by then.
#[derive(Debug)]
pub struct UnixFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl UnixFile {
    fn of(path: &Path) -> io::Result<UnixFile> {
        let found = fs::symlink_metadata(path)?;
        Ok(UnixFile { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }
}

impl Drop for UnixFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if is_ours {
            // A file that cannot be removed is found stale by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use socket2::{Domain, Socket, Type};

    use super::{BoundListener, ListenAddress, ListenerSocket, bind, split_host_port};

    fn bound(address: &str) -> BoundListener {
        bind("TCP", address).unwrap().unwrap()
    }

    #[test]
    fn addresses_are_told_from_paths() {
        for (address, parts) in [
            ("127.0.0.1:4150", Some(("127.0.0.1", "4150"))),
            (":4150", Some(("", "4150"))),
            ("host:", Some(("host", ""))),
            ("[::1]:4150", Some(("::1", "4150"))),
            ("::1:4150", None),
            ("[::1]", None),
            ("[::1:4150", None),
            ("ho[st:1", None),
            ("/tmp/nsqd.sock", None),
            ("nsqd.sock", None),
        ] {
            assert_eq!(split_host_port(address), parts, "{address}");
        }
    }

    #[test]
    fn the_real_port_is_known() {
        let listener = bound("127.0.0.1:0");
        let port = u16::try_from(listener.port()).unwrap();
        assert_ne!(port, 0);
        assert_eq!(listener.address.to_string(), format!("127.0.0.1:{port}"));
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let ListenerSocket::Tcp(socket) = &listener.socket else { panic!("no TCP") };
        socket.accept().unwrap();
        let nothing_more = socket.accept().unwrap_err();
        assert_eq!(nothing_more.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_wildcard_serves_both_families() {
        for address in [":0", "0.0.0.0:0", "[::]:0"] {
            let listener = bound(address);
            let port = u16::try_from(listener.port()).unwrap();
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            if listener.address.to_string().starts_with("[::]") {
                TcpStream::connect(format!("[::1]:{port}")).unwrap();
            }
        }
    }

    #[test]
    fn a_port_in_use_is_an_error_in_the_originals_words() {
        let first = bound("127.0.0.1:0");
        let address = first.address.to_string();
        assert_eq!(
            bind("TCP", &address).unwrap_err(),
            format!(
                "listen ({address}) failed - listen tcp {address}: bind: address already in use"
            )
        );
        let port = first.port();
        assert_eq!(
            bind("TCP", &format!("0.0.0.0:{port}")).unwrap_err(),
            format!(
                "listen (0.0.0.0:{port}) failed - listen tcp 0.0.0.0:{port}: bind: address \
                 already in use"
            )
        );
    }

    #[test]
    fn a_port_that_another_would_share_is_in_use() {
        let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        other.set_reuse_port(true).unwrap();
        other.set_reuse_address(true).unwrap();
        other.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        other.listen(1).unwrap();
        let port = other.local_addr().unwrap().as_socket().unwrap().port();
        let error = bind("TCP", &format!("127.0.0.1:{port}")).unwrap_err();
        assert!(error.ends_with("bind: address already in use"), "{error}");
    }

    #[test]
    fn a_restart_need_not_wait_for_old_connections() {
        let first = bound("127.0.0.1:0");
        let address = first.address.to_string();
        let client = TcpStream::connect(&address).unwrap();
        let ListenerSocket::Tcp(socket) = first.socket else { panic!("no TCP") };
        // The side that closes first keeps the port for a while.
        drop(socket.accept().unwrap());
        drop(socket);
        drop(client);
        assert_eq!(bound(&address).address.to_string(), address);
    }

    #[test]
    fn wrong_addresses_are_named() {
        for (address, problem) in [
            ("127.0.0.1:70000", "tcp: address 70000: invalid port"),
            ("127.0.0.1:abc", "tcp: lookup tcp/abc: unknown port"),
            ("8.8.8.8:0", "tcp 8.8.8.8:0: bind: cannot assign requested address"),
            ("no such host:1", "tcp: lookup no such host: no such host"),
            ("/nonexistent/s", "unix /nonexistent/s: bind: no such file or directory"),
        ] {
            assert_eq!(
                bind("TCP", address).unwrap_err(),
                format!("listen ({address}) failed - listen {problem}")
            );
        }
        assert!(bind("TCP", "").unwrap().is_none());
    }

    #[test]
    fn a_unix_sockets_file_vanishes_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nsqd.sock");
        let address = path.to_str().unwrap();
        let listener = bound(address);
        assert_eq!(listener.address, ListenAddress::Unix(path.clone()));
        assert_eq!(listener.port(), -1);
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o700, 0o700, "{mode:o}");
        UnixStream::connect(&path).unwrap();
        let ListenerSocket::Unix(socket) = &listener.socket else { panic!("no unix socket") };
        socket.accept().unwrap();
        let error = bind("TCP", address).unwrap_err();
        assert!(
            error.ends_with(&format!("unix {address}: bind: address already in use")),
            "{error}"
        );
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_another_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nsqd.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(bound(path.to_str().unwrap()));
        std::fs::write(&path, "precious").unwrap();
        let error = bind("TCP", path.to_str().unwrap()).unwrap_err();
        assert!(error.ends_with("bind: address already in use"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn the_file_of_a_successor_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nsqd.sock");
        let first = bound(path.to_str().unwrap());
        std::fs::rename(&path, directory.path().join("old.sock")).unwrap();
        let second = bound(path.to_str().unwrap());
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }
}
