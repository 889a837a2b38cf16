//! A limit on what a server may send. Answers to our scripts and messages are short. A server that floods us, or never
//! ends an answer, is cut off before it takes memory or time that the answers of others need.

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

/// The most bytes that may arrive before they make a whole answer or message. The longest holds a few names of 512
/// bytes.
const LONGEST_UNFINISHED: usize = 64 * 1024;

/// The most bytes per second in the long run, and at once: what a campaign of a thousand standbys needs, and no more.
const EACH_SECOND: f64 = 64.0 * 1024.0;
const AT_ONCE: f64 = 256.0 * 1024.0;

/// How many more bytes may arrive for each request that was sent.
const EACH_ANSWER: f64 = 8.0 * 1024.0;

/// What the reader of a connection shares with those who take its answers.
#[derive(Clone, Debug, Default)]
pub(super) struct ByteBudget(Arc<Readings>);

#[derive(Debug, Default)]
struct Readings {
    /// The bytes that have arrived and are no part of a whole answer or message yet.
    unfinished: AtomicUsize,
    /// More has arrived than allowed.
    flooded: AtomicBool,
    /// The requests that were sent since something last arrived.
    asked: AtomicUsize,
}

impl ByteBudget {
    /// Lets the answer to one more request arrive.
    pub(super) fn ask(&self) {
        self.0.asked.fetch_add(1, Relaxed);
    }

    /// Counts what has arrived as a whole answer or message.
    pub(super) fn settle(&self) {
        self.0.unfinished.store(0, Relaxed);
    }

    /// Whether the connection was cut off because more arrived than allowed.
    pub(super) fn is_flooded(&self) -> bool {
        self.0.flooded.load(Relaxed)
    }
}

/// A server's stream, which fails once more arrives than allowed.
pub(super) struct LimitedStream<S> {
    stream: S,
    budget: ByteBudget,
    /// The bytes that may arrive now.
    allowance: f64,
    counted: Moment,
}

impl<S> LimitedStream<S> {
    pub(super) fn new(stream: S, budget: ByteBudget) -> Self {
        LimitedStream { stream, budget, allowance: AT_ONCE, counted: Moment::now() }
    }

    /// Counts bytes that have arrived.
    ///
    /// # Errors
    /// InvalidData if they are more than allowed.
    fn count(&mut self, bytes: usize) -> io::Result<()> {
        let now = Moment::now();
        let earned = now.since(self.counted).as_secs_f64() * EACH_SECOND;
        self.counted = now;
        self.allowance = (self.allowance + earned).min(AT_ONCE) - bytes as f64;
        let Readings { unfinished, flooded, asked } = &*self.budget.0;
        self.allowance += asked.swap(0, Relaxed) as f64 * EACH_ANSWER;
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
