//! The messages of others in one room: each delivered once, in the order of its stream, and the missing ones counted.
//!
//! A message comes here after its authorship is certain and its author is known as a member. It counts once its author
//! has proved itself to this node, which says where its streams start; what comes before that may have been delivered
//! to an earlier run of this node, and what is after that start comes again. What comes too early is held, under
//! bounds. A gap is repaired from outside; it is given up `gap_timeout` after it showed, after the last arrival that
//! moved its stream, and after its author was linked or left, whichever is last. While an author is suspected (its
//! link is lost, and it is tried again) its gaps wait, since the author itself repairs them best.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::seen::Seen;
use super::stream::{Place, Stream};
use super::{Position, STREAMS_ON_WIRE, charge};
use crate::time::Duration;
use crate::wire::message::{StreamMark, StreamNext};
use crate::{Instance, Instant, MessageId, PeerId, RoomConfig};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is delivered, and with it what waited for it.
    Delivered,
    /// It came too early and is held.
    Held {
        /// How many messages are missing where its stream waits.
        gap: u64,
    },
    /// It came before.
    Duplicate,
    /// It lies before what is expected: given up as lost, before the baseline, or so old that its id is forgotten.
    Late,
    /// Its author's instance has not proved itself, so that nobody knows where its streams start. It may come again.
    Unproved,
    /// It is of an older instance of its author.
    Replay,
    /// Another message of the same author stands at its position: the author signed two. The first is kept.
    Equivocation,
    /// A bound is reached; it may come again. Or its number is `u64::MAX`, which is never taken.
    Overflow,
}

/// The answer to [`Inbox::accept`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted<M> {
    /// Messages to deliver, in this order.
    pub deliver: Vec<M>,
    /// Messages of the author's older instance that are given up because a newer one began.
    pub lost: u64,
    /// What became of this message.
    pub outcome: Outcome,
}

/// Messages given up, and those that waited for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released<M> {
    /// Whose.
    pub author: PeerId,
    /// How many are missing for good.
    pub lost: u64,
    /// Messages to deliver, in this order.
    pub deliver: Vec<M>,
}

/// A stream that waits for missing messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// Whose stream.
    pub author: PeerId,
    /// The author's instance.
    pub instance: Instance,
    /// The stream.
    pub stream: u64,
    /// The first that is missing.
    pub from: u64,
    /// The first after it that is not.
    pub to: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// Known by its messages only.
    Never,
    Linked(Instant),
    Suspected,
    Left(Instant),
}

#[derive(Clone, Debug)]
struct Author<M> {
    instance: Instance,
    /// Whether a proof of this instance said where its streams start.
    baseline: bool,
    presence: Presence,
    used: u64,
    /// Ascending by id. Most authors have one or two, and a tree of few entries keeps places for eleven.
    streams: Vec<Tracked<M>>,
}

#[derive(Clone, Debug)]
struct Tracked<M> {
    id: u64,
    stream: Stream<M>,
    used: u64,
}

/// Whether an author's instance is the one to be tracked.
enum Entry<M> {
    Current { deliver: Vec<M>, lost: u64 },
    Older,
    Full,
}

/// The received streams of one room.
#[derive(Clone, Debug)]
pub struct Inbox<M> {
    authors: BTreeMap<PeerId, Author<M>>,
    seen: Seen,
    /// The streams with a gap: all that hold messages are among them.
    waiting: BTreeSet<(PeerId, u64)>,
    uses: u64,
    authors_max: usize,
    streams_max: usize,
    held_max: usize,
    held_bytes_max: usize,
    gap_timeout: Duration,
}

impl<M> Inbox<M> {
    /// An inbox bounded by `config`.
    ///
    /// Authors: four times `mesh_max`, the least recently used unlinked one gives way. Streams: twice `streams_max` per
    /// author, since the author forgets its own beyond `streams_max` and what arrives out of order must not make this
    /// end forget them sooner. Held: `reorder_max` messages per stream, `retain_bytes_max` bytes in all. Ids:
    /// `dedup_max`.
    #[must_use]
    pub fn new(config: &RoomConfig) -> Self {
        Self {
            authors: BTreeMap::new(),
            seen: Seen::new(config.dedup_max),
            waiting: BTreeSet::new(),
            uses: 0,
            authors_max: config.mesh_max.saturating_mul(4).max(4),
            streams_max: config.streams_max.clamp(2, STREAMS_ON_WIRE).saturating_mul(2),
            held_max: config.reorder_max,
            held_bytes_max: config.retain_bytes_max,
            gap_timeout: config.gap_timeout,
        }
    }

