//! How a running node is, and how a find went: as JSON, and drawn for people.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use unamed_protocol::routing::key::{bucket_index, home_id};
use unamed_tokio::{Address, FindReport, LinkView, Network, PeerId, RoomId, RoutingView};

/// Rooms held that are listed one by one.
const HELD_LISTED_MAX: usize = 1000;

/// How a node is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    version: String,
    peer_id: String,
    network: String,
    addresses: Vec<String>,
    boot: u64,
    uptime_s: u64,
    ready: bool,
    /// The node's place in the key space.
    location: String,
    links: Vec<Link>,
    rooms: Vec<Joined>,
    /// The linked service nodes nearest to `location`, nearest first.
    leaf_set: Vec<String>,
    buckets: Vec<Bucket>,
    homes: Vec<String>,
    /// Rooms whose claims are held: how many there are, and the first thousand of them.
    held_rooms: usize,
    held_claims: usize,
    held: Vec<Held>,
}

/// One usable link.
#[derive(Debug, Serialize, Deserialize)]
struct Link {
    peer_id: String,
    service: bool,
    carrier: String,
    outbound: bool,
    /// Why this end keeps it.
    reasons: Vec<String>,
    /// Why the other end keeps it, as it says.
    remote_reasons: Vec<String>,
    rtt_ms: Option<f64>,
    age_s: u64,
}

/// One joined room.
#[derive(Debug, Serialize, Deserialize)]
struct Joined {
    room_id: String,
    primary: bool,
    members: usize,
    pending: usize,
}

/// One k-bucket with a link.
#[derive(Debug, Serialize, Deserialize)]
struct Bucket {
    /// Leading bits shared with the node's location.
    index: u8,
    peer_ids: Vec<String>,
}

/// A room of others whose claims are held.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    room_id: String,
    claims: usize,
}

impl Status {
    /// How this node is; `None` once it is shut down.
    pub(crate) async fn of(network: &Network) -> Option<Self> {
        let routing = network.routing_table().await?;
        let uptime = network.uptime();
        let links = network.links().await.iter().map(|link| Link::new(link, uptime)).collect();
        let room = |view: &unamed_tokio::RoomView| Joined {
            room_id: view.room.to_string(),
            primary: view.primary,
            members: view.members,
            pending: view.pending,
        };
        let held = |(room, claims): &(RoomId, usize)| Held { room_id: room.to_string(), claims: *claims };
        Some(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            peer_id: network.peer_id().to_string(),
            network: network.network_id().as_str().to_owned(),
            addresses: network.addresses().iter().map(Address::to_string).collect(),
            boot: network.boot(),
            uptime_s: uptime.as_secs(),
            ready: routing.ready,
            location: routing.location.to_string(),
            links,
            rooms: network.rooms().await.iter().map(room).collect(),
            leaf_set: texts(&routing.leaf_set),
            buckets: buckets(&routing),
            homes: texts(&routing.homes),
            held_rooms: routing.held.len(),
            held_claims: routing.held.iter().map(|(_, claims)| claims).sum(),
            held: routing.held.iter().take(HELD_LISTED_MAX).map(held).collect(),
        })
    }

    /// The same for people.
    pub(crate) fn text(&self) -> String {
        let state = if self.ready { "takes part in routing" } else { "starting" };
        let mut text = format!(
            "unamed {} · {state} · up {}\npeer id   {}\nnetwork   {}\n",
            self.version,
            span(self.uptime_s),
            self.peer_id,
            self.network
        );
        for address in &self.addresses {
            let _ = writeln!(text, "address   {address}");
        }
        let _ = writeln!(text, "location  {}\n\n{} links", self.location, self.links.len());
        for link in &self.links {
            let _ = writeln!(text, "  {}", link.text());
        }
        let _ = writeln!(text, "\n{} in the leaf set, nearest first", self.leaf_set.len());
        for peer in &self.leaf_set {
            let _ = writeln!(text, "  {peer}");
        }
        let _ = writeln!(text, "\n{} k-buckets with links, by leading bits shared", self.buckets.len());
        for bucket in &self.buckets {
            let _ = writeln!(text, "  {:>3}  {}", bucket.index, bucket.peer_ids.join(" "));
        }
        for home in &self.homes {
            let _ = writeln!(text, "home      {home}");
        }
        let _ = writeln!(text, "\n{} rooms joined", self.rooms.len());
        for room in &self.rooms {
            let primary = if room.primary { " · primary" } else { "" };
            let _ = writeln!(
                text,
                "  {} · {} members linked, {} more known{primary}",
                room.room_id, room.members, room.pending
            );
        }
        let _ = writeln!(text, "\n{} rooms held, with {} claims", self.held_rooms, self.held_claims);
        for held in &self.held {
            let _ = writeln!(text, "  {} · {}", held.room_id, held.claims);
        }
        let unlisted = self.held_rooms.saturating_sub(self.held.len());
        if unlisted > 0 {
            let _ = writeln!(text, "  and {unlisted} more");
        }
        text.truncate(text.trim_end().len());
        text
    }
}

