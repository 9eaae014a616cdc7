//! Counters: one for each thing that is dropped, refused or worth counting.

use alloc::vec::Vec;

use crate::wire::message::{Purpose, kind};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)+) => {
        /// What is counted. Names are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Counter { $($(#[$doc])* $name),+ }

        impl Counter {
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, $text)),+];
        }
    };
}

counters! {
    FramesReceived => "frames_received",
    FramesSent => "frames_sent",
    BytesReceived => "bytes_received",
    BytesSent => "bytes_sent",
    /// Messages by what they are for, frames and handshakes aside.
    SentOverlay => "bytes_sent_overlay",
    SentLookup => "bytes_sent_lookup",
    SentFind => "bytes_sent_find",
    SentPublish => "bytes_sent_publish",
    SentReplication => "bytes_sent_replication",
    SentNotify => "bytes_sent_notify",
    SentConnect => "bytes_sent_connect",
    SentAcks => "bytes_sent_acks",
    SentRelay => "bytes_sent_relay",
    SentRoom => "bytes_sent_room",
    SentSignals => "bytes_sent_signals",
    SentHandshake => "bytes_sent_handshake",
    UnknownLink => "inputs_for_unknown_links",
    UnknownSave => "answers_to_unknown_saves",
    LinksOpened => "links_opened",
    LinksClosed => "links_closed",
    LinksFailed => "links_failed",
    LinksRefused => "links_refused",
    LinksPruned => "links_pruned",
    LinksEvicted => "links_evicted",
    DuplicateLinks => "duplicate_links",
    IdentityConflicts => "identity_conflicts",
    HandshakesFailed => "handshakes_failed",
    /// Of whatever kind, from authenticated peers.
    MessagesReceived => "messages_received",
    /// Of those, refused: each is counted once more, under the reason.
    MessagesRefused => "messages_refused",
    MessagesUndecodable => "messages_undecodable",
    MessagesUnknownKind => "messages_unknown_kind",
    QueueOverflows => "queue_overflows",
    DialsRefusedByClass => "dials_refused_by_class",
    /// Another peer was said to be there, and was not.
    DialsRefusedByEndpoint => "dials_refused_by_endpoint",
    /// Contacts not taken because of how many are known from the same network.
    ContactsCrowded => "contacts_crowded",
    CandidatesTried => "candidates_tried",
    ClaimsInvalid => "claims_invalid",
    RoutedForwarded => "routed_forwarded",
    RoutedDuplicate => "routed_duplicate",
    RoutedLoop => "routed_loop",
    RoutedTooLong => "routed_too_long",
    RoutedForged => "routed_forged",
    RoutedDeadEnd => "routed_dead_end",
    RoutedOverload => "routed_overload",
    /// Packets refused because as many from the same neighbour wait for an acknowledgement.
    RoutedUnfair => "routed_refused_share",
    /// What peers asked for beyond their rates.
    RequestsLimited => "requests_limited",
    FindsLimited => "finds_limited",
    PublishesLimited => "publishes_limited",
    /// Credit for relayed bytes held back, to keep a client to its rate.
    RelayDelayed => "relay_credit_delayed",
    /// What no correct implementation does.
    Offences => "offences",
    PeersBanned => "peers_banned",
    /// Links and dials refused because of a ban.
    BannedRefused => "banned_refused",
    HopTimeouts => "hop_timeouts",
    AcksUnexpected => "acks_unexpected",
    RepliesForwarded => "replies_forwarded",
    RepliesUndeliverable => "replies_undeliverable",
    RepliesUnsolicited => "replies_unsolicited",
    /// Of an attempt that is over, and saying no.
    RepliesLate => "replies_late",
    RepliesInvalid => "replies_invalid",
    RequestsStarted => "requests_started",
    RequestsRetried => "requests_retried",
    RequestsFailed => "requests_failed",
    WalksStarted => "walks_started",
    /// Of those, by finds.
    WalksOfFinds => "walks_started_find",
    /// Of those, by publishers.
    WalksOfPublishers => "walks_started_publish",
    QueriesSent => "queries_sent",
    /// Of those, by finds.
    QueriesOfFinds => "queries_sent_find",
    /// Of those, by publishers.
    QueriesOfPublishers => "queries_sent_publish",
    /// Given to holders by walks, because they lacked them.
    ClaimsPlaced => "claims_placed",
    ClaimsStored => "claims_stored",
    /// Valid, and not held: no place, a quota, or withdrawn.
    ClaimsRefused => "claims_refused",
    ClaimsReplicated => "claims_replicated",
    Notifications => "notifications_sent",
    CircuitsOpened => "circuits_opened",
    CircuitsRelayed => "circuits_relayed",
    CircuitsRefused => "circuits_refused",
    CircuitsReset => "circuits_reset",
    CircuitBytesRelayed => "circuit_bytes_relayed",
    CircuitViolations => "circuit_violations",
    /// Messages about circuits that are over, or never were.
    CircuitsLate => "circuit_messages_late",
    /// Links closed and circuits reset because relays held too much.
    RelayOverloads => "relay_overloads",
    DirectAttempts => "webrtc_attempts",
    DirectFailed => "webrtc_failed",
    SignalsSent => "signals_sent",
    /// Of the own driver: too many candidates, or no link to send them over.
    SignalsUnsent => "signals_unsent",
    SignalsInvalid => "signals_invalid",
    /// Of an attempt that is over.
    SignalsLate => "signals_late",
    CandidatesRefused => "candidates_refused",
    IceServersRefused => "ice_servers_refused",
    ConnectsInvalid => "connects_invalid",
    ProofsInvalid => "room_proofs_invalid",
    ProofsUnknownRoom => "room_proofs_for_other_rooms",
    /// Of peers for whom the room has no place.
    ProofsFullRoom => "room_proofs_for_full_rooms",
    RoomsMerged => "rooms_merged",
    /// Not the sender's own, malformed, or falsely signed.
    MemberDataInvalid => "member_data_invalid",
    /// Older than what is known of the member.
    MemberDataOld => "member_data_old",
    /// Updates beyond a member's rate.
    MemberDataLimited => "member_data_limited",
    RoomMessagesSent => "room_messages_sent",
    RoomMessagesDelivered => "room_messages_delivered",
    RoomMessagesDuplicate => "room_messages_duplicate",
    RoomMessagesInvalid => "room_messages_invalid",
    /// Of members that had not proved themselves on a link of their own: forwarded, not delivered.
    RoomMessagesUnproved => "room_messages_unproved",
    RoomMessagesForeign => "room_messages_from_non_members",
    RoomMessagesForwarded => "room_messages_forwarded",
    RoomMessagesRepaired => "room_messages_repaired",
    RoomMessagesLost => "room_messages_lost",
    Equivocations => "equivocations",
    SavesFailed => "saves_failed",
}