    /// Takes a message whose author is certain. `bytes` is what it costs to hold.
    pub fn accept(
        &mut self,
        at: Position,
        id: MessageId,
        bytes: usize,
        message: M,
        now: Instant,
    ) -> Accepted<M> {
        let refused = |outcome| Accepted { deliver: Vec::new(), lost: 0, outcome };
        if at.sequence == u64::MAX {
            return refused(Outcome::Overflow);
        }
        if !self.authors.contains_key(&at.author) {
            return refused(Outcome::Unproved);
        }
        let (mut deliver, lost) = match self.enter(at.author, at.instance) {
            Entry::Current { deliver, lost } => (deliver, lost),
            Entry::Older => return refused(Outcome::Replay),
            Entry::Full => return refused(Outcome::Overflow),
        };
        let outcome = match self.seen.id_at(&at) {
            Some(known) if known == id => Outcome::Duplicate,
            Some(_) => Outcome::Equivocation,
            None if !self.has_baseline(at.author) => Outcome::Unproved,
            None => self.accept_unseen(at, id, bytes, message, &mut deliver, now),
        };
        self.note_gap(at.author, at.stream);
        Accepted { deliver, lost, outcome }
    }

    fn accept_unseen(
        &mut self,
        at: Position,
        id: MessageId,
        bytes: usize,
        message: M,
        deliver: &mut Vec<M>,
        now: Instant,
    ) -> Outcome {
        self.open_stream(at, now);
        let Some(stream) = self.stream_mut(at.author, at.stream) else {
            return Outcome::Overflow;
        };
        match stream.place(at.sequence) {
            Place::Behind => return Outcome::Late,
            Place::Next => {
                stream.deliver(message, deliver, now);
                self.seen.insert(at, id);
                return Outcome::Delivered;
            }
            Place::Ahead => {}
        }
        match stream.held_id(at.sequence) {
            Some(held) if held == id => return Outcome::Duplicate,
            Some(_) => return Outcome::Equivocation,
            None => {}
        }
        let fits = self.make_room(at, charge(bytes), now);
        let Some(stream) = self.stream_mut(at.author, at.stream) else {
            return Outcome::Overflow;
        };
        if !fits {
            stream.ends_at(at.sequence.saturating_add(1), now);
            return Outcome::Overflow;
        }
        stream.hold(at.sequence, id, bytes, message, now);
        let gap = stream.gap().map_or(0, |gap| gap.to.saturating_sub(gap.from));
        self.seen.insert(at, id);
        Outcome::Held { gap }
    }

    fn has_baseline(&self, author: PeerId) -> bool {
        self.authors.get(&author).is_some_and(|known| known.baseline)
    }

    /// Learns from a verified proof where an author's streams towards this node stand.
    ///
    /// The first proof of an instance is its baseline: what came before is not waited for. Later ones tell what exists,
    /// so that losses at a stream's end show. An older instance's proof changes nothing.
    pub fn expect(
        &mut self,
        author: PeerId,
        instance: Instance,
        nexts: &[StreamNext],
        now: Instant,
    ) -> Released<M> {
        let mut released = Released { author, lost: 0, deliver: Vec::new() };
        let Entry::Current { deliver, lost } = self.enter(author, instance) else {
            return released;
        };
        released.deliver = deliver;
        released.lost = lost;
        let Some(entry) = self.authors.get_mut(&author) else {
            return released;
        };
        let first = !core::mem::replace(&mut entry.baseline, true);
        for next in nexts.iter().take(STREAMS_ON_WIRE) {
            self.open_stream(Position { author, instance, stream: next.stream, sequence: next.next }, now);
            if let Some(stream) = self.stream_mut(author, next.stream) {
                if first {
                    stream.begin_at(next.next);
                } else {
                    stream.ends_at(next.next, now);
                }
            }
            self.note_gap(author, next.stream);
        }
        released
    }

