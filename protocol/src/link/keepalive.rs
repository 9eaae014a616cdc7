//! When a link is pinged, when it is lost, and how long a round trip takes.

use core::time::Duration;

use crate::Instant;

#[derive(Clone, Copy, Debug)]
struct Ping {
    token: u64,
    /// When it was handed over; `None` while it waits for credit.
    sent: Option<Instant>,
}

/// Liveness of one established link.
#[derive(Debug)]
pub(super) struct Keepalive {
    /// Whether silence means anything; else only what is asked for is sent.
    periodic: bool,
    ping_after: Duration,
    silence: Duration,
    /// When the peer was last heard.
    heard: Instant,
    /// From when silence counts: like `heard`, or later after a sleep.
    alive: Instant,
    /// The latest ping, until it is answered.
    ping: Option<Ping>,
    /// The latest ping's time, answered or not.
    pinged: Instant,
    tokens: u64,
    /// The latest token of the peer that is not answered.
    pong: Option<u64>,
    rtt: RoundTrip,
}

impl Keepalive {
    pub(super) const fn new(ping_after: Duration, silence: Duration, rtt: RoundTrip, now: Instant) -> Self {
        Self {
            periodic: true,
            ping_after,
            silence,
            heard: now,
            alive: now,
            ping: None,
            pinged: now,
            tokens: 0,
            pong: None,
            rtt,
        }
    }

    /// The same without pings of its own: somebody else notices the loss.
    pub(super) const fn passive(self) -> Self {
        Self { periodic: false, ..self }
    }

    /// An authenticated frame came.
    pub(super) const fn handle_frame(&mut self, now: Instant) {
        self.heard = now;
        self.alive = now;
    }

    pub(super) const fn handle_ping(&mut self, token: u64) {
        self.pong = Some(token);
    }

    /// The round-trip time, if this answers the latest ping.
    pub(super) fn handle_pong(&mut self, token: u64, now: Instant) -> Option<Duration> {
        let sent = self.ping.filter(|ping| ping.token == token)?.sent?;
        self.ping = None;
        let sample = now.since(sent);
        self.rtt.sample(sample);
        Some(sample)
    }

    /// Wants a ping, unless one is under way.
    pub(super) const fn probe(&mut self, now: Instant) {
        if self.ping.is_none() {
            self.ping(now);
        }
    }

    const fn ping(&mut self, now: Instant) {
        self.tokens = self.tokens.wrapping_add(1);
        self.pinged = now;
        self.ping = Some(Ping { token: self.tokens, sent: None });
    }

    /// The clock jumped over a sleep: silence counts from `now`.
    pub(super) const fn shift(&mut self, now: Instant) {
        self.alive = now;
        self.pinged = now;
    }

    /// Fires what is due; whether the peer is lost.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        if !self.periodic {
            return false;
        }
        if now >= self.alive + self.silence {
            return true;
        }
        if self.ping_at().is_some_and(|at| now >= at) {
            self.ping(now);
        }
        false
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let lost = self.alive + self.silence;
        self.periodic.then(|| self.ping_at().map_or(lost, |ping| ping.min(lost)))
    }

    /// When the next ping is due; none while one waits for credit.
    fn ping_at(&self) -> Option<Instant> {
        let waits = self.ping.is_some_and(|ping| ping.sent.is_none());
        (!waits).then(|| self.alive.max(self.pinged) + self.ping_after)
    }

    /// Whether a ping or a pong waits to be sent.
    pub(super) fn is_due(&self) -> bool {
        self.pong.is_some() || self.due_ping().is_some()
    }

    /// The token of a ping that waits to be sent.
    pub(super) fn due_ping(&self) -> Option<u64> {
        self.ping.filter(|ping| ping.sent.is_none()).map(|ping| ping.token)
    }

    /// The token of a pong that waits to be sent.
    pub(super) const fn due_pong(&self) -> Option<u64> {
        self.pong
    }

    /// The ping that was due is handed over.
    pub(super) const fn ping_sent(&mut self, now: Instant) {
        if let Some(ping) = &mut self.ping {
            ping.sent = Some(now);
        }
    }

    /// The pong that was due is handed over.
    pub(super) const fn pong_sent(&mut self) {
        self.pong = None;
    }

    pub(super) const fn last_heard(&self) -> Instant {
        self.heard
    }

    pub(super) const fn rtt(&self) -> Option<Duration> {
        self.rtt.smoothed
    }
}