impl Counter {
    /// What the bytes of a message are counted as, by its first two bytes.
    pub(crate) fn of_message(head: &[u8]) -> Self {
        let number = head.first().copied().unwrap_or_default();
        match number {
            kind::ROUTED | kind::REPLY => {
                match head.get(1).and_then(|purpose| Purpose::try_from(*purpose).ok()) {
                    Some(Purpose::Find) | None => Self::SentFind,
                    Some(Purpose::Publish | Purpose::Withdraw) => Self::SentPublish,
                    Some(Purpose::Nearest) => Self::SentLookup,
                    Some(Purpose::Connect) => Self::SentConnect,
                    Some(Purpose::Notify) => Self::SentNotify,
                }
            }
            kind::HOP_ACK => Self::SentAcks,
            kind::REPLICATE | kind::STORE_DIGEST => Self::SentReplication,
            kind::CIRCUIT_OPEN..=kind::CIRCUIT_RESET => Self::SentRelay,
            kind::ROOM_PROOF..=kind::STREAM_MARKS | kind::MEMBER_DATA => Self::SentRoom,
            kind::SIGNAL => Self::SentSignals,
            kind::QUERY | kind::QUERY_ANSWER => Self::SentLookup,
            _ => Self::SentOverlay,
        }
    }
}

/// The counters of a node.
#[derive(Clone, Debug)]
pub(crate) struct Metrics([u64; Counter::ALL.len()]);

impl Metrics {
    pub(crate) const fn new() -> Self {
        Self([0; Counter::ALL.len()])
    }

    /// Adds one.
    pub(crate) fn count(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `amount`, saturating.
    pub(crate) fn add(&mut self, counter: Counter, amount: u64) {
        if let Some(value) = self.0.get_mut(counter as usize) {
            *value = value.saturating_add(amount);
        }
    }

    /// All counters with their names.
    pub(crate) fn list(&self) -> Vec<(&'static str, u64)> {
        Counter::ALL.iter().zip(self.0).map(|((_, name), value)| (*name, value)).collect()
    }
}
