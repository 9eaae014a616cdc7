//! The peer connection: its settings, and its events as values.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rtc::ice::mdns::MulticastDnsMode;
use tokio::sync::mpsc;
use tokio::time::timeout;
use unamed_protocol::IceServer;
use unamed_protocol::signal::Candidate;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::error::Error;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceCandidateInit, RTCIceConnectionState, RTCIceGatheringState, RTCIceServer,
    RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription, SettingEngine,
    SettingEngineBuilder,
};

use super::STACK_BYTES_MAX;
use super::runtime::Stepwise;
use crate::route;

/// The channel's name. Both ends make it, so it does not travel.
const LABEL: &str = "unamed";
/// The channel's id, which both ends know.
const CHANNEL_ID: u16 = 0;
/// Between two checks of a pair of candidates (RFC 8445, section 14.2).
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Checks of a pair before it counts as failed: two seconds, for a peer whose candidates arrive late. Also the most
/// packets that a hostile signal makes each own address send to each address that it names.
const CHECKS_MAX: u16 = 40;
/// Silence of the selected pair after which the peer connection counts as disturbed, and then as failed.
const DISCONNECTED_AFTER: Duration = Duration::from_secs(5);
const FAILED_AFTER: Duration = Duration::from_secs(10);
/// Between two checks of the selected pair (RFC 7675 asks for one in 4 to 6 s at least).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// Received bytes that the stack holds before it closes SCTP's window. Costs that much memory per hostile peer.
const RECEIVE_BYTES_MAX: u32 = 512 * 1024;
/// How long the peer may take to answer the channel's closing.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the stack found or noticed.
#[derive(Debug)]
pub(super) enum StackEvent {
    Candidate(Candidate),
    EndOfCandidates,
    /// ICE or DTLS is done, and the next layer has something to send; see [`Stack::wake`].
    Progress,
    /// No way to the peer any more.
    Failed,
    /// The peer closed the connection.
    Closed,
}

/// A peer connection with its channel.
pub(super) struct Stack {
    connection: Arc<dyn PeerConnection>,
    pub(super) channel: Arc<dyn DataChannel>,
    pub(super) events: mpsc::UnboundedReceiver<StackEvent>,
    open: Arc<AtomicBool>,
}

impl Stack {
    pub(super) async fn start(ice_servers: &[IceServer]) -> Result<Self, Error> {
        let addresses = local_addresses();
        let (events, receiver) = mpsc::unbounded_channel();
        let connect = |mdns| connect(ice_servers, &addresses, mdns, &events);
        let (connection, open) = match connect(MulticastDnsMode::QueryOnly).await {
            Ok(connected) => connected,
            // A machine without a multicast route cannot ask for names, and shall connect without.
            Err(error) => {
                tracing::debug!(%error, "no multicast DNS");
                connect(MulticastDnsMode::Disabled).await?
            }
        };
        let options = RTCDataChannelInit { negotiated: Some(CHANNEL_ID), ..RTCDataChannelInit::default() };
        let channel = connection.create_data_channel(LABEL, Some(options)).await?;
        Ok(Self { connection, channel, events: receiver, open })
    }

    /// Makes the offer, and starts to look for candidates.
    pub(super) async fn offer(&self) -> Result<String, Error> {
        let offer = self.connection.create_offer(None).await?;
        self.commit(offer).await
    }

    /// Takes the peer's offer and makes the answer, and starts to look for candidates.
    pub(super) async fn answer(&self, offer: String) -> Result<String, Error> {
        self.connection.set_remote_description(RTCSessionDescription::offer(offer)?).await?;
        let answer = self.connection.create_answer(None).await?;
        self.commit(answer).await
    }

    async fn commit(&self, description: RTCSessionDescription) -> Result<String, Error> {
        let sdp = description.sdp.clone();
        self.connection.set_local_description(description).await?;
        Ok(sdp)
    }

    pub(super) async fn accept(&self, answer: String) -> Result<(), Error> {
        self.connection.set_remote_description(RTCSessionDescription::answer(answer)?).await
    }

    /// Takes a candidate of the peer, whose description it has.
    pub(super) async fn add(&self, candidate: &Candidate) -> Result<(), Error> {
        let candidate = candidate.to_sdp();
        let init = RTCIceCandidateInit {
            candidate,
            sdp_mid: Some("0".to_owned()),
            sdp_mline_index: Some(0),
            ..RTCIceCandidateInit::default()
        };
        self.connection.add_ice_candidate(init).await
    }

