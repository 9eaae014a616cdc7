//! The core on a runtime of one's choice, here smol: a chat like `unamed room`.
//!
//! `cargo run -p unamed-protocol --example smol_tasks -- MULTIADDR ROOM`, next to an `unamed serve`; it ends with its input
//! (Ctrl-D).
//!
//! The node belongs to one task, which waits in one place: for a channel, until the node's next deadline. Each carrier has
//! a task of its own, which moves frames both ways.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;

use async_tungstenite::tungstenite::{Error, Message};
use async_tungstenite::{WebSocketStream, client_async_with_config};
use bytes::Bytes;
use clap::Parser as _;
use smol::channel::{self, Receiver, Sender};
use smol::net::TcpStream;
use smol::stream::StreamExt as _;
use smol::{Task, Timer, future};
use unamed_protocol::{Address, DialError, Disconnect, LinkId};

use common::{Args, CLOSE_TIMEOUT, Carriers, DIAL_TIMEOUT, Failure, Happening, INBOX_MAX, Member};

mod common;

fn main() -> ExitCode {
    common::finish("smol_tasks", smol::block_on(run(Args::parse())))
}

async fn run(args: Args) -> Result<(), Failure> {
    let (post, inbox) = channel::bounded(INBOX_MAX);
    let mut tasks = Tasks { post: post.clone(), queues: BTreeMap::new(), running: Vec::new() };
    let mut member = smol::unblock(|| Member::start(args)).await?;
    common::read_input(move |happening| post.send_blocking(happening).is_ok());
    while !member.is_over() {
        // Whatever comes first: something, or the time.
        let something = async { inbox.recv().await.ok() };
        let time = async {
            Timer::after(member.wait()).await;
            None
        };
        let first = future::or(something, time).await;
        let more = std::iter::from_fn(|| inbox.try_recv().ok());
        member.turn(first.into_iter().chain(more), &mut tasks);
    }
    // What was handed over is sent before the process ends. Nobody takes happenings any more, so nobody may wait for that.
    drop(inbox);
    drop(tasks.queues);
    for task in tasks.running {
        task.await;
    }
    Ok(())
}

/// The carriers, each with its task.
struct Tasks {
    post: Sender<Happening>,
    queues: BTreeMap<LinkId, Sender<Bytes>>,
    running: Vec<Task<()>>,
}

impl Carriers for Tasks {
    fn dial(&mut self, link: LinkId, address: Address) {
        let (queue, frames) = channel::unbounded();
        self.running.retain(|task| !task.is_finished());
        self.running.push(smol::spawn(carry(link, address, frames, self.post.clone())));
        self.queues.insert(link, queue);
    }

    fn send(&mut self, link: LinkId, frame: Bytes) {
        if let Some(queue) = self.queues.get(&link) {
            // Fails when the carrier has just ended, which is on its way to the node.
            let _ = queue.try_send(frame);
        }
    }

    /// The task sends what is in the queue, then sees its end.
    fn close(&mut self, link: LinkId) {
        self.queues.remove(&link);
    }
}

/// The task of a carrier: dials, then moves frames until the queue or the carrier ends.
async fn carry(link: LinkId, address: Address, frames: Receiver<Bytes>, post: Sender<Happening>) {
    let late = async {
        Timer::after(DIAL_TIMEOUT).await;
        Err(DialError::Timeout)
    };
    let socket = match future::or(dial(&address), late).await {
        Ok(socket) => socket,
        Err(error) => {
            let _ = post.send(Happening::Failed(link, error)).await;
            return;
        }
    };
    let _ = post.send(Happening::Connected(link)).await;
    let (mut sink, mut stream) = socket.split();
    let write = async {
        while let Ok(frame) = frames.recv().await {
            let length = frame.len();
            if sink.send(Message::Binary(frame)).await.is_err() {
                break;
            }
            // A node that is gone wants no credit, and what it handed over is sent all the same.
            let _ = post.send(Happening::Written(link, length)).await;
        }
        // The peer may still read what is under way: it closes in turn, or loses its chance.
        let _ = sink.close(None).await;
        Timer::after(CLOSE_TIMEOUT).await;
        Disconnect::Reset
    };
    let read = async {
        loop {
            match stream.next().await {
                Some(Ok(Message::Binary(frame))) => {
                    // Once the node is gone, what comes is dropped, up to the peer's closing.
                    let _ = post.send(Happening::Frame(link, frame)).await;
                }
                Some(Ok(Message::Text(_)) | Err(Error::Capacity(_))) => break Disconnect::Violation,
                // tungstenite answers them.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => {}
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => break Disconnect::Closed,
                Some(Err(_)) => break Disconnect::Reset,
            }
        }
    };
    let how = future::or(read, write).await;
    let _ = post.send(Happening::Gone(link, how)).await;
}

async fn dial(address: &Address) -> Result<WebSocketStream<TcpStream>, DialError> {
    let resolve = address.clone();
    let mut outcome = Err(DialError::Unresolved);
    for target in smol::unblock(move || common::resolve(&resolve)).await? {
        outcome = TcpStream::connect(target).await.map_err(|error| of_io(&error));
        if outcome.is_ok() {
            break;
        }
    }
    let stream = outcome?;
    stream.set_nodelay(true).map_err(|error| of_io(&error))?;
    let config = Some(common::websocket_config());
    let upgraded = client_async_with_config(address.url(), stream, config).await;
    upgraded.map(|(socket, _)| socket).map_err(|_| DialError::NotWebSocket)
}

fn of_io(error: &io::Error) -> DialError {
    if error.kind() == io::ErrorKind::TimedOut { DialError::Timeout } else { DialError::Refused }
}
