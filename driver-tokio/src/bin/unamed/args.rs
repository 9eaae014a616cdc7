//! The command line. Every flag can also come from an environment variable, or the configuration file; the flag wins over the
//! variable, and that over the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Parser, Subcommand};
use unamed_tokio::{Address, IceServer, IpNet, NetworkId, PeerId, RoomKey, Stun};

use crate::Failure;
use crate::bounds::BoundArgs;

use crate::nickname;

/// A peer-to-peer network of named rooms.
#[derive(Debug, Parser)]
#[command(name = "unamed", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print one JSON object a line on stdout
    #[arg(long, global = true, env = "UNAMED_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,

    /// What to log on stderr: error, warn, info, debug, trace, or a filter like unamed_tokio=debug
    #[arg(long, global = true, env = "UNAMED_LOG", value_name = "FILTER", default_value = "warn")]
    pub(crate) log: String,

    /// How to log: in lines for people, or as one JSON object a line
    #[arg(
        long,
        global = true,
        env = "UNAMED_LOG_FORMAT",
        value_name = "human|json",
        default_value = "human"
    )]
    pub(crate) log_format: LogFormat,

    /// A file with settings by the names of flags; see `unamed config example`
    #[arg(long, global = true, env = "UNAMED_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// In lines for people.
    Human,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a service node: one that others can dial and start from
    Serve(Box<ServeArgs>),
    /// Join a room; lines on stdin are sent to its members
    Room(RoomArgs),
    /// Create or show an identity
    Id(IdArgs),
    /// Look for the members of a room without joining it, and show the way there
    Find(FindArgs),
    /// Show links, rooms and the routing table of a running node
    Status(StatusArgs),
    /// Look for a room from a running node, or a new one, and draw the way hop by hop
    Trace(TraceArgs),
    /// Check a configuration file, or print one with every key
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration file; files that it names are not opened
    Check {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print a configuration file with every key and its default
    Example,
}

/// What every node takes.
#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct NodeArgs {
    /// A service node to start from, like /ip4/127.0.0.1/tcp/3001/ws; may be repeated
    #[arg(long, env = "UNAMED_BOOTSTRAP", value_name = "MULTIADDR", value_delimiter = ',')]
    pub(crate) bootstrap: Vec<Address>,

    /// The file with this node's secret key; created if it does not exist
    #[arg(long, env = "UNAMED_IDENTITY", value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,

    /// A directory where known addresses, and without --identity the secret key, survive a restart
    #[arg(long, env = "UNAMED_STATE", value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// The network to belong to; different networks never mix
    #[arg(long, env = "UNAMED_NETWORK", value_name = "ID", default_value = "unamed")]
    pub(crate) network: NetworkId,

    /// A STUN or TURN server: stun:HOST:PORT, or turn:HOST:PORT,USER,SECRET, by default with port 3478. A service node
    /// hands it to its clients; may be repeated, up to 8
    #[arg(
        long,
        env = "UNAMED_ICE_SERVER",
        value_name = "URL",
        value_delimiter = ';',
        value_parser = ice_server,
        hide_env_values = true
    )]
    pub(crate) ice_server: Vec<IceServer>,

    /// The root certificates by which wss addresses are checked, in a PEM file [default: those that the system trusts]
    #[arg(long, env = "UNAMED_TLS_ROOTS", value_name = "FILE")]
    pub(crate) tls_roots: Option<PathBuf>,
}

/// What every client takes.
#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct ClientArgs {
    /// Also use ICE servers of third parties, and TURN, that service nodes hand out; a third party then learns this node's
    /// address, or carries its traffic
    #[arg(long, env = "UNAMED_ICE_THIRD_PARTIES", value_parser = FalseyValueParser::new())]
    pub(crate) ice_third_parties: bool,

    /// Do not link directly to other clients; they are reached through service nodes
    #[arg(long, env = "UNAMED_NO_WEBRTC", value_parser = FalseyValueParser::new())]
    pub(crate) no_webrtc: bool,
}

