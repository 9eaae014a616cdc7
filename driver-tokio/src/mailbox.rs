//! Bounded queues from the node's task to the application.
//!
//! The node's task never waits for the application, so a queue that is not read must have an end: beyond its bound new
//! events are dropped and counted, and one event in their place says how many.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

/// What a mailbox holds.
pub(crate) trait Letter: Sized {
    /// Bytes it occupies besides its own size.
    fn weight(&self) -> usize;

    /// The event that stands for `missed` dropped ones.
    fn lagged(missed: u64) -> Self;
}

struct Queue<T> {
    letters: VecDeque<T>,
    weight: usize,
    missed: u64,
    /// The sender is gone, nothing more comes.
    ended: bool,
    /// The receiver is gone, nothing is wanted.
    unread: bool,
    waker: Option<Waker>,
}

struct Mailbox<T> {
    letters_max: usize,
    weight_max: usize,
    queue: Mutex<Queue<T>>,
}

impl<T> Mailbox<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        // No code that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The node's end of a mailbox. Dropping it ends the stream after what is queued.
pub(crate) struct MailSender<T>(Arc<Mailbox<T>>);

/// The application's end of a mailbox.
pub(crate) struct MailReceiver<T>(Arc<Mailbox<T>>);

/// A mailbox for at most `letters_max` letters of `weight_max` bytes in all.
pub(crate) fn mailbox<T>(letters_max: usize, weight_max: usize) -> (MailSender<T>, MailReceiver<T>) {
    let queue =
        Queue { letters: VecDeque::new(), weight: 0, missed: 0, ended: false, unread: false, waker: None };
    let mailbox = Arc::new(Mailbox { letters_max, weight_max, queue: Mutex::new(queue) });
    (MailSender(Arc::clone(&mailbox)), MailReceiver(mailbox))
}

impl<T: Letter> MailSender<T> {
    /// Queues a letter, or counts it as missed. `false` if nobody reads any more.
    pub(crate) fn send(&self, letter: T) -> bool {
        let mut queue = self.0.lock();
        if queue.unread {
            return false;
        }
        let weight = letter.weight();
        let full = queue.letters.len() >= self.0.letters_max
            || queue.weight.saturating_add(weight) > self.0.weight_max;
        // Once letters were missed, none is queued before the reader has learned of it, so that the gap stands where
        // it belongs.
        if queue.missed > 0 || (full && !queue.letters.is_empty()) {
            queue.missed = queue.missed.saturating_add(1);
        } else {
            queue.weight = queue.weight.saturating_add(weight);
            queue.letters.push_back(letter);
        }
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

impl<T> Drop for MailSender<T> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.ended = true;
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for MailReceiver<T> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.unread = true;
        let letters = std::mem::take(&mut queue.letters);
        drop(queue);
        drop(letters);
    }
}

impl<T: Letter> Stream for MailReceiver<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut queue = self.0.lock();
        if let Some(letter) = queue.letters.pop_front() {
            queue.weight = queue.weight.saturating_sub(letter.weight());
            return Poll::Ready(Some(letter));
        }
        if queue.missed > 0 {
            return Poll::Ready(Some(T::lagged(std::mem::take(&mut queue.missed))));
        }
        if queue.ended {
            return Poll::Ready(None);
        }
        match &mut queue.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    #[derive(Debug, PartialEq)]
    enum Note {
        Text(&'static str),
        Lagged(u64),
    }

    impl Letter for Note {
        fn weight(&self) -> usize {
            if let Self::Text(text) = self { text.len() } else { 0 }
        }

        fn lagged(missed: u64) -> Self {
            Self::Lagged(missed)
        }
    }

    fn drain(receiver: &mut MailReceiver<Note>) -> Vec<Option<Note>> {
        let mut out = Vec::new();
        while let Some(next) = receiver.next().now_or_never() {
            let end = next.is_none();
            out.push(next);
            if end {
                break;
            }
        }
        out
    }

    #[test]
    fn letters_come_in_order_and_the_stream_ends_with_its_sender() {
        let (sender, mut receiver) = mailbox(10, 100);
        assert!(sender.send(Note::Text("a")) && sender.send(Note::Text("b")));
        assert_eq!(drain(&mut receiver), [Some(Note::Text("a")), Some(Note::Text("b"))]);
        sender.send(Note::Text("c"));
        drop(sender);
        assert_eq!(drain(&mut receiver), [Some(Note::Text("c")), None]);
    }

    #[test]
    fn beyond_either_bound_letters_are_counted_and_reported_in_place() {
        for (letters_max, weight_max) in [(2, 1000), (1000, 6)] {
            let (sender, mut receiver) = mailbox(letters_max, weight_max);
            for text in ["one", "two", "lost", "", "lost too"] {
                assert!(sender.send(Note::Text(text)));
            }
            assert_eq!(
                drain(&mut receiver),
                [Some(Note::Text("one")), Some(Note::Text("two")), Some(Note::Lagged(3))]
            );
            sender.send(Note::Text("on"));
            assert_eq!(drain(&mut receiver), [Some(Note::Text("on"))]);
        }
    }

    #[test]
    fn a_letter_above_the_bound_passes_when_it_is_alone() {
        let (sender, mut receiver) = mailbox(10, 2);
        sender.send(Note::Text("large"));
        assert_eq!(drain(&mut receiver), [Some(Note::Text("large"))]);
    }

    #[test]
    fn a_dropped_receiver_is_noticed() {
        let (sender, receiver) = mailbox(10, 100);
        drop(receiver);
        assert!(!sender.send(Note::Text("nobody")));
    }
}
