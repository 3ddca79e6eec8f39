//! `trimkv-trace open`: the dashboard.

use std::io::{IsTerminal, stdin};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::printer::Printer;
use crate::web::library::{Library, is_trace};
use crate::web::serve::Server;

/// Directory of traces unless told otherwise.
const TRACES: &str = "traces";
/// Port unless told otherwise.
pub(super) const PORT: u16 = 7878;
/// Random bytes of a token.
const TOKEN_BYTES: usize = 18;

/// `trimkv-trace open`.
#[derive(Debug, Args)]
pub struct OpenArgs {
    /// Traces, or directories of traces [default: traces, and those that come with the program]
    #[arg(value_name = "TRACE|DIR")]
    pub traces: Vec<PathBuf>,
    /// Where and how the dashboard is served
    #[command(flatten)]
    pub served: ServedArgs,
}

/// Where the dashboard is served.
#[derive(Debug, Args)]
pub struct ServedArgs {
    /// Port; the next free one when it is taken
    #[arg(long, value_name = "N", default_value_t = PORT, help_heading = "Dashboard")]
    pub port: u16,
    /// Do not open a browser
    #[arg(long, help_heading = "Dashboard")]
    pub no_browser: bool,
    /// Address to listen on; others than this machine's own need a token
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), help_heading = "Dashboard")]
    pub host: IpAddr,
    /// Secret that every request must know [default: a random one where --host lets others in, else none]
    #[arg(long, value_name = "SECRET", help_heading = "Dashboard")]
    pub token: Option<String>,
}

/// Serves the dashboard until Ctrl-C.
///
/// # Errors
/// When a trace does not exist, or no port can be had.
pub fn run(args: &OpenArgs, printer: &Printer) -> Result<()> {
    let library = library(&args.traces)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let server = bind(library, &args.served).await?;
        announce(&server, &args.served, "", printer, false);
        let ender = server.ender();
        tokio::spawn(async move {
            stop_asked().await;
            ender.end();
            // Whoever asks twice does not want to wait.
            stop_asked().await;
            std::process::exit(0);
        });
        server.run().await.context("the server failed")
    })
}

fn library(given: &[PathBuf]) -> Result<Library> {
    let (mut roots, mut single) = (Vec::new(), Vec::new());
    for path in given {
        if is_trace(path) {
            single.push(std::path::absolute(path)?);
        } else {
            ensure!(path.exists(), "{} does not exist; name a trace or a directory of traces", path.display());
            ensure!(path.is_dir(), "{} is a file; name a trace or a directory of traces", path.display());
            roots.push(std::path::absolute(path)?);
        }
    }
    if given.is_empty() {
        roots.push(std::path::absolute(TRACES)?);
    }
    Library::new(roots, single).context("there is no room for the bundled traces in the temporary directory")
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().context("cannot start the server's threads")
}

pub(super) async fn bind(library: Library, args: &ServedArgs) -> Result<Server> {
    let token = match &args.token {
        Some(token) => {
            let is_plain = token.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
            ensure!(token.len() >= 8 && is_plain, "--token must be at least 8 letters, digits, - or _");
            Some(token.clone())
        }
        None if args.host.is_loopback() => None,
        None => Some(random_token()?),
    };
    let host = args.host;
    let bound = Server::bind(library, host, args.port, token).await;
    bound.with_context(|| format!("cannot listen on {host}, port {} or the next; choose another --port", args.port))
}

fn random_token() -> Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system has no random numbers: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Prints the address and opens it. Beside a run, whose text is what stdout is for, the address is a message.
pub(super) fn announce(server: &Server, args: &ServedArgs, page: &str, printer: &Printer, beside_a_run: bool) {
    let address = server.address();
    let url = |host: &str| url(host, address.port(), page, server.token());
    // Every interface is none that can be gone to: others need this machine's address, and here its own will do.
    let is_anywhere = address.ip().is_unspecified();
    let here = url(&in_url(if is_anywhere { loopback(address.ip()) } else { address.ip() }));
    let shown = match outgoing(address.ip()) {
        _ if !is_anywhere => here.clone(),
        Some(own) => url(&in_url(own)),
        None => url("<this machine's address>"),
    };
    if beside_a_run {
        printer.note(&format!("watch it at {shown}"));
    } else {
        printer.line(&shown);
    }
    if is_anywhere {
        printer.note(&format!("on this machine it is {here}"));
    }
    if args.port != 0 && address.port() != args.port {
        printer.note(&format!("port {} is taken, so it is {}", args.port, address.port()));
    }
    if !args.host.is_loopback() {
        printer.warning("others can reach this server; whoever has the address with its token can see the traces");
    }
    if !beside_a_run {
        printer.note("Ctrl-C ends the dashboard");
    }
    if !args.no_browser && printer.is_interactive() && stdin().is_terminal() {
        show(&here);
    }
}

fn url(host: &str, port: u16, page: &str, token: Option<&str>) -> String {
    let token = token.map_or(String::new(), |token| format!("?token={token}"));
    format!("http://{host}:{port}/{page}{token}")
}

/// An address as the host of a URL.
fn in_url(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// This machine's own address for itself, of the family of `ip`.
fn loopback(ip: IpAddr) -> IpAddr {
    if ip.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

/// The address, of the family of `ip`, under which this machine goes out, which is that by which its network knows it.
/// Naming the other end of a UDP socket picks a route and sends nothing.
fn outgoing(ip: IpAddr) -> Option<IpAddr> {
    // Addresses for documentation: nobody has them, and they are routed like any other.
    let far: SocketAddr = if ip.is_ipv4() {
        (Ipv4Addr::new(192, 0, 2, 1), 9).into()
    } else {
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into()
    };
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(far).ok()?;
    socket.local_addr().ok().map(|own| own.ip()).filter(|own| !own.is_unspecified() && !own.is_loopback())
}

/// Asks the system to open an address in its browser. Where there is none, the printed address is all there is.
fn show(url: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    if cfg!(target_os = "linux") && !Path::new("/usr/bin/xdg-open").exists() {
        return;
    }
    let _ = Command::new(program).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
}

/// Waits for Ctrl-C or the system's wish to end.
async fn stop_asked() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
