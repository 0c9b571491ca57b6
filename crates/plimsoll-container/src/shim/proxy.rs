//! Published ports on the loopback interface: the shim accepts there and dials the container itself.
//!
//! Connections from elsewhere never get here, DNAT sends them to the container directly; the sockets are bound all the
//! same, so that the kernel says when a port is taken.

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use plimsoll_network::{Protocol, PublishedPort};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A UDP client that was silent for so long is forgotten.
const UDP_IDLE: Duration = Duration::from_secs(90);
/// How long a socket that is served no longer is waited for.
const CLOSING: Duration = Duration::from_secs(1);

/// Where a port leads to: another address when the container changes its networks.
struct Target {
    container: Rc<Cell<Option<IpAddr>>>,
    port: u16,
}

impl Target {
    fn address(&self) -> io::Result<SocketAddr> {
        let container = self.container.get().ok_or(io::ErrorKind::HostUnreachable)?;
        Ok(SocketAddr::new(container, self.port))
    }
}

/// A port that is served until this is dropped. Connections that are there go on.
pub(super) struct Served {
    pub(super) port: PublishedPort,
    socket: Rc<dyn AsFd>,
    _leave: oneshot::Sender<Infallible>,
}

impl Served {
    /// The port with its socket.
    pub(super) fn lend(&self) -> (PublishedPort, Rc<dyn AsFd>) {
        (self.port.clone(), self.socket.clone())
    }

    /// Serves it no longer, and waits until the socket is closed.
    pub(super) async fn close(self) {
        let socket = Rc::downgrade(&self.socket);
        drop(self);
        let closed = async {
            while socket.strong_count() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // Who was lent it closes it soon, and is not worth more.
        let _ = tokio::time::timeout(CLOSING, closed).await;
    }
}

/// Starts a task for each socket.
pub(super) fn serve(
    tasks: &mut JoinSet<()>,
    container: &Rc<Cell<Option<IpAddr>>>,
    sockets: Vec<(PublishedPort, OwnedFd)>,
) -> Vec<Served> {
    let mut all = Vec::new();
    for (port, socket) in sockets {
        let target = Rc::new(Target {
            container: container.clone(),
            port: port.container_port,
        });
        let (leave, left) = oneshot::channel();
        let served = match port.protocol {
            Protocol::Tcp => listener(socket).map(|listener| {
                let listener = Rc::new(listener);
                tasks.spawn_local(tcp(listener.clone(), target, left));
                listener as Rc<dyn AsFd>
            }),
            Protocol::Udp => udp_socket(socket).map(|socket| {
                let socket = Rc::new(socket);
                tasks.spawn_local(udp(socket.clone(), target, left));
                socket as Rc<dyn AsFd>
            }),
        };
        match served {
            Ok(socket) => all.push(Served {
                port,
                socket,
                _leave: leave,
            }),
            Err(error) => eprintln!("cannot serve port {}: {error}", port.host_port),
        }
    }
    all
}

fn listener(socket: OwnedFd) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn udp_socket(socket: OwnedFd) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::from(socket);
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Until it is `left` to somebody else, and the last connection is over.
async fn tcp(listener: Rc<TcpListener>, target: Rc<Target>, mut left: oneshot::Receiver<Infallible>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut left => break,
        };
        match accepted {
            Ok((client, _)) => {
                while connections.try_join_next().is_some() {}
                connections.spawn_local(copy(client, target.clone()));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn copy(mut client: TcpStream, target: Rc<Target>) {
    let Ok(target) = target.address() else { return };
    if let Ok(mut server) = TcpStream::connect(target).await {
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}

/// One socket towards the container for each client, so that answers find their way back.
async fn udp(socket: Rc<UdpSocket>, target: Rc<Target>, mut left: oneshot::Receiver<Infallible>) {
    struct Peer {
        socket: Rc<UdpSocket>,
        used: Instant,
        answers: tokio::task::AbortHandle,
    }
    let mut peers: HashMap<SocketAddr, Peer> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            _ = &mut left => return,
        };
        let Ok((count, client)) = received else {
            continue;
        };
        peers.retain(|_, peer| {
            let keep = peer.used.elapsed() < UDP_IDLE;
            if !keep {
                peer.answers.abort();
            }
            keep
        });
        while tasks.try_join_next().is_some() {}
        let peer = match peers.entry(client) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let Ok(upstream) = connect(&target).await else {
                    continue;
                };
                let upstream = Rc::new(upstream);
                let answers = tasks.spawn_local(answer(upstream.clone(), socket.clone(), client));
                let used = Instant::now();
                entry.insert(Peer {
                    socket: upstream,
                    used,
                    answers,
                })
            }
        };
        peer.used = Instant::now();
        let _ = peer.socket.send(&buffer[..count]).await;
    }
}

