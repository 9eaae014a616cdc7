use alloc::format;

use super::*;
use crate::crypto::IdealCrypto;
use crate::node::api::{Output, Target};
use crate::node::testing;
use crate::wire::{HomeClaimTerms, Sequence};
use crate::{Identity, NetworkId};

const NOW: Instant = Instant::ZERO;

/// A client that is up and knows nobody.
fn client() -> Node {
    let mut node = testing::client();
    node.started = true;
    node
}

/// A walk for a room that somebody named these service nodes.
fn walk(node: &mut Node, number: u8, named: core::ops::Range<u8>) -> RequestId {
    let id = RequestId(u64::from(number));
    let mut walk = Walk {
        goal: Goal::Find,
        answers: false,
        room: RoomId([number; 32]),
        replica: 0,
        nodes: BTreeMap::new(),
        newer: None,
        claims: Vec::new(),
        asked: 0,
        placing: false,
    };
    for named in named {
        let address = format!("/ip4/9.{named}.9.9/tcp/4001/ws").parse::<Address>().unwrap();
        let peer = PeerId([named; 32]);
        walk.learn(peer, Some(Address { peer: Some(peer), ..address }));
    }
    node.walks.insert(id, Box::new(walk));
    node.advance_walk(id, NOW);
    id
}

/// Whom the node has dialled since.
fn dialled(node: &mut Node) -> Vec<PeerId> {
    let outputs = core::iter::from_fn(|| node.poll_output());
    let target = |output| {
        let Output::Dial(_, Target::WebSocket(address)) = output else { return None };
        address.peer
    };
    outputs.filter_map(target).collect()
}

#[test]
fn all_who_were_named_are_asked_although_none_of_them_is_remembered() {
    let mut node = client();
    walk(&mut node, 1, 10..30);
    let mut asked = Vec::new();
    loop {
        let next = dialled(&mut node);
        assert!(next.len() <= PARALLEL);
        let Some(first) = next.first() else { break };
        assert!(next.iter().all(|peer| node.address_of(*peer).is_none()));
        asked.extend(next.iter().copied());
        node.walks_lost(*first, NOW);
        for peer in &next[1..] {
            node.walks_lost(*peer, NOW);
        }
    }
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), 20);
    assert!(node.walks.is_empty());
}

#[test]
fn walks_share_the_links_that_they_may_dial_and_all_come_to_their_end() {
    let mut node = client();
    for number in 1..=8 {
        let from = number * 10;
        walk(&mut node, number, from..from + 10);
    }
    let mut under_way = dialled(&mut node);
    let mut asked = under_way.len();
    assert_eq!(asked, DIALLED_MAX, "eight walks would dial 24");
    while let Some(peer) = under_way.pop() {
        node.walks_lost(peer, NOW);
        let next = dialled(&mut node);
        asked += next.len();
        under_way.extend(next);
        assert!(under_way.len() <= DIALLED_MAX);
    }
    assert_eq!(asked, 80);
    assert!(node.walks.is_empty());
}

#[test]
fn an_older_home_claim_that_nobody_verified_names_no_address() {
    let mut node = client();
    let identity = Identity::from_seed([9; 32]);
    let claim = |counter, address: &str| {
        let terms = HomeClaimTerms {
            addresses: Vec::from([address.parse().unwrap()]),
            issued_ms: 1_750_000_000_000,
            expiry_ms: 1_750_000_700_000,
            sequence: Sequence { boot: 1, counter },
        };
        HomeClaim::make(&terms, &identity, &IdealCrypto, &NetworkId::default()).bytes().clone()
    };
    let newer = claim(2, "/ip4/9.1.1.1/tcp/4001/ws");
    let other = Identity::from_seed([8; 32]).peer_id(&IdealCrypto);
    let peer = node.learn_home(&newer, Some(other), NOW).unwrap();
    let mut forged = claim(1, "/ip4/9.2.2.2/tcp/4001/ws").to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let forged = Bytes::from(forged);
    assert_eq!(node.learn_home(&forged, Some(other), NOW), Some(peer), "somebody who is known is named");
    assert!(
        node.address_of(peer).is_some_and(|address| address.host == crate::Host::Ip4([9, 1, 1, 1].into()))
    );
    assert_eq!(node.walk_address(peer, &forged), node.address_of(peer));
    assert_eq!(node.walk_address(peer, &newer), node.address_of(peer));
}
