//! Two nodes on plain blocking sockets and threads: what it takes to give the core a runtime of one's own.
//!
//! `cargo run --package unamed-protocol --example threads`
//!
//! A service node listens on a TCP port of this machine, a client starts from its address; both join the same room, each
//! greets the other, and both shut down. There is no tokio and no WebSocket: a carrier is a TCP stream on which each
//! frame stands after its length, two bytes, big-endian. Any carrier does that keeps frames whole and in order.
//!
//! Each node has one thread, which owns it and waits in one place. Each carrier has two more, since a blocking socket
//! can be waited for in one direction at a time only. All tell the node's thread what happened through one channel.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant as SystemInstant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use unamed_protocol::crypto::RealCrypto;
use unamed_protocol::{
    Address, Config, DialError, Disconnect, Event, Host, Identity, Input, Instant, JoinOutcome, LinkId,
    NetworkId, Node, Origin, Output, PeerId, Recipients, RoomId, RoomKey, Start, Target,
};

/// Bytes that a carrier may have under way: the credit it starts with, and what its queue can hold at most.
const WINDOW_BYTES: usize = 256 * 1024;
/// What may wait for a node's thread. A full channel makes readers wait, and TCP then makes the peer wait.
const INBOX_MAX: usize = 256;
/// Happenings taken before the node's outputs are looked at.
const BATCH_MAX: usize = 64;
/// How often the node is told the wall clock; a turn that comes so late means that the machine slept.
const CLOCK_PERIOD: Duration = Duration::from_secs(10);
/// How long the peer may take to close a carrier in turn.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// By when the example must be over.
const DEADLINE: Duration = Duration::from_secs(20);

/// What reaches a node's thread.
enum Happening {
    /// A dial ended.
    Dialled(LinkId, Result<TcpStream, DialError>),
    /// The listener took a connection.
    Accepted(TcpStream, SocketAddr),
    /// A frame came.
    Frame(LinkId, Bytes),
    /// Bytes of frames left for the kernel: as many may follow.
    Written(LinkId, usize),
    /// The carrier ended, from the other side or by an error.
    Gone(LinkId, Disconnect),
}

