//! One WebSocket connection: a task that owns the socket and moves frames between it and the node's task.
//!
//! The task is one hand-written poll over the unsplit socket, so that neither direction takes a lock per frame. Frames
//! to send come in batches and are fed to tungstenite until [`CHUNK_BYTES`] are buffered or the queue is empty, then
//! flushed; what reached the kernel is granted to the core again. Received frames go to the node in batches, bounded by
//! an [`Intake`]: a peer that sends faster than the node works is held back by TCP.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream as _;
use futures_util::Sink as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use unamed_protocol::{CloseReason, Disconnect, LinkId, Signal};

use crate::driver::Inbox;
use crate::intake::Intake;
use crate::metrics::Counters;
use crate::server::Slot;
use crate::stream::Stream;

/// Bytes that the core may have under way to one connection: granted on opening, and again as they reach the kernel.
/// The bandwidth-delay product of 20 Mbit/s at 100 ms; costs that much memory per slow reader.
pub(crate) const WINDOW_BYTES: usize = 256 * 1024;
/// Written bytes are granted again once so many came together: a quarter of the window, so that small messages do not
/// wake the node's task twice.
pub(crate) const GRANT_BYTES: usize = WINDOW_BYTES / 4;
/// Bytes fed to tungstenite before a flush.
const CHUNK_BYTES: usize = 32 * 1024;
/// Bytes a peer may send without completing a message: four times what the largest one takes.
const READ_BUDGET_BYTES: usize = 64 * 1024;
/// Pings (of RFC 6455; the core has its own) that may come at once, and the pause that earns another one.
const PING_BURST: u32 = 20;
const PING_PERIOD: Duration = Duration::from_millis(500);
/// How long a closing connection may take to send what was handed over.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the peer may take to answer the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The carrier of a link.
pub(crate) type Socket = WebSocketStream<Metered<Stream>>;

/// tungstenite's settings, all of them. `frame_bytes_max` is [`LinkConfig::frame_bytes_max`], and a message is one frame
/// or made of smaller ones.
///
/// [`LinkConfig::frame_bytes_max`]: unamed_protocol::LinkConfig::frame_bytes_max
pub(crate) fn websocket_config(frame_bytes_max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .write_buffer_size(CHUNK_BYTES)
        // A chunk, the frame that overshot it, and a pong.
        .max_write_buffer_size(CHUNK_BYTES.saturating_add(frame_bytes_max).saturating_add(1024))
        .max_message_size(Some(frame_bytes_max))
        .max_frame_size(Some(frame_bytes_max))
        .accept_unmasked_frames(false)
}

/// A stream that fails when too many bytes were read since the last [`Metered::reset`].
///
/// tungstenite joins fragments inside one call, so an endless run of empty ones would never come to light outside of
/// it; the bytes do.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    stream: S,
    read_bytes: usize,
}

