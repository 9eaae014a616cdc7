//! How much of the credit of one carrier is to be granted again.
//!
//! Browsers take whatever they are given and only say how much of it still waits (`bufferedAmount`). The node gets
//! credit for [`WINDOW_BYTES`] when a carrier opens, and again for what left that buffer, in parts of a quarter, so that
//! no more than the window ever waits outside of the node.

/// Bytes that the node may have under way to one carrier: as in the native driver.
pub(crate) const WINDOW_BYTES: usize = 256 * 1024;
/// What left is granted again once so much came together.
pub(crate) const GRANT_BYTES: usize = WINDOW_BYTES / 4;
/// A carrier with less than this in its buffer says so (`bufferedAmountLowThreshold`).
pub(crate) const LOW_WATER_BYTES: u32 = 64 * 1024;

/// The credit of one carrier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Credit {
    /// Bytes handed to the carrier that were not granted again.
    outstanding: usize,
}

impl Credit {
    /// `bytes` were handed to the carrier.
    pub(crate) const fn spend(&mut self, bytes: usize) {
        self.outstanding = self.outstanding.saturating_add(bytes);
    }

    /// What to grant, given that `buffered` bytes still wait; 0 while it is not worth telling.
    pub(crate) fn earn(&mut self, buffered: usize) -> usize {
        let left = self.outstanding.saturating_sub(buffered);
        if left < GRANT_BYTES {
            return 0;
        }
        self.outstanding = self.outstanding.saturating_sub(left);
        left
    }

    /// Whether something may be earned soon, so that the buffer is worth another look.
    pub(crate) const fn is_owed(self) -> bool {
        self.outstanding >= GRANT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_left_is_granted_in_quarters_and_once() {
        let mut credit = Credit::default();
        credit.spend(GRANT_BYTES - 1);
        assert!(!credit.is_owed());
        assert_eq!(credit.earn(0), 0);
        credit.spend(1);
        assert!(credit.is_owed());
        assert_eq!(credit.earn(1), 0);
        assert_eq!(credit.earn(0), GRANT_BYTES);
        assert_eq!((credit.earn(0), credit.is_owed()), (0, false));
    }

    #[test]
    fn a_spent_window_always_comes_back_at_the_low_water_mark() {
        // Nothing more can be sent, so nothing but the carrier's own event brings the next grant.
        let mut credit = Credit::default();
        credit.spend(WINDOW_BYTES);
        assert!(credit.earn(LOW_WATER_BYTES as usize) >= GRANT_BYTES);
    }

    #[test]
    fn a_carrier_that_counts_its_own_overhead_owes_nothing() {
        let mut credit = Credit::default();
        credit.spend(100);
        assert_eq!(credit.earn(5000), 0);
    }
}
