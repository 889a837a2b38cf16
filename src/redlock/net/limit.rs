//! A limit to what a server may send: answers to our scripts and messages are short. A server that floods us, or never ends an
//! answer, is cut off before it takes memory or time that the others' answers need.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::Moment;

/// The most bytes that may come before they make a whole answer or message: the longest holds a few names of 512 bytes.
const LONGEST_UNFINISHED: usize = 64 * 1024;

/// The most bytes a second in the long run, and at once: what a thousand standbys campaigning need, and no more.
const EACH_SECOND: f64 = 64.0 * 1024.0;
const AT_ONCE: f64 = 256.0 * 1024.0;

/// What a connection's reader and those who take its answers share.
#[derive(Clone, Debug, Default)]
pub struct ByteBudget(Arc<Readings>);

#[derive(Debug, Default)]
struct Readings {
    /// How many bytes have come that are not part of a whole answer or message yet.
    unfinished: AtomicUsize,
    /// More has come than may.
    flooded: AtomicBool,
}

impl ByteBudget {
    /// A whole answer or message has come.
    pub fn settle(&self) {
        self.0.unfinished.store(0, Relaxed);
    }

    /// The connection was cut off since more came than may.
    pub fn is_flooded(&self) -> bool {
        self.0.flooded.load(Relaxed)
    }
}

/// A server's stream, metered.
pub struct LimitedStream<S> {
    stream: S,
    budget: ByteBudget,
    /// How many bytes may come now.
    allowance: f64,
    counted: Moment,
}

impl<S> LimitedStream<S> {
    pub fn new(stream: S, budget: ByteBudget) -> Self {
        LimitedStream { stream, budget, allowance: AT_ONCE, counted: Moment::now() }
    }

    /// Counts bytes that have come.
    fn count(&mut self, bytes: usize) -> io::Result<()> {
        let now = Moment::now();
        let earned = now.since(self.counted).as_secs_f64() * EACH_SECOND;
        self.counted = now;
        self.allowance = (self.allowance + earned).min(AT_ONCE) - bytes as f64;
        let Readings { unfinished, flooded } = &*self.budget.0;
        if unfinished.fetch_add(bytes, Relaxed) + bytes > LONGEST_UNFINISHED || self.allowance < 0.0 {
            flooded.store(true, Relaxed);
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it sends more than it was asked for"));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LimitedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        match read {
            Poll::Ready(Ok(())) => Poll::Ready(self.count(buf.filled().len() - before)),
            other => other,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LimitedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
