//! How much work a call takes.

/// Steps of a call: messages taken and queued, frames made, timers fired, events told. What a step looks through is bounded
/// by what the node holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    /// Of the present call, or the last one.
    steps: u32,
    /// How many it may take.
    allowed: u32,
    /// Of the call that took most of those that took more than they may.
    pub(super) excess: Option<u32>,
}

impl Work {
    /// Most steps of a call at which nothing is due: a queue of small messages that goes out at once takes thousands.
    const MOST: u32 = 8192;
    /// More for each timer, of which all may be due together.
    const PER_TIMER: u32 = 16;

    /// A call begins, while so many timers are set.
    pub(super) fn begin(&mut self, timers: usize) {
        let timers = u32::try_from(timers).unwrap_or(u32::MAX);
        self.allowed = timers.saturating_mul(Self::PER_TIMER).saturating_add(Self::MOST);
        self.steps = 0;
    }

    /// Counts a step.
    pub(super) fn step(&mut self) {
        self.steps = self.steps.saturating_add(1);
        if self.steps > self.allowed {
            self.excess = self.excess.max(Some(self.steps));
        }
    }
}
