//! What the examples that drive the core have in common: a chat on a node, its clock, its input, and where to dial. How
//! bytes move is left to each: see [`Carriers`]. The steps are those of the crate's documentation.

use std::fmt;
use std::io::BufRead as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant as SystemInstant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clap::Parser;
use tungstenite::protocol::WebSocketConfig;
use unamed_protocol::crypto::RealCrypto;
use unamed_protocol::{
    Address, BroadcastError, Config, DialError, Disconnect, Event, Identity, Input, Instant, JoinError,
    JoinOutcome, LinkId, NetworkId, Node, Output, Recipients, RoomId, RoomKey, RoomNameError, Start, Target,
};

/// What may wait for the node. A full channel makes carriers wait, and TCP then makes the peer wait.
pub(crate) const INBOX_MAX: usize = 256;
/// How long the peer may take to close a carrier in turn.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a dial may take.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that a carrier may have under way: the credit it starts with, and what its queue can hold at most.
const WINDOW_BYTES: usize = 256 * 1024;
/// Happenings taken before the node's outputs are looked at.
const BATCH_MAX: usize = 64;
/// How often the node is told the wall clock; a turn that comes so late means that the machine slept.
const CLOCK_PERIOD: Duration = Duration::from_secs(10);

/// Talks in a room: each line of the input is a message.
#[derive(Parser)]
pub(crate) struct Args {
    /// A service node to start from.
    #[arg(value_name = "MULTIADDR")]
    bootstrap: Address,
    /// The room's name.
    room: String,
}

/// Why a node did not start.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The name is no room name.
    Name(RoomNameError),
    /// The core refuses the room.
    Join(JoinError),
    /// The operating system gives no randomness.
    Randomness(getrandom::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Join(error) => error.fmt(f),
            Self::Randomness(error) => write!(f, "no randomness from the operating system: {error}"),
        }
    }
}

/// What the world did.
pub(crate) enum Happening {
    /// A dial gave a carrier.
    Connected(LinkId),
    /// A dial failed.
    Failed(LinkId, DialError),
    /// A frame came.
    Frame(LinkId, Bytes),
    /// Bytes of frames left for the kernel: as many may follow.
    Written(LinkId, usize),
    /// The carrier ended, from the other side or by an error.
    Gone(LinkId, Disconnect),
    /// The user typed a line.
    Line(Line),
    /// The user is done.
    InputEnded,
}

/// A line to send. The next one is read when this is dropped.
pub(crate) struct Line {
    text: Bytes,
    _taken: mpsc::Sender<()>,
}

/// What moves bytes. Nothing here may wait: things are handed over.
pub(crate) trait Carriers {
    /// Opens a carrier, and tells [`Happening::Connected`] or [`Happening::Failed`].
    fn dial(&mut self, link: LinkId, address: Address);
    /// Sends a frame. Those that wait are bounded by the node's credit.
    fn send(&mut self, link: LinkId, frame: Bytes);
    /// Sends what was handed over, then closes the carrier, or gives up the dial. May come for one that is gone.
    fn close(&mut self, link: LinkId);
}

/// A member of a room: the node, and what a driver knows besides.
pub(crate) struct Member {
    node: Node,
    room: RoomId,
    /// The node counts time from here.
    epoch: SystemInstant,
    next_clock: Instant,
    /// A line that the node's queues had no room for.
    waiting: Option<Line>,
    over: bool,
}

impl Member {
    /// Makes the node and joins the room. Takes some tens of milliseconds: room keys are slow to derive on purpose.
    pub(crate) fn start(args: Args) -> Result<Self, Failure> {
        let network = NetworkId::default();
        let key = RoomKey::derive(&args.room, b"", &network).map_err(Failure::Name)?;
        let start = Start {
            // A client, that cannot be dialled, without WebRTC.
            config: Config::client(network),
            identity: Identity::from_seed(random()?),
            crypto: Arc::new(RealCrypto),
            seed: random()?,
            unix_ms: unix_ms(),
            addresses: Vec::new(),
            saved: None,
        };
        let mut node = Node::new(start, Instant::ZERO);
        println!("I am {}", node.peer_id());
        node.bootstrap(args.bootstrap, Instant::ZERO);
        let room = node.join(&key, Instant::ZERO).map_err(Failure::Join)?;
        let next_clock = Instant::ZERO + CLOCK_PERIOD;
        Ok(Self { node, room, epoch: SystemInstant::now(), next_clock, waiting: None, over: false })
    }

    /// Whether the node is shut down.
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    /// How long the node may be left alone if nothing happens.
    pub(crate) fn wait(&self) -> Duration {
        let due = self.node.poll_timeout().map_or(self.next_clock, |deadline| deadline.at);
        due.min(self.next_clock).since(self.now())
    }

    /// One turn: takes what happened, fires what is due, and does what the node wants done. Of the happenings it takes as
    /// many as are good at a time.
    pub(crate) fn turn(
        &mut self,
        happenings: impl IntoIterator<Item = Happening>,
        carriers: &mut impl Carriers,
    ) {
        let now = self.now();
        if now >= self.next_clock {
            // Before the inputs: if time passed unobserved, nobody is to blame for the silence.
            let resumed = now.since(self.next_clock) > CLOCK_PERIOD;
            self.node.handle_input(Input::Clock { unix_ms: unix_ms(), resumed }, now);
            self.next_clock = now + CLOCK_PERIOD;
        }
        for happening in happenings.into_iter().take(BATCH_MAX) {
            self.take(happening, carriers, now);
        }
        // Does nothing if nothing is due.
        self.node.handle_timeout(now);
        self.drain(carriers, now);
    }