    /// The author is linked (again): its gaps get their full time from here on.
    pub fn author_linked(&mut self, author: PeerId, now: Instant) {
        if !self.authors.contains_key(&author) && !self.insert_author(author, Instance::default()) {
            return;
        }
        self.set_presence(author, Presence::Linked(now));
    }

    /// The author's last link is lost and it is tried again: its gaps wait until it is linked or has left.
    pub fn author_suspected(&mut self, author: PeerId) {
        self.set_presence(author, Presence::Suspected);
    }

    /// The author has left or is given up: its gaps get their full time from here on, for repair by others.
    pub fn author_left(&mut self, author: PeerId, now: Instant) {
        self.set_presence(author, Presence::Left(now));
    }

    fn set_presence(&mut self, author: PeerId, presence: Presence) {
        if let Some(author) = self.authors.get_mut(&author) {
            author.presence = presence;
        }
    }

    /// Gives up the gaps whose time has passed.
    pub fn release_due(&mut self, now: Instant) -> Vec<Released<M>> {
        let waiting: Vec<_> = self.waiting.iter().copied().collect();
        let mut all = Vec::new();
        for (author, id) in waiting {
            let mut released = Released { author, lost: 0, deliver: Vec::new() };
            while self.deadline_of(author, id).is_some_and(|at| at <= now) {
                if let Some(stream) = self.stream_mut(author, id) {
                    released.lost = released.lost.saturating_add(stream.release(&mut released.deliver));
                }
            }
            self.note_gap(author, id);
            if released.lost > 0 || !released.deliver.is_empty() {
                all.push(released);
            }
        }
        all
    }

