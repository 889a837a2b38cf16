//! One connection to a server, reused for every request: a new one each time would use up the outgoing ports when a
//! test polls.

use std::sync::Mutex;

use redis::{Cmd, Connection, FromRedisValue, RedisError, RedisResult};

#[derive(Default)]
pub struct Kept(Mutex<Option<Connection>>);

impl Kept {
    /// Asks on the connection that is open, or on a new one if there is none or the server has closed it.
    pub fn ask<T: FromRedisValue>(&self, cmd: &Cmd, open: impl FnOnce() -> RedisResult<Connection>) -> RedisResult<T> {
        let mut kept = self.0.lock().expect("no thread of ours panics");
        if let Some(connection) = kept.take() {
            match ask_on(connection, cmd, &mut kept) {
                Err(e) if e.is_connection_dropped() => {}
                answer => return answer,
            }
        }
        ask_on(open()?, cmd, &mut kept)
    }

    /// Closes the connection.
    pub fn close(&self) {
        self.0.lock().expect("no thread of ours panics").take();
    }
}

/// Keeps the connection unless it is broken, or its next reply would belong to this request.
fn ask_on<T: FromRedisValue>(mut connection: Connection, cmd: &Cmd, kept: &mut Option<Connection>) -> RedisResult<T> {
    let answer = cmd.query(&mut connection);
    *kept = Some(connection).filter(|_| !answer.as_ref().is_err_and(RedisError::is_io_error));
    answer
}
