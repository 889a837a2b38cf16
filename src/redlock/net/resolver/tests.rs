//! Names are looked up as hosts(5) and resolv.conf(5) say, with name servers of our own on free ports.

use std::sync::Arc;

use hickory_resolver::{
    config::ConnectionConfig,
    proto::{
        op::{Message, MessageType, ResponseCode},
        rr::{RData, Record, RecordType, rdata::A},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

use super::*;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Longer than any test takes.
const ENDLESS: Duration = Duration::from_secs(600);

/// How a name server answers.
#[derive(Clone, Copy, Debug)]
enum Says {
    Address,
    /// The same, when quick servers have answered.
    AddressLate,
    /// The same, over TCP only.
    AddressOverTcp,
    Code(ResponseCode),
    Nothing,
}

impl Says {
    fn answer(self, question: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        let question = Message::from_vec(question).expect("a question");
        let mut answer = Message::new(question.id, MessageType::Response, question.op_code);
        answer.add_queries(question.queries.clone());
        let query = &question.queries[0];
        match self {
            Says::Nothing => return None,
            Says::Code(code) => answer.metadata.response_code = code,
            Says::AddressOverTcp if !over_tcp => answer.metadata.truncation = true,
            _ if query.query_type() == RecordType::A => {
                answer.add_answer(Record::from_rdata(query.name().clone(), 60, RData::A(A(ADDRESS))));
            }
            _ => {}
        }
        Some(answer.to_vec().expect("an answer"))
    }
}

/// Starts a name server for as long as the test's runtime lasts.
async fn name_server(says: Says) -> NameServerConfig {
    let (tcp, udp) = sockets().await;
    let at = tcp.local_addr().expect("its address");
    tokio::spawn(serve_tcp(tcp, says));
    tokio::spawn(serve_udp(udp, says));
    let [mut by_udp, mut by_tcp] = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    (by_udp.port, by_tcp.port) = (at.port(), at.port());
    NameServerConfig::new(at.ip(), true, vec![by_udp, by_tcp])
}

/// One port for both protocols.
async fn sockets() -> (TcpListener, UdpSocket) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("its address")).await {
            return (tcp, udp);
        }
    }
}

async fn serve_udp(socket: UdpSocket, says: Says) {
    let socket = Arc::new(socket);
    let mut question = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut question).await {
        let Some(answer) = says.answer(&question[..length], false) else { continue };
        let socket = socket.clone();
        tokio::spawn(async move {
            if let Says::AddressLate = says {
                sleep(Duration::from_millis(100)).await;
            }
            // Nobody waits any more where another server was quicker.
            let _ = socket.send_to(&answer, from).await;
        });
    }
}

async fn serve_tcp(listener: TcpListener, says: Says) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut question = vec![0; length.into()];
                stream.read_exact(&mut question).await.expect("a whole question");
                let Some(answer) = says.answer(&question, true) else { return };
                stream.write_u16(answer.len() as u16).await.expect("a written length");
                stream.write_all(&answer).await.expect("a written answer");
            }
        });
    }
}

fn configuration(file: &[u8]) -> (ResolverConfig, ResolverOpts) {
    configured(file).expect("a configuration")
}

/// Looks a name up with these name servers.
async fn look_up(all: &[Says], patience: Duration) -> Result<Vec<IpAddr>, ResolveError> {
    let mut servers = Vec::new();
    for says in all {
        servers.push(name_server(*says).await);
    }
    let (_, options) = configuration(b"options timeout:60 attempts:1");
    let configuration = ResolverConfig::from_parts(None, Vec::new(), servers);
    let name = Name::from_str_relaxed("redis_1.test.").expect("a name");
    ask_name_servers(&name, &configuration, &options, patience).await
}

const UNFIT: [Says; 5] = [
    Says::Code(ResponseCode::NXDomain),
    Says::Code(ResponseCode::NoError),
    Says::Code(ResponseCode::ServFail),
    Says::Code(ResponseCode::Refused),
    Says::Code(ResponseCode::NotImp),
];

#[tokio::test]
async fn a_name_server_that_knows_the_name_wins_over_quicker_ones_that_do_not() {
    for unfit in UNFIT {
        assert_eq!(look_up(&[unfit, Says::AddressLate], ENDLESS).await, Ok(vec![ADDRESS.into()]), "{unfit:?}");
    }
    assert_eq!(look_up(&[Says::Nothing, Says::Address], ENDLESS).await, Ok(vec![ADDRESS.into()]));
}

