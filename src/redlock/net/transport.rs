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
use tokio_rustls::TlsConnector;

use super::{resolver::resolve, tls::Tls};

/// How long an idle connection is left unprobed, and the time between probes.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A stream of whatever kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects to a server. `handshake`: how long that of TLS may take; `unanswered`: how long TCP may wait for what was sent to be
/// acknowledged.
///
/// # Errors
/// Those of the system, with those of TLS in them.
pub async fn connect(
    address: &ConnectionAddr,
    tls: Option<&Tls>,
    handshake: Duration,
    unanswered: Duration,
) -> io::Result<Box<dyn Stream>> {
    match (address, tls) {
        (ConnectionAddr::Tcp(host, port), _) => Ok(Box::new(tcp(host, *port, unanswered).await?)),
        (ConnectionAddr::TcpTls { host, port, .. }, Some(Tls(config))) => {
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let stream = tcp(host, *port, unanswered).await?;
            // A server without TLS waits for more of what it takes for a command.
            match timeout(handshake, TlsConnector::from(config.clone()).connect(name, stream)).await {
                Ok(connected) => Ok(Box::new(connected?)),
                Err(_) => Err(io::Error::other(rustls::Error::HandshakeNotComplete)),
            }
        }
        (ConnectionAddr::Unix(path), _) => Ok(Box::new(UnixStream::connect(path).await?)),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "not an address that we know")),
    }
}

/// By all of the name's addresses at once; the first that is there is taken.
async fn tcp(host: &str, port: u16, unanswered: Duration) -> io::Result<TcpStream> {
    let addresses = resolve(host).await?;
    let attempts = addresses.into_iter().map(|address| Box::pin(TcpStream::connect((address, port))));
    let (stream, _) = select_ok(attempts).await?;
    let socket = socket2::SockRef::from(&stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    socket.set_tcp_user_timeout(Some(unanswered))?;
    Ok(stream)
}