/// A node and what drives it.
struct Driver {
    name: &'static str,
    node: Node,
    /// The node counts time from here.
    epoch: SystemInstant,
    next_clock: Instant,
    inbox: Receiver<Happening>,
    post: SyncSender<Happening>,
    /// The queues of open carriers; `None` while a dial is under way.
    links: BTreeMap<LinkId, Option<Sender<Bytes>>>,
    writers: Vec<JoinHandle<()>>,
    room: RoomId,
    greeted: bool,
    heard: bool,
    shut_down: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => {
            println!("both nodes talked and are shut down");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("threads: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let fault = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let network = NetworkId::default();
    // Slow on purpose, so an event loop would run it elsewhere.
    let key = RoomKey::derive("a room on threads", b"", &network).map_err(|error| error.to_string())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(fault("listening"))?;
    let port = listener.local_addr().map_err(fault("listening"))?.port();
    let address = Address { host: Host::Ip4(Ipv4Addr::LOCALHOST), port, secure: false, peer: None };
    println!("the service node listens on 127.0.0.1:{port}");

    let config = Config::service(network.clone());
    let service = Driver::new("service", config, vec![address.clone()], &key).map_err(fault("randomness"))?;
    let mut client =
        Driver::new("client", Config::client(network), Vec::new(), &key).map_err(fault("randomness"))?;
    let now = client.now();
    client.node.bootstrap(address, now);

    let post = service.post.clone();
    // Ends with the process, or with the first connection that nobody wants.
    thread::spawn(move || {
        while let Ok((stream, from)) = listener.accept() {
            if post.send(Happening::Accepted(stream, from)).is_err() {
                return;
            }
        }
    });
    let service_key = key.clone();
    let service = thread::spawn(move || service.run(&service_key));
    let client = client.run(&key);
    let service = service.join().map_err(|_| String::from("the service node's thread panicked"))?;
    client.and(service)
}

impl Driver {
    fn new(name: &'static str, config: Config, addresses: Vec<Address>, key: &RoomKey) -> io::Result<Self> {
        let epoch = SystemInstant::now();
        let start = Start {
            config,
            identity: Identity::from_seed(random()?),
            crypto: Arc::new(RealCrypto),
            seed: random()?,
            unix_ms: unix_ms(),
            addresses,
            saved: None,
        };
        let (post, inbox) = mpsc::sync_channel(INBOX_MAX);
        let node = Node::new(start, Instant::ZERO);
        println!("{name}: I am {}", node.peer_id());
        Ok(Self {
            name,
            node,
            epoch,
            next_clock: Instant::ZERO + CLOCK_PERIOD,
            inbox,
            post,
            links: BTreeMap::new(),
            writers: Vec::new(),
            room: key.id(&RealCrypto),
            greeted: false,
            heard: false,
            shut_down: false,
        })
    }

    /// The node's clock: monotonic, in microseconds since its start.
    fn now(&self) -> Instant {
        let micros = self.epoch.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Drives the node until it is shut down.
    fn run(mut self, key: &RoomKey) -> Result<(), String> {
        let now = self.now();
        self.node.join(key, now).map_err(|error| format!("{}: {error}", self.name))?;
        self.drain(now);
        while !self.shut_down {
            if self.epoch.elapsed() > DEADLINE {
                return Err(format!("{}: not done within {} s", self.name, DEADLINE.as_secs()));
            }
            self.turn();
        }
        // What was handed over is sent before the process ends. Nobody takes happenings any more, so nobody may wait for
        // that.
        let Self { inbox, links, writers, .. } = self;
        drop((inbox, links));
        writers.into_iter().for_each(|writer| {
            let _ = writer.join();
        });
        Ok(())
    }

    /// One turn: wait, take what happened, fire what is due, do what the node wants done.
    fn turn(&mut self) {
        let due = self.node.poll_timeout().map_or(self.next_clock, |deadline| deadline.at);
        let wait = due.min(self.next_clock).since(self.now());
        // An error is a timeout: this thread holds a sender, so the channel never ends.
        let mut next = self.inbox.recv_timeout(wait).ok();
        let now = self.now();
        if now >= self.next_clock {
            // Before the inputs: if time passed unobserved, nobody is to blame for the silence.
            let resumed = now.since(self.next_clock) > CLOCK_PERIOD;
            self.node.handle_input(Input::Clock { unix_ms: unix_ms(), resumed }, now);
            self.next_clock = now + CLOCK_PERIOD;
        }
        let mut taken = 0;
        while let Some(happening) = next {
            self.take(happening, now);
            taken += 1;
            next = if taken < BATCH_MAX { self.inbox.try_recv().ok() } else { None };
        }
        // Does nothing if nothing is due.
        self.node.handle_timeout(now);
        self.drain(now);
    }

    /// What the world did.
    fn take(&mut self, happening: Happening, now: Instant) {
        match happening {
            Happening::Dialled(link, outcome) => {
                // Closed by the node meanwhile: the socket just goes.
                if self.links.remove(&link).is_none() {
                    return;
                }
                match outcome.and_then(|stream| self.open(link, stream).map_err(|_| DialError::Refused)) {
                    Ok(()) => {
                        self.node.handle_input(Input::Connected(link), now);
                        self.node.handle_input(Input::Writable(link, WINDOW_BYTES), now);
                    }
                    Err(error) => self.node.handle_input(Input::DialFailed(link, error), now),
                }
            }
            Happening::Accepted(stream, from) => {
                match self.node.accept(Origin { ip: Some(from.ip()) }, now) {
                    Ok(link) if self.open(link, stream).is_ok() => {
                        self.node.handle_input(Input::Writable(link, WINDOW_BYTES), now);
                    }
                    Ok(link) => self.node.handle_input(Input::Disconnected(link, Disconnect::Reset), now),
                    Err(limit) => println!("{}: {from} is refused: {limit}", self.name),
                }
            }
            Happening::Frame(link, frame) => self.node.handle_input(Input::Frame(link, frame), now),
            Happening::Written(link, bytes) => self.node.handle_input(Input::Writable(link, bytes), now),
            Happening::Gone(link, how) => {
                // After `Close` nothing more is said of a link.
                if self.links.remove(&link).is_some() {
                    self.node.handle_input(Input::Disconnected(link, how), now);
                }
            }
        }
    }

    /// What the node wants done, in order, to the last.
    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Dial(link, Target::WebSocket(address)) => {
                    self.links.insert(link, None);
                    let post = self.post.clone();
                    thread::spawn(move || post.send(Happening::Dialled(link, dial(&address))));
                }
                // This driver carries no WebRTC and says so by its configuration, so none is asked for.
                Output::Dial(link, Target::WebRtc { .. }) => {
                    self.node.handle_input(Input::DialFailed(link, DialError::Unsupported), now);
                }
                Output::RemoteSignal(..) => {}
                Output::Send(link, frame) => {
                    // Never waits: the queue is bounded by the credit.
                    if let Some(Some(queue)) = self.links.get(&link) {
                        let _ = queue.send(frame);
                    }
                }
                // Dropping the queue lets the writer send what is in it, and then close.
                Output::Close(link, reason) => {
                    println!("{}: link {} closes: {reason:?}", self.name, link.0);
                    self.links.remove(&link);
                }
                // Here nothing survives a restart. A driver that keeps state writes `snapshot.encode()` beside the old
                // file, syncs it, renames it over the old one, and answers then.
                Output::Save(id, _snapshot) => self.node.handle_input(Input::Saved(id, true), now),
                Output::Event(event) => self.event(event, now),
            }
        }
    }

