//! Laws of rooms as a whole: leaves against a plain model, and an author and a receiver over links that fail.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::inbox::{Inbox, Outcome};
use super::outbox::Outbox;
use super::testing::{at, boot, id, peer};
use super::{ALL, Position};
use crate::wire::message::StreamNext;
use crate::{Duration, Instant, NetworkId, PeerId, RoomConfig};

fn config() -> RoomConfig {
    crate::Config::client(NetworkId::default()).rooms
}

fn secs(n: u64) -> Instant {
    Instant::from_secs(n)
}

/// An inbox that knows authors 1 to 3 from their beginnings.
fn joined(config: &RoomConfig) -> Inbox<Position> {
    let mut inbox = Inbox::new(config);
    for author in 1..=3 {
        inbox.author_linked(peer(author), secs(0));
        inbox.expect(peer(author), boot(1), &[StreamNext { stream: ALL, next: 0 }], secs(0));
    }
    inbox
}

/// Per stream, in the order of delivery.
fn by_stream(delivered: &[Position]) -> BTreeMap<(PeerId, u64), Vec<u64>> {
    let mut streams: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for position in delivered {
        streams.entry((position.author, position.stream)).or_default().push(position.sequence);
    }
    streams
}

/// How many messages each of nine streams has (three authors, three streams each), and an order of arrival with
/// repetitions: all of them at least once unless dropped.
fn traffic() -> impl Strategy<Value = (Vec<u64>, Vec<Position>)> {
    prop::collection::vec(0_u64..12, 9).prop_flat_map(|counts| {
        let mut all = Vec::new();
        for (index, count) in counts.iter().enumerate() {
            let (author, stream) = (index as u8 / 3 + 1, index as u64 % 3 * 10);
            all.extend((0..*count).map(|sequence| at(author, stream, sequence)));
        }
        let repeated = prop::sample::subsequence(all.clone(), 0..=all.len());
        (Just(counts), Just(all), repeated).prop_flat_map(|(counts, mut all, repeated)| {
            all.extend(repeated);
            (Just(counts), Just(all).prop_shuffle())
        })
    })
}

proptest! {
    /// Any order and any repetition: each message once, in order per stream, and nothing is waited for.
    #[test]
    fn all_arrive_once_and_in_order((counts, arrivals) in traffic()) {
        let mut inbox = joined(&config());
        let mut delivered = Vec::new();
        for position in &arrivals {
            let accepted = inbox.accept(*position, id(*position), 1, *position, secs(1));
            prop_assert_eq!(inbox.check_invariants(), Ok(()));
            delivered.extend(accepted.deliver);
        }
        for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let key = (peer(index as u8 / 3 + 1), index as u64 % 3 * 10);
            prop_assert_eq!(&by_stream(&delivered)[&key], &(0..*count).collect::<Vec<_>>());
        }
        prop_assert_eq!(delivered.len() as u64, counts.iter().sum::<u64>());
        prop_assert_eq!((inbox.next_deadline(), inbox.bytes()), (None, 0));
    }

    /// With losses, and a later proof that says what exists: what came is delivered in order, and exactly what did not
    /// come is reported.
    #[test]
    fn exactly_the_missing_are_counted((counts, arrivals) in traffic(), keep in prop::collection::vec(0_u8..4, 99)) {
        let mut inbox = joined(&config());
        let kept: BTreeSet<Position> = arrivals.iter().copied()
            .filter(|position| keep[position.sequence as usize * 9 % 99 + position.stream as usize % 9] > 0)
            .collect();
        let mut delivered = Vec::new();
        for position in arrivals.iter().filter(|position| kept.contains(position)) {
            delivered.extend(inbox.accept(*position, id(*position), 1, *position, secs(1)).deliver);
        }
        let mut lost = 0;
        for author in 1..=3_usize {
            let nexts: Vec<_> = (0..3)
                .map(|stream| StreamNext { stream: stream as u64 * 10, next: counts[(author - 1) * 3 + stream] })
                .collect();
            inbox.expect(peer(author as u8), boot(1), &nexts, secs(2));
            prop_assert_eq!(inbox.check_invariants(), Ok(()));
        }
        prop_assert!(inbox.release_due(secs(3)).is_empty(), "nothing is due yet");
        for released in inbox.release_due(secs(7)) {
            lost += released.lost;
            delivered.extend(released.deliver);
        }
        prop_assert_eq!(inbox.next_deadline(), None);
        prop_assert_eq!(delivered.iter().copied().collect::<BTreeSet<_>>(), kept.clone());
        prop_assert_eq!(delivered.len(), kept.len());
        prop_assert!(by_stream(&delivered).values().all(|sequences| sequences.is_sorted()));
        prop_assert_eq!(lost, counts.iter().sum::<u64>() - kept.len() as u64);
    }
}