#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct ServeArgs {
    /// The address to listen on; port 0 takes a free one; may be repeated
    #[arg(
        long,
        env = "UNAMED_LISTEN",
        value_name = "IP:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:3001"
    )]
    pub(crate) listen: Vec<SocketAddr>,

    /// An address at which others can dial this node, where it differs from --listen; may be repeated
    #[arg(long, env = "UNAMED_ADDRESS", value_name = "MULTIADDR", value_delimiter = ',')]
    pub(crate) address: Vec<Address>,

    /// Speak TLS on every --listen: the certificate chain in a PEM file. It is read again when it changes, and on SIGHUP
    #[arg(long, env = "UNAMED_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, in a PEM file
    #[arg(long, env = "UNAMED_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,

    /// A proxy in front of this node, or a network of them, whose X-Forwarded-For or Forwarded tells who the client is; may be
    /// repeated
    #[arg(long, env = "UNAMED_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    pub(crate) trusted_proxy: Vec<IpNet>,

    /// Lets web pages of this origin connect to a listener on a loopback or private address; * lets all; may be repeated
    #[arg(long, env = "UNAMED_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) allow_origin: Vec<String>,

    /// Accept --allow-origin '*' on an address that is not loopback
    #[arg(long, env = "UNAMED_I_KNOW", value_parser = FalseyValueParser::new())]
    pub(crate) i_know: bool,

    /// Where to answer STUN, by which clients learn their public address: on (the port number of each listener, UDP), off,
    /// or a port
    #[arg(long, env = "UNAMED_STUN", value_name = "on|off|PORT", default_value = "on", value_parser = stun)]
    pub(crate) stun: Stun,

    /// Serve the demo page at this address, for browsers; port 0 takes a free one
    #[arg(long, env = "UNAMED_WEB", value_name = "IP:PORT")]
    pub(crate) web: Option<SocketAddr>,

    /// Serve the files of this directory at --web, not the page that the program carries
    #[arg(long, env = "UNAMED_WEB_ROOT", value_name = "DIR")]
    pub(crate) web_root: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) node: NodeArgs,

    /// Serve /metrics for Prometheus, and /healthz, at this address; port 0 takes a free one
    #[arg(long, env = "UNAMED_METRICS", value_name = "IP:PORT")]
    pub(crate) metrics: Option<SocketAddr>,

    /// A Unix socket, for this user alone, by which `unamed status` and `unamed trace` ask this node
    #[arg(long, env = "UNAMED_CONTROL", value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) bounds: BoundArgs,
}

impl ServeArgs {
    /// What the parsers of single values do not say.
    ///
    /// # Errors
    /// Which flags do not go together, or which one is missing.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let exposed = self.listen.iter().find(|address| !address.ip().is_loopback());
        if let Some(address) = exposed
            && !self.i_know
            && self.allow_origin.iter().any(|origin| origin == "*")
        {
            return Err(Failure::usage(format!(
                "--allow-origin '*' with --listen {address}: every web page that somebody near this node opens could use \
                 it; add --i-know if that is meant"
            )));
        }
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => {
                return Err(Failure::usage("--tls-key is missing: the private key of --tls-cert"));
            }
            (None, Some(_)) => {
                return Err(Failure::usage("--tls-cert is missing: the certificate of --tls-key"));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        if self.web_root.is_some() && self.web.is_none() {
            return Err(Failure::usage("--web is missing: where to serve --web-root"));
        }
        self.bounds.check()
    }
}

