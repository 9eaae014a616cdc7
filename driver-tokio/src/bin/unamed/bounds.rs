//! Bounds that an operator may want otherwise: those of the listening side, and the core's.

use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use unamed_tokio::{Config, Rate, ServerLimits};

use crate::Failure;
use crate::units::{GIB, MIB, rate, size, size_rate, time};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// Of the hard cap on overlay links, this many are for the leaf set.
const LEAF_RESERVE: usize = 16;

/// A number within a range.
fn number(range: std::ops::RangeInclusive<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

/// Bounds of a service node.
#[derive(Clone, Debug, PartialEq, clap::Args)]
#[command(next_help_heading = "Bounds")]
pub(crate) struct BoundArgs {
    /// Connections at a time; a further one is answered with 503
    #[arg(long, env = "UNAMED_CONNECTIONS_MAX", value_name = "N", default_value = "10000", value_parser = number(1..=1_000_000))]
    pub(crate) connections_max: usize,

    /// Connections of one IPv4 address or IPv6 /64 at a time; a further one is answered with 429
    #[arg(long, env = "UNAMED_CONNECTIONS_PER_IP", value_name = "N", default_value = "32", value_parser = number(1..=1_000_000))]
    pub(crate) connections_per_ip: usize,

    /// Connections that one IPv4 address or IPv6 /64 may begin
    #[arg(long, env = "UNAMED_CONNECTION_RATE", value_name = "RATE", default_value = "10/s burst 20", value_parser = rate(1..=1_000_000))]
    pub(crate) connection_rate: Rate,

    /// Connections that have not sent their request yet
    #[arg(long, env = "UNAMED_UPGRADES_MAX", value_name = "N", default_value = "1024", value_parser = number(1..=1_000_000))]
    pub(crate) upgrades_max: usize,

    /// Cryptographic handshakes in progress
    #[arg(long, env = "UNAMED_HANDSHAKES_MAX", value_name = "N", default_value = "1024", value_parser = number(1..=1_000_000))]
    pub(crate) handshakes_max: usize,

    /// Links of all kinds
    #[arg(long, env = "UNAMED_LINKS_MAX", value_name = "N", default_value = "10000", value_parser = number(64..=1_000_000))]
    pub(crate) links_max: usize,

    /// Clients that are served; others are referred to other service nodes
    #[arg(long, env = "UNAMED_CLIENTS_MAX", value_name = "N", default_value = "4096", value_parser = number(0..=1_000_000))]
    pub(crate) clients_max: usize,

    /// Links to other service nodes beyond which those that come by themselves are referred on
    #[arg(long, env = "UNAMED_OVERLAY_SOFT", value_name = "N", default_value = "64", value_parser = number(16..=10_000))]
    pub(crate) overlay_soft: usize,

    /// Links to other service nodes, never exceeded: at least 16 more than --overlay-soft
    #[arg(long, env = "UNAMED_OVERLAY_HARD", value_name = "N", default_value = "128", value_parser = number(32..=20_000))]
    pub(crate) overlay_hard: usize,

    /// Circuits relayed at a time
    #[arg(long, env = "UNAMED_CIRCUITS_MAX", value_name = "N", default_value = "4096", value_parser = number(0..=1_000_000))]
    pub(crate) circuits_max: usize,

    /// Circuits relayed for one client at a time
    #[arg(long, env = "UNAMED_CIRCUITS_PER_CLIENT", value_name = "N", default_value = "64", value_parser = number(0..=100_000))]
    pub(crate) circuits_per_client: usize,

    /// Memory for what is relayed; beyond, the slowest link or the fullest circuit is closed
    #[arg(long, env = "UNAMED_RELAY_MEMORY", value_name = "SIZE", default_value = "64MiB", value_parser = size(MIB..=64 * GIB))]
    pub(crate) relay_memory: usize,

    /// What a client may have relayed; beyond, it waits
    #[arg(long, env = "UNAMED_RELAY_RATE", value_name = "RATE", default_value = "8MiB/s burst 8MiB", value_parser = size_rate(1 << 30))]
    pub(crate) relay_rate: Rate,

    /// Requests that a peer may make, finds among them
    #[arg(long, env = "UNAMED_REQUEST_RATE", value_name = "RATE", default_value = "50/s burst 100", value_parser = rate(1..=1_000_000))]
    pub(crate) request_rate: Rate,

    /// Finds that a peer may make
    #[arg(long, env = "UNAMED_FIND_RATE", value_name = "RATE", default_value = "10/s burst 20", value_parser = rate(1..=1_000_000))]
    pub(crate) find_rate: Rate,

    /// Publishes and withdrawals that a peer may make
    #[arg(long, env = "UNAMED_PUBLISH_RATE", value_name = "RATE", default_value = "20/s burst 200", value_parser = rate(1..=1_000_000))]
    pub(crate) publish_rate: Rate,

    /// Requests of a peer under way at a time
    #[arg(long, env = "UNAMED_REQUESTS_PER_PEER", value_name = "N", default_value = "64", value_parser = number(1..=100_000))]
    pub(crate) requests_per_peer: usize,

    /// How long a peer is banned that does what no correct implementation does
    #[arg(long, env = "UNAMED_BAN_TIME", value_name = "TIME", default_value = "1h", value_parser = time(SECOND..=DAY * 30))]
    pub(crate) ban_time: Duration,

    /// Bans at a time; the one that ends first makes way
    #[arg(long, env = "UNAMED_BANS_MAX", value_name = "N", default_value = "10000", value_parser = number(1..=10_000_000))]
    pub(crate) bans_max: usize,

    /// Claims of members of rooms that are held for others
    #[arg(long, env = "UNAMED_CLAIMS_MAX", value_name = "N", default_value = "100000", value_parser = number(1000..=100_000_000))]
    pub(crate) claims_max: usize,

    /// Service nodes known and not linked
    #[arg(long, env = "UNAMED_CONTACTS_MAX", value_name = "N", default_value = "512", value_parser = number(32..=1_000_000))]
    pub(crate) contacts_max: usize,

    /// Service addresses remembered over a restart
    #[arg(long, env = "UNAMED_ADDRESSES_MAX", value_name = "N", default_value = "256", value_parser = number(32..=4096))]
    pub(crate) addresses_max: usize,
}

impl BoundArgs {
    /// What the ranges of single values do not say.
    ///
    /// # Errors
    /// Which two do not go together.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let least = self.overlay_soft.saturating_add(LEAF_RESERVE);
        if self.overlay_hard < least {
            return Err(Failure::usage(format!(
                "--overlay-hard {}: with --overlay-soft {} it is at least {least}",
                self.overlay_hard, self.overlay_soft
            )));
        }
        if self.links_max < self.overlay_hard {
            return Err(Failure::usage(format!(
                "--links-max {}: with --overlay-hard {1} it is at least {1}",
                self.links_max, self.overlay_hard
            )));
        }
        Ok(())
    }

    /// Those of the listening side.
    pub(crate) fn server(&self) -> ServerLimits {
        ServerLimits {
            connections: self.connections_max,
            connections_per_ip: self.connections_per_ip,
            upgrades: self.upgrades_max,
            handshakes_per_ip: self.connection_rate,
            ..ServerLimits::default()
        }
    }

    /// Sets those of the core.
    pub(crate) fn apply(&self, config: &mut Config) {
        let (link, limits, routing) = (&mut config.link, &mut config.limits, &mut config.routing);
        link.pending_max = self.handshakes_max;
        link.links_max = self.links_max;
        link.clients_max = self.clients_max;
        link.overlay_soft = self.overlay_soft;
        link.overlay_hard = self.overlay_hard;
        link.circuits_relayed_max = self.circuits_max;
        link.circuits_client_max = self.circuits_per_client;
        link.relay_bytes_max = self.relay_memory;
        limits.relayed_bytes = self.relay_rate;
        limits.requests = self.request_rate;
        limits.finds = self.find_rate;
        limits.publishes = self.publish_rate;
        limits.in_flight = self.requests_per_peer;
        limits.ban = self.ban_time;
        limits.bans_max = self.bans_max;
        routing.claims_max = self.claims_max;
        routing.contacts_max = self.contacts_max;
        routing.addresses_max = self.addresses_max;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use unamed_tokio::NetworkId;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        bounds: BoundArgs,
    }

    fn bounds(args: &[&str]) -> BoundArgs {
        Only::try_parse_from(["unamed"].iter().chain(args)).unwrap().bounds
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let mut config = Config::service(NetworkId::default());
        bounds(&[]).apply(&mut config);
        assert_eq!(config, Config::service(NetworkId::default()));
        assert_eq!(bounds(&[]).server(), ServerLimits::default());
        assert!(bounds(&[]).check().is_ok());
    }

    #[test]
    fn every_bound_reaches_what_it_bounds() {
        use clap::CommandFactory as _;
        let default = (Config::service(NetworkId::default()), ServerLimits::default());
        let mut seen = 0;
        for arg in Only::command().get_arguments() {
            let (Some(flag), Some(unit)) =
                (arg.get_long(), arg.get_value_names().and_then(|names| names.first()))
            else {
                continue;
            };
            let other = match (unit.as_str(), flag) {
                ("N", _) => "1777",
                ("SIZE", _) => "7MiB",
                ("TIME", _) => "7min",
                (_, "relay-rate") => "7MiB/s burst 7MiB",
                _ => "7/s burst 7",
            };
            let mut config = default.0.clone();
            let bounds = bounds(&[&format!("--{flag}={other}")]);
            bounds.apply(&mut config);
            assert_ne!((config, bounds.server()), default, "--{flag}");
            seen += 1;
        }
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn bounds_that_do_not_go_together_are_named() {
        for (args, named) in [
            (["--overlay-soft=113", "--overlay-hard=128"], "--overlay-hard"),
            (["--links-max=127", "--clients-max=1"], "--links-max"),
        ] {
            let failure = bounds(&args).check().unwrap_err();
            assert!(failure.code == 2 && failure.message.starts_with(named), "{}", failure.message);
        }
    }
}
