//! The yardstick: one connection of tokio-tungstenite with its default settings, nothing else.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use crate::{Pattern, WINDOW};

type Socket = WebSocketStream<TcpStream>;

/// A client, and a server task.
pub(crate) struct Bare {
    client: Socket,
    server: JoinHandle<()>,
}

/// What the client asks the server to do, as a text message before the binary ones.
const COUNT: &str = "count";
const ECHO: &str = "echo";

impl Bare {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            stream.set_nodelay(true).expect("a TCP socket");
            serve(accept_async(stream).await.expect("a WebSocket")).await;
        });
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let (client, _) = client_async(format!("ws://{address}/"), stream).await.expect("a WebSocket");
        Self { client, server }
    }

    pub(crate) async fn run(&mut self, pattern: Pattern, payload: usize, count: usize) {
        let message = Message::Binary(Bytes::from(vec![7; payload]));
        match pattern {
            Pattern::Stream => {
                self.order(COUNT, count).await;
                for _ in 0..count {
                    self.client.feed(message.clone()).await.expect("the server reads");
                }
                self.client.flush().await.expect("the server reads");
                self.answer().await;
            }
            Pattern::PingPong => {
                self.order(ECHO, count).await;
                for _ in 0..count {
                    self.client.send(message.clone()).await.expect("the server reads");
                    self.answer().await;
                }
            }
            Pattern::Echo => {
                self.order(ECHO, count).await;
                let (mut sink, mut stream) = (&mut self.client).split();
                let (mut sent, mut back) = (0, 0);
                while back < count {
                    while sent < count && sent - back < WINDOW {
                        sink.feed(message.clone()).await.expect("the server reads");
                        sent += 1;
                    }
                    sink.flush().await.expect("the server reads");
                    // Half a window, so that the ends work at the same time and messages share a flush.
                    for _ in 0..(WINDOW / 2).min(count - back) {
                        stream.next().await.expect("the server answers").expect("a message");
                        back += 1;
                    }
                }
            }
        }
    }

    async fn order(&mut self, what: &str, count: usize) {
        let order = Message::text(format!("{what} {count}"));
        self.client.send(order).await.expect("the server reads");
    }

    async fn answer(&mut self) {
        self.client.next().await.expect("the server answers").expect("a message");
    }

    pub(crate) async fn stop(mut self) {
        self.client.close(None).await.expect("an open socket");
        while self.client.next().await.is_some_and(|message| message.is_ok()) {}
        self.server.await.expect("the server ends");
    }
}

async fn serve(mut socket: Socket) {
    while let Some(Ok(Message::Text(order))) = socket.next().await {
        let (what, count) = order.split_once(' ').expect("an order");
        let mut left: usize = count.parse().expect("a number");
        while left > 0 {
            let message = socket.next().await.expect("more").expect("a message");
            left -= 1;
            if what == ECHO {
                echo(&mut socket, message, &mut left).await;
            }
        }
        if what == COUNT {
            socket.send(Message::text("done")).await.expect("the client reads");
        }
    }
}

/// Sends a message back, and with it those that have come already, in one flush.
async fn echo(socket: &mut Socket, message: Message, left: &mut usize) {
    socket.feed(message).await.expect("the client reads");
    while *left > 0 {
        let ready = tokio::select! {
            biased;
            message = socket.next() => message,
            () = std::future::ready(()) => break,
        };
        *left -= 1;
        socket.feed(ready.expect("more").expect("a message")).await.expect("the client reads");
    }
    socket.flush().await.expect("the client reads");
}