#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct RoomArgs {
    /// The room's name: 3 to 256 bytes
    #[arg(value_name = "NAME", value_parser = room_name)]
    pub(crate) name: String,

    /// How members see this one; a line /name NEW changes it then, and //name… is sent with one slash less
    #[arg(long = "name", env = "UNAMED_NAME", value_name = "TEXT", value_parser = nickname::parse)]
    pub(crate) nickname: Option<String>,

    /// Send to this member only, not to all; may be repeated
    #[arg(long, env = "UNAMED_TO", value_name = "PEER_ID", value_delimiter = ',')]
    pub(crate) to: Vec<PeerId>,

    /// Send nothing before this many others are present
    #[arg(long, env = "UNAMED_WAIT", value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) wait: u32,

    /// Stay in the room after the end of input, and keep trying while no bootstrap address is reached
    #[arg(long, env = "UNAMED_STAY", value_parser = FalseyValueParser::new())]
    pub(crate) stay: bool,

    /// A file whose content, less its last newline, keeps out who knows the name alone
    #[arg(long, env = "UNAMED_PASSPHRASE_FILE", value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) client: ClientArgs,

    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct IdArgs {
    /// The file with the secret key; created if it does not exist [default: unamed/identity.key in the user's
    /// configuration directory]
    #[arg(long, env = "UNAMED_IDENTITY", value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
}

#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct FindArgs {
    /// The room's name: 3 to 256 bytes
    #[arg(value_name = "NAME", value_parser = room_name)]
    pub(crate) name: String,

    /// A file whose content, less its last newline, is the room's passphrase
    #[arg(long, env = "UNAMED_PASSPHRASE_FILE", value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct StatusArgs {
    /// The socket of the running node
    #[arg(long, env = "UNAMED_CONTROL", value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
}

#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct TraceArgs {
    /// The room's name, or its id in 64 hexadecimal digits
    #[arg(value_name = "ROOM", value_parser = room_name)]
    pub(crate) name: String,

    /// A file whose content, less its last newline, is the room's passphrase
    #[arg(long, env = "UNAMED_PASSPHRASE_FILE", value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// The socket of a running node, which then looks; without it a new node does
    #[arg(long, env = "UNAMED_CONTROL", value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

/// The name as given, once it is known to be one.
fn room_name(name: &str) -> Result<String, unamed_tokio::RoomNameError> {
    RoomKey::normal_name(name).map(|_| name.to_owned())
}

/// `URL`, or for TURN `URL,USER,SECRET`; the secret may have commas.
fn ice_server(text: &str) -> Result<IceServer, String> {
    let (url, credential) = match text.split_once(',') {
        None => (text, None),
        Some((url, credential)) => {
            (url, Some(credential.split_once(',').ok_or("USER,SECRET follow a TURN URL")?))
        }
    };
    IceServer::new(url, credential).map_err(|error| error.to_string())
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, &'static str> {
    let one = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| one()).map_err(|_| "an IP address, or a network like 10.0.0.0/8, is expected")
}

