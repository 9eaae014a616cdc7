//! A member of a room that says what it likes, for the tests in browsers.
//!
//! `unamed-hostile ADDRESS ROOM below|above PEER_ID`: joins a room by one service node, under an identity whose id is
//! below or above another one, and says so: the lower id of a pair offers. What happens is written to stdout, one JSON
//! object a line; each line of stdin is `{"to": PEER_ID, "chunks": HEX}`: a message to one member, with chunks of
//! anybody's making in front of it in the same frame. It claims to link by WebRTC and has none: a test plays the stack.

use std::io::{BufRead as _, ErrorKind};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant as SystemInstant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};
use unamed_protocol::crypto::RealCrypto;
use unamed_protocol::{
    Address, Config, DialError, Disconnect, Event, Identity, Input, Instant, JoinOutcome, LinkId, NetworkId,
    Node, Output, PeerId, Recipients, RoomId, RoomKey, Start, Target,
};

mod crypto;

use crypto::{HostileCrypto, MARK};

/// Credit of the one socket, which blocks while it is full.
const WINDOW_BYTES: usize = 256 * 1024;
/// How long the socket is waited for in each turn.
const TURN: Duration = Duration::from_millis(5);

type Fault = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [address, room, side, peer] => match run(address, room, side, peer) {
            Ok(()) => ExitCode::SUCCESS,
            Err(fault) => {
                eprintln!("unamed-hostile: {fault}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("usage: unamed-hostile ADDRESS ROOM below|above PEER_ID");
            ExitCode::from(2)
        }
    }
}

fn say(event: &Value) {
    println!("{event}");
}

fn run(address: &str, room: &str, side: &str, peer: &str) -> Result<(), Fault> {
    let network = NetworkId::default();
    let key = RoomKey::derive(room, b"", &network)?;
    let address: Address = address.parse()?;
    let crypto = HostileCrypto::default();
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let mut config = Config::client(network);
    config.webrtc.enabled = true;
    let start = Start {
        config,
        identity: identity(side == "below", peer.parse()?)?,
        crypto: Arc::new(crypto.clone()),
        seed,
        unix_ms: unix_ms(),
        addresses: Vec::new(),
        saved: None,
    };
    let mut node = Node::new(start, Instant::ZERO);
    say(&json!({"event": "started", "peer_id": node.peer_id().to_string()}));
    node.bootstrap(address, Instant::ZERO);
    node.join(&key, Instant::ZERO)?;
    let (post, commands) = channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if post.send(line).is_err() {
                break;
            }
        }
    });
    let room = key.id(&RealCrypto);
    Hostile { node, crypto, room, epoch: SystemInstant::now(), socket: None, commands }.run()
}

