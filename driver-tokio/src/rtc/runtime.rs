//! tokio for the WebRTC stack, which it lets see one datagram at a time until the channel is open.
//!
//! The stack's task takes all datagrams that are there before it handles the events that they raise. While layers come up
//! this loses data: a message that came in one burst with the end of SCTP's handshake finds no channel yet and is dropped
//! although SCTP has acknowledged it, and the peer's INIT that came with the end of DTLS waits for its retransmission.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

/// Receive buffer of a socket, of which the system may grant less: a burst of [`STACK_BYTES_MAX`](super::STACK_BYTES_MAX)
/// in small packets, which count double there. What does not fit is lost, and SCTP slows down to a tenth.
const KERNEL_BYTES: usize = 512 * 1024;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The runtime of one peer connection.
#[derive(Debug, Default)]
pub(super) struct Stepwise {
    /// Whether the channel is open, so that datagrams may come in bursts.
    open: Arc<AtomicBool>,
}

impl Stepwise {
    /// Ends the stepping once it is set.
    pub(super) fn opener(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.open)
    }
}

impl Runtime for Stepwise {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        if let Err(error) = SockRef::from(&socket).set_recv_buffer_size(KERNEL_BYTES) {
            tracing::debug!(%error, "the receive buffer of a socket");
        }
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(Arc::new(StepwiseSocket { socket, open: self.opener(), taken: AtomicBool::new(false) }))
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(&'a self, remote: SocketAddr) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(async move { TokioRuntime.connect_tcp(remote).await })
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { TokioRuntime.resolve_host(host).await })
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }
}

#[derive(Debug)]
struct StepwiseSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    open: Arc<AtomicBool>,
    /// Whether the last call gave a datagram; then the next one gives none.
    taken: AtomicBool,
}

impl AsyncUdpSocket for StepwiseSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.socket.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let stepping = !self.open.load(Ordering::Relaxed);
        if self.taken.swap(false, Ordering::Relaxed) && stepping {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let received = self.socket.poll_recv(cx, bufs, meta);
        self.taken.store(received.is_ready(), Ordering::Relaxed);
        received
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}