    /// The node's clock: monotonic, in microseconds since its start.
    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Of a link that the node closed meanwhile it ignores what comes.
    fn take(&mut self, happening: Happening, carriers: &mut impl Carriers, now: Instant) {
        match happening {
            Happening::Connected(link) => {
                self.node.handle_input(Input::Connected(link), now);
                self.node.handle_input(Input::Writable(link, WINDOW_BYTES), now);
            }
            Happening::Failed(link, error) => {
                carriers.close(link);
                self.node.handle_input(Input::DialFailed(link, error), now);
            }
            Happening::Frame(link, frame) => self.node.handle_input(Input::Frame(link, frame), now),
            Happening::Written(link, bytes) => self.node.handle_input(Input::Writable(link, bytes), now),
            Happening::Gone(link, how) => {
                carriers.close(link);
                self.node.handle_input(Input::Disconnected(link, how), now);
            }
            Happening::Line(line) => self.say(line, now),
            // Sends what is queued, says goodbye, and closes the links.
            Happening::InputEnded => self.node.shutdown(now),
        }
    }

    /// What the node wants done, in order, to the last.
    fn drain(&mut self, carriers: &mut impl Carriers, now: Instant) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Dial(link, Target::WebSocket(address)) => carriers.dial(link, address),
                // Not asked for by a node without WebRTC.
                Output::Dial(link, Target::WebRtc { .. }) => {
                    self.node.handle_input(Input::DialFailed(link, DialError::Unsupported), now);
                }
                Output::RemoteSignal(..) => {}
                Output::Send(link, frame) => carriers.send(link, frame),
                Output::Close(link, _reason) => carriers.close(link),
                // Here nothing survives a restart. A driver that keeps state writes `snapshot.encode()` beside the old
                // file, syncs it, renames it over the old one, and answers then.
                Output::Save(id, _snapshot) => self.node.handle_input(Input::Saved(id, true), now),
                Output::Event(event) => self.event(event, now),
            }
        }
    }

    fn say(&mut self, line: Line, now: Instant) {
        match self.node.broadcast(self.room, line.text.clone(), Recipients::All, now) {
            Ok(_) => {}
            // `RoomWritable` follows.
            Err(BroadcastError::Busy) => self.waiting = Some(line),
            Err(error) => eprintln!("not sent: {error}"),
        }
    }

    /// The application.
    fn event(&mut self, event: Event, now: Instant) {
        if let Event::RoomJoined { outcome: JoinOutcome::Joined { members }, .. } = event {
            members.iter().for_each(|peer| println!("{peer} is here"));
        } else if let Event::RoomJoined { outcome, .. } = event {
            println!("joined: {outcome:?}");
        } else if let Event::MemberJoined { peer, .. } = event {
            println!("{peer} is here");
        } else if let Event::MemberLeft { peer, reason, .. } = event {
            println!("{peer} is gone ({})", reason.as_str());
        } else if let Event::Message(message) = event {
            // As a terminal may have it.
            let text = String::from_utf8_lossy(&message.payload);
            let text: String = text.chars().filter(|character| !character.is_control()).collect();
            println!("{}: {text}", message.from);
        } else if let Event::RoomWritable { .. } = event {
            if let Some(line) = self.waiting.take() {
                self.say(line, now);
            }
        } else if let Event::RoomLeft { .. } = event {
            // By a shutdown, or because it is full: either way there is nothing more to do.
            self.node.shutdown(now);
        } else if let Event::LinkFailed { address: Some(address), reason, .. } = event {
            eprintln!("{address}: {reason:?}");
        } else if event == Event::ShutDown {
            self.over = true;
        }
    }
}

/// Reads the input on a thread of its own, a line at a time, until `post` says that nobody listens.
pub(crate) fn read_input(mut post: impl FnMut(Happening) -> bool + Send + 'static) {
    thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n').map_while(Result::ok) {
            let (taken, wait) = mpsc::channel();
            if !post(Happening::Line(Line { text: line.into(), _taken: taken })) {
                return;
            }
            // Ends as the other side is dropped.
            let _ = wait.recv();
        }
        post(Happening::InputEnded);
    });
}

/// Where an address leads. Resolving a name blocks.
///
/// An address may come from a stranger: a name that promises a public place and resolves to this machine or its
/// network is not dialled.
pub(crate) fn resolve(address: &Address) -> Result<Vec<SocketAddr>, DialError> {
    if address.secure {
        // TLS is what these examples leave out.
        return Err(DialError::Unsupported);
    }
    let Some(name) = address.host.name() else {
        return Ok(address.host.ip().map(|ip| (ip, address.port).into()).into_iter().collect());
    };
    let resolved = (name, address.port).to_socket_addrs().map_err(|_| DialError::Unresolved)?;
    Ok(resolved.filter(|to| address.host.takes(to.ip()) && address.promises(to.ip())).collect())
}

/// Bounds of what a peer can make a WebSocket hold.
pub(crate) fn websocket_config() -> WebSocketConfig {
    let max = Config::client(NetworkId::default()).link.frame_bytes_max;
    WebSocketConfig::default().max_message_size(Some(max)).max_frame_size(Some(max))
}

/// Says how an example ended.
pub(crate) fn finish(name: &str, outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{name}: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Fresh random bytes of the operating system.
fn random() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(Failure::Randomness)?;
    Ok(bytes)
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