/// An identity whose id is on the wanted side of another's.
fn identity(below: bool, peer: PeerId) -> Result<Identity, Fault> {
    let mut seed = [0; 32];
    loop {
        getrandom::fill(&mut seed)?;
        let identity = Identity::from_seed(seed);
        if (identity.peer_id(&RealCrypto) < peer) == below {
            return Ok(identity);
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

struct Hostile {
    node: Node,
    crypto: HostileCrypto,
    room: RoomId,
    epoch: SystemInstant,
    socket: Option<(LinkId, WebSocket<TcpStream>)>,
    commands: Receiver<String>,
}

impl Hostile {
    /// Until the end of stdin.
    fn run(mut self) -> Result<(), Fault> {
        loop {
            match self.commands.try_recv() {
                Ok(line) => self.command(&serde_json::from_str(&line)?)?,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            self.listen();
            let now = self.now();
            self.node.handle_timeout(now);
            self.drain(now);
            for body in self.crypto.desk(|desk| std::mem::take(&mut desk.signals)) {
                say(&json!({"event": "signal", "body": hex(&body)}));
            }
        }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn command(&mut self, command: &Value) -> Result<(), Fault> {
        let text = |key: &str| command[key].as_str().ok_or_else(|| format!("no {key:?} in {command}"));
        let (to, chunks) = (text("to")?.parse()?, unhex(text("chunks")?).ok_or("chunks are hexadecimal")?);
        self.crypto.desk(|desk| desk.chunks.extend(chunks));
        let now = self.now();
        self.node.broadcast(self.room, Bytes::from_static(MARK), Recipients::Only(vec![to]), now)?;
        Ok(())
    }

    /// Waits for a frame, a moment long.
    fn listen(&mut self) {
        let Some((link, socket)) = &mut self.socket else { return thread::sleep(TURN) };
        let link = *link;
        let input = match socket.read() {
            Ok(Message::Binary(frame)) => Input::Frame(link, frame),
            Ok(_) => return,
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return;
            }
            Err(_) => {
                self.socket = None;
                Input::Disconnected(link, Disconnect::Closed)
            }
        };
        let now = self.now();
        self.node.handle_input(input, now);
    }

    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Dial(link, Target::WebSocket(address)) => self.dial(link, &address, now),
                // The attempt is left to its time-out; signals are what the test says.
                Output::Dial(link, Target::WebRtc { offer, .. }) => {
                    say(&json!({"event": "dial", "link": link.0, "offer": offer}));
                }
                Output::Send(link, frame) => self.send(link, frame, now),
                Output::Close(link, reason) => {
                    say(&json!({"event": "close", "link": link.0, "reason": format!("{reason:?}")}));
                    self.socket.take_if(|(socket, _)| *socket == link);
                }
                Output::Save(id, _) => self.node.handle_input(Input::Saved(id, true), now),
                Output::RemoteSignal(..) => {}
                Output::Event(event) => tell(event),
            }
        }
    }

    fn dial(&mut self, link: LinkId, address: &Address, now: Instant) {
        let open = || -> Result<WebSocket<TcpStream>, Fault> {
            let place = address.url().trim_start_matches("ws://").trim_end_matches('/').to_owned();
            let stream = TcpStream::connect(place)?;
            stream.set_nodelay(true)?;
            let (socket, _) = client(address.url(), stream).map_err(|error| error.to_string())?;
            socket.get_ref().set_read_timeout(Some(TURN))?;
            Ok(socket)
        };
        if self.socket.is_none()
            && let Ok(socket) = open()
        {
            self.socket = Some((link, socket));
            self.node.handle_input(Input::Connected(link), now);
            self.node.handle_input(Input::Writable(link, WINDOW_BYTES), now);
        } else {
            self.node.handle_input(Input::DialFailed(link, DialError::Refused), now);
        }
    }

    fn send(&mut self, link: LinkId, frame: Bytes, now: Instant) {
        let Some((_, socket)) = self.socket.as_mut().filter(|(open, _)| *open == link) else { return };
        let bytes = frame.len();
        // What the socket does not take at once it keeps, and sends with the next.
        let _ = socket.send(Message::Binary(frame));
        self.node.handle_input(Input::Writable(link, bytes), now);
    }
}

fn tell(event: Event) {
    if let Event::RoomJoined { outcome, .. } = event {
        let members = if let JoinOutcome::Joined { members } = outcome { members } else { Vec::new() };
        let members: Vec<String> = members.iter().map(PeerId::to_string).collect();
        say(&json!({"event": "joined", "members": members}));
    } else if let Event::MemberJoined { peer, .. } = event {
        say(&json!({"event": "member_joined", "peer_id": peer.to_string()}));
    } else if let Event::MemberLeft { peer, reason, .. } = event {
        say(&json!({"event": "member_left", "peer_id": peer.to_string(), "reason": reason.as_str()}));
    } else if let Event::Message(message) = event {
        let text = String::from_utf8_lossy(&message.payload);
        say(&json!({"event": "message", "from": message.from.to_string(), "text": text}));
    } else if let Event::LinkOpened { peer, carrier, .. } = event {
        say(&json!({"event": "link", "peer_id": peer.to_string(), "carrier": carrier.as_str()}));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = (0..digits.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}
