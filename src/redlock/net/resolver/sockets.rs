//! Opens the sockets for queries to name servers, and remembers whether this machine had none left.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use hickory_resolver::net::runtime::{RuntimeProvider, TokioRuntimeProvider};
use nix::errno::Errno;

/// The sockets of one lookup. The library tries other servers, names and address families after a failure, and in the
/// end may only know the last answer.
#[derive(Clone, Default)]
pub(super) struct Sockets {
    tokio: TokioRuntimeProvider,
    shortage: Arc<OnceLock<Errno>>,
}

type Opening<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Sockets {
    /// Returns why a query was not sent, if descriptors or memory were lacking.
    pub(super) fn shortage(&self) -> Option<Errno> {
        self.shortage.get().copied()
    }

    fn watched<T: 'static>(&self, opening: Opening<T>) -> Opening<T> {
        let shortage = self.shortage.clone();
        Box::pin(async move {
            let opened = opening.await;
            let errno = opened.as_ref().err().and_then(io::Error::raw_os_error).map(Errno::from_raw);
            if let Some(errno) = errno.filter(|errno| is_shortage(*errno)) {
                shortage.get_or_init(|| errno);
            }
            opened
        })
    }
}

/// Returns whether this machine lacks what a socket needs, whichever server it is for.
pub(super) fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
}

impl RuntimeProvider for Sockets {
    type Handle = <TokioRuntimeProvider as RuntimeProvider>::Handle;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = <TokioRuntimeProvider as RuntimeProvider>::Udp;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        from: Option<SocketAddr>,
        patience: Option<Duration>,
    ) -> Opening<Self::Tcp> {
        self.watched(self.tokio.connect_tcp(server, from, patience))
    }

    fn bind_udp(&self, local: SocketAddr, server: SocketAddr) -> Opening<Self::Udp> {
        self.watched(self.tokio.bind_udp(local, server))
    }
}