fn stun(text: &str) -> Result<Stun, String> {
    match text {
        "on" => Ok(Stun::On),
        "off" => Ok(Stun::Off),
        port => match port.parse() {
            Ok(port @ 1..) => Ok(Stun::Port(port)),
            Ok(0) | Err(_) => Err("on, off, or a port from 1 to 65535".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("unamed").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_variable() {
        use clap::CommandFactory as _;
        for command in Args::command().get_subcommands() {
            for flag in command.get_arguments().filter(|flag| !flag.is_positional()) {
                let long = flag.get_long().unwrap();
                let expected = format!("UNAMED_{}", long.to_uppercase().replace('-', "_"));
                assert_eq!(
                    flag.get_env().and_then(|name| name.to_str()),
                    Some(expected.as_str()),
                    "--{long}"
                );
            }
        }
    }

    #[test]
    fn a_whole_room_command_is_read() {
        let to = PeerId([7; 32]);
        let line = format!(
            "room kitchen --bootstrap /ip4/127.0.0.1/tcp/3001/ws --bootstrap /dns4/a.example/tcp/1/ws \
             --identity k --state s --network test --to {to} --wait 2 --stay --json --passphrase-file p \
             --name Anna"
        );
        let args = parse(&line).unwrap();
        assert!(args.json);
        let Command::Room(room) = args.command else { panic!("another command") };
        assert_eq!((room.name.as_str(), room.wait, room.stay), ("kitchen", 2, true));
        assert_eq!(room.to, [to]);
        assert_eq!(room.nickname.as_deref(), Some("Anna"));
        assert_eq!(room.node.bootstrap.len(), 2);
        assert_eq!(room.node.network.as_str(), "test");
    }

    #[test]
    fn proxies_are_networks_or_addresses() {
        let args = parse("serve --trusted-proxy 10.0.0.0/8,::1 --trusted-proxy 127.0.0.1");
        let Command::Serve(serve) = args.unwrap().command else { panic!("another command") };
        let expected = ["10.0.0.0/8", "::1/128", "127.0.0.1/32"].map(|text| text.parse().unwrap());
        assert_eq!(serve.trusted_proxy, expected);
    }

    #[test]
    fn ice_servers_and_stun_are_read() {
        let args =
            parse("serve --ice-server stun:a.example --ice-server turn:b.example:5349,me,a,b --stun 3478");
        let Command::Serve(serve) = args.unwrap().command else { panic!("another command") };
        let turn = IceServer::new("turn:b.example:5349", Some(("me", "a,b"))).unwrap();
        assert_eq!(serve.node.ice_server, [IceServer::new("stun:a.example", None).unwrap(), turn]);
        assert_eq!(serve.stun, Stun::Port(3478));
        let Command::Room(room) = parse("room abc --ice-third-parties --no-webrtc").unwrap().command else {
            panic!("another command")
        };
        assert!(room.client.ice_third_parties && room.client.no_webrtc);
    }

    #[test]
    fn bad_values_name_their_flag_and_what_is_wrong() {
        let cases = [
            ("room ab", "NAME", ErrorKind::ValueValidation),
            ("room abc --wait -1", "--wait", ErrorKind::UnknownArgument),
            ("room abc --wait 10001", "--wait", ErrorKind::ValueValidation),
            ("room abc --wait x", "--wait", ErrorKind::ValueValidation),
            ("room abc --name a\u{202E}b", "--name", ErrorKind::ValueValidation),
            ("room abc --to QmNotAPeer", "--to", ErrorKind::ValueValidation),
            ("room abc --bootstrap /onion3/x", "--bootstrap", ErrorKind::ValueValidation),
            ("room abc --bootstrap /unix/tmp", "--bootstrap", ErrorKind::ValueValidation),
            ("room abc --bootstrap /ip4/1.2.3.4/tcp/1/ws/p2p/", "--bootstrap", ErrorKind::ValueValidation),
            ("serve --listen localhost", "--listen", ErrorKind::ValueValidation),
            ("serve --listen 127.0.0.1:99999", "--listen", ErrorKind::ValueValidation),
            ("serve --address /ip4/1.2.3.4/tcp/0/ws", "--address", ErrorKind::ValueValidation),
            ("serve --trusted-proxy 10.0.0.0/33", "--trusted-proxy", ErrorKind::ValueValidation),
            ("serve --trusted-proxy localhost", "--trusted-proxy", ErrorKind::ValueValidation),
            ("serve --stun 0", "--stun", ErrorKind::ValueValidation),
            ("serve --stun yes", "--stun", ErrorKind::ValueValidation),
            ("serve --ice-server http://a.example", "--ice-server", ErrorKind::ValueValidation),
            ("room abc --ice-server turn:a.example", "--ice-server", ErrorKind::ValueValidation),
            ("room abc --ice-server turn:a.example,user", "--ice-server", ErrorKind::ValueValidation),
            ("room abc --ice-server stun:a.example,user,secret", "--ice-server", ErrorKind::ValueValidation),
            ("serve --no-webrtc", "--no-webrtc", ErrorKind::UnknownArgument),
            ("serve --speed 9", "--speed", ErrorKind::UnknownArgument),
            ("find", "NAME", ErrorKind::MissingRequiredArgument),
        ];
        for (line, named, kind) in cases {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            let text = error.to_string();
            assert!(text.contains(named) || text.contains("'-1'"), "{line}: {text}");
            assert_eq!(error.kind(), kind, "{line}: {text}");
        }
        let long = format!("room abc --network {}", "n".repeat(33));
        assert!(parse(&long).unwrap_err().to_string().contains("at most 32 bytes"));
    }
}
