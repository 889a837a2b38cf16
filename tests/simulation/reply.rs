//! What goes over a connection to a server: commands in, replies out (RESP 2 and 3).

/// A server's reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Nil,
    Int(i64),
    Bulk(Vec<u8>),
    Status(String),
    Error(String),
    Array(Vec<Reply>),
    Push(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    /// Several replies to one command.
    Each(Vec<Reply>),
}

impl Reply {
    pub fn bulk(text: &str) -> Self {
        Reply::Bulk(text.as_bytes().to_vec())
    }

    pub fn error(text: &str) -> Self {
        Reply::Error(text.to_owned())
    }

    pub fn encoded(&self, resp3: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(resp3, &mut bytes);
        bytes
    }

    fn write(&self, resp3: bool, to: &mut Vec<u8>) {
        let list = |sign: char, parts: &[Reply], to: &mut Vec<u8>| {
            to.extend(format!("{sign}{}\r\n", parts.len()).bytes());
            parts.iter().for_each(|part| part.write(resp3, to));
        };
        match self {
            Reply::Nil => to.extend_from_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" }),
            Reply::Int(number) => to.extend(format!(":{number}\r\n").bytes()),
            Reply::Bulk(bytes) => {
                to.extend(format!("${}\r\n", bytes.len()).bytes());
                to.extend_from_slice(bytes);
                to.extend_from_slice(b"\r\n");
            }
            Reply::Status(text) => to.extend(format!("+{text}\r\n").bytes()),
            Reply::Error(text) => to.extend(format!("-{text}\r\n").bytes()),
            Reply::Array(parts) => list('*', parts, to),
            Reply::Push(parts) => list(if resp3 { '>' } else { '*' }, parts, to),
            Reply::Each(replies) => replies.iter().for_each(|reply| reply.write(resp3, to)),
            Reply::Map(pairs) => {
                to.extend(format!("%{}\r\n", pairs.len()).bytes());
                for (key, value) in pairs {
                    key.write(resp3, to);
                    value.write(resp3, to);
                }
            }
        }
    }
}

/// Takes the first whole command from what has arrived: an array of bulk strings.
pub fn take_command(arrived: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let mut at = 0;
    let count = take_number(arrived, &mut at, b'*')?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let length = take_number(arrived, &mut at, b'$')?;
        parts.push(arrived.get(at..at + length)?.to_vec());
        at += length + 2;
        if at > arrived.len() {
            return None;
        }
    }
    arrived.drain(..at);
    Some(parts)
}

fn take_number(bytes: &[u8], at: &mut usize, sign: u8) -> Option<usize> {
    let line = bytes.get(*at..)?;
    let end = line.windows(2).position(|two| two == b"\r\n")?;
    assert_eq!(line[0], sign, "an array of bulk strings");
    *at += end + 2;
    std::str::from_utf8(&line[1..end]).ok()?.parse().ok()
}
