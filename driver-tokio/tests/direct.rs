//! Clients of one room that link to each other, over real sockets.
#![cfg(feature = "webrtc")]

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;
use unamed_tokio::{Carrier, Network, NetworkBuilder, NetworkEvent, PeerId, Room, RoomEvent};

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.expect("in time")
}

async fn service() -> Network {
    Network::builder().listen("127.0.0.1:0".parse().unwrap()).start().await.unwrap()
}

fn client(of: &Network) -> NetworkBuilder {
    Network::builder().bootstrap(of.addresses()[0].clone())
}

/// A network, and its member of the room.
async fn member(builder: NetworkBuilder) -> (Network, Room) {
    let network = builder.start().await.unwrap();
    let room = within(network.join("kitchen")).await.unwrap();
    (network, room)
}

/// The carrier of the link to `peer`.
async fn carrier(network: &Network, peer: PeerId) -> Option<Carrier> {
    let links = network.links().await;
    links.iter().find(|link| link.peer == peer).map(|link| link.carrier)
}

/// Waits until the link to `peer` has this carrier.
async fn linked(network: &Network, peer: PeerId, wanted: Carrier) {
    let mut events = network.events();
    within(async {
        while carrier(network, peer).await != Some(wanted) {
            let event = events.next().await.expect("the node goes on");
            assert!(!matches!(event, NetworkEvent::LinkFailed { .. }), "{event:?}");
        }
    })
    .await;
}

/// The next message.
async fn message(room: &mut Room) -> Vec<u8> {
    within(async {
        loop {
            let event = room.next().await.expect("the room goes on");
            assert!(!matches!(event, RoomEvent::MemberLeft { .. }), "{event:?}");
            if let RoomEvent::Message(message) = event {
                return message.payload.to_vec();
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relayed_pair_links_directly_and_outlives_the_service_node() {
    let service = service().await;
    let (anna, mut at_anna) = member(client(&service)).await;
    let (ben, mut at_ben) = member(client(&service)).await;
    linked(&anna, ben.peer_id(), Carrier::WebRtc).await;
    linked(&ben, anna.peer_id(), Carrier::WebRtc).await;

    within(service.shutdown()).await;
    within(at_anna.broadcast("still here")).await.unwrap();
    assert_eq!(message(&mut at_ben).await, b"still here");
    let large = vec![7; 1_000_000];
    within(at_ben.broadcast(large.clone())).await.unwrap();
    assert_eq!(message(&mut at_anna).await, large);
    assert_eq!(carrier(&anna, ben.peer_id()).await, Some(Carrier::WebRtc));
    within(anna.shutdown()).await;
    within(ben.shutdown()).await;
}