/// The plainest receiver of one stream: a set, and a number that moves.
#[derive(Default)]
struct Model {
    next: u64,
    end: u64,
    came: BTreeSet<u64>,
    given_up: u64,
}

impl Model {
    fn advance(&mut self) -> Vec<u64> {
        let mut out = Vec::new();
        while self.came.contains(&self.next) {
            out.push(self.next);
            self.next += 1;
        }
        out
    }

    fn give_up(&mut self) -> Vec<u64> {
        let mut out = Vec::new();
        while self.came.range(self.next..).next().is_some() || self.next < self.end {
            if !self.came.contains(&self.next) {
                self.given_up += 1;
                self.next += 1;
            }
            out.extend(self.advance());
        }
        out
    }
}

proptest! {
    /// Step by step the inbox does what the plainest model does.
    #[test]
    fn the_inbox_is_its_model(steps in prop::collection::vec((0_u8..8, 0_u64..2, 0_u64..25), 0..120)) {
        let mut inbox = Inbox::new(&config());
        inbox.author_linked(peer(1), secs(0));
        inbox.expect(peer(1), boot(1), &[StreamNext { stream: 0, next: 0 }], secs(0));
        let mut models = [Model::default(), Model::default()];
        let (mut now, mut lost) = (secs(0), 0);
        for (kind, stream, sequence) in steps {
            now += Duration::from_millis(1);
            let position = at(1, stream, sequence);
            let model = &mut models[stream as usize];
            let (got, expected): (Vec<u64>, Vec<u64>) = match kind {
                0 => {
                    let nexts = [StreamNext { stream, next: sequence }];
                    model.end = model.end.max(sequence);
                    (inbox.expect(peer(1), boot(1), &nexts, now).deliver, Vec::new())
                }
                1 => {
                    now += Duration::from_secs(5);
                    let released = inbox.release_due(now);
                    lost += released.iter().map(|released| released.lost).sum::<u64>();
                    let expected = models.iter_mut().flat_map(Model::give_up).collect();
                    (released.into_iter().flat_map(|released| released.deliver).collect(), expected)
                }
                _ => {
                    let late = sequence < model.next && !model.came.contains(&sequence);
                    let fresh = !late && model.came.insert(sequence);
                    let expected = model.advance();
                    let accepted = inbox.accept(position, id(position), 1, sequence, now);
                    let outcome = match (late, fresh, expected.is_empty()) {
                        (true, ..) => Outcome::Late,
                        (false, false, _) => Outcome::Duplicate,
                        (false, true, false) => Outcome::Delivered,
                        (false, true, true) => {
                            let first = model.came.range(model.next..).next().copied().unwrap_or(0);
                            Outcome::Held { gap: first - model.next }
                        }
                    };
                    prop_assert_eq!(accepted.outcome, outcome);
                    (accepted.deliver, expected)
                }
            };
            prop_assert_eq!(got, expected);
            prop_assert_eq!(inbox.check_invariants(), Ok(()));
            prop_assert_eq!(lost, models.iter().map(|model| model.given_up).sum::<u64>());
            prop_assert!(inbox.next_deadline().is_none_or(|at| at > now || kind != 1));
        }
    }
}

/// An author and one receiver, whose link fails and comes back; the receiver may also leave and come anew, and the
/// author may leave the room and join it again.
struct Pair {
    outbox: Outbox<Position>,
    inbox: Inbox<Position>,
    config: RoomConfig,
    linked: bool,
    now: Instant,
    delivered: Vec<Position>,
    lost: u64,
    /// What the receiver must get: all sent to it since its baseline.
    owed: Vec<Position>,
    /// Whether the author's copies last, so that nothing may be lost.
    exact: bool,
}

impl Pair {
    fn new(config: RoomConfig, exact: bool) -> Self {
        let mut pair = Self {
            outbox: Outbox::new(peer(1), boot(1), 0, &config),
            inbox: Inbox::new(&config),
            config,
            linked: false,
            now: secs(1),
            delivered: Vec::new(),
            lost: 0,
            owed: Vec::new(),
            exact,
        };
        pair.link(0);
        pair
    }

    fn arrive(&mut self, position: Position) {
        let accepted = self.inbox.accept(position, id(position), 1, position, self.now);
        self.delivered.extend(accepted.deliver);
        self.lost += accepted.lost;
    }

