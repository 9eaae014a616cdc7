//! `unamed serve --metrics`: `/metrics` for Prometheus, and `/healthz` for whoever balances, restarts or updates nodes.
//!
//! The text is that of OpenMetrics 1.0, which Prometheus reads; names follow its conventions and those of Prometheus: a
//! prefix, base units, `_total` for what only grows. Labels have few values, known beforehand: no peer, room or address is one.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;
use unamed_tokio::{Carrier, LinkView, Network, RoutingView};

use crate::http::{self, Answer, Http};
use crate::process;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 16;
/// The content type of OpenMetrics.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What metrics and health are made of.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// The node.
    pub(crate) network: Network,
    /// Whether addresses were given to start from: without any, a node may well be the first one.
    pub(crate) bootstrapped: bool,
    /// Whether the node was told to end.
    pub(crate) draining: Arc<AtomicBool>,
}

/// Serves until it is dropped.
pub(crate) async fn run(http: Http, watched: Watched) -> Infallible {
    let local = http.local().ip();
    let answer = move |request: Request<Incoming>| {
        let watched = watched.clone();
        async move {
            if !http::names_own_host(&request, local) {
                return http::plain(StatusCode::FORBIDDEN, "this listener is for its own machine\n");
            }
            if !matches!(*request.method(), Method::GET | Method::HEAD) {
                return http::plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n");
            }
            match request.uri().path() {
                "/metrics" => metrics(&watched.network).await,
                "/healthz" => healthz(&watched).await,
                _ => http::plain(StatusCode::NOT_FOUND, "there are /metrics and /healthz\n"),
            }
        }
    };
    http.run(CONNECTIONS_MAX, answer).await
}

async fn metrics(network: &Network) -> Answer {
    let snapshot = Snapshot {
        counters: network.metrics().await,
        links: network.links().await,
        routing: network.routing_table().await,
        rooms: network.rooms().await.len(),
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        started: SystemTime::now().checked_sub(network.uptime()),
        process: process::usage(),
    };
    match snapshot.text() {
        Ok(text) => http::answer(StatusCode::OK, CONTENT_TYPE, text),
        Err(_) => http::plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n"),
    }
}

/// How a node is, for `/healthz`.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Health {
    /// Whether the node takes part: its state in one word.
    status: &'static str,
    /// Links to its nearest service nodes.
    leaf_set: usize,
}

impl Health {
    fn new(routing: Option<&RoutingView>, bootstrapped: bool, draining: bool) -> Self {
        let leaf_set = routing.map_or(0, |routing| routing.leaf_set.len());
        let status = match routing {
            _ if draining => "draining",
            None => "stopped",
            Some(routing) if !routing.ready => "starting",
            Some(_) if leaf_set == 0 && bootstrapped => "alone",
            Some(_) => "ready",
        };
        Self { status, leaf_set }
    }

    fn code(&self) -> StatusCode {
        if self.status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }
}

async fn healthz(watched: &Watched) -> Answer {
    let routing = watched.network.routing_table().await;
    let draining = watched.draining.load(Ordering::Relaxed);
    let health = Health::new(routing.as_ref(), watched.bootstrapped, draining);
    let mut text = serde_json::to_vec(&health).unwrap_or_default();
    text.push(b'\n');
    http::answer(health.code(), "application/json", text)
}

/// What is told at one moment.
#[derive(Debug)]
struct Snapshot {
    counters: Vec<(&'static str, u64)>,
    links: Vec<LinkView>,
    routing: Option<RoutingView>,
    rooms: usize,
    tasks: usize,
    started: Option<SystemTime>,
    process: process::Usage,
}

impl Snapshot {
    fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }

    fn encode_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        const PURPOSES: &str = "bytes_sent_";
        for (name, value) in &self.counters {
            let (name, unit) = match *name {
                name if name.starts_with(PURPOSES) => continue,
                "bytes_sent" => ("sent", Some(Unit::Bytes)),
                "bytes_received" => ("received", Some(Unit::Bytes)),
                "circuit_bytes_relayed" => ("relayed", Some(Unit::Bytes)),
                // `_total` is added to each.
                "driver_refused_total" => ("driver_refused_full", None),
                name => (name, None),
            };
            let full = format!("unamed_{name}");
            let help = format!("Since the start: {}", name.replace('_', " "));
            let mut metric = encoder.encode_descriptor(&full, &help, unit.as_ref(), MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(value, None)?;
        }
        let help = "Since the start: messages by what they are for, frames and handshakes aside";
        let mut family =
            encoder.encode_descriptor("unamed_sent_for", help, Some(&Unit::Bytes), MetricType::Counter)?;
        for (name, value) in &self.counters {
            if let Some(purpose) = name.strip_prefix(PURPOSES) {
                let labels = [("purpose", purpose)];
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(value, None)?;
            }
        }
        Ok(())
    }