impl Link {
    fn new(link: &LinkView, uptime: Duration) -> Self {
        let since = Duration::from_micros(link.since.as_micros());
        let names = |reasons: unamed_tokio::LinkReasons| {
            reasons.iter().map(|reason| reason.as_str().to_owned()).collect()
        };
        Self {
            peer_id: link.peer.to_string(),
            service: link.service,
            carrier: link.carrier.as_str().to_owned(),
            outbound: link.outbound,
            reasons: names(link.reasons),
            remote_reasons: names(link.remote_reasons),
            rtt_ms: link.rtt.map(milliseconds),
            age_s: uptime.saturating_sub(since).as_secs(),
        }
    }

    fn text(&self) -> String {
        let way = if self.outbound { "→" } else { "←" };
        let kind = if self.service { "service" } else { "client" };
        let rtt = self.rtt_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
        let named =
            |reasons: &[String]| if reasons.is_empty() { "none".to_owned() } else { reasons.join(",") };
        format!(
            "{way} {} · {kind} · {} · {rtt} · {} · here for {}, there for {}",
            self.peer_id,
            self.carrier,
            span(self.age_s),
            named(&self.reasons),
            named(&self.remote_reasons)
        )
    }
}

fn buckets(routing: &RoutingView) -> Vec<Bucket> {
    let mut buckets = std::collections::BTreeMap::<u8, Vec<String>>::new();
    for (index, peer) in &routing.buckets {
        buckets.entry(*index).or_default().push(peer.to_string());
    }
    buckets.into_iter().map(|(index, peer_ids)| Bucket { index, peer_ids }).collect()
}

fn texts(peers: &[PeerId]) -> Vec<String> {
    peers.iter().map(PeerId::to_string).collect()
}

/// Milliseconds, to a tenth.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

/// Seconds as the largest two units.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}min {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}min", minutes % 60),
        (_, _, _) => format!("{days}d {}h", hours % 24),
    }
}

/// How a find went.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Trace {
    room_id: String,
    attempts: u8,
    elapsed_ms: f64,
    /// Origin first; the last one answered.
    route: Vec<TraceHop>,
    members: Vec<String>,
}

/// One hop of a find.
#[derive(Debug, Serialize, Deserialize)]
struct TraceHop {
    peer_id: String,
    service: bool,
    /// Round-trip time of the link to it.
    ms: f64,
    /// Leading bits that its home room shares with the room's id.
    shared_bits: u16,
}

impl Trace {
    /// The report of a find.
    pub(crate) fn of(report: &FindReport) -> Self {
        let hop = |hop: &unamed_tokio::Hop| TraceHop {
            peer_id: hop.peer.to_string(),
            service: hop.service,
            ms: milliseconds(hop.rtt),
            shared_bits: bucket_index(&report.room, &home_id(hop.peer)).map_or(256, u16::from),
        };
        Self {
            room_id: report.room.to_string(),
            attempts: report.attempts,
            elapsed_ms: milliseconds(report.elapsed),
            route: report.route.iter().map(hop).collect(),
            members: texts(&report.members),
        }
    }

    /// Whether anybody answered.
    pub(crate) fn is_answered(&self) -> bool {
        !self.route.is_empty() || !self.members.is_empty()
    }

