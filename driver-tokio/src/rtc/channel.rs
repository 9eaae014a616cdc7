//! The open channel.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use tokio::time::{Sleep, sleep};
use unamed_protocol::Disconnect;
use webrtc::data_channel::{DataChannelEvent, RTCDataChannelMessage};

use super::stack::{Stack, StackEvent};
use super::{Dial, End, STACK_BYTES_MAX, expire};
use crate::connection::{DRAIN_TIMEOUT, GRANT_BYTES, Order};
use crate::driver::Inbox;
use crate::intake::Intake;

/// A data channel that carries frames.
pub(super) struct Channel<'a> {
    dial: &'a mut Dial,
    stack: &'a mut Stack,
    // Towards the peer.
    queue: VecDeque<Bytes>,
    written_bytes: usize,
    /// Until when what was handed over must be acknowledged, once the node closes.
    drain: Option<Pin<Box<Sleep>>>,
    // From the peer.
    intake: Intake,
}

impl<'a> Channel<'a> {
    pub(super) fn new(dial: &'a mut Dial, stack: &'a mut Stack) -> Self {
        let intake = Intake::new(dial.link, &dial.shared);
        Self { dial, stack, queue: VecDeque::new(), written_bytes: 0, drain: None, intake }
    }

    /// Runs until the channel is to be closed.
    pub(super) async fn run(mut self, first: Option<RTCDataChannelMessage>) -> End {
        if let Some(message) = first
            && let Some(end) = self.receive(Some(DataChannelEvent::OnMessage(message)))
        {
            return end;
        }
        let end = loop {
            if self.is_drained().await {
                break End::Local;
            }
            let closing = self.drain.is_some();
            let end = tokio::select! {
                order = self.dial.orders.recv(), if !closing => self.obey(order),
                () = expire(&mut self.drain) => Some(End::Stuck),
                outcome = self.stack.channel.writable(), if !self.queue.is_empty() => match outcome {
                    Ok(()) => self.send().await,
                    Err(_) => Some(End::Remote(Disconnect::Reset)),
                },
                event = self.stack.events.recv() => of_stack(event),
                event = async {
                    if !closing {
                        self.intake.opened().await;
                    }
                    self.stack.channel.poll().await
                } => self.receive(event),
            };
            if let Some(end) = end {
                break end;
            }
        };
        self.intake.deliver();
        end
    }

    fn obey(&mut self, order: Option<Order>) -> Option<End> {
        match order {
            Some(Order::Send(frames)) => self.queue.extend(frames),
            // The pair is chosen.
            Some(Order::Signal(_)) => {}
            // Without an order, the node's task is gone.
            Some(Order::Close(_)) | None => self.drain = Some(Box::pin(sleep(DRAIN_TIMEOUT))),
        }
        None
    }

    /// Whether the node closes the link and the peer has all.
    async fn is_drained(&self) -> bool {
        self.drain.is_some()
            && self.queue.is_empty()
            // The stack says when nothing waits any more, which ends the wait for it.
            && self.stack.channel.outstanding_bytes().await.unwrap_or(0) == 0
    }

    /// Gives the stack frames up to the mark, and the node as much credit again.
    async fn send(&mut self) -> Option<End> {
        let channel = &self.stack.channel;
        let mut room = STACK_BYTES_MAX.saturating_sub(channel.outstanding_bytes().await.unwrap_or(0));
        while room > 0 {
            let Some(frame) = self.queue.pop_front() else { break };
            room = room.saturating_sub(frame.len());
            self.written_bytes = self.written_bytes.saturating_add(frame.len());
            if let Err(error) = channel.send(BytesMut::from(frame)).await {
                tracing::debug!(link = ?self.dial.link, %error, "sending");
                return Some(End::Remote(Disconnect::Reset));
            }
        }
        if self.written_bytes >= GRANT_BYTES {
            self.dial.tell(Inbox::Written(self.dial.link, std::mem::take(&mut self.written_bytes)));
        }
        None
    }

    /// Takes an event of the channel, and those that are there already.
    fn receive(&mut self, first: Option<DataChannelEvent>) -> Option<End> {
        let mut end = self.take(first);
        while end.is_none() && self.intake.is_open() {
            let Some(event) = self.stack.channel.poll().now_or_never() else { break };
            end = self.take(event);
        }
        self.intake.deliver();
        end
    }

    fn take(&mut self, event: Option<DataChannelEvent>) -> Option<End> {
        match event {
            Some(DataChannelEvent::OnMessage(message)) if self.drain.is_none() => self.take_message(message),
            Some(DataChannelEvent::OnClose) => Some(End::Remote(Disconnect::Closed)),
            Some(DataChannelEvent::OnError) | None => Some(End::Remote(Disconnect::Reset)),
            Some(_) => None,
        }
    }

    fn take_message(&mut self, message: RTCDataChannelMessage) -> Option<End> {
        let counters = &self.dial.shared.counters;
        if message.is_string {
            counters.text_frame.add();
            return Some(End::Remote(Disconnect::Violation));
        }
        if message.data.len() > self.dial.dialler.frame_bytes_max {
            counters.too_large.add();
            return Some(End::Remote(Disconnect::Violation));
        }
        self.intake.take(message.data.freeze());
        None
    }
}

fn of_stack(event: Option<StackEvent>) -> Option<End> {
    match event {
        Some(StackEvent::Candidate(_) | StackEvent::EndOfCandidates | StackEvent::Progress) => None,
        Some(StackEvent::Failed) => Some(End::Remote(Disconnect::Lost)),
        Some(StackEvent::Closed) => Some(End::Remote(Disconnect::Closed)),
        None => Some(End::Remote(Disconnect::Reset)),
    }
}
