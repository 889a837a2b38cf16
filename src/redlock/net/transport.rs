//! Streams to servers: TCP, TLS and Unix sockets.

use std::{io, time::Duration};

use futures_util::future::select_ok;
use redis::{ConnectionAddr, io::tcp::socket2};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    resolver::{ResolveError, resolve},
    tls::Tls,
};

/// How long an idle connection is left alone, and the time between probes after that.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long the parts of a connection may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// The wait for other name servers once one has said that there is no such host.
    pub patience: Duration,
    /// The TLS handshake.
    pub handshake: Duration,
    /// The acknowledgement of sent data by TCP, for as long as the connection stands.
    pub unacknowledged: Duration,
}

/// A stream of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects to a server.
///
/// # Errors
/// Those of the system, or one that holds a [`rustls::Error`] or a [`super::resolver::ResolveError`].
pub(super) async fn connect(
    address: &ConnectionAddr,
    tls: Option<&Tls>,
    timeouts: Timeouts,
) -> io::Result<Box<dyn Stream>> {
    #[cfg(any(test, fuzzing))]
    if let Some(place) = simulated_place(address)
        && let Some(connecting) = crate::host::simulated::connect(place, timeouts.unacknowledged)
    {
        return Ok(Box::new(connecting.await?));
    }
    match (address, tls) {
        (ConnectionAddr::Tcp(host, port), _) => Ok(Box::new(connect_tcp(host, *port, timeouts).await?)),
        (ConnectionAddr::TcpTls { host, port, .. }, Some(tls)) => {
            Ok(Box::new(connect_tls(host, *port, tls, timeouts).await?))
        }
        (ConnectionAddr::Unix(path), _) => Ok(Box::new(UnixStream::connect(path).await?)),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "an unknown kind of address")),
    }
}

/// Returns the path that stands for this server on a simulated network.
#[cfg(any(test, fuzzing))]
fn simulated_place(address: &ConnectionAddr) -> Option<&std::path::Path> {
    match address {
        ConnectionAddr::Unix(path) => Some(path),
        ConnectionAddr::Tcp(host, _) => Some(host.as_ref()),
        _ => None,
    }
}

async fn connect_tls(host: &str, port: u16, tls: &Tls, timeouts: Timeouts) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = connect_tcp(host, port, timeouts).await?;
    // A server without TLS takes the handshake for a command, and waits for the rest of it.
    let connecting = TlsConnector::from(tls.0.clone()).connect(name, stream);
    timeout(timeouts.handshake, connecting)
        .await
        .unwrap_or_else(|_| Err(io::Error::other(rustls::Error::HandshakeNotComplete)))
}

/// Tries all of the name's addresses at once, and takes the first that connects.
async fn connect_tcp(host: &str, port: u16, timeouts: Timeouts) -> io::Result<TcpStream> {
    // Within the time of the whole, so that what took so long can be said.
    let resolved = timeout(timeouts.patience * 3 / 2, resolve(host, timeouts.patience)).await;
    let addresses = resolved.unwrap_or_else(|_| Err(io::Error::other(ResolveError::Unanswered)))?;
    let attempts = addresses.into_iter().map(|address| Box::pin(TcpStream::connect((address, port))));
    let (stream, _) = select_ok(attempts).await?;
    let socket = socket2::SockRef::from(&stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    socket.set_tcp_user_timeout(Some(timeouts.unacknowledged))?;
    Ok(stream)
}
