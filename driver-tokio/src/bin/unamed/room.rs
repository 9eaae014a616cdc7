//! `unamed room`

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use unamed_tokio::{
    JoinError, JoinOptions, JoinOutcome, MessageId, Network, PeerId, Room, RoomEvent, RoomEvents, RoomSender,
    SendError,
};

use crate::args::RoomArgs;
use crate::input::{self, Input};
use crate::nickname::{self, Typed};
use crate::output::{Line, Output, Said};
use crate::signals::Signals;
use crate::{Failure, node, say};

/// How long a line waits for the recipients that `--to` names.
const RECIPIENTS_TIMEOUT: Duration = Duration::from_secs(30);

/// Joins a room and talks until the end of input.
pub(crate) async fn run(args: RoomArgs, json: bool) -> Result<(), Failure> {
    node::require_start(&args.node)?;
    let mut options = node::join_options(args.passphrase_file.as_deref())?;
    options.member_data = args.nickname.clone().unwrap_or_default().into();
    let mut signals = Signals::new()?;
    let lines = input::lines();
    let network = node::start(node::client(&args.node, &args.client)?).await?;
    let outcome = tokio::select! {
        outcome = talk(&network, &args, options, lines, Output { json }) => outcome,
        () = signals.next() => Ok(()),
    };
    signals.exit_on_next();
    // Sends what is queued, and leaves.
    network.shutdown().await;
    outcome
}

async fn talk(
    network: &Network,
    args: &RoomArgs,
    options: JoinOptions,
    lines: mpsc::Receiver<Input>,
    output: Output,
) -> Result<(), Failure> {
    node::online(&mut network.events(), &args.node.bootstrap, args.stay).await?;
    let room = network.join_with(&args.name, options).await.map_err(|error| {
        let message = format!("room {:?}: {error}", args.name);
        match error {
            JoinError::Name(_) => Failure::usage(message),
            JoinError::MemberDataTooLarge { .. } => Failure::usage(format!("--name: {error}")),
            JoinError::AlreadyJoined | JoinError::TooManyRooms | JoinError::Full | JoinError::Stopped => {
                Failure::other(message)
            }
        }
    })?;
    let mut talk = Talk::new(args, room, lines, output);
    let outcome = talk.run().await;
    match outcome {
        Ok(()) if talk.unsent > 0 => {
            Err(Failure::other(format!("{} lines of input were not sent", talk.unsent)))
        }
        outcome => outcome,
    }
}

type Sending = Pin<Box<dyn Future<Output = Result<MessageId, SendError>> + Send>>;

/// A conversation in a room.
struct Talk<'a> {
    args: &'a RoomArgs,
    output: Output,
    sender: RoomSender,
    events: RoomEvents,
    lines: mpsc::Receiver<Input>,
    members: BTreeSet<PeerId>,
    /// How members that say something of themselves are shown.
    names: BTreeMap<PeerId, String>,
    /// Whether as many others as `--wait` asks for were present once.
    enough: bool,
    /// The next line, and until when it waits for its recipients.
    line: Option<(Vec<u8>, Instant)>,
    sending: Option<Sending>,
    input_ended: bool,
    unsent: usize,
}

/// What happened.
enum Happening {
    Event(Option<RoomEvent>),
    Sent(Result<MessageId, SendError>),
    Input(Option<Input>),
    RecipientsMissing,
}

impl<'a> Talk<'a> {
    fn new(args: &'a RoomArgs, room: Room, lines: mpsc::Receiver<Input>, output: Output) -> Self {
        let (sender, events) = room.split();
        Self {
            args,
            output,
            sender,
            events,
            lines,
            members: BTreeSet::new(),
            names: BTreeMap::new(),
            enough: false,
            line: None,
            sending: None,
            input_ended: false,
            unsent: 0,
        }
    }

    async fn run(&mut self) -> Result<(), Failure> {
        let (alone, members) = match self.sender.outcome().clone() {
            JoinOutcome::Joined { members } => (false, members),
            JoinOutcome::Alone => (true, Vec::new()),
            JoinOutcome::NoneReachable { .. } => (false, Vec::new()),
            JoinOutcome::Offline => {
                say(&format!("room {:?}: the network does not answer; still trying", self.args.name));
                (false, Vec::new())
            }
        };
        let joined = Line::joined(&self.args.name, self.sender.id(), alone, &members);
        if self.output.line(&joined).is_err() {
            return Ok(());
        }
        self.members.extend(members);
        loop {
            self.send_next(false);
            if self.input_ended && self.line.is_none() && self.sending.is_none() && !self.args.stay {
                return Ok(());
            }
            match self.next().await {
                Happening::Event(Some(event)) => {
                    if self.event(event)? == Reader::Gone {
                        return Ok(());
                    }
                }
                Happening::Event(None) => return Err(Failure::other("the node has stopped")),
                Happening::Sent(outcome) => {
                    self.sending = None;
                    self.sent(outcome)?;
                }
                Happening::Input(input) => self.input(input).await?,
                Happening::RecipientsMissing => self.send_next(true),
            }
        }
    }