impl<S> Metered<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, read_bytes: 0 }
    }

    const fn reset(&mut self) {
        self.read_bytes = 0;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_bytes > READ_BUDGET_BYTES {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.read_bytes = self.read_bytes.saturating_add(buf.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What the node's task tells a connection.
#[derive(Debug)]
pub(crate) enum Order {
    /// Frames to send.
    Send(Vec<Bytes>),
    /// Give the WebRTC stack a signal of the peer.
    #[cfg_attr(not(feature = "webrtc"), expect(dead_code, reason = "only data channels read it"))]
    Signal(Box<Signal>),
    /// Send what was handed over, then close.
    Close(CloseCode),
}

/// How the work of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The node closes it, and all is sent.
    Local(CloseCode),
    /// The node closes it, and the peer does not read.
    Stuck,
    /// The peer closed or broke it, or it is to be closed for a violation.
    Remote(Disconnect, Option<CloseCode>),
}

/// What connections share with the node's task.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) inbox: mpsc::UnboundedSender<Inbox>,
    pub(crate) counters: Arc<Counters>,
    /// Received bytes of all connections that the node has not taken.
    pub(crate) unread_bytes: Arc<AtomicUsize>,
}

/// The task of one connection.
pub(crate) struct Connection {
    link: LinkId,
    socket: Socket,
    orders: mpsc::UnboundedReceiver<Order>,
    shared: Shared,
    // Towards the peer.
    queue: VecDeque<Bytes>,
    fed_frames: usize,
    fed_bytes: usize,
    flushing: bool,
    written_bytes: usize,
    closing: Option<CloseCode>,
    drain_deadline: Option<Pin<Box<Sleep>>>,
    // From the peer.
    intake: Intake,
    pings: u32,
    ping_credit_at: Instant,
    /// The place at the server, if accepted; given back with the connection.
    _slot: Option<Slot>,
}

impl Connection {
    pub(crate) fn new(
        link: LinkId,
        socket: Socket,
        orders: mpsc::UnboundedReceiver<Order>,
        shared: Shared,
        slot: Option<Slot>,
    ) -> Self {
        let intake = Intake::new(link, &shared);
        Self {
            link,
            socket,
            orders,
            shared,
            queue: VecDeque::new(),
            fed_frames: 0,
            fed_bytes: 0,
            flushing: false,
            written_bytes: 0,
            closing: None,
            drain_deadline: None,
            intake,
            pings: 0,
            ping_credit_at: Instant::now(),
            _slot: slot,
        }
    }

    /// Runs until the connection is closed from either side, and closes the socket.
    pub(crate) async fn run(mut self) {
        let end = std::future::poll_fn(|cx| self.poll_work(cx)).await;
        self.intake.deliver();
        let code = match end {
            End::Local(code) => Some(code),
            End::Stuck => None,
            End::Remote(disconnect, code) => {
                self.tell(Inbox::Gone(self.link, disconnect));
                code
            }
        };
        if let Some(code) = code {
            close(self.socket, code).await;
        }
    }

    fn tell(&self, message: Inbox) {
        // Fails only when the node's task has ended, and then the orders end too.
        let _ = self.shared.inbox.send(message);
    }

    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if let Poll::Ready(end) = self.poll_send(cx) {
            return Poll::Ready(end);
        }
        if self.closing.is_some() {
            // What still comes is of no interest, and the sending above waits for the socket.
            return Poll::Pending;
        }
        self.poll_receive(cx)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            self.take_orders(cx);
            if self.flushing {
                match Pin::new(&mut self.socket).poll_flush(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(())) => self.grant_written(),
                    Poll::Ready(Err(error)) => return Poll::Ready(self.failed(&error)),
                }
            }
            if let Err(error) = self.feed(cx) {
                return Poll::Ready(self.failed(&error));
            }
            if self.fed_frames == 0 {
                break;
            }
            self.flushing = true;
        }
        let Some(code) = self.closing else { return Poll::Pending };
        if !self.flushing && self.queue.is_empty() {
            return Poll::Ready(End::Local(code));
        }
        let deadline = self.drain_deadline.get_or_insert_with(|| Box::pin(sleep(DRAIN_TIMEOUT)));
        deadline.as_mut().poll(cx).map(|()| End::Stuck)
    }

    fn take_orders(&mut self, cx: &mut Context<'_>) {
        while self.closing.is_none() {
            match self.orders.poll_recv(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Order::Send(frames))) => self.queue.extend(frames),
                // A WebSocket is not signalled.
                Poll::Ready(Some(Order::Signal(_))) => {}
                Poll::Ready(Some(Order::Close(code))) => self.closing = Some(code),
                // The node's task is gone.
                Poll::Ready(None) => self.closing = Some(CloseCode::Away),
            }
        }
    }

    fn feed(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        while self.fed_bytes < CHUNK_BYTES && !self.queue.is_empty() {
            let mut socket = Pin::new(&mut self.socket);
            match socket.as_mut().poll_ready(cx) {
                Poll::Pending => break,
                Poll::Ready(result) => result?,
            }
            let Some(frame) = self.queue.pop_front() else { break };
            self.fed_frames = self.fed_frames.saturating_add(1);
            self.fed_bytes = self.fed_bytes.saturating_add(frame.len());
            socket.start_send(Message::Binary(frame))?;
        }
        Ok(())
    }

    fn grant_written(&mut self) {
        self.flushing = false;
        self.fed_frames = 0;
        self.written_bytes = self.written_bytes.saturating_add(std::mem::take(&mut self.fed_bytes));
        if self.written_bytes >= GRANT_BYTES {
            self.tell(Inbox::Written(self.link, self.written_bytes));
            self.written_bytes = 0;
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if !self.intake.poll_open(cx) {
                self.intake.deliver();
                return Poll::Pending;
            }
            let message = match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => message,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(self.failed(&error)),
                Poll::Ready(None) => return Poll::Ready(End::Remote(Disconnect::Closed, None)),
                Poll::Pending => {
                    self.intake.deliver();
                    return Poll::Pending;
                }
            };
            match message {
                Message::Binary(frame) => self.take_frame(frame),
                Message::Text(_) => {
                    self.shared.counters.text_frame.add();
                    return Poll::Ready(End::Remote(Disconnect::Violation, Some(CloseCode::Unsupported)));
                }
                Message::Ping(_) if !self.ping_allowed() => {
                    self.shared.counters.ping_rate.add();
                    return Poll::Ready(End::Remote(Disconnect::Violation, Some(CloseCode::Policy)));
                }
                // This is what tungstenite puts in the place of a code that may not be sent (RFC 6455, section 7.4).
                Message::Close(Some(close))
                    if close.code == CloseCode::Protocol && close.reason == "Protocol violation" =>
                {
                    self.shared.counters.bad_frame.add();
                    return Poll::Ready(End::Remote(Disconnect::Violation, Some(CloseCode::Protocol)));
                }
                // A ping is answered inside tungstenite; an unasked pong is allowed by RFC 6455, section 5.5.3, and its
                // bytes count towards the budget. After a close frame the stream ends.
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
            }
        }
    }

    fn take_frame(&mut self, frame: Bytes) {
        self.socket.get_mut().reset();
        self.intake.take(frame);
    }

    /// A token bucket that holds [`PING_BURST`] pings.
    fn ping_allowed(&mut self) -> bool {
        let now = Instant::now();
        while self.pings > 0 && now.saturating_duration_since(self.ping_credit_at) >= PING_PERIOD {
            self.pings = self.pings.saturating_sub(1);
            self.ping_credit_at += PING_PERIOD;
        }
        if self.pings == 0 {
            self.ping_credit_at = now;
        }
        self.pings = self.pings.saturating_add(1);
        self.pings <= PING_BURST
    }

    fn failed(&self, error: &Error) -> End {
        let counters = &self.shared.counters;
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => End::Remote(Disconnect::Closed, None),
            Error::Io(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
                counters.frame_budget.add();
                End::Remote(Disconnect::Violation, Some(CloseCode::Policy))
            }
            Error::Protocol(
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )
            | Error::Io(_)
            | Error::Tls(_) => End::Remote(Disconnect::Reset, None),
            Error::Capacity(_) => {
                counters.too_large.add();
                End::Remote(Disconnect::Violation, Some(CloseCode::Size))
            }
            Error::Utf8(_) => {
                counters.text_frame.add();
                End::Remote(Disconnect::Violation, Some(CloseCode::Unsupported))
            }
            Error::Protocol(_)
            | Error::WriteBufferFull(_)
            | Error::AttackAttempt
            | Error::Url(_)
            | Error::Http(_)
            | Error::HttpFormat(_) => {
                counters.bad_frame.add();
                End::Remote(Disconnect::Violation, Some(CloseCode::Protocol))
            }
        }
    }
}