    /// When [`release_due`](Self::release_due) has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|(author, stream)| self.deadline_of(*author, *stream)).min()
    }

    fn deadline_of(&self, author: PeerId, stream: u64) -> Option<Instant> {
        let author = self.authors.get(&author)?;
        let since = author.tracked(stream)?.stream.waiting_since()?;
        let since = match author.presence {
            Presence::Never => since,
            Presence::Linked(at) | Presence::Left(at) => since.max(at),
            Presence::Suspected => return None,
        };
        Some(since + self.gap_timeout)
    }

    /// The streams that wait, and what for.
    pub fn gaps(&self) -> impl Iterator<Item = Missing> {
        self.waiting.iter().filter_map(|(author, stream)| {
            let known = self.authors.get(author)?;
            let gap = known.tracked(*stream)?.stream.gap()?;
            let (instance, from, to) = (known.instance, gap.from, gap.to);
            Some(Missing { author: *author, instance, stream: *stream, from, to })
        })
    }

    /// Whether messages of `author` are missing.
    #[must_use]
    pub fn lacks_of(&self, author: PeerId) -> bool {
        self.waiting.range((author, 0)..=(author, u64::MAX)).next().is_some()
    }

    /// How far the streams of `author` were received, for the proof to that author: at most [`STREAMS_ON_WIRE`], the one
    /// to all first, then by recent use. Empty until its first proof came.
    #[must_use]
    pub fn marks_for(&self, author: PeerId) -> Vec<StreamMark> {
        let Some(known) = self.authors.get(&author).filter(|known| known.baseline) else {
            return Vec::new();
        };
        let mut streams: Vec<_> = known.streams.iter().collect();
        streams.sort_by_key(|tracked| (tracked.id != super::ALL, core::cmp::Reverse(tracked.used)));
        streams.into_iter().take(STREAMS_ON_WIRE).map(|tracked| known.mark(author, tracked)).collect()
    }

    /// How far all streams were received, for repair by other members. To be sent in parts of [`STREAMS_ON_WIRE`]; to an
    /// author about its own streams, [`marks_for`](Self::marks_for) goes.
    pub fn all_marks(&self) -> impl Iterator<Item = StreamMark> {
        self.authors
            .iter()
            .flat_map(|(author, known)| known.streams.iter().map(|tracked| known.mark(*author, tracked)))
    }

    /// Whether a message with this id was taken and is remembered.
    #[must_use]
    pub fn has_seen(&self, id: &MessageId) -> bool {
        self.seen.contains(id)
    }

    /// Bytes held, entries included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.waiting.iter().map(|(author, stream)| self.held_bytes_of(*author, *stream)).sum()
    }

    fn held_bytes_of(&self, author: PeerId, stream: u64) -> usize {
        let tracked = self.authors.get(&author).and_then(|known| known.tracked(stream));
        tracked.map_or(0, |tracked| tracked.stream.held_bytes())
    }

    fn stream_mut(&mut self, author: PeerId, stream: u64) -> Option<&mut Stream<M>> {
        Some(&mut self.authors.get_mut(&author)?.tracked_mut(stream)?.stream)
    }

    fn note_gap(&mut self, author: PeerId, stream: u64) {
        if self.stream_mut(author, stream).is_some_and(|stream| stream.gap().is_some()) {
            self.waiting.insert((author, stream));
        } else {
            self.waiting.remove(&(author, stream));
        }
    }

    /// Makes sure that `instance` of `author` is the one tracked. A newer one ends the older: what it held is delivered.
    fn enter(&mut self, author: PeerId, instance: Instance) -> Entry<M> {
        if !self.authors.contains_key(&author) && !self.insert_author(author, instance) {
            return Entry::Full;
        }
        self.uses = self.uses.saturating_add(1);
        let Some(known) = self.authors.get_mut(&author) else {
            return Entry::Full;
        };
        if instance < known.instance {
            return Entry::Older;
        }
        known.used = self.uses;
        let (mut deliver, mut lost) = (Vec::new(), 0_u64);
        if instance > known.instance {
            known.instance = instance;
            known.baseline = false;
            for mut tracked in core::mem::take(&mut known.streams) {
                lost = lost.saturating_add(tracked.stream.release_all(&mut deliver));
            }
            self.waiting.retain(|(waiting, _)| *waiting != author);
        }
        Entry::Current { deliver, lost }
    }

    fn insert_author(&mut self, author: PeerId, instance: Instance) -> bool {
        if self.authors.len() >= self.authors_max {
            let idle = self.authors.iter().filter(|(id, known)| {
                !matches!(known.presence, Presence::Linked(_))
                    && self.waiting.range((**id, 0)..=(**id, u64::MAX)).next().is_none()
            });
            let Some(oldest) = idle.min_by_key(|(_, known)| known.used).map(|(id, _)| *id) else {
                return false;
            };
            self.authors.remove(&oldest);
        }
        let (presence, streams) = (Presence::Never, Vec::new());
        self.authors.insert(author, Author { instance, baseline: false, presence, used: self.uses, streams });
        true
    }

    /// Makes sure that a stream is tracked, if the bound allows. It starts where it was left if that is remembered, else at
    /// 0, from where the first message moves it to its generation: a stream that the baseline did not list started later.
    fn open_stream(&mut self, at: Position, now: Instant) {
        let Some(known) = self.authors.get_mut(&at.author) else {
            return;
        };
        if let Some(tracked) = known.tracked_mut(at.stream) {
            tracked.used = self.uses;
            return;
        }
        if known.streams.len() >= self.streams_max {
            let idle = known
                .streams
                .iter()
                .filter(|tracked| tracked.id != super::ALL && tracked.stream.gap().is_none());
            let Some(oldest) = idle.min_by_key(|tracked| tracked.used).map(|tracked| tracked.id) else {
                return;
            };
            known.streams.retain(|tracked| tracked.id != oldest);
        }
        let next = self.seen.last_before(at).map_or(0, |last| last.saturating_add(1));
        let tracked = Tracked { id: at.stream, stream: Stream::new(next, now), used: self.uses };
        known.insert(tracked);
    }

    /// Makes room for a message to be held, by dropping messages with higher numbers of the same stream, and by dropping
    /// those of an author who takes more than this one would.
    fn make_room(&mut self, at: Position, bytes: usize, now: Instant) -> bool {
        let held_max = self.held_max;
        let full = |stream: &mut Stream<M>| stream.held_len() >= held_max;
        if self.stream_mut(at.author, at.stream).is_none_or(full) && !self.drop_after(at, now) {
            return false;
        }
        while self.bytes().saturating_add(bytes) > self.held_bytes_max {
            let mut by_author: BTreeMap<PeerId, usize> = BTreeMap::new();
            for (author, stream) in &self.waiting {
                let sum = by_author.entry(*author).or_default();
                *sum = sum.saturating_add(self.held_bytes_of(*author, *stream));
            }
            let own = by_author.get(&at.author).copied().unwrap_or(0).saturating_add(bytes);
            let heaviest = by_author.into_iter().max_by_key(|(_, sum)| *sum);
            let dropped = match heaviest {
                Some((author, sum)) if author != at.author && sum > own => self.drop_from(author, now),
                Some(_) => self.drop_after(at, now),
                None => false,
            };
            if !dropped {
                return false;
            }
        }
        true
    }

    /// Drops the last held message of a stream if it comes after `at`.
    fn drop_after(&mut self, at: Position, now: Instant) -> bool {
        let last = self.stream_mut(at.author, at.stream).and_then(|stream| stream.held_last());
        if last.is_none_or(|last| last < at.sequence) {
            return false;
        }
        self.drop_last(at.author, at.stream, now)
    }

    /// Drops the last held message of an author's heaviest stream.
    fn drop_from(&mut self, author: PeerId, now: Instant) -> bool {
        let streams = self.waiting.range((author, 0)..=(author, u64::MAX)).map(|(_, stream)| *stream);
        let heaviest = streams.max_by_key(|stream| self.held_bytes_of(author, *stream));
        heaviest.is_some_and(|stream| self.drop_last(author, stream, now))
    }

    fn drop_last(&mut self, author: PeerId, stream: u64, now: Instant) -> bool {
        let Some(instance) = self.authors.get(&author).map(|known| known.instance) else {
            return false;
        };
        let dropped = self.stream_mut(author, stream).and_then(|stream| stream.drop_last(now));
        if let Some(sequence) = dropped {
            self.seen.remove(&Position { author, instance, stream, sequence });
            self.note_gap(author, stream);
        }
        dropped.is_some()
    }

    /// Checks what must always hold; for tests.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        if self.authors.len() > self.authors_max || self.seen.len() > self.seen.max() {
            return Err("too many authors or ids");
        }
        if self.bytes() > self.held_bytes_max {
            return Err("too many bytes held");
        }
        for (author, known) in &self.authors {
            if known.streams.len() > self.streams_max {
                return Err("too many streams");
            }
            for tracked in &known.streams {
                let Tracked { id, stream, .. } = tracked;
                if self.waiting.contains(&(*author, *id)) != stream.gap().is_some() {
                    return Err("the waiting streams are not those with gaps");
                }
                if stream.held_len() > self.held_max || (stream.held_len() > 0 && stream.gap().is_none()) {
                    return Err("messages are held without need");
                }
            }
        }
        Ok(())
    }
}