    /// Makes the stack send what it has. Its task polls for packets before it handles the events that make some, and then
    /// sleeps: without this, DTLS and SCTP would each begin at the next tick of a timer, up to 200 ms late.
    pub(super) async fn wake(&self) {
        // Any setter wakes the task, and this is the value that is set already.
        if let Err(error) = self.channel.set_buffered_amount_low_threshold(0).await {
            tracing::debug!(%error, "waking a peer connection");
        }
    }

    /// The channel is open.
    pub(super) fn opened(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// Closes the channel in good order.
    pub(super) async fn say_goodbye(&self) {
        let farewell = async {
            if self.channel.close().await.is_ok() {
                while !matches!(self.channel.poll().await, None | Some(DataChannelEvent::OnClose)) {}
            }
        };
        let _ = timeout(GOODBYE_TIMEOUT, farewell).await;
    }

    pub(super) async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "closing a peer connection");
        }
    }
}

async fn connect(
    ice_servers: &[IceServer],
    addresses: &[SocketAddr],
    mdns: MulticastDnsMode,
    events: &mpsc::UnboundedSender<StackEvent>,
) -> Result<(Arc<dyn PeerConnection>, Arc<AtomicBool>), Error> {
    let ice_servers = ice_servers.iter().map(ice_server).collect();
    let configuration = RTCConfigurationBuilder::default().with_ice_servers(ice_servers).build();
    let loopback = addresses.iter().any(|address| address.ip().is_loopback());
    let runtime = Stepwise::default();
    let open = runtime.opener();
    let connection = PeerConnectionBuilder::new()
        .with_runtime(Arc::new(runtime))
        .with_configuration(configuration)
        .with_setting_engine(settings(mdns, loopback))
        .with_handler(Arc::new(Handler { events: events.clone() }))
        .with_udp_addrs(addresses.to_vec())
        .with_data_channel_send_buffer_limit(STACK_BYTES_MAX)
        .build()
        .await?;
    Ok((Arc::new(connection), open))
}

fn settings(mdns: MulticastDnsMode, loopback: bool) -> SettingEngine {
    SettingEngineBuilder::new()
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECKS_MAX))
        .with_ice_timeouts(Some(DISCONNECTED_AFTER), Some(FAILED_AFTER), Some(KEEPALIVE_INTERVAL))
        .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_multicast_dns_mode(mdns)
        .with_include_loopback_candidate(loopback)
        .with_sctp_max_receive_buffer_size(RECEIVE_BYTES_MAX)
        .build()
}

fn ice_server(server: &IceServer) -> RTCIceServer {
    let (username, credential) = server.credential().unwrap_or_default();
    RTCIceServer {
        urls: vec![server.url().to_owned()],
        username: username.to_owned(),
        credential: credential.to_owned(),
    }
}

/// Where the sockets of a peer connection are bound.
fn local_addresses() -> Vec<SocketAddr> {
    let mut addresses: Vec<IpAddr> = route::outbound_v4().into_iter().chain(route::outbound_v6()).collect();
    if addresses.is_empty() {
        addresses.push(Ipv4Addr::LOCALHOST.into());
    }
    addresses.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect()
}

/// Turns the stack's calls into events. They come from the stack's own task, so nothing is awaited here.
struct Handler {
    events: mpsc::UnboundedSender<StackEvent>,
}

impl Handler {
    fn tell(&self, event: StackEvent) {
        // Fails once the link's task has ended.
        let _ = self.events.send(event);
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let line = event.candidate.to_json().map(|init| init.candidate);
        match line.map(|line| Candidate::from_sdp(&line)) {
            Ok(Ok(Some(candidate))) => self.tell(StackEvent::Candidate(candidate)),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a candidate of the own stack"),
            Err(error) => tracing::debug!(%error, "a candidate of the own stack"),
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.tell(StackEvent::EndOfCandidates);
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        if state == RTCIceConnectionState::Connected {
            self.tell(StackEvent::Progress);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            self.tell(StackEvent::Progress);
        } else if state == RTCPeerConnectionState::Failed {
            self.tell(StackEvent::Failed);
        } else if state == RTCPeerConnectionState::Closed {
            self.tell(StackEvent::Closed);
        }
    }
}