/// The closing handshake: says `code`, then reads to the end, since closing a socket with unread bytes resets it and
/// may take with it what the peer has not read yet.
pub(crate) async fn close(mut socket: Socket, code: CloseCode) {
    let farewell = async {
        socket.get_mut().reset();
        let frame = CloseFrame { code, reason: "".into() };
        if socket.close(Some(frame)).await.is_err() {
            return;
        }
        // Past tungstenite, which refuses to read on after a violation. The budget bounds what is read.
        let stream = socket.get_mut();
        let _ = stream.shutdown().await;
        let mut scratch = [0; 1024];
        while matches!(stream.read(&mut scratch).await, Ok(1..)) {}
    };
    let _ = timeout(CLOSE_TIMEOUT, farewell).await;
}

/// The close code that goes with a reason. The peer learns the reason itself inside the encrypted link.
pub(crate) const fn close_code(reason: CloseReason) -> CloseCode {
    match reason {
        CloseReason::Shutdown => CloseCode::Away,
        CloseReason::Busy => CloseCode::Again,
        CloseReason::NotOurProtocol
        | CloseReason::VersionMismatch
        | CloseReason::WrongNetwork
        | CloseReason::Handshake
        | CloseReason::BadKey
        | CloseReason::HandshakeTimeout
        | CloseReason::IdMismatch
        | CloseReason::Decrypt
        | CloseReason::Violation
        | CloseReason::SlowReader
        | CloseReason::IdentityInUse => CloseCode::Policy,
        CloseReason::TooLarge => CloseCode::Size,
        CloseReason::Unwanted
        | CloseReason::Duplicate
        | CloseReason::Replaced
        | CloseReason::SelfDial
        | CloseReason::Silent
        | CloseReason::Closed
        | CloseReason::Reset
        | CloseReason::Refused
        | CloseReason::DialTimeout
        | CloseReason::Unresolved
        | CloseReason::NotWebSocket
        | CloseReason::Tls
        | CloseReason::Unsupported
        | CloseReason::RelayLost
        | CloseReason::RelayRefused
        | CloseReason::Ice => CloseCode::Normal,
    }
}
