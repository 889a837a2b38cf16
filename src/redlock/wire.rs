//! Streams to servers: TCP, TLS and Unix sockets.

use std::{io, sync::Arc, time::Duration};

use futures_util::future::select_ok;
use redis::{ConnectionAddr, ErrorKind, RedisError, RedisResult, io::tcp::socket2};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
};
use tokio_rustls::TlsConnector;

/// How long an idle connection is left unprobed, and the time between probes.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A stream of whatever kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects to a server. `unanswered`: how long TCP may wait for what was sent to be acknowledged.
///
/// # Errors
/// Those of the system, and of TLS.
pub async fn connect(address: &ConnectionAddr, unanswered: Duration) -> RedisResult<Box<dyn Stream>> {
    match address {
        ConnectionAddr::Tcp(host, port) => Ok(Box::new(tcp(host, *port, unanswered).await?)),
        ConnectionAddr::TcpTls { host, port, .. } => {
            let connector = TlsConnector::from(Arc::new(tls()?));
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            Ok(Box::new(connector.connect(name, tcp(host, *port, unanswered).await?).await?))
        }
        ConnectionAddr::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        _ => Err(RedisError::from((ErrorKind::InvalidClientConfig, "not an address that we know"))),
    }
}

/// By all of the name's addresses at once; the first that is there is taken.
async fn tcp(host: &str, port: u16, unanswered: Duration) -> io::Result<TcpStream> {
    let addresses = lookup_host((host, port)).await?;
    let attempts: Vec<_> = addresses.map(|address| Box::pin(TcpStream::connect(address))).collect();
    if attempts.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "its name has no address"));
    }
    let (stream, _) = select_ok(attempts).await?;
    let socket = socket2::SockRef::from(&stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    socket.set_tcp_user_timeout(Some(unanswered))?;
    Ok(stream)
}

/// With the system's certificates, or those that SSL_CERT_FILE and SSL_CERT_DIR name.
fn tls() -> RedisResult<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if let Some(error) = found.errors.into_iter().next().filter(|_| roots.is_empty()) {
        return Err(io::Error::other(error).into());
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}
