//! The core on blocking sockets and threads, without any runtime: a chat like `unamed room`.
//!
//! `cargo run -p unamed-protocol --example threads -- MULTIADDR ROOM`, next to an `unamed serve`; it ends with its input
//! (Ctrl-D).
//!
//! The node belongs to the main thread, which waits in one place: for a channel, until the node's next deadline. Each
//! carrier has two threads, since a blocking socket can be waited for in one direction at a time only; the input has one.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use clap::Parser as _;
use tungstenite::protocol::Role;
use tungstenite::{Error, Message, WebSocket};
use unamed_protocol::{Address, DialError, Disconnect, LinkId};

use common::{Args, CLOSE_TIMEOUT, Carriers, DIAL_TIMEOUT, Failure, Happening, INBOX_MAX, Member};

mod common;

fn main() -> ExitCode {
    common::finish("threads", run(Args::parse()))
}

fn run(args: Args) -> Result<(), Failure> {
    let (post, inbox) = mpsc::sync_channel(INBOX_MAX);
    let mut threads = Threads { post: post.clone(), queues: BTreeMap::new(), running: Vec::new() };
    let mut member = Member::start(args)?;
    common::read_input(move |happening| post.send(happening).is_ok());
    while !member.is_over() {
        // Whatever comes first: something, or the time.
        let first = inbox.recv_timeout(member.wait()).ok();
        member.turn(first.into_iter().chain(inbox.try_iter()), &mut threads);
    }
    // What was handed over is sent before the process ends. Nobody takes happenings any more, so nobody may wait for that.
    drop(inbox);
    drop(threads.queues);
    for thread in threads.running {
        // A thread that panicked has said so.
        let _ = thread.join();
    }
    Ok(())
}

/// The carriers, each with its threads.
struct Threads {
    post: SyncSender<Happening>,
    queues: BTreeMap<LinkId, Sender<Bytes>>,
    running: Vec<JoinHandle<()>>,
}

impl Carriers for Threads {
    fn dial(&mut self, link: LinkId, address: Address) {
        let (queue, frames) = mpsc::channel();
        let post = self.post.clone();
        self.running.retain(|thread| !thread.is_finished());
        self.running.push(thread::spawn(move || carry(link, &address, &frames, &post)));
        self.queues.insert(link, queue);
    }

    fn send(&mut self, link: LinkId, frame: Bytes) {
        if let Some(queue) = self.queues.get(&link) {
            // Fails when the carrier has just ended, which is on its way to the node.
            let _ = queue.send(frame);
        }
    }

    /// The thread sends what is in the queue, then sees its end.
    fn close(&mut self, link: LinkId) {
        self.queues.remove(&link);
    }
}

/// The thread of a carrier: dials, then writes frames until the queue or the carrier ends.
fn carry(link: LinkId, address: &Address, frames: &Receiver<Bytes>, post: &SyncSender<Happening>) {
    let (reading, mut writing) = match dial(address) {
        Ok(socket) => socket,
        Err(error) => {
            let _ = post.send(Happening::Failed(link, error));
            return;
        }
    };
    let _ = post.send(Happening::Connected(link));
    let (at_end, ended) = mpsc::channel();
    let reader_post = post.clone();
    let reader = thread::spawn(move || {
        read(link, reading, &reader_post);
        drop::<Sender<()>>(at_end);
    });
    for frame in frames {
        let length = frame.len();
        if writing.send(Message::Binary(frame)).is_err() {
            break;
        }
        // A node that is gone wants no credit, and what it handed over is sent all the same.
        let _ = post.send(Happening::Written(link, length));
    }
    // The peer may still read what is under way: it closes in turn, or loses its chance.
    let _ = writing.close(None).and_then(|()| writing.flush());
    let _ = ended.recv_timeout(CLOSE_TIMEOUT);
    let _ = writing.get_ref().stream.shutdown(Shutdown::Both);
    let _ = reader.join();
}

/// Hands frames to the node until the carrier ends.
fn read(link: LinkId, mut socket: WebSocket<Half>, post: &SyncSender<Happening>) {
    let how = loop {
        match socket.read() {
            Ok(Message::Binary(frame)) => {
                // Once the node is gone, what comes is dropped, up to the peer's closing.
                let _ = post.send(Happening::Frame(link, frame));
            }
            Ok(Message::Text(_)) | Err(Error::Capacity(_)) => break Disconnect::Violation,
            // tungstenite answers them.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => {}
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => break Disconnect::Closed,
            Err(_) => break Disconnect::Reset,
        }
    };
    let _ = post.send(Happening::Gone(link, how));
}

/// Opens a WebSocket, as two that share one stream: one to read from, one to write to.
fn dial(address: &Address) -> Result<(WebSocket<Half>, WebSocket<Half>), DialError> {
    let mut outcome = Err(DialError::Unresolved);
    for target in common::resolve(address)? {
        outcome = TcpStream::connect_timeout(&target, DIAL_TIMEOUT).map_err(|error| of_io(&error));
        if outcome.is_ok() {
            break;
        }
    }
    let half = Half { stream: outcome?, alone: Arc::default() };
    half.stream.set_nodelay(true).map_err(|error| of_io(&error))?;
    half.stream.set_write_timeout(Some(DIAL_TIMEOUT)).map_err(|error| of_io(&error))?;
    half.stream.set_read_timeout(Some(DIAL_TIMEOUT)).map_err(|error| of_io(&error))?;
    let writing = half.try_clone().map_err(|error| of_io(&error))?;
    let config = Some(common::websocket_config());
    let (reading, _) = tungstenite::client::client_with_config(address.url(), half, config)
        .map_err(|_| DialError::NotWebSocket)?;
    writing.stream.set_read_timeout(None).map_err(|error| of_io(&error))?;
    Ok((reading, WebSocket::from_raw_socket(writing, Role::Client, config)))
}

fn of_io(error: &io::Error) -> DialError {
    if error.kind() == io::ErrorKind::TimedOut { DialError::Timeout } else { DialError::Refused }
}

/// One of two handles of a stream. The reading side writes too: it answers pings. tungstenite writes whole frames only,
/// and here each write is done to its end before the next, so that frames of both sides do not mix.
struct Half {
    stream: TcpStream,
    alone: Arc<Mutex<()>>,
}

impl Half {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, alone: Arc::clone(&self.alone) })
    }
}

impl Read for Half {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into)
    }
}

impl Write for Half {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        self.stream.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