async fn connect(target: &Target) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).await?;
    socket.connect(target.address()?).await?;
    Ok(socket)
}

async fn answer(upstream: Rc<UdpSocket>, socket: Rc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        // An error is an ICMP answer to an earlier packet; the next may fare better.
        if let Ok(count) = upstream.recv(&mut buffer).await {
            let _ = socket.send_to(&buffer[..count], client).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn port(protocol: Protocol, host_port: u16, container_port: u16) -> PublishedPort {
        PublishedPort {
            host_ip: Ipv4Addr::LOCALHOST.into(),
            host_port,
            container_port,
            protocol,
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let event_loop = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&event_loop, test);
    }

    #[test]
    fn copies_both_ways_with_half_close() {
        run(async {
            let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let published = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = published.local_addr().unwrap();
            let port = port(Protocol::Tcp, address.port(), server.local_addr().unwrap().port());
            let mut tasks = JoinSet::new();
            let _served = serve(
                &mut tasks,
                &Rc::new(Cell::new(Some(Ipv4Addr::LOCALHOST.into()))),
                vec![(port, published.into())],
            );
            let mut client = TcpStream::connect(address).await.unwrap();
            let (mut inside, _) = server.accept().await.unwrap();
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut text = String::new();
            inside.read_to_string(&mut text).await.unwrap();
            inside.write_all(b"answer").await.unwrap();
            drop(inside);
            client.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "questionanswer");
        });
    }

    #[test]
    fn a_port_that_is_left_keeps_its_connections() {
        run(async {
            let (old, new) = (
                TcpListener::bind("127.0.0.1:0").await.unwrap(),
                TcpListener::bind("127.0.0.1:0").await.unwrap(),
            );
            let published = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = published.local_addr().unwrap();
            let to = |server: &TcpListener| {
                port(Protocol::Tcp, address.port(), server.local_addr().unwrap().port())
            };
            let target = Rc::new(Cell::new(Some(Ipv4Addr::LOCALHOST.into())));
            let mut tasks = JoinSet::new();
            let served = serve(&mut tasks, &target, vec![(to(&old), published.into())]);
            let mut before = TcpStream::connect(address).await.unwrap();
            let (mut inside, _) = old.accept().await.unwrap();
            let (_, lent) = served[0].lend();
            let lent = lent.as_fd().try_clone_to_owned().unwrap();
            let _taken = serve(&mut tasks, &target, vec![(to(&new), lent)]);
            drop(served);
            // It hears of that when it is its turn.
            tokio::task::yield_now().await;
            for _ in 0..4 {
                let _after = TcpStream::connect(address).await.unwrap();
                new.accept().await.unwrap();
            }
            before.write_all(b"still").await.unwrap();
            let mut text = [0; 5];
            inside.read_exact(&mut text).await.unwrap();
            assert_eq!(&text, b"still");
        });
    }

    #[test]
    fn datagrams_find_their_way_back() {
        run(async {
            let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let published = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let address = published.local_addr().unwrap();
            let port = port(Protocol::Udp, address.port(), server.local_addr().unwrap().port());
            let mut tasks = JoinSet::new();
            let _served = serve(
                &mut tasks,
                &Rc::new(Cell::new(Some(Ipv4Addr::LOCALHOST.into()))),
                vec![(port, published.into())],
            );
            let (one, two) = (
                UdpSocket::bind("127.0.0.1:0").await.unwrap(),
                UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            );
            one.send_to(b"one", address).await.unwrap();
            two.send_to(b"two", address).await.unwrap();
            let mut buffer = [0; 16];
            for _ in 0..2 {
                let (count, from) = server.recv_from(&mut buffer).await.unwrap();
                server.send_to(&buffer[..count], from).await.unwrap();
            }
            let count = two.recv(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..count], b"two");
            let count = one.recv(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..count], b"one");
        });
    }
}
