//! Two members of one room: a service node, and a client that is linked to it by WebSocket.

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use unamed_tokio::{Network, Room, RoomEvent, RoomEvents, RoomSender};

use crate::{Pattern, WINDOW};

/// A member that answers, and one that measures.
pub(crate) struct Rooms {
    service: Network,
    client: Network,
    sender: RoomSender,
    events: RoomEvents,
    orders: mpsc::UnboundedSender<Order>,
    server: JoinHandle<()>,
}

/// What the answering member shall do next.
#[derive(Clone, Copy)]
struct Order {
    count: usize,
    echo: bool,
}

impl Rooms {
    pub(crate) async fn start() -> Self {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let service = Network::builder().listen(listen).start().await.expect("a free port");
        let address = service.addresses().first().expect("it listens").clone();
        let client = Network::builder().bootstrap(address).start().await.expect("a client");
        let mut at_service = service.join("loopback").await.expect("a room");
        let mut at_client = client.join("loopback").await.expect("a room");
        see_another(&mut at_service).await;
        see_another(&mut at_client).await;
        let (orders, receiver) = mpsc::unbounded_channel();
        let server = tokio::spawn(serve(at_service, receiver));
        let (sender, events) = at_client.split();
        Self { service, client, sender, events, orders, server }
    }

    pub(crate) async fn run(&mut self, pattern: Pattern, payload: usize, count: usize) {
        let payload = Bytes::from(vec![7; payload]);
        let echo = matches!(pattern, Pattern::PingPong | Pattern::Echo);
        self.orders.send(Order { count, echo }).expect("the other member is there");
        match pattern {
            Pattern::Stream => {
                send(&self.sender, std::iter::repeat_n(payload, count)).await;
                message(&mut self.events).await;
            }
            Pattern::PingPong => {
                for _ in 0..count {
                    self.sender.broadcast(payload.clone()).await.expect("a joined room");
                    message(&mut self.events).await;
                }
            }
            Pattern::Echo => {
                let (mut sent, mut back) = (0, 0);
                while back < count {
                    let free = (WINDOW - (sent - back)).min(count - sent);
                    send(&self.sender, std::iter::repeat_n(payload.clone(), free)).await;
                    sent += free;
                    for _ in 0..(WINDOW / 2).min(count - back) {
                        message(&mut self.events).await;
                        back += 1;
                    }
                }
            }
        }
    }

    pub(crate) async fn stop(self) {
        drop((self.orders, self.sender, self.events));
        self.server.await.expect("the member ends");
        self.client.shutdown().await;
        self.service.shutdown().await;
    }
}

async fn see_another(room: &mut Room) {
    while room.members().await.is_empty() {
        room.next().await.expect("the room goes on");
    }
}

async fn message(events: &mut RoomEvents) -> Bytes {
    loop {
        match events.next().await.expect("the room goes on") {
            RoomEvent::Message(message) => return message.payload,
            RoomEvent::MemberJoined { .. }
            | RoomEvent::MemberChanged { .. }
            | RoomEvent::Merged { .. }
            | RoomEvent::Writable => {}
            other @ (RoomEvent::MemberLeft { .. }
            | RoomEvent::MessagesLost { .. }
            | RoomEvent::Full
            | RoomEvent::Lagged { .. }) => panic!("{other:?}"),
        }
    }
}

async fn serve(room: Room, mut orders: mpsc::UnboundedReceiver<Order>) {
    let (sender, mut events) = room.split();
    while let Some(Order { count, echo }) = orders.recv().await {
        let mut left = count;
        while left > 0 {
            let mut came = vec![message(&mut events).await];
            while let Some(payload) =
                (came.len() < left).then(|| message(&mut events).now_or_never()).flatten()
            {
                came.push(payload);
            }
            left -= came.len();
            if echo {
                send(&sender, came).await;
            }
        }
        if !echo {
            sender.broadcast("done").await.expect("a joined room");
        }
    }
}

/// Sends messages, up to [`WINDOW`] at a time.
async fn send(sender: &RoomSender, payloads: impl IntoIterator<Item = Bytes>) {
    let sent: Vec<_> = payloads.into_iter().map(|payload| sender.broadcast(payload)).collect();
    let mut sent = stream::iter(sent).buffered(WINDOW);
    while let Some(sent) = sent.next().await {
        sent.expect("a joined room");
    }
}
