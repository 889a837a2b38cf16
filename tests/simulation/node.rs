//! A node: a machine with a server on it, which is stopped, killed and started again.

use std::{cell::RefCell, rc::Rc, time::Duration};

use tokio::{
    io::AsyncReadExt,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::spawn_local,
};

use super::{
    ledger::Ledger,
    machine::{Machine, Process},
    network::{Listener, Network},
    reply::{Reply, take_command},
    server::{Client, Data, Server},
    stream::Socket,
};

pub struct Node {
    pub index: usize,
    pub machine: Rc<Machine>,
    network: Network,
    ledger: Rc<Ledger>,
    knows_hello: bool,
    running: RefCell<Option<Running>>,
    /// What was saved at some time before.
    saved: RefCell<Data>,
}

type Running = (Rc<Process>, Rc<RefCell<Server>>);

/// What a server has when it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    All,
    Old,
    Nothing,
}

impl Node {
    pub fn new(index: usize, machine: Rc<Machine>, network: &Network, ledger: &Rc<Ledger>, knows_hello: bool) -> Self {
        let (network, ledger) = (network.clone(), ledger.clone());
        let (running, saved) = (RefCell::default(), RefCell::default());
        Node { index, machine, network, ledger, knows_hello, running, saved }
    }

    /// Starts its server. `up`: how long that has been up already.
    pub fn start(&self, data: Data, up: Duration) {
        let mut server = Server::start(&self.machine, data, self.knows_hello);
        server.started_before(up);
        let server = Rc::new(RefCell::new(server));
        let (listener, connections) = unbounded_channel();
        self.network.listen(self.index, Listener::Open(listener, self.machine.power()));
        let process = Process::new(&self.machine, format!("node {}", self.index));
        spawn_local(process.clone().run(serve(
            self.index,
            process.clone(),
            server.clone(),
            connections,
            self.ledger.clone(),
        )));
        self.running.replace(Some((process, server)));
    }

    /// Ends its server, or the whole machine. Returns what it had.
    pub fn crash(&self, with_machine: bool) -> Data {
        if with_machine {
            self.machine.lose_power();
        }
        self.network.listen(self.index, if with_machine { Listener::Silent } else { Listener::Closed });
        let Some((process, server)) = self.running.take() else { return Data::default() };
        process.kill();
        std::mem::take(&mut server.borrow_mut().data)
    }

    /// Starts its server again, with this of what it had.
    pub fn start_again(&self, had: Data, keeps: Keeps) {
        let data = match keeps {
            Keeps::All => had,
            Keeps::Old => self.saved.borrow().clone(),
            Keeps::Nothing => Data::default(),
        };
        self.start(data, Duration::ZERO);
    }

    pub fn is_up(&self) -> bool {
        self.running.borrow().is_some()
    }

    /// Saves what it has, for a later crash.
    pub fn save(&self) {
        if let Some((_, server)) = &*self.running.borrow() {
            self.saved.replace(server.borrow().data.clone());
        }
    }

    pub fn process(&self) -> Option<Rc<Process>> {
        self.running.borrow().as_ref().map(|(process, _)| process.clone())
    }

    pub fn server(&self) -> Option<Rc<RefCell<Server>>> {
        self.running.borrow().as_ref().map(|(_, server)| server.clone())
    }
}

async fn serve(
    node: usize,
    process: Rc<Process>,
    server: Rc<RefCell<Server>>,
    mut connections: UnboundedReceiver<Socket>,
    ledger: Rc<Ledger>,
) {
    let mut number = 0;
    while let Some(socket) = connections.recv().await {
        number += 1;
        process.start(answer(node, number, socket, server.clone(), ledger.clone()));
    }
    std::future::pending().await
}

/// Answers the commands of one connection until it ends.
async fn answer(node: usize, number: u64, mut socket: Socket, server: Rc<RefCell<Server>>, ledger: Rc<Ledger>) {
    let sender = Rc::new(socket.sender());
    let mut client = Client { number, sender: Some(sender.clone()), resp3: false };
    let mut arrived = Vec::new();
    while let Ok(1..) = socket.read_buf(&mut arrived).await {
        while let Some(command) = take_command(&mut arrived) {
            let reply = match command.split_first() {
                Some((name, args)) if name.eq_ignore_ascii_case(b"EVAL") => Server::eval(&server, args),
                _ => server.borrow_mut().execute(&mut client, &command),
            };
            ledger.executed(node, &command, &reply);
            let encoded = match (&reply, client.resp3) {
                (Reply::Map(_), false) => continue,
                (reply, resp3) => reply.encoded(resp3),
            };
            if sender.send(&encoded).is_err() {
                break;
            }
        }
    }
    server.borrow_mut().forget(number);
}