#[tokio::test]
async fn a_name_is_missing_once_all_servers_have_answered_or_patience_ends() {
    let [missing, no_address, fails, refuses, _] = UNFIT;
    for all in [vec![missing], vec![no_address], vec![missing, fails], vec![refuses, missing]] {
        assert_eq!(look_up(&all, ENDLESS).await, Err(ResolveError::NotFound), "{all:?}");
    }
    assert_eq!(look_up(&[Says::Nothing, missing], Duration::ZERO).await, Err(ResolveError::NotFound));
    assert_eq!(look_up(&[fails, refuses], Duration::ZERO).await, Err(ResolveError::Unanswered));
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_over_tcp_even_beside_a_dead_server() {
    assert_eq!(look_up(&[Says::AddressOverTcp, Says::Nothing], ENDLESS).await, Ok(vec![ADDRESS.into()]));
}

#[test]
fn localhost_and_names_below_it_are_this_machine() {
    for (host, local) in [
        ("localhost", true),
        ("a.b.LocalHost", true),
        ("localhost.", true),
        ("notlocalhost", false),
        ("localhost.a", false),
    ] {
        assert_eq!(is_localhost(host), local, "{host}");
    }
}

#[test]
fn a_hosts_file_gives_all_addresses_of_a_name() {
    let file =
        b"# comment\n# of caf\xe9\n10.0.0.1 redis-1 redis.test # more\n::2 Redis-1\n10.0.0.3 redis_1\nnonsense\n";
    let of = |name: &str| listed(name, file);
    assert_eq!(of("redis-1"), ["10.0.0.1".parse::<IpAddr>().expect("an address"), "::2".parse().expect("an address")]);
    assert_eq!(of("redis_1"), ["10.0.0.3".parse::<IpAddr>().expect("an address")]);
    assert!(of("redis-2").is_empty());
}

#[test]
fn a_configuration_without_name_servers_means_this_machine() {
    for text in ["", "search example.com\n", "options ndots:3"] {
        let (servers, _) = configuration(text.as_bytes());
        assert_eq!(servers.name_servers()[0].ip, Ipv4Addr::LOCALHOST, "{text}");
    }
    let (servers, options) =
        configuration(b"nameserver 10.0.0.1\nnameserver ::1\noptions ndots:3 timeout:1 attempts:4\n");
    assert_eq!((servers.name_servers().len(), options.ndots), (2, 3));
    // One attempt, and three more.
    assert_eq!((options.attempts, options.timeout), (3, Duration::from_secs(1)));
    assert_eq!(configuration(b"options timeout:0 attempts:0").1.timeout, Duration::from_secs(1));
}

fn searched(file: &[u8]) -> Vec<String> {
    let (configuration, _) = configuration(file);
    let names = configuration.domain().into_iter().chain(configuration.search()).map(|name| name.to_utf8());
    let mut names: Vec<_> = names.collect();
    names.dedup();
    names
}

#[test]
fn only_the_domains_of_the_last_line_are_searched() {
    assert_eq!(searched(b"domain a.test\nsearch b.test c.test\n"), ["b.test", "c.test"]);
    assert_eq!(searched(b"search b.test c.test\ndomain a.test\n"), ["a.test"]);
    assert_eq!(searched(b"search b.test\nsearch\ndomain\n"), ["b.test"]);
}

#[test]
fn a_domain_that_no_name_can_be_in_is_ignored_and_the_rest_of_the_file_counts() {
    let long = "a".repeat(64);
    for bad in
        ["-x-.test", "foo..bar", ".a.test", "\"a.test\"", "${DOMAIN}", "bücher.-test", &long, "a..arpa", "--", "a,b"]
    {
        let file = |line: &str| format!("{line}\nnameserver 10.0.0.1\noptions ndots:3\n").into_bytes();
        for (line, domains) in [
            (format!("search {bad} good.test"), "good.test"),
            (format!("search good.test {bad}"), "good.test"),
            (format!("search {bad}"), "."),
            (format!("search a.test\ndomain {bad}"), "."),
            (format!("domain {bad}\nsearch good.test"), "good.test"),
        ] {
            let (servers, options) = configuration(&file(&line));
            let address = servers.name_servers()[0].ip;
            assert_eq!((address, options.ndots), (Ipv4Addr::new(10, 0, 0, 1).into(), 3), "{line}");
            assert_eq!(searched(&file(&line)), [domains], "{line}");
        }
    }
    let latin = b"search b\xfccher.test good.test\nnameserver 10.0.0.1 # caf\xe9\n";
    assert_eq!(searched(latin), ["good.test"]);
    assert_eq!(configuration(latin).0.name_servers()[0].ip, Ipv4Addr::new(10, 0, 0, 1));
}

#[test]
fn a_server_that_could_not_be_asked_for_lack_of_descriptors_outweighs_one_that_knows_no_such_name() {
    let by_weight = [
        ResolveError::Unasked(Errno::EMFILE),
        ResolveError::NotFound,
        ResolveError::Unasked(Errno::ENETUNREACH),
        ResolveError::Unanswered,
    ];
    assert!(by_weight.is_sorted_by(|a, b| a.weight() > b.weight()));
}
