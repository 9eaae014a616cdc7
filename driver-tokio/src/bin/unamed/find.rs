//! `unamed find`

use unamed_tokio::{FindError, FindReport, JoinOptions, Network};

use crate::args::FindArgs;
use crate::output::{Found, Output};
use crate::signals::Signals;
use crate::{Failure, node};

/// Looks for the members of a room and shows the way there.
pub(crate) async fn run(args: FindArgs, json: bool) -> Result<(), Failure> {
    node::require_start(&args.node)?;
    let options = node::join_options(args.passphrase_file.as_deref())?;
    let mut signals = Signals::new()?;
    let network = node::start(node::builder(&args.node)?).await?;
    let report = tokio::select! {
        report = find(&network, &args, options) => report,
        () = signals.next() => Err(Failure::other("interrupted")),
    };
    signals.exit_on_next();
    network.shutdown().await;
    let report = report?;
    Output { json }
        .found(&Found::new(&report))
        .map_err(|error| Failure::other(format!("stdout: {error}")))?;
    if report.route.is_empty() && report.members.is_empty() {
        return Err(Failure::other(format!("room {:?}: the network did not answer", args.name)));
    }
    Ok(())
}

async fn find(network: &Network, args: &FindArgs, options: JoinOptions) -> Result<FindReport, Failure> {
    node::online(&mut network.events(), &args.node.bootstrap, false).await?;
    network.find_with(&args.name, options).await.map_err(|error| match error {
        FindError::Name(_) => Failure::usage(format!("room {:?}: {error}", args.name)),
        FindError::Stopped => Failure::other(error.to_string()),
    })
}
