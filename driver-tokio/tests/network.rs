//! Nodes in one process, over real sockets.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;
use unamed_tokio::{
    JoinError, JoinOptions, JoinOutcome, MemberDataError, MemberLeftReason, Network, NetworkEvent, PeerId,
    Room, RoomEvent, SendError,
};

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("in time")
}

async fn service() -> Network {
    Network::builder().listen("127.0.0.1:0".parse().unwrap()).start().await.unwrap()
}

async fn client(of: &Network) -> Network {
    Network::builder().bootstrap(of.addresses()[0].clone()).start().await.unwrap()
}

/// Reads until all of `peers` are members.
async fn see(room: &mut Room, peers: &[PeerId]) {
    within(async {
        while !peers.iter().all({
            let members = room.members().await;
            move |peer| members.contains(peer)
        }) {
            room.next().await.expect("the room goes on");
        }
    })
    .await;
}

/// The next event that `wanted` makes something of.
async fn until<T>(room: &mut Room, wanted: impl Fn(RoomEvent) -> Option<T>) -> T {
    within(async {
        loop {
            if let Some(found) = wanted(room.next().await.expect("the room goes on")) {
                return found;
            }
        }
    })
    .await
}

fn payload(event: RoomEvent) -> Option<Vec<u8>> {
    if let RoomEvent::Message(message) = event { Some(message.payload.to_vec()) } else { None }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_talk_and_leave() {
    let service = service().await;
    let (anna, ben) = (client(&service).await, client(&service).await);
    let mut at_anna = within(anna.join("kitchen")).await.unwrap();
    let mut at_ben = within(ben.join("kitchen")).await.unwrap();
    assert_eq!(at_anna.id(), at_ben.id());
    assert_eq!(within(anna.join("kitchen")).await.unwrap_err(), JoinError::AlreadyJoined);
    see(&mut at_anna, &[ben.peer_id()]).await;
    see(&mut at_ben, &[anna.peer_id()]).await;

    within(at_anna.broadcast("to all")).await.unwrap();
    assert_eq!(until(&mut at_ben, payload).await, b"to all");
    within(at_ben.send_to(&[anna.peer_id()], vec![0xFF; 100_000])).await.unwrap();
    assert_eq!(until(&mut at_anna, payload).await, vec![0xFF; 100_000]);
    assert_eq!(within(at_ben.send_to(&[], "nobody")).await, Err(SendError::NoRecipients));
    let stranger = PeerId([9; 32]);
    assert_eq!(within(at_ben.send_to(&[stranger], "who")).await, Err(SendError::UnknownRecipient(stranger)));

    let (sender, events) = at_ben.split();
    within(sender.leave()).await;
    assert_eq!(within(sender.broadcast("late")).await, Err(SendError::NotJoined));
    let left = |event| {
        if let RoomEvent::MemberLeft { peer, reason } = event { Some((peer, reason)) } else { None }
    };
    assert_eq!(until(&mut at_anna, left).await, (ben.peer_id(), MemberLeftReason::Left));
    drop((sender, events));

    for node in [anna, ben, service] {
        within(node.shutdown()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_handle_of_a_room_leaves_it_and_an_old_one_does_not_touch_a_later_join() {
    let service = service().await;
    let (anna, ben) = (client(&service).await, client(&service).await);
    let mut at_anna = within(anna.join("hallway")).await.unwrap();
    let first = within(ben.join("hallway")).await.unwrap();
    see(&mut at_anna, &[ben.peer_id()]).await;
    let (old_sender, events) = first.split();
    drop(events);
    within(old_sender.leave()).await;
    let mut second = within(ben.join("hallway")).await.unwrap();
    drop(old_sender);
    see(&mut second, &[anna.peer_id()]).await;
    assert_eq!(ben.rooms().await.len(), 1);
    drop(second);
    within(async {
        while !ben.rooms().await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for node in [anna, ben, service] {
        within(node.shutdown()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_makes_another_room() {
    let service = service().await;
    let (anna, ben) = (client(&service).await, client(&service).await);
    let options = JoinOptions { passphrase: Some(b"secret".to_vec()), ..JoinOptions::default() };
    let open = within(anna.join("study")).await.unwrap();
    let closed = within(ben.join_with("study", options.clone())).await.unwrap();
    assert_ne!(open.id(), closed.id());
    assert_eq!(*closed.outcome(), JoinOutcome::Alone);
    let found = within(anna.find_with("study", options)).await.unwrap();
    assert_eq!((found.room, found.members), (closed.id(), vec![ben.peer_id()]));
    assert!(matches!(anna.join("x").await, Err(JoinError::Name(_))));
    for node in [anna, ben, service] {
        within(node.shutdown()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_know_each_other_by_name() {
    let service = service().await;
    let (anna, ben) = (client(&service).await, client(&service).await);
    let named = |name: &'static str| JoinOptions { member_data: name.into(), ..JoinOptions::default() };
    let mut at_anna = within(anna.join_with("attic", named("Anna"))).await.unwrap();
    let mut at_ben = within(ben.join_with("attic", named("Ben"))).await.unwrap();
    let known = |event| {
        let (RoomEvent::MemberJoined { peer, data } | RoomEvent::MemberChanged { peer, data }) = event else {
            return None;
        };
        Some((peer, data))
    };
    let joined = |event: RoomEvent| matches!(event, RoomEvent::MemberJoined { .. }).then(|| known(event))?;
    assert_eq!(until(&mut at_anna, joined).await, (ben.peer_id(), "Ben".into()));
    assert_eq!(until(&mut at_ben, known).await, (anna.peer_id(), "Anna".into()));
    assert_eq!(within(at_ben.member_data(anna.peer_id())).await, Some("Anna".into()));

    within(at_anna.set_member_data("Anna, out for lunch")).await.unwrap();
    assert_eq!(until(&mut at_ben, known).await, (anna.peer_id(), "Anna, out for lunch".into()));
    let too_large = within(at_anna.set_member_data(vec![0; 1025])).await;
    assert_eq!(too_large, Err(MemberDataError::TooLarge { max: 1024 }));
    assert_eq!(within(at_anna.member_data(anna.peer_id())).await, Some("Anna, out for lunch".into()));
    let options = JoinOptions { member_data: vec![0; 1025].into(), ..JoinOptions::default() };
    let refused = within(anna.join_with("loft", options)).await.unwrap_err();
    assert_eq!(refused, JoinError::MemberDataTooLarge { max: 1024 });

    within(at_anna.set_member_data("")).await.unwrap();
    assert_eq!(until(&mut at_ben, known).await, (anna.peer_id(), "".into()));
    let (sender, _events) = at_anna.split();
    within(sender.leave()).await;
    assert_eq!(within(sender.set_member_data("late")).await, Err(MemberDataError::NotJoined));
    assert_eq!(within(at_ben.member_data(PeerId([9; 32]))).await, None);
    for node in [anna, ben, service] {
        within(node.shutdown()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_all_handles_says_goodbye() {
    let service = service().await;
    let mut events = service.events();
    let guest = client(&service).await;
    let peer = guest.peer_id();
    let seen = async |events: &mut unamed_tokio::NetworkEvents,
                      wanted: fn(&NetworkEvent) -> Option<PeerId>| {
        within(async {
            loop {
                if let Some(peer) = wanted(&events.next().await.expect("the node goes on")) {
                    return peer;
                }
            }
        })
        .await
    };
    let opened = |event: &NetworkEvent| {
        if let NetworkEvent::LinkOpened { peer, .. } = event { Some(*peer) } else { None }
    };
    let closed = |event: &NetworkEvent| {
        if let NetworkEvent::LinkClosed { peer, .. } = event { Some(*peer) } else { None }
    };
    assert_eq!(seen(&mut events, opened).await, peer);
    drop(guest);
    assert_eq!(seen(&mut events, closed).await, peer);
    within(service.shutdown()).await;
    // Nothing hangs on a node that is gone.
    assert_eq!(within(service.join("anything")).await.unwrap_err(), JoinError::Stopped);
    assert!(service.links().await.is_empty());
    while within(events.next()).await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_queued_is_sent_before_the_end() {
    let service = service().await;
    let (anna, ben) = (client(&service).await, client(&service).await);
    let mut at_anna = within(anna.join("cellar")).await.unwrap();
    let mut at_ben = within(ben.join("cellar")).await.unwrap();
    see(&mut at_ben, &[anna.peer_id()]).await;
    for number in 0..200_u32 {
        within(at_ben.broadcast([&number.to_be_bytes()[..], &[0; 10_000]].concat())).await.unwrap();
    }
    within(ben.shutdown()).await;
    for number in 0..200_u32 {
        let payload = until(&mut at_anna, payload).await;
        assert_eq!(payload.first_chunk(), Some(&number.to_be_bytes()));
    }
    for node in [anna, service] {
        within(node.shutdown()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_keeps_its_identity_and_its_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let service = service().await;
    // A node that listens on loopback, since loopback addresses are of no use to others.
    let builder = || Network::builder().state_dir(dir.path()).listen("127.0.0.1:0".parse().unwrap());
    let first = builder().bootstrap(service.addresses()[0].clone()).start().await.unwrap();
    let peer = first.peer_id();
    let online = async |network: &Network| {
        let mut events = network.events();
        within(async { while events.next().await != Some(NetworkEvent::Online(true)) {} }).await;
    };
    online(&first).await;
    within(first.shutdown()).await;
    // Without a bootstrap address.
    let second = builder().start().await.unwrap();
    assert_eq!(second.peer_id(), peer);
    online(&second).await;
    for node in [second, service] {
        within(node.shutdown()).await;
    }
}
