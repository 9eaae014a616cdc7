//! `unamed status` and `unamed trace`: what a running node tells.

use unamed_protocol::crypto::RealCrypto;
use unamed_tokio::{FindReport, JoinOptions, Network, NetworkId, RoomId, RoomKey};

use crate::args::{StatusArgs, TraceArgs};
use crate::control::{Asking, room_id};
use crate::output::Output;
use crate::signals::Signals;
use crate::status::Trace;
use crate::{Failure, node};

/// Prints how a running node is.
pub(crate) async fn status(args: StatusArgs, json: bool) -> Result<(), Failure> {
    let path =
        args.control.ok_or_else(|| Failure::usage("--control is missing: the socket of the running node"))?;
    let status = Asking::open(&path).await?.status().await?;
    let written = Output { json }.show(&status, || status.text());
    written.map_err(|error| Failure::other(format!("stdout: {error}")))
}

/// Draws a find: one of a running node, or of a node for this purpose alone.
pub(crate) async fn trace(args: TraceArgs, json: bool) -> Result<(), Failure> {
    let options = node::join_options(args.passphrase_file.as_deref())?;
    let trace = match &args.control {
        Some(path) => {
            let mut asking = Asking::open(path).await?;
            let network: NetworkId = asking
                .network
                .parse()
                .map_err(|_| Failure::other(format!("--control {}: no network is named", path.display())))?;
            asking.trace(sought(args.name, options, network).await?).await?
        }
        None => Trace::of(&alone(args, options).await?),
    };
    let written = Output { json }.show(&trace, || trace.text());
    written.map_err(|error| Failure::other(format!("stdout: {error}")))?;
    if trace.is_answered() { Ok(()) } else { Err(Failure::other("the network did not answer")) }
}

async fn alone(args: TraceArgs, options: JoinOptions) -> Result<FindReport, Failure> {
    node::require_start(&args.node)?;
    let mut signals = Signals::new()?;
    let room = sought(args.name, options, args.node.network.clone()).await?;
    let network = node::start(node::builder(&args.node)?).await?;
    let find = async |network: &Network| {
        node::online(&mut network.events(), &args.node.bootstrap, false).await?;
        network.find_room(room).await.map_err(|error| Failure::other(error.to_string()))
    };
    let report = tokio::select! {
        report = find(&network) => report,
        () = signals.next() => Err(Failure::other("interrupted")),
    };
    signals.exit_on_next();
    network.shutdown().await;
    report
}

/// The id of a room, given by it or by its name.
async fn sought(name: String, options: JoinOptions, network: NetworkId) -> Result<RoomId, Failure> {
    if let Some(id) = room_id(&name) {
        return Ok(id);
    }
    let derive = move || {
        let key = RoomKey::derive(&name, &options.passphrase.unwrap_or_default(), &network);
        key.map(|key| key.id(&RealCrypto)).map_err(|error| Failure::usage(format!("room {name:?}: {error}")))
    };
    let derived = tokio::task::spawn_blocking(derive).await;
    derived.map_err(|error| Failure::other(error.to_string()))?
}
