//! What a connection has received and the node has not taken: bounded, and handed over in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::mpsc;
use unamed_protocol::LinkId;

use crate::connection::Shared;
use crate::driver::Inbox;

/// Received bytes of one connection that the node has not taken yet.
const READ_WINDOW_BYTES: usize = 64 * 1024;
/// Received bytes of all connections above which each may have one frame waiting only.
const READ_TOTAL_BYTES: usize = 64 * 1024 * 1024;
/// What a received frame counts besides its payload, so that empty ones count too.
const FRAME_OVERHEAD: usize = 64;

/// What one connection has received and the node has not taken.
#[derive(Debug)]
pub(crate) struct ReadWindow {
    used: AtomicUsize,
    total: Arc<AtomicUsize>,
    waker: AtomicWaker,
}

impl ReadWindow {
    const fn new(total: Arc<AtomicUsize>) -> Self {
        Self { used: AtomicUsize::new(0), total, waker: AtomicWaker::new() }
    }

    fn is_open(&self) -> bool {
        let bound = if self.total.load(Ordering::Relaxed) > READ_TOTAL_BYTES { 1 } else { READ_WINDOW_BYTES };
        self.used.load(Ordering::Acquire) < bound
    }

    /// Whether another frame may be read; else `cx` is woken when that changes.
    fn poll_open(&self, cx: &Context<'_>) -> bool {
        self.is_open() || {
            self.waker.register(cx.waker());
            self.is_open()
        }
    }

    fn take(&self, weight: usize) {
        self.used.fetch_add(weight, Ordering::AcqRel);
        self.total.fetch_add(weight, Ordering::Relaxed);
    }

    /// The node has taken frames of `weight` bytes.
    pub(crate) fn release(&self, weight: usize) {
        self.used.fetch_sub(weight, Ordering::AcqRel);
        self.total.fetch_sub(weight, Ordering::Relaxed);
        self.waker.wake();
    }
}

/// The frames of one connection on their way to the node.
#[derive(Debug)]
pub(crate) struct Intake {
    link: LinkId,
    inbox: mpsc::UnboundedSender<Inbox>,
    window: Arc<ReadWindow>,
    frames: Vec<Bytes>,
    weight: usize,
}

impl Intake {
    pub(crate) fn new(link: LinkId, shared: &Shared) -> Self {
        let window = Arc::new(ReadWindow::new(Arc::clone(&shared.unread_bytes)));
        Self { link, inbox: shared.inbox.clone(), window, frames: Vec::new(), weight: 0 }
    }

    /// Whether another frame may be read; else `cx` is woken when that changes.
    pub(crate) fn poll_open(&self, cx: &Context<'_>) -> bool {
        self.window.poll_open(cx)
    }

    /// Waits until another frame may be read.
    #[cfg(feature = "webrtc")]
    pub(crate) async fn opened(&self) {
        use std::task::Poll;
        std::future::poll_fn(|cx| if self.poll_open(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Whether another frame may be read.
    #[cfg(feature = "webrtc")]
    pub(crate) fn is_open(&self) -> bool {
        self.window.is_open()
    }

    pub(crate) fn take(&mut self, frame: Bytes) {
        let weight = frame.len().saturating_add(FRAME_OVERHEAD);
        self.window.take(weight);
        self.weight = self.weight.saturating_add(weight);
        self.frames.push(frame);
    }

    /// Hands what was received to the node.
    pub(crate) fn deliver(&mut self) {
        if !self.frames.is_empty() {
            let frames = std::mem::take(&mut self.frames);
            let weight = std::mem::take(&mut self.weight);
            let window = Arc::clone(&self.window);
            // Fails only when the node's task has ended, and then the orders end too.
            let _ = self.inbox.send(Inbox::Frames { link: self.link, frames, weight, window });
        }
    }
}
