//! `unamed serve`

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use unamed_tokio::{Address, Network, NetworkEvent, NetworkId, TlsCertificate};

use crate::args::ServeArgs;
#[cfg(unix)]
use crate::control::Control;
use crate::http::Http;
use crate::metrics::{self, Watched};
use crate::output::{Line, Output, describe};
use crate::signals::{Noted, Signals};
use crate::web::{PageConfig, Pages, Web};
use crate::{Failure, node, say};

/// Runs a service node until a signal comes.
pub(crate) async fn run(args: ServeArgs, json: bool) -> Result<(), Failure> {
    args.check()?;
    let (mut signals, asked, reload) = (Signals::new()?, Noted::asked()?, Noted::reload()?);
    let bounds = args.bounds.clone();
    let builder = node::builder(&args.node)?.stun(args.stun).server_limits(bounds.server());
    let mut builder = builder.configure(move |config| bounds.apply(config));
    for address in &args.listen {
        builder = builder.listen(*address);
    }
    for address in &args.address {
        builder = builder.address(address.clone());
    }
    for origin in &args.allow_origin {
        builder = builder.allow_origin(origin.trim_end_matches('/'));
    }
    for network in &args.trusted_proxy {
        builder = builder.trusted_proxy(*network);
    }
    let certificate = certificate(&args)?;
    if let Some(certificate) = &certificate {
        builder = builder.tls(certificate.clone());
    }
    let web = bind_web(&args).await?;
    if let Some(web) = &web {
        builder = builder.allow_origin(web.origin());
    }
    let metrics = bind_metrics(args.metrics).await?;
    #[cfg(unix)]
    let control = args.control.as_deref().map(Control::bind).transpose()?;
    let network = node::start(builder).await?;
    announce(&network, &args, web.as_ref(), metrics.as_ref(), json);
    let draining = Arc::new(AtomicBool::new(false));
    if let Some(http) = metrics {
        let bootstrapped = !args.node.bootstrap.is_empty();
        let watched = Watched { network: network.clone(), bootstrapped, draining: Arc::clone(&draining) };
        // Until the program ends: who watches sees it drain.
        tokio::spawn(metrics::run(http, watched));
    }
    #[cfg(unix)]
    let _socket_file = control.map(|(control, file)| {
        tokio::spawn(control.run(network.clone()));
        file
    });
    let config = PageConfig {
        network: network.network_id().as_str().into(),
        bootstrap: network.addresses().iter().map(Address::to_string).collect(),
    };
    tell_manager(Stage::Ready);
    tokio::select! {
        () = watch(&network, &args.node.bootstrap) => {}
        () = signals.next() => {}
        () = serve_web(web, &config) => {}
        () = answer(&network, asked, json) => {}
        () = keep_certified(certificate, reload) => {}
    }
    signals.exit_on_next();
    draining.store(true, Ordering::Relaxed);
    tell_manager(Stage::Stopping);
    network.shutdown().await;
    Ok(())
}

/// What a service manager wants to hear of.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The node listens.
    Ready,
    /// The node says goodbye.
    Stopping,
}

/// Tells systemd, if it started this and wants to know (`Type=notify`).
#[cfg(target_os = "linux")]
fn tell_manager(stage: Stage) {
    let state = match stage {
        Stage::Ready => sd_notify::NotifyState::Ready,
        Stage::Stopping => sd_notify::NotifyState::Stopping,
    };
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager is not told");
    }
}

/// There is none that wants to.
#[cfg(not(target_os = "linux"))]
const fn tell_manager(_: Stage) {}

async fn bind_metrics(address: Option<SocketAddr>) -> Result<Option<Http>, Failure> {
    let Some(address) = address else { return Ok(None) };
    let bound = Http::bind(address).await;
    bound.map(Some).map_err(|error| Failure::other(format!("--metrics: listening on {address}: {error}")))
}

