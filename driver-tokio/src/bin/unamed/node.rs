//! What the commands that run a node share.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use unamed_tokio::{
    Address, CloseReason, JoinOptions, Network, NetworkBuilder, NetworkEvent, NetworkEvents, StartError,
    read_or_create_identity,
};

use crate::args::{ClientArgs, NodeArgs};
use crate::output::describe;
use crate::{Failure, say};

/// How long a bootstrap address may take to be reached.
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(30);
/// What is said when the state directory takes nothing.
pub(crate) const SAVE_FAILED: &str = "--state: the state could not be saved; the node goes on";
/// Longest passphrase file, bytes.
const PASSPHRASE_BYTES_MAX: u64 = 64 * 1024;

/// A builder with what all nodes take.
pub(crate) fn builder(args: &NodeArgs) -> Result<NetworkBuilder, Failure> {
    let mut builder = Network::builder().network(args.network.clone());
    if let Some(path) = &args.identity {
        let (identity, new) =
            read_or_create_identity(path).map_err(|error| Failure::file(format!("--identity {error}")))?;
        if new {
            say(&format!("a new identity is kept in {}", path.display()));
        }
        builder = builder.identity(identity);
    }
    if let Some(path) = &args.state {
        builder = builder.state_dir(path);
    }
    for address in &args.bootstrap {
        builder = builder.bootstrap(address.clone());
    }
    if let Some(path) = &args.tls_roots {
        builder = builder.tls_roots(path);
    }
    for server in &args.ice_server {
        builder = builder.ice_server(server.clone());
    }
    Ok(builder)
}

/// A builder with what clients take besides.
pub(crate) fn client(node: &NodeArgs, client: &ClientArgs) -> Result<NetworkBuilder, Failure> {
    let builder = builder(node)?.ice_third_parties(client.ice_third_parties);
    Ok(if client.no_webrtc { builder.webrtc(false) } else { builder })
}

/// Starts a node, and says which flag is at fault if it does not.
pub(crate) async fn start(builder: NetworkBuilder) -> Result<Network, Failure> {
    builder.start().await.map_err(|error| {
        let message = error.to_string();
        match error {
            StartError::StateDir { .. } | StartError::Identity(_) => {
                Failure::file(format!("--state: {message}"))
            }
            StartError::Listen { .. } => Failure::other(format!("--listen: {message}")),
            StartError::Stun { .. } => Failure::other(format!("--stun: {message}")),
            StartError::TlsRoots(_) => Failure::file(format!("--tls-roots: {message}")),
            StartError::Tls(_) => Failure::file(format!("--tls-cert: {message}")),
            StartError::NotCertified(_) => Failure::usage(format!("--address is missing: {message}")),
            StartError::TooManyIceServers => Failure::usage(format!("--ice-server: {message}")),
            StartError::TooManyAddresses
            | StartError::AddressWithoutListener(_)
            | StartError::ForeignAddress(_) => Failure::usage(format!("--address: {message}")),
            StartError::Randomness(_) => Failure::other(message),
        }
    })
}

/// A client needs a place to start from: an address, or a state directory that may know some.
pub(crate) fn require_start(args: &NodeArgs) -> Result<(), Failure> {
    if args.bootstrap.is_empty() && args.state.is_none() {
        return Err(Failure::usage("--bootstrap is missing: the address of a service node to start from"));
    }
    Ok(())
}

/// The passphrase in a file.
pub(crate) fn join_options(passphrase_file: Option<&Path>) -> Result<JoinOptions, Failure> {
    let Some(path) = passphrase_file else { return Ok(JoinOptions::default()) };
    let bad = |what: String| Failure::file(format!("--passphrase-file {}: {what}", path.display()));
    let metadata = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?;
    if metadata.is_dir() {
        return Err(bad("this is a directory".into()));
    }
    // A pipe has no length; shells offer passphrases that way.
    if metadata.len() > PASSPHRASE_BYTES_MAX {
        return Err(bad(format!("more than {PASSPHRASE_BYTES_MAX} bytes")));
    }
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| bad(error.to_string()))?;
    let mut file = std::io::Read::take(file, PASSPHRASE_BYTES_MAX.saturating_add(1));
    std::io::Read::read_to_end(&mut file, &mut content).map_err(|error| bad(error.to_string()))?;
    if content.len() as u64 > PASSPHRASE_BYTES_MAX {
        return Err(bad(format!("more than {PASSPHRASE_BYTES_MAX} bytes")));
    }
    let passphrase = unamed_protocol::passphrase_from_file(&content).to_vec();
    if passphrase.is_empty() {
        return Err(bad("it is empty".into()));
    }
    Ok(JoinOptions { passphrase: Some(passphrase), ..JoinOptions::default() })
}