    /// The application.
    fn event(&mut self, event: Event, now: Instant) {
        let name = self.name;
        if let Event::RoomJoined { outcome: JoinOutcome::Joined { members }, .. } = event {
            for member in members {
                println!("{name}: joined; {member} is here");
                self.greet(member, now);
            }
        } else if let Event::RoomJoined { outcome, .. } = event {
            println!("{name}: joined: {outcome:?}");
        } else if let Event::MemberJoined { peer, .. } = event {
            println!("{name}: {peer} is here");
            self.greet(peer, now);
        } else if let Event::MemberLeft { peer, reason, .. } = event {
            println!("{name}: {peer} is gone: {}", reason.as_str());
        } else if let Event::Message(message) = event {
            println!("{name}: {} says: {}", message.from, String::from_utf8_lossy(&message.payload));
            self.heard = true;
        } else if let Event::LinkOpened { link, peer, carrier, reasons: _ } = event {
            println!("{name}: link {} to {peer} is open ({})", link.0, carrier.as_str());
        } else if let Event::LinkFailed { reason, .. } = event {
            println!("{name}: a link failed: {reason:?}");
        } else if event == Event::ShutDown {
            println!("{name}: shut down");
            self.shut_down = true;
        }
        if self.greeted && self.heard {
            // Sends what is queued, says goodbye, and closes the links; a second call does nothing.
            self.node.shutdown(now);
        }
    }

    fn greet(&mut self, peer: PeerId, now: Instant) {
        let text = format!("hello {peer}, this is the {}", self.name);
        match self.node.broadcast(self.room, Bytes::from(text), Recipients::Only(vec![peer]), now) {
            Ok(_) => self.greeted = true,
            Err(error) => println!("{}: not sent: {error}", self.name),
        }
    }

    /// Starts the two threads of a carrier.
    fn open(&mut self, link: LinkId, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        let (reading, post) = (stream.try_clone()?, self.post.clone());
        let (reads, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            read(link, reading, &post);
            drop(reads);
        });
        let (queue, frames) = mpsc::channel();
        let post = self.post.clone();
        self.writers.push(thread::spawn(move || {
            write(link, &stream, &frames, &post);
            // The peer may still read what is under way: it closes in turn, or loses its chance.
            let _ = stream.shutdown(Shutdown::Write);
            let _ = ended.recv_timeout(CLOSE_TIMEOUT);
            let _ = stream.shutdown(Shutdown::Both);
        }));
        self.links.insert(link, Some(queue));
        Ok(())
    }
}

fn dial(address: &Address) -> Result<TcpStream, DialError> {
    let Host::Ip4(ip) = address.host else { return Err(DialError::Unsupported) };
    let target = SocketAddr::from((ip, address.port));
    TcpStream::connect_timeout(&target, Duration::from_secs(5)).map_err(|error| {
        if error.kind() == io::ErrorKind::TimedOut { DialError::Timeout } else { DialError::Refused }
    })
}

/// Reads frames until the carrier ends.
fn read(link: LinkId, mut stream: TcpStream, post: &SyncSender<Happening>) {
    let mut next = || -> io::Result<Bytes> {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut frame)?;
        Ok(Bytes::from(frame))
    };
    loop {
        let happening = match next() {
            // The core judges the frame; a bound on its size is the carrier's, here 65,535 bytes.
            Ok(frame) => Happening::Frame(link, frame),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Happening::Gone(link, Disconnect::Closed)
            }
            Err(_) => Happening::Gone(link, Disconnect::Reset),
        };
        let last = matches!(happening, Happening::Gone(..));
        if post.send(happening).is_err() || last {
            return;
        }
    }
}

/// Writes frames until the queue or the carrier ends; grants what left.
fn write(link: LinkId, mut stream: &TcpStream, frames: &Receiver<Bytes>, post: &SyncSender<Happening>) {
    for frame in frames {
        let Ok(length) = u16::try_from(frame.len()) else { break };
        let written = stream.write_all(&[&length.to_be_bytes(), frame.as_ref()].concat());
        if written.is_err() {
            break;
        }
        // A node that is gone wants no credit, and what it handed over is sent all the same.
        let _ = post.send(Happening::Written(link, frame.len()));
    }
}

/// Fresh random bytes of the operating system. Where there is no such file, a crate such as `getrandom` gives them.
fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
