//! Events and views of the node as plain objects for scripts.

use js_sys::Array;
use unamed_protocol::{
    Address, Event, FindReport, Hop, JoinOutcome, LinkReasons, LinkView, PeerId, RoomKey, RoomLeftReason,
    RoomView, RoutingView,
};
use wasm_bindgen::prelude::*;

use crate::host::{Record, ms, text};

/// What an event is to scripts.
pub(crate) fn of(event: Event) -> JsValue {
    match event {
        Event::RoomJoined { room, outcome } => {
            joined(Record::of("joined").with("room", text(&room)), outcome)
        }
        Event::RoomLeft { room, reason } => {
            let reason = match reason {
                RoomLeftReason::Requested => "requested",
                RoomLeftReason::Full => "full",
            };
            Record::of("room-left").with("room", text(&room)).with("reason", reason)
        }
        Event::MemberJoined { room, peer, data } => Record::of("member-joined")
            .with("room", text(&room))
            .with("peer", text(&peer))
            .bytes("data", &data),
        Event::MemberChanged { room, peer, data } => Record::of("member-changed")
            .with("room", text(&room))
            .with("peer", text(&peer))
            .bytes("data", &data),
        Event::MemberLeft { room, peer, reason } => Record::of("member-left")
            .with("room", text(&room))
            .with("peer", text(&peer))
            .with("reason", reason.as_str()),
        Event::Message(message) => Record::of("message")
            .with("room", text(&message.room))
            .with("from", text(&message.from))
            .with("id", text(&message.id))
            .with("directed", message.directed)
            .bytes("data", &message.payload),
        Event::MessageProgress { from, received, total } => Record::of("receiving")
            .with("from", text(&from))
            .with("bytes", received as f64)
            .with("total", total as f64),
        Event::SendProgress { id, to, sent, total } => Record::of("sending")
            .with("id", text(&id))
            .with("to", text(&to))
            .with("bytes", sent as f64)
            .with("total", total as f64),
        Event::MessagesLost { room, from, count } => Record::of("messages-lost")
            .with("room", text(&room))
            .with("from", text(&from))
            .with("count", count as f64),
        Event::RoomMerged { room, members } => {
            Record::of("merged").with("room", text(&room)).list("members", members.iter().map(text))
        }
        Event::RoomWritable { room } => Record::of("writable").with("room", text(&room)),
        Event::PrimaryChanged { room } => Record::of("primary").with("room", text(&room)),
        Event::LinkOpened { peer, carrier, reasons, .. } => Record::of("link-opened")
            .with("peer", text(&peer))
            .with("carrier", carrier.as_str())
            .with("reasons", reasons_list(reasons)),
        Event::LinkClosed { peer, reason, reasons, .. } => Record::of("link-closed")
            .with("peer", text(&peer))
            .with("reason", close_reason(&reason))
            .with("reasons", reasons_list(reasons)),
        Event::LinkFailed { address, reason, .. } => Record::of("link-failed")
            .with("address", optional(address.as_ref().map(Address::to_string)))
            .with("reason", close_reason(&reason)),
        Event::NewServiceAddress { address } => Record::of("service-address").with("address", text(&address)),
        Event::Online(online) => Record::of("online").with("online", online),
        Event::Ready => Record::of("ready"),
        Event::FindFinished(report) => found(&report),
        Event::SaveFailed => Record::of("save-failed"),
        Event::IdentityInUse { told_by } => {
            Record::of("identity-in-use").with("toldBy", optional(told_by.as_ref().map(text)))
        }
        Event::ShutDown => Record::of("shut-down"),
    }
    .done()
}

fn joined(record: Record, outcome: JoinOutcome) -> Record {
    let (name, members, known) = match outcome {
        JoinOutcome::Joined { members } => ("joined", members, 0),
        JoinOutcome::Alone => ("alone", Vec::new(), 0),
        JoinOutcome::NoneReachable { known } => ("unreachable", Vec::new(), known),
        JoinOutcome::Offline => ("offline", Vec::new(), 0),
    };
    record.with("outcome", name).list("members", members.iter().map(text)).with("known", known as f64)
}

fn found(report: &FindReport) -> Record {
    let hop = |hop: &Hop| {
        Record::new()
            .with("peerId", text(&hop.peer))
            .with("rttMs", ms(hop.rtt))
            .with("service", hop.service)
            .with("location", home_room(&hop.peer))
            .done()
    };
    Record::of("found")
        .with("request", text(&report.request.0))
        .with("room", text(&report.room))
        .with("attempts", f64::from(report.attempts))
        .list("route", report.route.iter().map(hop))
        .list("members", report.members.iter().map(text))
        .with("elapsedMs", ms(report.elapsed))
}

/// What `close` reasons are called: the names of the protocol's own type, in kebab case.
fn close_reason(reason: &impl core::fmt::Debug) -> String {
    kebab(&format!("{reason:?}"))
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            out.push('-');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

fn reasons_list(reasons: LinkReasons) -> Array {
    reasons.iter().map(|reason| JsValue::from_str(reason.as_str())).collect()
}

fn optional(value: Option<impl Into<JsValue>>) -> JsValue {
    value.map_or(JsValue::NULL, Into::into)
}

/// The place of a service node in the key space.
fn home_room(peer: &PeerId) -> JsValue {
    text(&RoomKey::room_id(peer.as_bytes()))
}

/// A link as scripts see it.
pub(crate) fn link(view: &LinkView) -> JsValue {
    Record::new()
        .with("peerId", text(&view.peer))
        .with("carrier", view.carrier.as_str())
        .with("rttMs", optional(view.rtt.map(ms)))
        .with("reasons", reasons_list(view.reasons))
        .with("remoteReasons", reasons_list(view.remote_reasons))
        .with("service", view.service)
        .with("outbound", view.outbound)
        .with("location", if view.service { home_room(&view.peer) } else { JsValue::NULL })
        .done()
}

/// A room as scripts see it.
pub(crate) fn room(view: &RoomView) -> JsValue {
    Record::new()
        .with("room", text(&view.room))
        .with("primary", view.primary)
        .with("joined", view.joined)
        .with("members", view.members as f64)
        .with("pending", view.pending as f64)
        .done()
}

/// The routing table as scripts see it.
pub(crate) fn routing(view: &RoutingView) -> JsValue {
    let place =
        |peer: &PeerId| Record::new().with("peerId", text(peer)).with("location", home_room(peer)).done();
    let bucket = |(index, peer): &(u8, PeerId)| {
        Record::new().with("index", f64::from(*index)).with("peerId", text(peer)).done()
    };
    Record::new()
        .with("location", text(&view.location))
        .with("ready", view.ready)
        .list("homes", view.homes.iter().map(place))
        .list("leafSet", view.leaf_set.iter().map(place))
        .list("buckets", view.buckets.iter().map(bucket))
        .done()
}

#[cfg(test)]
mod tests {
    use super::kebab;

    #[test]
    fn reasons_have_names_in_kebab_case() {
        assert_eq!(kebab("Ice"), "ice");
        assert_eq!(kebab("NotOurProtocol"), "not-our-protocol");
    }
}
