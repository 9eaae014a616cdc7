//! Two data channels that meet over real sockets, their signals carried by hand.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use unamed_protocol::signal::{Candidate, CandidateKind, Description, Fingerprint};
use unamed_protocol::{DialError, Disconnect, LinkId, Signal};

use super::signalling::Signalling;
use super::stack::Stack;
use super::{Dial, Signalled};
use crate::connection::{GRANT_BYTES, Order, Shared, WINDOW_BYTES};
use crate::dial::Dialler;
use crate::driver::{Carrier, Inbox};

const FRAME_BYTES_MAX: usize = 16 * 1024;
const LINK: LinkId = LinkId(1);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// One end, as a node's task sees it.
struct End {
    orders: mpsc::UnboundedSender<Order>,
    inbox: mpsc::UnboundedReceiver<Inbox>,
    open: bool,
    /// Frames that came before the other end was open.
    early: Vec<Bytes>,
}

impl End {
    fn new(offer: bool) -> (Self, Dial) {
        let (orders, receiver) = mpsc::unbounded_channel();
        let (sender, inbox) = mpsc::unbounded_channel();
        let shared = Shared { inbox: sender, counters: Arc::default(), unread_bytes: Arc::default() };
        let dial = Dial {
            link: LINK,
            offer,
            ice_servers: Vec::new(),
            orders: receiver,
            shared,
            dialler: Arc::new(Dialler {
                configured: BTreeSet::new(),
                ice_configured: Vec::new(),
                frame_bytes_max: FRAME_BYTES_MAX,
                counters: Arc::default(),
                roots: crate::tls::TlsRoots::system(),
            }),
        };
        (Self { orders, inbox, open: false, early: Vec::new() }, dial)
    }

    fn dial(offer: bool) -> Self {
        let (end, dial) = Self::new(offer);
        tokio::spawn(dial.run());
        end
    }

    /// What the task says next; `None` once it has ended.
    async fn told(&mut self) -> Option<Inbox> {
        within(self.inbox.recv()).await
    }

    fn order(&self, order: Order) {
        self.orders.send(order).expect("the task is there");
    }

    fn signal(&self, signal: Signal) {
        self.order(Order::Signal(Box::new(signal)));
    }

    /// Before the end is open it tells signals, which `pass` takes, and that it is.
    fn carry(&mut self, told: Option<Inbox>, pass: impl FnOnce(Signal)) {
        match told {
            Some(Inbox::Signal(LINK, signal)) => pass(*signal),
            Some(Inbox::Dialled(LINK, Ok(Carrier::Channel))) => self.open = true,
            Some(Inbox::Frames { frames, .. }) if self.open => self.early.extend(frames),
            told => panic!("{told:?}"),
        }
    }

    /// The next signal.
    async fn signalled(&mut self) -> Signal {
        match self.told().await {
            Some(Inbox::Signal(LINK, signal)) => *signal,
            told => panic!("{told:?}"),
        }
    }

    /// All signals that this end has without hearing of the other: its description and its candidates.
    async fn signals(&mut self) -> Vec<Signal> {
        let mut signals = vec![self.signalled().await];
        while signals.last() != Some(&Signal::EndOfCandidates) {
            signals.push(self.signalled().await);
        }
        signals
    }

    /// The next frames, once the end is open.
    async fn frames(&mut self) -> Vec<Bytes> {
        loop {
            match self.told().await {
                Some(Inbox::Frames { frames, weight, window, .. }) => {
                    window.release(weight);
                    return frames;
                }
                Some(Inbox::Signal(..) | Inbox::Written(..)) => {}
                told => panic!("{told:?}"),
            }
        }
    }

    /// How the link ended.
    async fn end(&mut self) -> Inbox {
        loop {
            match self.told().await {
                Some(Inbox::Signal(..) | Inbox::Written(..) | Inbox::Frames { .. }) => {}
                told => return told.expect("an end"),
            }
        }
    }

    /// Whether the task ends without another word of the link.
    async fn ends_silently(&mut self) -> bool {
        loop {
            match self.told().await {
                None => return true,
                Some(Inbox::Signal(..) | Inbox::Written(..)) => {}
                Some(_) => return false,
            }
        }
    }
}

/// Carries signals until both ends are open.
async fn connect(one: &mut End, other: &mut End) {
    connect_with(one, other, |_| {}).await;
}

/// Carries signals until both ends are open, with `opened` for each as soon as it is.
async fn connect_with(one: &mut End, other: &mut End, opened: impl Fn(&End)) {
    let carry = async {
        while !(one.open && other.open) {
            let (inbox, from, to) = tokio::select! {
                inbox = one.inbox.recv() => (inbox, &mut *one, &*other),
                inbox = other.inbox.recv() => (inbox, &mut *other, &*one),
            };
            let before = from.open;
            from.carry(inbox, |signal| to.signal(signal));
            if from.open && !before {
                opened(from);
            }
        }
    };
    within(carry).await;
}