impl<M> Author<M> {
    fn mark(&self, author: PeerId, tracked: &Tracked<M>) -> StreamMark {
        let (instance, stream, next) = (self.instance, tracked.id, tracked.stream.next());
        StreamMark { author, instance, stream, next }
    }

    fn position(&self, id: u64) -> Result<usize, usize> {
        self.streams.binary_search_by_key(&id, |tracked| tracked.id)
    }

    fn tracked(&self, id: u64) -> Option<&Tracked<M>> {
        self.position(id).ok().and_then(|at| self.streams.get(at))
    }

    fn tracked_mut(&mut self, id: u64) -> Option<&mut Tracked<M>> {
        self.position(id).ok().and_then(|at| self.streams.get_mut(at))
    }

    /// Adds a stream that is not tracked.
    fn insert(&mut self, tracked: Tracked<M>) {
        if let Err(at) = self.position(tracked.id) {
            self.streams.reserve_exact(1);
            self.streams.insert(at, tracked);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::NetworkId;
    use crate::rooms::testing::{at, boot, id, peer};
    use crate::rooms::{ENTRY_BYTES, generation_start};

    const GAP: u64 = 5;

    fn config() -> RoomConfig {
        let mut config = crate::Config::client(NetworkId::default()).rooms;
        config.gap_timeout = Duration::from_secs(GAP);
        config
    }

    fn next(stream: u64, next: u64) -> StreamNext {
        StreamNext { stream, next }
    }

    fn secs(n: u64) -> Instant {
        Instant::from_secs(n)
    }

    /// Takes an honest message at second `now`; what is delivered, and the outcome.
    fn take(inbox: &mut Inbox<u64>, position: Position, now: u64) -> (Vec<u64>, Outcome) {
        let accepted = inbox.accept(position, id(position), 10, position.sequence, secs(now));
        assert_eq!(inbox.check_invariants(), Ok(()));
        assert_eq!(accepted.lost, 0);
        (accepted.deliver, accepted.outcome)
    }

    fn joined() -> Inbox<u64> {
        let mut inbox = Inbox::new(&config());
        inbox.author_linked(peer(1), secs(0));
        inbox.expect(peer(1), boot(1), &[next(0, 0)], secs(0));
        inbox
    }

    fn released(author: u8, lost: u64, deliver: &[u64]) -> Vec<Released<u64>> {
        vec![Released { author: peer(author), lost, deliver: deliver.to_vec() }]
    }

    #[test]
    fn each_outcome() {
        let mut inbox = joined();
        assert_eq!(take(&mut inbox, at(1, 0, 0), 0), (vec![0], Outcome::Delivered));
        assert_eq!(take(&mut inbox, at(1, 0, 3), 0), (vec![], Outcome::Held { gap: 2 }));
        assert_eq!(take(&mut inbox, at(1, 0, 0), 0), (vec![], Outcome::Duplicate));
        assert_eq!(take(&mut inbox, at(1, 0, 3), 0), (vec![], Outcome::Duplicate));
        for sequence in [0, 3] {
            let forged = inbox.accept(at(1, 0, sequence), id(at(9, 9, 9)), 1, 99, secs(0));
            assert_eq!((forged.deliver, forged.outcome), (vec![], Outcome::Equivocation));
        }
        let older = Position { instance: boot(0), ..at(1, 0, 1) };
        assert_eq!(take(&mut inbox, older, 0), (vec![], Outcome::Replay));
        assert_eq!(take(&mut inbox, at(1, 0, u64::MAX), 0), (vec![], Outcome::Overflow));
        assert_eq!(take(&mut inbox, at(1, 0, 1), 0), (vec![1], Outcome::Delivered));
        assert_eq!(inbox.release_due(secs(GAP)), released(1, 1, &[3]));
        assert_eq!(take(&mut inbox, at(1, 0, 2), 9), (vec![], Outcome::Late));
        assert_eq!(inbox.marks_for(peer(1)).iter().map(|mark| mark.next).collect::<Vec<_>>(), [4]);
        assert!(inbox.has_seen(&id(at(1, 0, 3))) && !inbox.has_seen(&id(at(1, 0, 2))));
    }

    #[test]
    fn huge_numbers_are_gaps_and_overflow_nothing() {
        for sequence in [(1 << 32) - 1, 1 << 40, u64::MAX - 1] {
            let mut inbox = joined();
            let (deliver, outcome) = take(&mut inbox, at(1, 0, sequence), 0);
            let missing = sequence - generation_start(sequence);
            if missing == 0 {
                assert_eq!((deliver, outcome), (vec![sequence], Outcome::Delivered));
            } else {
                assert_eq!((deliver, outcome), (vec![], Outcome::Held { gap: missing }));
                assert_eq!(inbox.release_due(secs(GAP)), released(1, missing, &[sequence]));
            }
            assert_eq!(inbox.next_deadline(), None);
        }
        let mut inbox = joined();
        inbox.expect(peer(1), boot(1), &[next(0, u64::MAX), next(0, u64::MAX)], secs(1));
        assert_eq!(inbox.release_due(secs(GAP + 1)), released(1, u64::from(u32::MAX), &[]));
        assert_eq!(take(&mut inbox, at(1, 0, u64::MAX - 1), 7), (vec![], Outcome::Late));
    }

    #[test]
    fn a_gap_waits_for_its_author_while_that_is_suspected() {
        let mut inbox = joined();
        take(&mut inbox, at(1, 0, 1), 10);
        assert_eq!(inbox.next_deadline(), Some(secs(10 + GAP)));
        inbox.author_suspected(peer(1));
        assert_eq!((inbox.next_deadline(), inbox.release_due(secs(99))), (None, vec![]));
        inbox.author_linked(peer(1), secs(100));
        assert_eq!(inbox.next_deadline(), Some(secs(100 + GAP)));
        inbox.author_left(peer(1), secs(102));
        assert_eq!(inbox.next_deadline(), Some(secs(102 + GAP)));
        let gaps: Vec<_> = inbox.gaps().collect();
        assert_eq!(gaps, [Missing { author: peer(1), instance: boot(1), stream: 0, from: 0, to: 1 }]);
        assert_eq!(inbox.release_due(secs(101 + GAP)), vec![]);
        assert_eq!(inbox.release_due(secs(102 + GAP)), released(1, 1, &[1]));
        assert_eq!((inbox.next_deadline(), inbox.bytes()), (None, 0));
    }

    #[test]
    fn gaps_that_showed_together_are_given_up_together() {
        let mut inbox = joined();
        for sequence in [1, 3, 9] {
            take(&mut inbox, at(1, 0, sequence), 1);
        }
        take(&mut inbox, at(1, 0, 20), 4);
        assert_eq!(inbox.release_due(secs(1 + GAP)), released(1, 7, &[1, 3, 9]));
        assert_eq!(inbox.next_deadline(), Some(secs(4 + GAP)), "the last showed later");
        assert_eq!(inbox.release_due(secs(4 + GAP)), released(1, 10, &[20]));
    }

    #[test]
    fn nothing_counts_before_its_author_proved_itself() {
        let mut inbox = Inbox::new(&config());
        for early in [at(1, 0, 7), at(1, 0, 8), at(1, 5, 0)] {
            assert_eq!(take(&mut inbox, early, 0), (vec![], Outcome::Unproved));
            assert!(!inbox.has_seen(&id(early)), "it may come again");
        }
        inbox.author_left(peer(1), secs(1));
        assert_eq!((inbox.next_deadline(), inbox.release_due(secs(99)), inbox.bytes()), (None, vec![], 0));
        assert_eq!((inbox.marks_for(peer(1)), inbox.all_marks().count()), (vec![], 0));

        let proof = inbox.expect(peer(1), boot(1), &[next(0, 8), next(5, 1)], secs(100));
        assert_eq!(proof, Released { author: peer(1), lost: 0, deliver: vec![] });
        for before in [at(1, 0, 7), at(1, 5, 0)] {
            assert_eq!(
                take(&mut inbox, before, 100),
                (vec![], Outcome::Late),
                "an earlier run may have had it"
            );
        }
        assert_eq!(take(&mut inbox, at(1, 0, 8), 100), (vec![8], Outcome::Delivered));
        assert_eq!(
            take(&mut inbox, at(1, 6, 2), 100),
            (vec![], Outcome::Held { gap: 2 }),
            "started after the proof"
        );
    }

    #[test]
    fn a_baseline_forgives_what_came_before_and_a_later_proof_does_not() {
        let mut inbox = Inbox::new(&config());
        inbox.expect(peer(1), boot(1), &[next(0, 5)], secs(0));
        assert_eq!(take(&mut inbox, at(1, 0, 4), 0), (vec![], Outcome::Late));
        assert_eq!(take(&mut inbox, at(1, 0, 5), 0), (vec![5], Outcome::Delivered));
        let older = inbox.expect(peer(1), boot(0), &[next(0, 99)], secs(1));
        assert_eq!((older.lost, inbox.next_deadline()), (0, None));
        inbox.expect(peer(1), boot(1), &[next(0, 8), next(3, 2)], secs(1));
        assert_eq!(take(&mut inbox, at(1, 0, 6), 2), (vec![6], Outcome::Delivered));
        let both = [released(1, 1, &[]), released(1, 2, &[])].concat();
        assert_eq!(inbox.release_due(secs(2 + GAP)), both, "7, and two of a stream of which nothing came");
    }

    #[test]
    fn a_newer_instance_ends_the_older_one() {
        let mut inbox = joined();
        take(&mut inbox, at(1, 0, 2), 0);
        let restarted = Position { instance: boot(2), ..at(1, 0, 0) };
        let accepted = inbox.accept(restarted, id(restarted), 1, 100, secs(1));
        assert_eq!(accepted, Accepted { deliver: vec![2], lost: 2, outcome: Outcome::Unproved });
        assert_eq!(inbox.marks_for(peer(1)), []);
        inbox.expect(peer(1), boot(2), &[next(0, 0)], secs(1));
        assert_eq!(take(&mut inbox, restarted, 1), (vec![0], Outcome::Delivered));
        assert_eq!(take(&mut inbox, at(1, 0, 0), 1), (vec![], Outcome::Replay));
        assert_eq!(inbox.next_deadline(), None);
        assert_eq!(inbox.check_invariants(), Ok(()));
    }

    #[test]
    fn held_messages_are_bounded_by_number_and_the_nearest_stay() {
        let mut config = config();
        config.reorder_max = 2;
        let mut inbox = Inbox::new(&config);
        inbox.expect(peer(1), boot(1), &[next(0, 0)], secs(0));
        for sequence in [4, 6] {
            take(&mut inbox, at(1, 0, sequence), 0);
        }
        assert_eq!(take(&mut inbox, at(1, 0, 8), 0), (vec![], Outcome::Overflow));
        assert_eq!(take(&mut inbox, at(1, 0, 2), 0), (vec![], Outcome::Held { gap: 2 }), "6 gives way");
        assert!(!inbox.has_seen(&id(at(1, 0, 6))), "it may come again");
        assert_eq!(inbox.release_due(secs(GAP)), released(1, 7, &[2, 4]), "0, 1, 3, and 5 to 8");
    }

    #[test]
    fn held_messages_are_bounded_by_bytes_and_the_heaviest_author_gives_way() {
        let mut config = config();
        config.retain_bytes_max = 4 * (ENTRY_BYTES + 10);
        let mut inbox = Inbox::new(&config);
        for author in [1, 2] {
            inbox.expect(peer(author), boot(1), &[next(0, 0)], secs(0));
        }
        for sequence in [1, 2, 3, 4] {
            take(&mut inbox, at(1, 0, sequence), 0);
        }
        assert_eq!(take(&mut inbox, at(1, 0, 5), 0), (vec![], Outcome::Overflow));
        for sequence in [1, 2] {
            assert_eq!(take(&mut inbox, at(2, 0, sequence), 0), (vec![], Outcome::Held { gap: 1 }));
        }
        assert_eq!(take(&mut inbox, at(2, 0, 3), 0), (vec![], Outcome::Overflow), "both have their half");
        assert_eq!(inbox.bytes(), config.retain_bytes_max);
        assert_eq!(take(&mut inbox, at(1, 0, 0), 0), (vec![0, 1, 2], Outcome::Delivered));
        inbox.expect(peer(3), boot(1), &[next(0, 0)], secs(0));
        let huge = inbox.accept(at(3, 0, 1), id(at(3, 0, 1)), usize::MAX, 1, secs(0));
        assert_eq!(huge.outcome, Outcome::Overflow);
    }

    #[test]
    fn authors_and_streams_are_bounded_and_idle_ones_give_way() {
        let mut config = config();
        config.mesh_max = 1;
        config.streams_max = 2;
        let mut inbox = Inbox::new(&config);
        inbox.author_linked(peer(1), secs(0));
        for author in 1..=9 {
            inbox.expect(peer(author), boot(1), &[next(0, 0)], secs(0));
        }
        assert_eq!(inbox.all_marks().map(|mark| mark.author.0[0]).collect::<Vec<_>>(), [1, 7, 8, 9]);
        for stream in 1..9 {
            assert_eq!(take(&mut inbox, at(1, stream, 0), 0), (vec![0], Outcome::Delivered));
        }
        let marks: Vec<_> = inbox.marks_for(peer(1)).iter().map(|mark| mark.stream).collect();
        assert_eq!(marks, [0, 8, 7, 6], "the one to all, then by recent use");
        assert_eq!(take(&mut inbox, at(1, 1, 0), 0), (vec![], Outcome::Duplicate), "forgotten, not its ids");
        assert_eq!(
            take(&mut inbox, at(1, 1, 1), 0),
            (vec![1], Outcome::Delivered),
            "it goes on where it was"
        );
        for stream in [11, 12, 13] {
            assert_eq!(take(&mut inbox, at(1, stream, 1), 0), (vec![], Outcome::Held { gap: 1 }));
        }
        assert_eq!(take(&mut inbox, at(1, 14, 1), 0), (vec![], Outcome::Overflow), "none is idle");
    }
}
