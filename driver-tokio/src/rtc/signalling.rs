//! From the dial to the open channel.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Sleep, sleep};
use unamed_protocol::Signal;
use unamed_protocol::signal::{CANDIDATES_MAX, Candidate, Description};
use webrtc::data_channel::DataChannelEvent;

use super::stack::{Stack, StackEvent};
use super::{Dial, Signalled, expire};
use crate::connection::Order;
use crate::driver::Inbox;

/// From the chosen pair of candidates to the open channel: DTLS and SCTP. The stack says nothing of a DTLS handshake that
/// failed, as it does where the peer's certificate is not the one that was signalled.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A peer connection that is being set up.
pub(super) struct Signalling<'a> {
    dial: &'a mut Dial,
    stack: &'a mut Stack,
    remote: Remote,
    /// Candidates told so far.
    told: Vec<Candidate>,
    /// Until when the channel must be open, once there is a way to the peer.
    handshake: Option<Pin<Box<Sleep>>>,
}

/// What the peer's stack has said. Candidates that come before its description wait for it: the stack takes none before.
#[derive(Debug, Default)]
struct Remote {
    described: bool,
    early: Vec<Candidate>,
    candidates: usize,
}

/// The dial cannot succeed.
#[derive(Debug)]
struct Hopeless;

impl<'a> Signalling<'a> {
    pub(super) fn new(dial: &'a mut Dial, stack: &'a mut Stack) -> Self {
        Self { dial, stack, remote: Remote::default(), told: Vec::new(), handshake: None }
    }

    pub(super) async fn run(mut self) -> Signalled {
        if self.dial.offer {
            let offer = self.stack.offer().await;
            if self.tell_description(offer, Signal::Offer).is_err() {
                return Signalled::Failed;
            }
        }
        loop {
            tokio::select! {
                order = self.dial.orders.recv() => match order {
                    Some(Order::Signal(signal)) => {
                        if self.take(*signal).await.is_err() {
                            return Signalled::Failed;
                        }
                    }
                    // Nothing is sent before the channel is open.
                    Some(Order::Send(_)) => {}
                    Some(Order::Close(_)) | None => return Signalled::GivenUp,
                },
                event = self.stack.events.recv() => match event {
                    Some(StackEvent::Candidate(candidate)) => self.tell_candidate(candidate),
                    Some(StackEvent::EndOfCandidates) => self.tell(Signal::EndOfCandidates),
                    Some(StackEvent::Progress) => {
                        self.handshake.get_or_insert_with(|| Box::pin(sleep(HANDSHAKE_TIMEOUT)));
                        self.stack.wake().await;
                    }
                    Some(StackEvent::Failed | StackEvent::Closed) | None => return Signalled::Failed,
                },
                event = self.stack.channel.poll() => match event {
                    Some(DataChannelEvent::OnOpen) => return Signalled::Open(None),
                    Some(DataChannelEvent::OnMessage(first)) => return Signalled::Open(Some(first)),
                    Some(DataChannelEvent::OnClose | DataChannelEvent::OnError) | None => {
                        return Signalled::Failed;
                    }
                    Some(_) => {}
                },
                () = expire(&mut self.handshake) => return Signalled::Failed,
            }
        }
    }

    /// Takes a signal of the peer. What its role does not allow ends the dial; what is said twice counts once.
    async fn take(&mut self, signal: Signal) -> Result<(), Hopeless> {
        match signal {
            Signal::Offer(_) | Signal::Answer(_) if self.remote.described => Ok(()),
            Signal::Offer(offer) if !self.dial.offer => {
                let answer = self.stack.answer(offer.to_sdp()).await;
                self.tell_description(answer, Signal::Answer)?;
                self.described().await
            }
            Signal::Answer(answer) if self.dial.offer => {
                self.stack.accept(answer.to_sdp()).await.map_err(|error| hopeless(&error))?;
                self.described().await
            }
            Signal::Offer(_) | Signal::Answer(_) => Err(Hopeless),
            Signal::Candidate(candidate) => self.take_candidate(candidate).await,
            // The stack has no use for it: late checks of the peer may still find a pair.
            Signal::EndOfCandidates => Ok(()),
        }
    }

    async fn described(&mut self) -> Result<(), Hopeless> {
        self.remote.described = true;
        for candidate in std::mem::take(&mut self.remote.early) {
            self.add(&candidate).await?;
        }
        Ok(())
    }

    async fn take_candidate(&mut self, candidate: Candidate) -> Result<(), Hopeless> {
        if self.remote.candidates >= CANDIDATES_MAX {
            return Ok(());
        }
        self.remote.candidates = self.remote.candidates.saturating_add(1);
        if self.remote.described {
            return self.add(&candidate).await;
        }
        self.remote.early.push(candidate);
        Ok(())
    }

    async fn add(&self, candidate: &Candidate) -> Result<(), Hopeless> {
        self.stack.add(candidate).await.map_err(|error| hopeless(&error))
    }

    fn tell_description(
        &mut self,
        sdp: Result<String, webrtc::error::Error>,
        signal: fn(Description) -> Signal,
    ) -> Result<(), Hopeless> {
        let sdp = sdp.map_err(|error| hopeless(&error))?;
        let description = Description::from_sdp(&sdp).map_err(|error| hopeless(&error))?;
        self.told.extend(description.candidates.iter().cloned());
        self.tell(signal(description));
        Ok(())
    }

    /// Tells a candidate, unless it is at a place told already: without address translation, STUN finds the host's own.
    fn tell_candidate(&mut self, candidate: Candidate) {
        let same = |told: &Candidate| told.host == candidate.host && told.port == candidate.port;
        if self.told.len() < CANDIDATES_MAX && !self.told.iter().any(same) {
            self.told.push(candidate.clone());
            self.tell(Signal::Candidate(candidate));
        }
    }

    fn tell(&self, signal: Signal) {
        self.dial.tell(Inbox::Signal(self.dial.link, Box::new(signal)));
    }
}

fn hopeless(error: &dyn std::error::Error) -> Hopeless {
    tracing::debug!(%error, "WebRTC");
    Hopeless
}