async fn connected() -> (End, End) {
    let (mut offerer, mut answerer) = (End::dial(true), End::dial(false));
    connect(&mut offerer, &mut answerer).await;
    (offerer, answerer)
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_cross_in_order_and_are_granted_again() {
    let (mut offerer, mut answerer) = connected().await;
    let sizes = [1, 100, FRAME_BYTES_MAX, 5, FRAME_BYTES_MAX - 1];
    let frames: Vec<Bytes> =
        (0..100_u8).map(|n| Bytes::from(vec![n; sizes[usize::from(n) % sizes.len()]])).collect();
    let bytes: usize = frames.iter().map(Bytes::len).sum();
    assert!(bytes > 2 * WINDOW_BYTES, "more than the stack takes at a time");
    for (from, to) in [(true, false), (false, true)] {
        let (from, to) = match (from, to) {
            (true, _) => (&mut offerer, &mut answerer),
            _ => (&mut answerer, &mut offerer),
        };
        from.order(Order::Send(frames.clone()));
        let mut came = Vec::new();
        while came.len() < frames.len() {
            came.extend(to.frames().await);
        }
        assert!(came == frames, "whole and in order");
        let mut granted = 0;
        while bytes - granted >= GRANT_BYTES {
            match from.told().await {
                Some(Inbox::Written(LINK, bytes)) => granted += bytes,
                Some(Inbox::Signal(..)) => {}
                told => panic!("{told:?}"),
            }
        }
        assert!(granted <= bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_as_an_end_opens_arrives() {
    for _ in 0..20 {
        let (mut offerer, mut answerer) = (End::dial(true), End::dial(false));
        // The orders wait in the task's queue, and are obeyed before the other end is open.
        connect_with(&mut offerer, &mut answerer, |end| {
            end.order(Order::Send(vec![Bytes::from_static(b"first"), Bytes::from_static(b"second")]));
        })
        .await;
        for end in [&mut offerer, &mut answerer] {
            let mut came = std::mem::take(&mut end.early);
            while came.len() < 2 {
                came.extend(end.frames().await);
            }
            assert_eq!(came, ["first", "second"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_stops_the_writer() {
    let (offerer, mut answerer) = connected().await;
    let frame = Bytes::from(vec![7; FRAME_BYTES_MAX]);
    let count = 4 * 1024 * 1024 / FRAME_BYTES_MAX;
    offerer.order(Order::Send(vec![frame; count]));
    // Nothing is released: the window closes, and stays within its bound.
    let mut held = Vec::new();
    let mut came = 0;
    let mut told = answerer.told().await;
    while let Some(Inbox::Frames { frames, weight, window, .. }) = told {
        came += frames.len();
        held.push((window, weight));
        let Ok(next) = timeout(Duration::from_millis(300), answerer.inbox.recv()).await else { break };
        told = next;
    }
    assert!(came * FRAME_BYTES_MAX <= 128 * 1024, "{came} frames");
    for (window, weight) in held {
        window.release(weight);
    }
    while came < count {
        came += answerer.frames().await.len();
    }
    assert_eq!(came, count);
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_may_come_in_any_order() {
    let (mut offerer, mut answerer) = (End::dial(true), End::dial(false));
    for (from, to) in [(true, false), (false, true)] {
        let (from, to) = match (from, to) {
            (true, _) => (&mut offerer, &answerer),
            _ => (&mut answerer, &offerer),
        };
        let signals = from.signals().await;
        assert!(matches!(signals.first(), Some(Signal::Offer(_) | Signal::Answer(_))));
        assert!(signals.iter().any(|signal| matches!(signal, Signal::Candidate(_))));
        // The description comes last, and everything twice.
        for signal in signals.iter().rev().chain(signals.iter().rev()) {
            to.signal(signal.clone());
        }
    }
    connect(&mut offerer, &mut answerer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_that_is_given_up_ends_without_a_word() {
    for offer in [true, false] {
        let mut end = End::dial(offer);
        end.order(Order::Close(CloseCode::Normal));
        assert!(end.ends_silently().await);
    }
    // Half-way: the offer is answered, and the answer never arrives.
    let (mut offerer, mut answerer) = (End::dial(true), End::dial(false));
    for signal in offerer.signals().await {
        answerer.signal(signal);
    }
    answerer.signals().await;
    answerer.order(Order::Close(CloseCode::Normal));
    offerer.order(Order::Close(CloseCode::Normal));
    assert!(answerer.ends_silently().await);
    assert!(offerer.ends_silently().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_over_arrives_before_the_close() {
    let (mut offerer, mut answerer) = connected().await;
    let frames: Vec<Bytes> = (0..64_u8).map(|n| Bytes::from(vec![n; FRAME_BYTES_MAX])).collect();
    offerer.order(Order::Send(frames.clone()));
    offerer.order(Order::Close(CloseCode::Normal));
    let mut came = Vec::new();
    while came.len() < frames.len() {
        came.extend(answerer.frames().await);
    }
    assert!(came == frames, "whole and in order");
    let end = answerer.end().await;
    assert!(matches!(end, Inbox::Gone(LINK, Disconnect::Closed)), "{end:?}");
    assert!(offerer.ends_silently().await);
    assert!(answerer.ends_silently().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_of_the_wrong_role_end_the_dial() {
    let mut other = End::dial(true);
    let offer = other.signalled().await;
    let Signal::Offer(description) = offer.clone() else { panic!("{offer:?}") };
    for (role, signal) in [(true, offer), (false, Signal::Answer(description))] {
        let mut end = End::dial(role);
        end.signal(signal);
        let end = end.end().await;
        assert!(matches!(end, Inbox::Dialled(LINK, Err(DialError::Ice))), "{end:?}");
    }
}

/// `signal` with another fingerprint, if it has one and this is `wanted`.
fn forged(signal: Signal, wanted: bool) -> Signal {
    let forge = |mut description: Description| {
        if wanted {
            description.fingerprint = Fingerprint([7; 32]);
        }
        description
    };
    match signal {
        Signal::Offer(offer) => Signal::Offer(forge(offer)),
        Signal::Answer(answer) => Signal::Answer(forge(answer)),
        Signal::Candidate(_) | Signal::EndOfCandidates => signal,
    }
}

/// How the two ends of a dial fare of which one was told another fingerprint than that of the certificate.
async fn dial_with_a_forged(answer: bool) -> [Inbox; 2] {
    let (mut offerer, mut answerer) = (End::dial(true), End::dial(false));
    for signal in offerer.signals().await {
        answerer.signal(forged(signal, !answer));
    }
    for signal in answerer.signals().await {
        offerer.signal(forged(signal, answer));
    }
    [offerer.end().await, answerer.end().await]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_was_not_signalled_opens_neither_end() {
    let (one, other) = tokio::join!(dial_with_a_forged(true), dial_with_a_forged(false));
    for end in one.into_iter().chain(other) {
        assert!(matches!(end, Inbox::Dialled(LINK, Err(DialError::Ice))), "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hopeless_candidates_do_no_harm() {
    let (mut offerer, mut answerer) = (End::dial(true), End::dial(false));
    for n in 1..=100_u8 {
        let host = std::net::IpAddr::from([127, 0, 0, n]).into();
        let candidate = Candidate::new(CandidateKind::Host, host, 9, u32::from(n)).unwrap();
        // More than an end may have: those that come first count. The real one is among them.
        if n > 8 {
            offerer.signal(Signal::Candidate(candidate.clone()));
        }
        if n < 8 {
            answerer.signal(Signal::Candidate(candidate));
        }
    }
    connect(&mut offerer, &mut answerer).await;
}

/// An open end, and a peer that sends what `raw` says.
async fn opposite(raw: impl AsyncFnOnce(&Stack)) -> (End, Arc<crate::metrics::Counters>) {
    let (mut end, dial) = End::new(true);
    let counters = Arc::clone(&dial.shared.counters);
    tokio::spawn(dial.run());
    let (mut peer, mut peer_dial) = End::new(false);
    let mut stack = Stack::start(&[]).await.unwrap();
    let signalling = Signalling::new(&mut peer_dial, &mut stack);
    let carry = async {
        while !end.open {
            tokio::select! {
                Some(Inbox::Signal(_, signal)) = peer.inbox.recv() => end.signal(*signal),
                told = end.inbox.recv() => end.carry(told, |signal| peer.signal(signal)),
            }
        }
    };
    let (signalled, ()) = within(async { tokio::join!(signalling.run(), carry) }).await;
    assert!(matches!(signalled, Signalled::Open(None)));
    raw(&stack).await;
    let told = end.end().await;
    assert!(matches!(told, Inbox::Gone(LINK, Disconnect::Violation)), "{told:?}");
    stack.close().await;
    (end, counters)
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_a_violation() {
    let (_end, counters) = opposite(async |stack| stack.channel.send_text("hello").await.unwrap()).await;
    assert_eq!(counters.text_frame.value(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_above_a_frame_is_a_violation() {
    let large = BytesMut::from(vec![0; FRAME_BYTES_MAX + 1].as_slice());
    let (_end, counters) = opposite(async |stack| stack.channel.send(large).await.unwrap()).await;
    assert_eq!(counters.too_large.value(), 1);
}
