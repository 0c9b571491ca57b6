//! The name server of a container on user networks.
//!
//! Its sockets are in the container's network namespace, this process is not: questions about no container go on to other
//! servers from the host's network, as the host would ask them.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, UdpSocket as StdSocket};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use plimsoll_network::{Answer, NameTable};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// How long one server is waited for, and how many are asked: Docker's numbers.
const PATIENCE: Duration = Duration::from_secs(4);
const SERVERS: usize = 3;
/// Questions that wait for other servers at one time; further ones are dropped, and asked again by who needs the answer.
const WAITING: usize = 256;
/// An idle connection is closed.
const IDLE: Duration = Duration::from_secs(30);
/// Largest datagram that programs ask for (RFC 6891, 6.2.5).
const DATAGRAM: usize = 4096;
const PORT: u16 = 53;

/// Answers questions of one container.
pub(super) struct NameServer {
    table: RefCell<NameTable>,
    upstream: RefCell<Vec<IpAddr>>,
}

impl NameServer {
    /// Answers from the table; other questions go to `upstream`, and fail when that is empty.
    pub(super) fn new(table: NameTable, upstream: Vec<IpAddr>) -> Rc<Self> {
        Rc::new(Self {
            table: RefCell::new(table),
            upstream: RefCell::new(upstream),
        })
    }

    /// The container is on other networks now.
    pub(super) fn replace(&self, table: NameTable, upstream: Vec<IpAddr>) {
        self.table.replace(table);
        self.upstream.replace(upstream);
    }

    /// Starts the tasks that read the sockets.
    pub(super) fn serve(
        self: &Rc<Self>,
        tasks: &mut JoinSet<()>,
        udp: OwnedFd,
        tcp: OwnedFd,
    ) -> io::Result<()> {
        let udp = StdSocket::from(udp);
        udp.set_nonblocking(true)?;
        let tcp = StdListener::from(tcp);
        tcp.set_nonblocking(true)?;
        tasks.spawn_local(self.clone().datagrams(UdpSocket::from_std(udp)?));
        tasks.spawn_local(self.clone().connections(TcpListener::from_std(tcp)?));
        Ok(())
    }

    async fn datagrams(self: Rc<Self>, socket: UdpSocket) {
        let socket = Rc::new(socket);
        let mut waiting = JoinSet::new();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            while waiting.try_join_next().is_some() {}
            let question = &buffer[..length];
            let answer = self.table.borrow_mut().answer(question, false);
            match answer {
                Answer::Reply(bytes) => drop(socket.send_to(&bytes, client).await),
                Answer::Forward if waiting.len() < WAITING => {
                    let (server, socket, question) = (self.clone(), socket.clone(), question.to_vec());
                    waiting.spawn_local(async move {
                        if let Some(bytes) = server.forward(&question, false).await {
                            let _ = socket.send_to(&bytes, client).await;
                        }
                    });
                }
                Answer::Forward | Answer::Nonsense => {}
            }
        }
    }

    async fn connections(self: Rc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    while connections.try_join_next().is_some() {}
                    if connections.len() < WAITING {
                        connections.spawn_local(self.clone().connection(stream));
                    }
                }
                // Out of descriptors, for example: it passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Messages with their length before them (RFC 1035, 4.2.2).
    async fn connection(self: Rc<Self>, mut stream: TcpStream) {
        while let Ok(Ok(question)) = tokio::time::timeout(IDLE, receive(&mut stream)).await {
            let answer = self.table.borrow_mut().answer(&question, true);
            let bytes = match answer {
                Answer::Reply(bytes) => Some(bytes),
                Answer::Forward => self.forward(&question, true).await,
                Answer::Nonsense => None,
            };
            let Some(bytes) = bytes else { return };
            if send(&mut stream, &bytes).await.is_err() {
                return;
            }
        }
    }

    /// Asks other servers in turn: one that fails or refuses is not the last word.
    async fn forward(&self, question: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        let servers: Vec<IpAddr> = self.upstream.borrow().iter().copied().take(SERVERS).collect();
        let mut last = None;
        for server in servers {
            let server = SocketAddr::new(server, PORT);
            let asked = async {
                match over_tcp {
                    true => ask_over_tcp(server, question).await,
                    false => ask(server, question).await,
                }
            };
            let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, asked).await else {
                continue;
            };
            if !is_refusal(&answer) {
                return Some(answer);
            }
            last = Some(answer);
        }
        last.or_else(|| match NameTable::failure(question, over_tcp) {
            Answer::Reply(bytes) => Some(bytes),
            _ => None,
        })
    }
}

async fn ask(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if answers(&buffer[..length], question) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn ask_over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    send(&mut stream, question).await?;
    let answer = receive(&mut stream).await?;
    match answers(&answer, question) {
        true => Ok(answer),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Whether the message has the question's id.
fn answers(answer: &[u8], question: &[u8]) -> bool {
    answer.len() >= 12 && answer[..2] == question[..2]
}

/// SERVFAIL or REFUSED.
fn is_refusal(answer: &[u8]) -> bool {
    matches!(answer[3] & 0x0f, 2 | 5)
}

async fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn send(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    stream.write_all(&bytes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01";

    #[test]
    fn an_answer_has_the_id_of_its_question() {
        assert!(answers(b"\x12\x34\x81\x80\0\x01\0\0\0\0\0\0", QUESTION));
        assert!(!answers(b"\x12\x35\x81\x80\0\x01\0\0\0\0\0\0", QUESTION));
        assert!(!answers(b"\x12\x34", QUESTION));
        assert!(is_refusal(b"\x12\x34\x81\x85\0\x01\0\0\0\0\0\0"));
        assert!(
            !is_refusal(b"\x12\x34\x81\x83\0\x01\0\0\0\0\0\0"),
            "NXDOMAIN is an answer"
        );
    }

    #[test]
    fn without_servers_a_question_fails() {
        let event_loop = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let run = camino::Utf8Path::new("/nowhere");
        tokio::task::LocalSet::new().block_on(&event_loop, async {
            let server = NameServer::new(NameTable::new(run, [], Vec::new()), Vec::new());
            let (udp, tcp) = (
                StdSocket::bind("127.0.0.1:0").unwrap(),
                StdListener::bind("127.0.0.1:0").unwrap(),
            );
            let (udp_address, tcp_address) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
            let mut tasks = JoinSet::new();
            server.serve(&mut tasks, udp.into(), tcp.into()).unwrap();
            let answer = ask(udp_address, QUESTION).await.unwrap();
            assert_eq!(answer[3] & 0x0f, 2, "SERVFAIL");
            let answer = ask_over_tcp(tcp_address, QUESTION).await.unwrap();
            assert_eq!(answer[3] & 0x0f, 2, "SERVFAIL");
        });
    }
}