/// The round-trip estimator of RFC 6298, section 2, without the timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RoundTrip {
    smoothed: Option<Duration>,
}

impl RoundTrip {
    pub(super) fn sample(&mut self, sample: Duration) {
        self.smoothed = Some(match self.smoothed {
            None => sample,
            // alpha = 1/8
            Some(smoothed) => (smoothed.saturating_mul(7).saturating_add(sample)) / 8,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn keepalive() -> Keepalive {
        Keepalive::new(ms(5000), ms(10_000), RoundTrip::default(), Instant::ZERO)
    }

    #[test]
    fn a_ping_after_silence_and_loss_after_more() {
        let mut link = keepalive();
        assert_eq!(link.poll_timeout(), Some(Instant::from_secs(5)));
        assert!(!link.handle_timeout(Instant::from_millis(4999)));
        assert_eq!(link.due_ping(), None);
        assert!(!link.handle_timeout(Instant::from_secs(5)));
        assert_eq!((link.due_ping(), link.poll_timeout()), (Some(1), Some(Instant::from_secs(10))));
        link.ping_sent(Instant::from_secs(5));
        assert_eq!((link.due_ping(), link.poll_timeout()), (None, Some(Instant::from_secs(10))));
        assert!(link.handle_timeout(Instant::from_secs(10)));
    }

    #[test]
    fn a_peer_that_speaks_but_ignores_pings_is_pinged_on() {
        let mut link = keepalive();
        for second in [5, 10, 15] {
            link.handle_frame(Instant::from_secs(second - 5));
            assert!(!link.handle_timeout(Instant::from_secs(second)));
            assert_eq!(link.due_ping(), Some(second / 5));
            link.ping_sent(Instant::from_secs(second));
        }
    }

    #[test]
    fn only_the_latest_ping_measures_and_from_its_handing_over() {
        let mut link = keepalive();
        link.probe(Instant::ZERO);
        link.probe(Instant::ZERO);
        assert_eq!(link.handle_pong(1, Instant::from_millis(1)), None, "not sent yet");
        link.ping_sent(Instant::from_millis(500));
        assert_eq!(link.handle_pong(2, Instant::from_millis(550)), None);
        assert_eq!(link.handle_pong(1, Instant::from_millis(580)), Some(ms(80)));
        assert_eq!(link.handle_pong(1, Instant::from_millis(590)), None);
        link.probe(Instant::from_secs(1));
        link.ping_sent(Instant::from_secs(1));
        assert_eq!(link.handle_pong(2, Instant::from_millis(1160)), Some(ms(160)));
        assert_eq!(link.rtt(), Some(ms(90)));
    }

    #[test]
    fn after_a_sleep_silence_counts_anew() {
        let mut link = keepalive();
        link.shift(Instant::from_secs(3600));
        assert!(!link.handle_timeout(Instant::from_secs(3600)));
        assert_eq!(link.poll_timeout(), Some(Instant::from_secs(3605)));
        assert_eq!(link.last_heard(), Instant::ZERO);
    }

    #[test]
    fn a_passive_link_is_never_lost_by_silence_and_still_answers_and_asks() {
        let mut link = keepalive().passive();
        assert_eq!(link.poll_timeout(), None);
        assert!(!link.handle_timeout(Instant::from_secs(3600)));
        assert!(!link.is_due());
        link.handle_ping(7);
        link.probe(Instant::from_secs(3600));
        assert_eq!((link.due_pong(), link.due_ping()), (Some(7), Some(1)));
    }

    #[test]
    fn a_flood_of_pings_leaves_one_pong() {
        let mut link = keepalive();
        (0..100_000).for_each(|token| link.handle_ping(token));
        assert_eq!(link.due_pong(), Some(99_999));
        link.pong_sent();
        assert_eq!(link.due_pong(), None);
    }
}