    fn encode_links(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Usable links";
        let mut family = encoder.encode_descriptor("unamed_links", help, None, MetricType::Gauge)?;
        for carrier in [Carrier::WebSocket, Carrier::WebRtc, Carrier::Circuit] {
            for (peer, service) in [("service", true), ("client", false)] {
                let same = |link: &&LinkView| link.carrier == carrier && link.service == service;
                let labels = [("carrier", carrier.as_str()), ("peer", peer)];
                family
                    .encode_family(&labels)?
                    .encode_gauge(&gauge(self.links.iter().filter(same).count()))?;
            }
        }
        Ok(())
    }

    fn encode_gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let routing = self.routing.as_ref();
        let of = |look: fn(&RoutingView) -> usize| routing.map_or(0, look);
        let gauges = [
            ("unamed_ready", "Whether the node takes part in routing", of(|view| usize::from(view.ready))),
            ("unamed_leaf_set_links", "Links to the nearest service nodes", of(|view| view.leaf_set.len())),
            ("unamed_bucket_links", "Links to service nodes in buckets", of(|view| view.buckets.len())),
            ("unamed_rooms_held", "Rooms whose members' claims are held", of(|view| view.held.len())),
            (
                "unamed_claims_held",
                "Claims of members that are held",
                of(|view| view.held.iter().map(|(_, claims)| claims).sum()),
            ),
            ("unamed_rooms_joined", "Rooms that this node itself is in", self.rooms),
            ("unamed_runtime_tasks", "Tasks that have not ended", self.tasks),
        ];
        for (name, help, value) in gauges {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&gauge(value))?;
        }
        let help = "The program's version";
        let mut family = encoder.encode_descriptor("unamed_build", help, None, MetricType::Info)?;
        family.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }

    /// What Prometheus' own libraries tell of a process, by their names.
    fn encode_process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let since = self.started.and_then(|started| started.duration_since(UNIX_EPOCH).ok());
        if let Some(since) = since {
            let help = "Start of the process, seconds since the Unix epoch";
            let unit = Some(&Unit::Seconds);
            let mut metric =
                encoder.encode_descriptor("process_start_time", help, unit, MetricType::Gauge)?;
            metric.encode_gauge(&since.as_secs_f64())?;
        }
        let process::Usage { resident_bytes, open_descriptors, descriptors_max } = self.process;
        let gauges = [
            ("process_resident_memory", "Resident memory", Some(Unit::Bytes), resident_bytes),
            ("process_open_fds", "Open file descriptors", None, open_descriptors),
            ("process_max_fds", "Bound on open file descriptors", None, descriptors_max),
        ];
        for (name, help, unit, value) in gauges {
            if let Some(value) = value {
                let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
                metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?;
            }
        }
        Ok(())
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_counters(&mut encoder)?;
        self.encode_links(&mut encoder)?;
        self.encode_gauges(&mut encoder)?;
        self.encode_process(&mut encoder)
    }
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use unamed_tokio::{PeerId, RoomId};

    use super::*;

    fn routing(ready: bool, leaves: usize) -> RoutingView {
        RoutingView {
            location: RoomId([0; 32]),
            ready,
            leaf_set: vec![PeerId([1; 32]); leaves],
            buckets: vec![],
            homes: vec![],
            held: vec![(RoomId([2; 32]), 3), (RoomId([3; 32]), 4)],
        }
    }

    #[test]
    fn names_follow_the_conventions_and_nothing_is_told_twice() {
        let network = |name| (name, 7);
        let snapshot = Snapshot {
            counters: [
                "links_opened",
                "bytes_sent",
                "bytes_sent_find",
                "bytes_sent_room",
                "driver_refused_total",
            ]
            .map(network)
            .to_vec(),
            links: vec![],
            routing: Some(routing(true, 2)),
            rooms: 0,
            tasks: 9,
            started: Some(UNIX_EPOCH),
            process: process::usage(),
        };
        let text = snapshot.text().unwrap();
        for line in [
            "unamed_links_opened_total 7",
            "unamed_sent_bytes_total 7",
            "unamed_sent_for_bytes_total{purpose=\"find\"} 7",
            "unamed_driver_refused_full_total 7",
            "unamed_links{carrier=\"webrtc\",peer=\"client\"} 0",
            "unamed_ready 1",
            "unamed_leaf_set_links 2",
            "unamed_claims_held 7",
            "unamed_rooms_held 2",
            concat!("unamed_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "process_start_time_seconds 0.0",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        let types: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let names: BTreeSet<&str> = types.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(names.len(), types.len(), "each family once:\n{text}");
        let sound = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(names.iter().all(sound), "{names:?}");
    }

    #[test]
    fn ready_is_who_is_linked_to_its_leaf_set_or_the_first() {
        let status = |routing: Option<RoutingView>, bootstrapped, draining| {
            let health = Health::new(routing.as_ref(), bootstrapped, draining);
            (health.status, health.code().as_u16())
        };
        assert_eq!(status(Some(routing(false, 2)), true, false), ("starting", 503));
        assert_eq!(status(Some(routing(true, 0)), true, false), ("alone", 503));
        assert_eq!(status(Some(routing(true, 0)), false, false), ("ready", 200));
        assert_eq!(status(Some(routing(true, 2)), true, false), ("ready", 200));
        assert_eq!(status(Some(routing(true, 2)), true, true), ("draining", 503));
        assert_eq!(status(None, true, false), ("stopped", 503));
    }
}