/// The certificate of the listeners, if they are to speak TLS.
fn certificate(args: &ServeArgs) -> Result<Option<TlsCertificate>, Failure> {
    let (Some(chain), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    TlsCertificate::open(chain, key).map(Some).map_err(|error| {
        let flag = if error.path == *chain { "--tls-cert" } else { "--tls-key" };
        Failure::file(format!("{flag} {error}"))
    })
}

/// Reads the certificate again whenever the signal asks for it, and does not end.
async fn keep_certified(certificate: Option<TlsCertificate>, mut reload: Noted) {
    loop {
        reload.next().await;
        let Some(certificate) = certificate.clone() else {
            say("SIGHUP: there is nothing to read again without --tls-cert");
            continue;
        };
        match tokio::task::spawn_blocking(move || certificate.reload()).await {
            Ok(Ok(())) => say("SIGHUP: the certificate was read again"),
            Ok(Err(error)) => say(&format!("SIGHUP: {error}; the certificate of before stays in use")),
            Err(_) => return,
        }
    }
}

async fn bind_web(args: &ServeArgs) -> Result<Option<Web>, Failure> {
    let Some(address) = args.web else { return Ok(None) };
    let pages = Pages::open(args.web_root.as_deref()).map_err(Failure::file)?;
    let web = Web::bind(address, pages).await;
    web.map(Some).map_err(|error| Failure::other(format!("--web: listening on {address}: {error}")))
}

/// Serves the page, if there is one, and does not end.
async fn serve_web(web: Option<Web>, config: &PageConfig) {
    match web {
        Some(web) => match web.run(config).await {},
        None => std::future::pending().await,
    }
}

fn announce(network: &Network, args: &ServeArgs, web: Option<&Web>, metrics: Option<&Http>, json: bool) {
    if args.node.identity.is_none() && args.node.state.is_none() {
        say("this identity lasts for this run only; --identity or --state keeps one");
    }
    let listening = Line::Listening {
        peer_id: network.peer_id().to_string(),
        addresses: network.addresses().iter().map(Address::to_string).collect(),
        web: web.map(|web| format!("{}/", web.origin())),
        metrics: metrics.map(|http| format!("http://{}/metrics", http.local())),
    };
    // A node that serves others does not end because nobody reads what it prints.
    let _ = Output { json }.line(&listening);
    if let (false, Some(address)) = (json, network.addresses().first()) {
        let other_network = Some(network.network_id()).filter(|id| **id != NetworkId::default());
        let flag = other_network.map(|id| format!(" --network {:?}", id.as_str())).unwrap_or_default();
        say(&format!("join a room from another terminal: unamed room NAME{flag} --bootstrap {address}"));
    }
}

/// Prints how the node is whenever it is asked to, and does not end.
async fn answer(network: &Network, mut asked: Noted, json: bool) {
    loop {
        asked.next().await;
        let metrics = Line::Metrics {
            boot: network.boot(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            links: network.links().await.len(),
            counters: network.metrics().await.into_iter().collect(),
        };
        let _ = Output { json }.line(&metrics);
    }
}

/// Says what an operator must know, until the node stops.
async fn watch(network: &Network, bootstrap: &[Address]) {
    let mut events = network.events();
    if !bootstrap.is_empty() && node::online(&mut events, bootstrap, true).await.is_err() {
        return;
    }
    while let Some(event) = events.next().await {
        match event {
            NetworkEvent::IdentityInUse { told_by: None } => {
                tracing::warn!("another live node uses this identity");
            }
            // Any peer can say so, as often as it likes.
            NetworkEvent::IdentityInUse { told_by: Some(peer) } => {
                tracing::warn!(%peer, "a peer says that another live node uses this identity");
            }
            NetworkEvent::SaveFailed => say(node::SAVE_FAILED),
            NetworkEvent::Online(online) => tracing::info!(online, "links to other service nodes"),
            NetworkEvent::Ready => tracing::info!("takes part in routing"),
            NetworkEvent::LinkOpened { peer, carrier, reasons } => {
                tracing::info!(%peer, carrier = carrier.as_str(), %reasons, "link opened");
            }
            NetworkEvent::LinkClosed { peer, reason, reasons } => {
                tracing::info!(%peer, reason = describe(reason), kept_for = %reasons, "link closed");
            }
            NetworkEvent::LinkFailed { address, reason } => {
                let address = address.map(|address| address.to_string()).unwrap_or_default();
                tracing::info!(address, reason = describe(reason), "link failed");
            }
            NetworkEvent::NewServiceAddress { address } => tracing::debug!(%address, "new service address"),
            NetworkEvent::Lagged { .. }
            | NetworkEvent::PrimaryChanged { .. }
            | NetworkEvent::MessageProgress { .. }
            | NetworkEvent::SendProgress { .. }
            | NetworkEvent::ShutDown => {}
        }
    }
}
