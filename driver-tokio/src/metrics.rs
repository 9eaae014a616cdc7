//! The driver's own counters, listed beside those of the core.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $label:literal),+ $(,)?) => {
        /// What the driver counts. Each only grows.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: Counter),+
        }

        impl Counters {
            /// All counters by stable name.
            pub(crate) fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$(($label, self.$name.value())),+]
            }
        }
    };
}

counters! {
    /// Sockets accepted.
    accepted = "driver_accepted",
    /// Upgrade requests answered with 101.
    upgraded = "driver_upgraded",
    /// Requests that are no valid WebSocket upgrade: 400, 405, 426, 431.
    bad_request = "driver_refused_bad_request",
    /// Requests for which a trusted proxy named the client.
    forwarded = "driver_forwarded",
    /// Requests of trusted proxies that do not tell, or not clearly, whom they speak for.
    forwarded_refused = "driver_refused_forwarded",
    /// TLS handshakes of accepted sockets that failed.
    tls_failed = "driver_tls_failures",
    /// Requests whose `Host` is not listed.
    host_refused = "driver_refused_host",
    /// Requests whose `Origin` is not allowed.
    origin_refused = "driver_refused_origin",
    /// Requests from a foreign page to a public listener, which are let in.
    origin_foreign = "driver_origin_foreign",
    /// Sockets above the bound per IP address.
    per_ip_refused = "driver_refused_per_ip",
    /// Sockets above the rate per IP address.
    rate_refused = "driver_refused_rate",
    /// Sockets above the bound in all, or above the bound of unfinished upgrades.
    total_refused = "driver_refused_total",
    /// Upgrades that did not end in time.
    upgrade_timeout = "driver_upgrade_timeouts",
    /// Pauses of accepting because the process or system has no more file descriptors.
    accept_paused = "driver_accept_pauses",
    /// Text frames.
    text_frame = "driver_violations_text_frame",
    /// Frames or messages above the bound.
    too_large = "driver_violations_too_large",
    /// More bytes without a message than any message needs.
    frame_budget = "driver_violations_frame_budget",
    /// Too many pings.
    ping_rate = "driver_violations_ping_rate",
    /// Other violations of RFC 6455.
    bad_frame = "driver_violations_protocol",
    /// Snapshots that could not be written.
    save_failed = "driver_save_failures",
    /// Dials to names that resolved into another class of network than they promise.
    dial_forbidden = "driver_dials_forbidden",
    /// STUN requests answered.
    stun_answered = "driver_stun_answered",
    /// STUN requests above the rate of their source.
    stun_rate = "driver_stun_refused_rate",
    /// Datagrams that are no STUN request to be answered.
    stun_ignored = "driver_stun_ignored",
}

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