    /// Both proofs cross; `between` messages are sent after the author's proof and before the receiver's comes.
    fn link(&mut self, between: u8) {
        let marks = self.inbox.marks_for(peer(1));
        let (told, nexts) = (self.outbox.end(), self.outbox.nexts_for(peer(2)));
        for _ in 0..between {
            self.send(&[]);
        }
        let expected = self.inbox.expect(peer(1), boot(1), &nexts, self.now);
        self.inbox.author_linked(peer(1), self.now);
        self.delivered.extend(expected.deliver);
        self.lost += expected.lost;
        let missing = self.outbox.missing_for(peer(2), Some(told), &marks);
        for position in missing.iter().map(|kept| kept.position).collect::<Vec<_>>() {
            self.arrive(position);
        }
        self.linked = true;
    }

    fn send(&mut self, recipients: &[PeerId]) {
        let slot = self.outbox.slot(recipients);
        let (instance, sequence) = (boot(1), slot.sequence);
        let position = Position { author: peer(1), instance, stream: slot.stream, sequence };
        self.outbox.sent(slot, recipients, id(position), 1, position, self.now);
        if recipients.is_empty() || recipients.contains(&peer(2)) {
            self.owed.push(position);
            if self.linked {
                self.arrive(position);
            }
        }
    }

    fn step(&mut self, kind: u8, choice: u8) {
        self.now += Duration::from_millis(10);
        match kind {
            0 if self.linked => {
                self.linked = false;
                self.inbox.author_suspected(peer(1));
            }
            0 => self.link(choice % 3),
            1 if choice == 0 => {
                // The receiver comes anew: what it had is accounted for, what comes later is owed.
                self.check();
                self.inbox = Inbox::new(&self.config);
                self.linked = false;
                self.delivered.clear();
                self.owed.clear();
                self.lost = 0;
                self.link(choice);
            }
            1 if choice == 1 => {
                // The author comes anew; what it had not delivered by then goes with its copies.
                self.check();
                self.outbox = Outbox::new(peer(1), boot(1), self.outbox.next_generation(), &self.config);
                self.linked = false;
                self.link(choice);
            }
            2 | 3 => self.send(&[]),
            _ => self.send(&[peer(2), peer(10 + choice)]),
        }
        if kind == 4 {
            self.send(&[peer(3), peer(choice)]);
        }
    }

    /// With a link, everything owed has come, once and in order, or is reported lost.
    fn check(&mut self) {
        // A loss at the end of a stream shows by the next proof.
        if !self.linked || !self.exact {
            self.link(0);
        }
        assert_eq!(self.inbox.check_invariants(), Ok(()));
        if self.exact {
            assert_eq!(by_stream(&self.delivered), by_stream(&self.owed));
            assert_eq!((self.lost, self.inbox.next_deadline()), (0, None));
            return;
        }
        self.now += self.config.gap_timeout;
        for released in self.inbox.release_due(self.now) {
            self.lost += released.lost;
            self.delivered.extend(released.deliver);
        }
        let (came, owed) = (by_stream(&self.delivered), by_stream(&self.owed));
        assert!(came.values().all(|sequences| sequences.is_sorted_by(|a, b| a < b)));
        assert!(came.iter().all(|(key, list)| list.iter().all(|sequence| owed[key].contains(sequence))));
        assert_eq!(self.delivered.len() as u64 + self.lost, self.owed.len() as u64);
        assert_eq!(self.inbox.next_deadline(), None);
    }
}

proptest! {
    /// However links fail and streams are forgotten: what was sent to a member since it joined comes exactly once and
    /// in order after the link is back, and nothing is reported lost.
    #[test]
    fn repair_is_exact(
        streams_max in 2_usize..6,
        steps in prop::collection::vec((0_u8..8, 0_u8..8), 0..150),
    ) {
        let mut config = config();
        config.streams_max = streams_max;
        let mut pair = Pair::new(config, true);
        for (kind, choice) in steps {
            pair.step(kind, choice);
        }
        pair.check();
    }

    /// If the author keeps too little for repair, what did not come is counted exactly.
    #[test]
    fn losses_are_counted_exactly(
        kept in 0_usize..6,
        steps in prop::collection::vec((0_u8..8, 0_u8..8), 0..150),
    ) {
        let mut config = config();
        config.retain_bytes_max = kept * 350;
        let mut pair = Pair::new(config, false);
        for (kind, choice) in steps {
            pair.step(kind, choice);
        }
        pair.check();
    }
}
