//! The routing table side by side with discv5's public k-bucket table and with a bare scan.
//!
//! discv5 is the nearest relative that lets its table be used alone (libp2p-kad's is private). Its buckets hold 16 nodes
//! each, so of 10,000 that are offered it keeps what fits, as it would in a network; how many is printed. Both tables get
//! the same ids. A bare scan is the least that an exact answer costs without any order among the links: the nearest of an
//! array of 8-byte prefixes.

use std::hint::black_box;
use std::time::Duration;

use discv5::kbucket::{ConnectionDirection, ConnectionState, InsertResult, KBucketsTable, Key, NodeStatus};
use unamed_protocol::routing::key::home_id;
use unamed_protocol::routing::table::{Table, TableLimits};
use unamed_protocol::{Instant, PeerId, RoomId};

#[path = "../../../protocol/benches/ratio/mod.rs"]
mod ratio;

/// Keys that are looked for in turn.
const KEYS: usize = 1024;

/// `SplitMix64`: see the simulator's generator.
struct Draw(u64);

impl Draw {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        for chunk in out.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.bits().to_le_bytes());
        }
        out
    }
}

fn prefix(id: &RoomId) -> u64 {
    id.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The nodes and keys of one comparison.
struct Setting {
    own: RoomId,
    peers: Vec<PeerId>,
    keys: Vec<RoomId>,
}

impl Setting {
    fn new(nodes: usize) -> Self {
        let mut draw = Draw(nodes as u64);
        let own = RoomId(draw.bytes());
        let peers = (0..nodes).map(|_| PeerId(draw.bytes())).collect();
        let keys = (0..KEYS).map(|_| RoomId(draw.bytes())).collect();
        Self { own, peers, keys }
    }

    /// Our table; `linked` says whether there are links to all, or none.
    fn ours(&self, linked: bool) -> Table {
        let limits = TableLimits { leaf_set: 8, bucket_links: 2, known_max: self.peers.len(), salt: 1 };
        let (mut table, now) = (Table::new(self.own, limits), Instant::ZERO);
        for &peer in &self.peers {
            table.learn(peer, now);
            if linked {
                table.linked(peer, false, false, now);
                table.set_ready(peer, true);
            }
        }
        table
    }

    /// discv5's table, and how many nodes it keeps.
    fn theirs(&self) -> (KBucketsTable<PeerId, ()>, usize) {
        let mut table = KBucketsTable::new(discv5_key(&self.own), Duration::from_secs(60), 16, None, None);
        let status =
            NodeStatus { state: ConnectionState::Connected, direction: ConnectionDirection::Outgoing };
        let mut kept = 0;
        for &peer in &self.peers {
            let key = Key::new_raw(peer, home_id(peer).0);
            kept += usize::from(matches!(table.insert_or_update(&key, (), status), InsertResult::Inserted));
        }
        (table, kept)
    }
}

fn discv5_key(id: &RoomId) -> Key<PeerId> {
    Key::new_raw(PeerId(id.0), id.0)
}

/// Keys in turn, for ever.
fn in_turn<'a, T>(items: &'a [T]) -> impl FnMut() -> &'a T {
    let mut next = 0;
    move || {
        next = (next + 1) % items.len();
        &items[next]
    }
}

fn next_hop(links: usize) {
    let setting = Setting::new(links);
    let ours = setting.ours(true);
    let (mut theirs, kept) = setting.theirs();
    let bare: Vec<(u64, PeerId)> = setting.peers.iter().map(|&peer| (prefix(&home_id(peer)), peer)).collect();
    let their_keys: Vec<Key<PeerId>> = setting.keys.iter().map(discv5_key).collect();
    let (mut one, mut two, mut three, mut four) =
        (in_turn(&setting.keys), in_turn(&setting.keys), in_turn(&their_keys), in_turn(&their_keys));
    ratio::print(
        &format!("next hop over {links} links (discv5 keeps {kept})"),
        &mut [
            ("bare scan of prefixes", &mut || {
                let near = prefix(one());
                let nearest = bare.iter().min_by_key(|(prefix, _)| prefix ^ near);
                black_box(nearest.map(|(_, peer)| *peer));
            }),
            ("Table::next_hop", &mut || {
                black_box(ours.next_hop(two(), &setting.own, |_| false));
            }),
            ("discv5, first of closest_keys", &mut || {
                black_box(theirs.closest_keys(three()).next());
            }),
        ],
    );
    let (mut theirs, _) = setting.theirs();
    let mut one = in_turn(&setting.keys);
    ratio::print(
        &format!("the same against discv5's 16 closest of {links}"),
        &mut [
            ("Table::next_hop", &mut || {
                black_box(ours.next_hop(one(), &setting.own, |_| false));
            }),
            ("discv5, closest_keys(16)", &mut || {
                black_box(theirs.closest_keys(four()).take(16).collect::<Vec<_>>());
            }),
        ],
    );
}

fn closest_20_of_10_000() {
    let setting = Setting::new(10_000);
    let ours = setting.ours(false);
    let (mut theirs, kept) = setting.theirs();
    let bare: Vec<(u64, PeerId)> = setting.peers.iter().map(|&peer| (prefix(&home_id(peer)), peer)).collect();
    let their_keys: Vec<Key<PeerId>> = setting.keys.iter().map(discv5_key).collect();
    let (mut one, mut two, mut three) =
        (in_turn(&setting.keys), in_turn(&setting.keys), in_turn(&their_keys));
    ratio::print(
        &format!("the 20 closest of 10,000 (discv5 keeps {kept})"),
        &mut [
            ("Table::nearest_known(20)", &mut || {
                black_box(ours.nearest_known(one(), 20, Instant::ZERO));
            }),
            ("discv5, closest_keys(20)", &mut || {
                black_box(theirs.closest_keys(three()).take(20).collect::<Vec<_>>());
            }),
            ("bare scan of prefixes, 20 selected", &mut || {
                let near = prefix(two());
                let mut all: Vec<(u64, PeerId)> =
                    bare.iter().map(|&(prefix, peer)| (prefix ^ near, peer)).collect();
                all.select_nth_unstable_by_key(20, |(far, _)| *far);
                all.truncate(20);
                all.sort_unstable_by_key(|(far, _)| *far);
                black_box(all);
            }),
        ],
    );
}

fn main() {
    if !ratio::is_wanted() {
        return;
    }
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let all: [(&str, fn()); 3] = [
        ("next_hop_64", || next_hop(64)),
        ("next_hop_256", || next_hop(256)),
        ("closest_20", closest_20_of_10_000),
    ];
    all.into_iter().filter(|(name, _)| name.contains(&filter)).for_each(|(_, run)| run());
}