    /// The route, drawn.
    pub(crate) fn text(&self) -> String {
        let attempts = if self.attempts == 1 { "attempt" } else { "attempts" };
        let mut text =
            format!("room {} · {} {attempts}, {} ms\n", self.room_id, self.attempts, self.elapsed_ms);
        for (index, hop) in self.route.iter().enumerate() {
            let kind = if hop.service { "service" } else { "client" };
            let indent = "   ".repeat(index.saturating_sub(1));
            let arrow =
                if index == 0 { String::new() } else { format!("{indent}└─ {} ms ─▶ ", hop.ms) };
            let role = match index.saturating_add(1) {
                last if last == self.route.len() && index > 0 => " · answered",
                1 => " · asked",
                _ => "",
            };
            let _ = writeln!(text, "{arrow}{} · {kind} · {} bits shared{role}", hop.peer_id, hop.shared_bits);
        }
        if self.route.is_empty() {
            text.push_str("no answer\n");
        }
        match self.members.as_slice() {
            [] => text.push_str("no members found"),
            members => {
                let _ = write!(text, "{} found: {}", members.len(), members.join(" "));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use unamed_protocol::RequestId;
    use unamed_tokio::{Carrier, Hop, LinkReason, LinkReasons};

    use super::*;

    #[test]
    fn a_trace_is_drawn_hop_by_hop() {
        let hop =
            |id, micros, service| Hop { peer: PeerId([id; 32]), rtt: Duration::from_micros(micros), service };
        let room = home_id(PeerId([3; 32]));
        let mut report = FindReport {
            request: RequestId(1),
            room,
            attempts: 1,
            route: vec![hop(1, 0, false), hop(2, 12_340, true), hop(3, 400, true)],
            members: vec![PeerId([4; 32])],
            elapsed: Duration::from_micros(15_010),
        };
        let trace = Trace::of(&report);
        let bits = |id| bucket_index(&room, &home_id(PeerId([id; 32]))).unwrap();
        let text = [1, 2, 3, 4].map(|id| PeerId([id; 32]).to_string());
        assert_eq!(
            trace.text(),
            format!(
                "room {room} · 1 attempt, 15 ms\n{} · client · {} bits shared · asked\n└─ 12.3 ms ─▶ {} · service · {} bits \
                 shared\n   └─ 0.4 ms ─▶ {} · service · 256 bits shared · answered\n1 found: {}",
                text[0],
                bits(1),
                text[1],
                bits(2),
                text[2],
                text[3]
            )
        );
        assert!(trace.is_answered());
        (report.route, report.members) = (vec![], vec![]);
        let trace = Trace::of(&report);
        assert!(!trace.is_answered() && trace.text().ends_with("no answer\nno members found"));
    }

    #[test]
    fn a_link_is_told_with_its_reasons() {
        let link = LinkView {
            link: unamed_protocol::LinkId(1),
            peer: PeerId([1; 32]),
            carrier: Carrier::WebSocket,
            service: true,
            outbound: false,
            reasons: LinkReasons::default().with(LinkReason::Leaf).with(LinkReason::Bucket),
            remote_reasons: LinkReasons::default(),
            rtt: Some(Duration::from_micros(1250)),
            since: unamed_protocol::Instant::from_secs(10),
        };
        let text = Link::new(&link, Duration::from_secs(100)).text();
        let reasons = [LinkReason::Leaf, LinkReason::Bucket].map(LinkReason::as_str);
        let all = LinkReasons::default().with(LinkReason::Leaf).with(LinkReason::Bucket).to_string();
        assert!(reasons.iter().all(|reason| all.contains(reason)));
        let expected = format!(
            "← {} · service · websocket · 1.3 ms · 1min 30s · here for {all}, there for none",
            PeerId([1; 32])
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn spans_are_short() {
        let cases = [(0, "0s"), (59, "59s"), (60, "1min 0s"), (3661, "1h 1min"), (90_000, "1d 1h")];
        for (seconds, expected) in cases {
            assert_eq!(span(seconds), expected);
        }
    }
}
