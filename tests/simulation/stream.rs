//! The two ends of a simulated connection, and what is on its way to them.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::network::{Network, Way};

/// What is on its way to one end of a connection.
pub struct Stream {
    arriving: VecDeque<(Instant, Vec<u8>)>,
    last: Instant,
    closed: Option<Instant>,
    broken: Option<Instant>,
    /// Nobody reads it any more; with the power of whoever did.
    unread: Option<Arc<AtomicBool>>,
    reader: Option<Waker>,
}

impl Stream {
    pub fn new() -> Self {
        Stream {
            arriving: VecDeque::new(),
            last: Instant::now(),
            closed: None,
            broken: None,
            unread: None,
            reader: None,
        }
    }

    fn push(&mut self, at: Instant, bytes: &[u8]) {
        self.last = self.last.max(at);
        match self.arriving.back_mut() {
            Some((back, waiting)) if *back == self.last => waiting.extend_from_slice(bytes),
            _ => self.arriving.push_back((self.last, bytes.to_vec())),
        }
        self.wake();
    }

    fn close(&mut self, at: Instant) {
        self.last = self.last.max(at);
        self.closed = Some(self.last);
        self.wake();
    }

    pub fn break_off(&mut self, at: Instant) {
        self.broken = Some(self.broken.map_or(at, |before| before.min(at)));
        self.wake();
    }

    /// Lets all that is on its way arrive by then.
    pub fn hurry(&mut self, by: Instant) {
        self.last = self.last.min(by);
        self.arriving.iter_mut().for_each(|(at, _)| *at = by.min(*at));
        self.closed = self.closed.map(|at| at.min(by));
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn is_broken(&self) -> bool {
        self.broken.is_some_and(|at| at <= Instant::now())
    }

    /// Returns when something happens next.
    fn next(&self) -> Option<Instant> {
        let arrives = self.arriving.front().map(|(at, _)| *at).or(self.closed);
        [arrives, self.broken].into_iter().flatten().min()
    }
}

/// One end of a connection, without its timer.
pub struct End {
    pub place: usize,
    pub node: usize,
    pub way: Way,
    pub incoming: Arc<Mutex<Stream>>,
    pub outgoing: Arc<Mutex<Stream>>,
    pub power: Arc<AtomicBool>,
    pub unacknowledged: Duration,
}

/// One end of a connection.
pub struct Socket {
    end: End,
    network: Network,
    timer: Pin<Box<Sleep>>,
}

impl Socket {
    pub fn new(end: End, network: Network) -> Self {
        Socket { end, network, timer: Box::pin(sleep(Duration::ZERO)) }
    }

    /// Returns a way to send without waiting.
    pub fn sender(&self) -> Sender {
        let End { place, node, way, outgoing, incoming, .. } = &self.end;
        Sender {
            place: *place,
            node: *node,
            way: *way,
            outgoing: outgoing.clone(),
            incoming: incoming.clone(),
            unacknowledged: self.end.unacknowledged,
            network: self.network.clone(),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let now = Instant::now();
            let next = {
                let mut stream = lock(&self.end.incoming);
                if stream.is_broken() {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                if let Some((at, bytes)) = stream.arriving.front_mut()
                    && *at <= now
                {
                    let taken = bytes.len().min(buf.remaining());
                    buf.put_slice(&bytes[..taken]);
                    bytes.drain(..taken);
                    if bytes.is_empty() {
                        stream.arriving.pop_front();
                    }
                    return Poll::Ready(Ok(()));
                }
                if stream.arriving.is_empty() && stream.closed.is_some_and(|at| at <= now) {
                    return Poll::Ready(Ok(()));
                }
                stream.reader = Some(cx.waker().clone());
                stream.next()
            };
            let Some(next) = next else { return Poll::Pending };
            self.timer.as_mut().reset(next);
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// The sending half of an end.
pub struct Sender {
    place: usize,
    node: usize,
    way: Way,
    outgoing: Arc<Mutex<Stream>>,
    incoming: Arc<Mutex<Stream>>,
    unacknowledged: Duration,
    network: Network,
}

impl Sender {
    /// Sends bytes, whether they arrive or not.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        if lock(&self.incoming).is_broken() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let now = Instant::now();
        let (trip, back) = {
            let mut links = self.network.links();
            (links.trip(self.place, self.node, self.way), links.trip(self.place, self.node, self.way.back()).at)
        };
        let gone = lock(&self.outgoing).unread.clone();
        let mut broken = match gone {
            Some(power) if power.load(Relaxed) => Some(trip.at + (back - now)),
            Some(_) => Some(now + self.unacknowledged),
            None if trip.reset => Some(trip.at),
            None => None,
        };
        let acknowledged = trip.at.max(back);
        let mut lost = false;
        if acknowledged > now + self.unacknowledged {
            broken = Some(broken.map_or(now + self.unacknowledged, |at| at.min(now + self.unacknowledged)));
            // What was sent may still be on its way.
            lost = fastrand::bool();
        }
        if let Some(at) = broken {
            lock(&self.incoming).break_off(at);
        }
        let mut outgoing = lock(&self.outgoing);
        let arrives = !lost && (!trip.reset || fastrand::bool());
        if arrives {
            outgoing.push(trip.at, bytes);
        }
        if trip.reset || lost {
            let at = outgoing.last.max(trip.at);
            outgoing.break_off(at + Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let End { place, node, way, incoming, outgoing, power, .. } = &self.end;
        if power.load(Relaxed) {
            let at = self.network.links().trip(*place, *node, *way).at;
            lock(outgoing).close(at);
        }
        lock(incoming).unread = Some(power.clone());
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Socket::poll_read(&mut self, cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.sender().send(bytes).map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
