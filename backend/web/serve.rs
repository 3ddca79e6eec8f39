//! Listens, answers, and ends when it is told to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::guard::Guard;
use super::library::Library;
use super::router::{Shared, router};

/// Ports after the one asked for that are tried when it is taken.
const MORE_PORTS: u16 = 50;
/// How long answers that are under way may still take when the server is to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// A server that listens already.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    shared: Arc<Shared>,
    token: Option<String>,
    ending: watch::Sender<bool>,
}

/// Ends a server from elsewhere.
#[derive(Debug, Clone)]
pub struct Ender(watch::Sender<bool>);

impl Ender {
    /// Lets the server end.
    pub fn end(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Listens on `port`, or on the next free one when it is taken; port 0 takes any.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn bind(library: Library, host: IpAddr, port: u16, token: Option<String>) -> io::Result<Self> {
        let listener = listen(host, port).await?;
        let address = listener.local_addr()?;
        let (ending, told) = watch::channel(false);
        let shared = Arc::new(Shared::new(library, told));
        let router = router(shared.clone(), Guard::new(address, token.clone()));
        Ok(Self { listener, address, router, shared, token, ending })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What every request must know, if anything.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// What its handlers share.
    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Something that ends it.
    pub fn ender(&self) -> Ender {
        Ender(self.ending.clone())
    }

    /// Answers until it is told to end; answers under way are finished, if they do not take long.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(self) -> io::Result<()> {
        let told = |mut ending: watch::Receiver<bool>| async move {
            // The sender lives as long as the server.
            let _ = ending.wait_for(|is_over| *is_over).await;
        };
        let ending = self.ending.subscribe();
        let served = axum::serve(self.listener, self.router).with_graceful_shutdown(told(ending.clone()));
        let out_of_patience = async {
            told(ending).await;
            tokio::time::sleep(PATIENCE).await;
        };
        let done = tokio::select! {
            done = served => done,
            () = out_of_patience => Ok(()),
        };
        #[cfg(feature = "generate")]
        {
            // A run that the page started ends with the server, and its trace is whole.
            let shared = self.shared;
            let _ = tokio::task::spawn_blocking(move || shared.runs.stop_all()).await;
        }
        done
    }
}

async fn listen(host: IpAddr, port: u16) -> io::Result<TcpListener> {
    let last = if port == 0 { 0 } else { port.saturating_add(MORE_PORTS) };
    let mut taken = None;
    for port in port..=last {
        match TcpListener::bind((host, port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken = Some(error),
            bound => return bound,
        }
    }
    Err(taken.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}