    async fn next(&mut self) -> Happening {
        let wants_line = !self.input_ended && self.line.is_none();
        let recipients_by = self.line.as_ref().filter(|_| self.sending.is_none()).map(|(_, by)| *by);
        let recipients_missing = async {
            match recipients_by.filter(|_| self.enough && !self.args.to.is_empty()) {
                Some(by) => sleep_until(by).await,
                None => std::future::pending().await,
            }
        };
        let sending = async {
            match &mut self.sending {
                Some(sending) => sending.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = self.events.next() => Happening::Event(event),
            outcome = sending => Happening::Sent(outcome),
            input = self.lines.recv(), if wants_line => Happening::Input(input),
            () = recipients_missing => Happening::RecipientsMissing,
        }
    }

    async fn input(&mut self, input: Option<Input>) -> Result<(), Failure> {
        match input {
            Some(Input::Line(line)) => {
                let named = self.args.nickname.is_some();
                match if named { nickname::read(line) } else { Typed::Message(line) } {
                    Typed::Message(line) => self.line = Some((line, Instant::now() + RECIPIENTS_TIMEOUT)),
                    Typed::Name(Ok(name)) => self.rename(name).await?,
                    Typed::Name(Err(error)) => {
                        say(&format!("/name: {error}"));
                        self.unsent = self.unsent.saturating_add(1);
                    }
                }
            }
            Some(Input::TooLong) => {
                say("stdin: a line is too long, and was left out");
                self.unsent = self.unsent.saturating_add(1);
            }
            Some(Input::Failed(error)) => {
                say(&format!("stdin: {error}"));
                self.input_ended = true;
            }
            None => self.input_ended = true,
        }
        Ok(())
    }

    async fn rename(&mut self, name: String) -> Result<(), Failure> {
        self.sender
            .set_member_data(name)
            .await
            .map_err(|error| Failure::other(format!("room {:?}: {error}", self.args.name)))
    }

    /// Sends the next line if nothing holds it; `anyway` does not wait for the recipients.
    fn send_next(&mut self, anyway: bool) {
        if !self.enough {
            self.enough = self.members.len() >= usize::try_from(self.args.wait).unwrap_or(usize::MAX);
            if let (true, Some((_, by))) = (self.enough, &mut self.line) {
                *by = Instant::now() + RECIPIENTS_TIMEOUT;
            }
        }
        let present = self.args.to.iter().all(|peer| self.members.contains(peer));
        if !self.enough || self.sending.is_some() || !(present || anyway) {
            return;
        }
        let Some((line, _)) = self.line.take() else { return };
        let (sender, to) = (self.sender.clone(), self.args.to.clone());
        self.sending = Some(Box::pin(async move {
            if to.is_empty() { sender.broadcast(line).await } else { sender.send_to(&to, line).await }
        }));
    }

    fn sent(&mut self, outcome: Result<MessageId, SendError>) -> Result<(), Failure> {
        match outcome {
            Ok(_) => Ok(()),
            Err(error @ (SendError::UnknownRecipient(_) | SendError::TooManyRecipients)) => {
                say(&format!("--to: {error}"));
                self.unsent = self.unsent.saturating_add(1);
                Ok(())
            }
            Err(error @ (SendError::TooLarge { .. } | SendError::Busy | SendError::NoRecipients)) => {
                say(&format!("a line of input was not sent: {error}"));
                self.unsent = self.unsent.saturating_add(1);
                Ok(())
            }
            Err(error @ (SendError::NotJoined | SendError::Stopped)) => {
                Err(Failure::other(format!("room {:?}: {error}", self.args.name)))
            }
        }
    }

    fn named(&mut self, peer: PeerId, data: &[u8]) {
        match nickname::shown(data) {
            Some(shown) => self.names.insert(peer, shown),
            None => self.names.remove(&peer),
        };
    }

    fn event(&mut self, event: RoomEvent) -> Result<Reader, Failure> {
        let outcome = match event {
            RoomEvent::MemberJoined { peer, data } => {
                self.members.insert(peer);
                self.named(peer, &data);
                let said = Said::new(&data);
                self.output.line(&Line::MemberJoined { peer_id: peer.to_string(), said })
            }
            RoomEvent::MemberChanged { peer, data } => {
                self.named(peer, &data);
                let said = Said::new(&data);
                self.output.line(&Line::MemberChanged { peer_id: peer.to_string(), said })
            }
            RoomEvent::MemberLeft { peer, reason } => {
                self.members.remove(&peer);
                let shown = self.names.remove(&peer);
                let (peer_id, reason) = (peer.to_string(), reason.as_str());
                self.output.line(&Line::MemberLeft { peer_id, reason, shown })
            }
            RoomEvent::Message(message) => {
                let shown = self.names.get(&message.from).cloned();
                self.output.line(&Line::message(&message, shown))
            }
            RoomEvent::MessagesLost { from, count } => {
                self.output.line(&Line::MessagesLost { from: from.to_string(), count })
            }
            RoomEvent::Merged { members } => {
                let members = members.iter().map(ToString::to_string).collect();
                self.output.line(&Line::RoomMerged { members })
            }
            RoomEvent::Lagged { missed } => self.output.line(&Line::Lagged { missed }),
            RoomEvent::Writable => Ok(()),
            RoomEvent::Full => {
                return Err(Failure::other(format!("room {:?}: the room is full", self.args.name)));
            }
        };
        Ok(if outcome.is_ok() { Reader::There } else { Reader::Gone })
    }
}

/// Whether somebody reads stdout.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    There,
    Gone,
}
