//! Clients of one room link to each other, and need no service node then: its process is killed, and they talk on.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;
use unamed_tests::{Scratch, Service};
use unamed_tokio::{Carrier, Network, NetworkEvent, PeerId, Room, RoomEvent};

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future).await.expect("in time")
}

async fn member(service: &Service) -> (Network, Room) {
    let address = service.address.parse().expect("an address");
    let network = Network::builder().bootstrap(address).start().await.expect("a client");
    let room = within(network.join("without a server")).await.expect("a room");
    (network, room)
}

async fn linked_directly(network: &Network, peer: PeerId) {
    let mut events = network.events();
    let direct = async || {
        network.links().await.iter().any(|link| link.peer == peer && link.carrier == Carrier::WebRtc)
    };
    within(async {
        while !direct().await {
            let event = events.next().await.expect("the node goes on");
            assert!(!matches!(event, NetworkEvent::LinkFailed { .. }), "{event:?}");
        }
    })
    .await;
}

/// The next message; nobody leaves meanwhile.
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
async fn clients_talk_on_when_the_service_node_is_killed() {
    let scratch = Scratch::new().expect("a folder");
    let mut service = Service::start(&scratch, "service", &[]);
    let (anna, mut at_anna) = member(&service).await;
    let (ben, mut at_ben) = member(&service).await;
    linked_directly(&anna, ben.peer_id()).await;
    linked_directly(&ben, anna.peer_id()).await;

    service.process.kill();
    for n in 0..100_u8 {
        within(at_anna.broadcast(vec![n; 10_000])).await.expect("a joined room");
        assert_eq!(message(&mut at_ben).await, vec![n; 10_000]);
        within(at_ben.broadcast(vec![n])).await.expect("a joined room");
        assert_eq!(message(&mut at_anna).await, [n]);
    }
    let large = vec![7; 1_000_000];
    within(at_ben.broadcast(large.clone())).await.expect("a joined room");
    assert_eq!(message(&mut at_anna).await, large);
    within(anna.shutdown()).await;
    let left = within(async {
        loop {
            if let RoomEvent::MemberLeft { peer, .. } = at_ben.next().await.expect("the room goes on") {
                return peer;
            }
        }
    });
    assert_eq!(left.await, anna.peer_id());
    within(ben.shutdown()).await;
}
