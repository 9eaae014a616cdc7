//! When to ask for missing messages, and how often to answer those who ask: pauses, so that a burst that arrives out of
//! order costs one question instead of one for each message, and a question costs the other end one answer.

use alloc::collections::BTreeMap;

use crate::{Duration, Instant, PeerId};

/// From one question about an author's streams to the next.
pub const ASK_PAUSE: Duration = Duration::from_millis(500);

/// A member that asks sooner than this after it was answered waits for its next question.
pub const ANSWER_PAUSE: Duration = Duration::from_millis(250);

/// Who was asked about whom, and who was answered. Bounded by the members of the room, who alone ask and are asked about.
#[derive(Clone, Debug, Default)]
pub struct Repairs {
    /// By author: when its missing messages were asked for last, and how often since its gap opened.
    asked: BTreeMap<PeerId, (Instant, usize)>,
    answered: BTreeMap<PeerId, Instant>,
}

impl Repairs {
    /// Whether to ask now for what is missing of `author`; if so, how many times it was asked for before: the first
    /// question goes to the best member, each further one to the next.
    pub fn ask(&mut self, author: PeerId, now: Instant) -> Option<usize> {
        match self.asked.get_mut(&author) {
            None => {
                self.asked.insert(author, (now, 1));
                Some(0)
            }
            Some((at, count)) if now.since(*at) >= ASK_PAUSE => {
                *at = now;
                let before = *count;
                *count = before.saturating_add(1);
                Some(before)
            }
            Some(_) => None,
        }
    }

    /// Forgets what was asked about authors of whom nothing is `missing` any more.
    pub fn settle(&mut self, missing: impl Fn(&PeerId) -> bool) {
        self.asked.retain(|author, _| missing(author));
    }

    /// When to ask again.
    #[must_use]
    pub fn next_question(&self) -> Option<Instant> {
        self.asked.values().map(|(at, _)| *at + ASK_PAUSE).min()
    }

    /// Whether a member that asks is answered now.
    pub fn answer(&mut self, member: PeerId, now: Instant) -> bool {
        let due = self.answered.get(&member).is_none_or(|at| now.since(*at) >= ANSWER_PAUSE);
        if due {
            self.answered.insert(member, now);
        }
        due
    }

    /// Forgets a member.
    pub fn forget(&mut self, member: PeerId) {
        self.asked.remove(&member);
        self.answered.remove(&member);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn a_burst_costs_one_question_and_a_lasting_gap_one_each_pause() {
        let mut repairs = Repairs::default();
        let author = PeerId([1; 32]);
        let asked: Vec<_> = [0, 1, 100, 499, 500, 501, 1000].map(|ms| repairs.ask(author, at(ms))).into();
        assert_eq!(asked, [Some(0), None, None, None, Some(1), None, Some(2)]);
        repairs.settle(|_| true);
        assert_eq!(repairs.next_question(), Some(at(1500)));
        repairs.settle(|_| false);
        assert_eq!(repairs.next_question(), None);
        assert_eq!(repairs.ask(author, at(1001)), Some(0), "a new gap is asked about at once");
    }

    #[test]
    fn each_member_is_answered_once_a_pause() {
        let mut repairs = Repairs::default();
        let (a, b) = (PeerId([1; 32]), PeerId([2; 32]));
        assert!(repairs.answer(a, at(0)) && repairs.answer(b, at(1)));
        assert!(!repairs.answer(a, at(249)) && repairs.answer(a, at(250)));
        repairs.forget(a);
        assert!(repairs.answer(a, at(251)));
    }
}