/// Waits until a service node is linked. After 30 s it fails, or with `keep_trying` says so and goes on.
pub(crate) async fn online(
    events: &mut NetworkEvents,
    bootstrap: &[Address],
    keep_trying: bool,
) -> Result<(), Failure> {
    let mut failures: Vec<(Address, CloseReason)> = Vec::new();
    let mut deadline = Some(Instant::now() + BOOTSTRAP_TIMEOUT);
    loop {
        let event = match deadline {
            Some(at) => timeout_at(at, events.next()).await,
            None => Ok(events.next().await),
        };
        match event {
            Ok(Some(NetworkEvent::Online(true))) => return Ok(()),
            Ok(Some(NetworkEvent::LinkFailed { address: Some(address), reason })) => {
                failures.retain(|(failed, _)| *failed != address);
                failures.push((address, reason));
            }
            Ok(Some(NetworkEvent::SaveFailed)) => say(SAVE_FAILED),
            Ok(Some(_)) => {}
            Ok(None) => return Err(Failure::other("the node has stopped")),
            Err(_) => {
                let message = no_bootstrap(bootstrap, &failures);
                if !keep_trying {
                    return Err(Failure::no_bootstrap(message));
                }
                say(&format!("{message}; still trying"));
                deadline = None;
            }
        }
    }
}

fn no_bootstrap(bootstrap: &[Address], failures: &[(Address, CloseReason)]) -> String {
    let mut message = format!("no bootstrap address reached within {} s", BOOTSTRAP_TIMEOUT.as_secs());
    let reason = |address: &Address| {
        let same =
            |failed: &&(Address, CloseReason)| failed.0.host == address.host && failed.0.port == address.port;
        failures.iter().rfind(same).map_or("no answer", |(_, reason)| describe(*reason))
    };
    let mut separator = ":";
    for address in bootstrap {
        message.push_str(&format!("{separator} --bootstrap {address}: {}", reason(address)));
        separator = ";";
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_names_each_address_with_its_reason() {
        let one: Address = "/ip4/127.0.0.1/tcp/3001/ws".parse().unwrap();
        let two: Address = "/ip4/127.0.0.1/tcp/3002/ws".parse().unwrap();
        let failures = [(one.clone(), CloseReason::DialTimeout), (one.clone(), CloseReason::Refused)];
        assert_eq!(
            no_bootstrap(&[one, two], &failures),
            "no bootstrap address reached within 30 s: --bootstrap /ip4/127.0.0.1/tcp/3001/ws: connection refused; \
             --bootstrap /ip4/127.0.0.1/tcp/3002/ws: no answer"
        );
    }

    #[test]
    fn passphrase_files_lose_their_last_newline_and_bad_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pass");
        for (content, expected) in [("secret\n", "secret"), ("secret", "secret"), (" a b \n\n", " a b \n")] {
            std::fs::write(&path, content).unwrap();
            let options = join_options(Some(&path)).unwrap();
            assert_eq!(options.passphrase.as_deref(), Some(expected.as_bytes()));
        }
        assert_eq!(join_options(None).unwrap().passphrase, None);
        for content in [Vec::new(), b"\n".to_vec(), vec![b'x'; 70_000]] {
            std::fs::write(&path, content).unwrap();
            let failure = join_options(Some(&path)).unwrap_err();
            assert_eq!(failure.code, 3);
            assert!(failure.message.contains(&path.display().to_string()), "{}", failure.message);
        }
        assert_eq!(join_options(Some(dir.path())).unwrap_err().code, 3);
        assert_eq!(join_options(Some(&dir.path().join("none"))).unwrap_err().code, 3);
    }
}
