//! WebRTC data channels to other clients: a task for each, from the dial to the end.
//!
//! A channel is one peer connection of the [`webrtc`] crate with one data channel, ordered and reliable, which both ends
//! make under id 0. Its task gives the stack what the peer signals and the node what the stack finds, and once the
//! channel is open it moves frames as a WebSocket's task does. Descriptions reach the stack only as text that this
//! crate wrote from typed fields ([`Description::to_sdp`](unamed_protocol::signal::Description::to_sdp)).
//!
//! - **Credit.** 256 KiB are granted as the channel opens, and again what the stack has taken. It takes frames while less
//!   than 128 KiB wait for the peer's acknowledgement, which is the channel's buffered-amount mark.
//! - **Addresses.** Candidates are those of the routes to the Internet, one of each family, as a browser without the
//!   user's consent has it (RFC 8828, mode 2); without a route, loopback. The peer's mDNS names are resolved.
//! - **Pace.** Checks go out every 50 ms, not every 200, and a pair that the peer's check found (`prflx`) is taken at
//!   once: the wait that ICE stacks have there is for media, which would move to a better pair under way.

mod channel;
mod runtime;
mod servers;
mod signalling;
mod stack;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Sleep;
use unamed_protocol::{DialError, Disconnect, IceServer, LinkId};
use webrtc::data_channel::RTCDataChannelMessage;

use crate::connection::{Order, Shared, WINDOW_BYTES};
use crate::dial::Dialler;
use crate::driver::{Carrier, Inbox};
use crate::rtc::channel::Channel;
use crate::rtc::signalling::Signalling;
use crate::rtc::stack::Stack;

/// Bytes that the stack holds before the peer has acknowledged them: 10 Mbit/s at 100 ms. It sends them at once where SCTP's
/// window allows, so more would overflow the peer's socket on a fast path.
const STACK_BYTES_MAX: usize = WINDOW_BYTES / 2;

/// A link that is to become a data channel.
pub(crate) struct Dial {
    pub(crate) link: LinkId,
    /// Whether this end makes the offer.
    pub(crate) offer: bool,
    pub(crate) ice_servers: Vec<IceServer>,
    pub(crate) orders: mpsc::UnboundedReceiver<Order>,
    pub(crate) shared: Shared,
    pub(crate) dialler: Arc<Dialler>,
}

/// How signalling ended.
enum Signalled {
    /// The channel is open. The stack may say so after the first message, which is given here then.
    Open(Option<RTCDataChannelMessage>),
    /// There will be none.
    Failed,
    /// The node gave it up.
    GivenUp,
}

/// How an open channel ended.
enum End {
    /// The node closed it, and all is sent.
    Local,
    /// The node closed it, and the peer does not acknowledge; or the stack is gone.
    Stuck,
    /// The peer ended it, or is to be left for a violation.
    Remote(Disconnect),
}

impl Dial {
    /// Runs until the channel is closed from either side, or the dial has failed or was given up.
    pub(crate) async fn run(mut self) {
        let servers = servers::usable(&self.ice_servers, &self.dialler).await;
        let mut stack = match Stack::start(&servers).await {
            Ok(stack) => stack,
            Err(error) => {
                tracing::debug!(link = ?self.link, %error, "no peer connection");
                return self.fail();
            }
        };
        match Signalling::new(&mut self, &mut stack).run().await {
            Signalled::Open(first) => self.carry(&mut stack, first).await,
            Signalled::Failed => self.fail(),
            Signalled::GivenUp => {}
        }
        stack.close().await;
    }

    async fn carry(&mut self, stack: &mut Stack, first: Option<RTCDataChannelMessage>) {
        stack.opened();
        self.tell(Inbox::Dialled(self.link, Ok(Carrier::Channel)));
        match Channel::new(self, stack).run(first).await {
            End::Local => stack.say_goodbye().await,
            End::Stuck => {}
            End::Remote(disconnect) => self.tell(Inbox::Gone(self.link, disconnect)),
        }
    }

    fn fail(&self) {
        self.tell(Inbox::Dialled(self.link, Err(DialError::Ice)));
    }

    fn tell(&self, message: Inbox) {
        // Fails only when the node's task has ended, and then the orders end too.
        let _ = self.shared.inbox.send(message);
    }
}

/// Resolves at the deadline, if there is one.
async fn expire(deadline: &mut Option<Pin<Box<Sleep>>>) {
    match deadline {
        Some(deadline) => deadline.await,
        None => std::future::pending().await,
    }
}
