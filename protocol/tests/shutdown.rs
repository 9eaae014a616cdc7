//! How a node ends, whenever it is asked to.

use std::sync::Arc;

use unamed_protocol::crypto::IdealCrypto;
use unamed_protocol::{
    Config, Duration, Event, Identity, Input, Instant, NetworkId, Node, Output, RoomId, RoomKey, SaveId,
    Start,
};

fn node(config: Config) -> Node {
    let start = Start {
        config,
        identity: Identity::from_seed([1; 32]),
        crypto: Arc::new(IdealCrypto),
        seed: [2; 32],
        unix_ms: 1_700_000_000_000,
        addresses: Vec::new(),
        saved: None,
    };
    Node::new(start, Instant::ZERO)
}

fn both() -> [Node; 2] {
    [Config::client, Config::service].map(|config| node(config(NetworkId::default())))
}

fn outputs(node: &mut Node) -> (Vec<Event>, Vec<SaveId>) {
    let (mut events, mut saves) = (Vec::new(), Vec::new());
    while let Some(output) = node.poll_output() {
        match output {
            Output::Event(event) => events.push(event),
            Output::Save(id, _) => saves.push(id),
            Output::Dial(..) | Output::RemoteSignal(..) | Output::Send(..) | Output::Close(..) => {
                panic!("{output:?}")
            }
        }
    }
    (events, saves)
}

/// Handles every deadline for some seconds; what the application and the disk are told.
fn live(node: &mut Node, seconds: u64) -> (Vec<Event>, Vec<SaveId>) {
    let (mut events, mut saves) = outputs(node);
    let end = Instant::from_secs(seconds);
    while let Some(next) = node.poll_timeout().filter(|next| next.at <= end) {
        node.handle_timeout(next.at);
        let (more_events, more_saves) = outputs(node);
        events.extend(more_events);
        saves.extend(more_saves);
    }
    (events, saves)
}

#[test]
fn a_node_that_never_started_ends() {
    for mut node in both() {
        node.shutdown(Instant::ZERO);
        let (events, saves) = live(&mut node, 10);
        assert_eq!(events, [Event::ShutDown]);
        // The disk answers late: that starts nothing, and nothing is said any more.
        let late = Instant::from_secs(11);
        node.handle_input(Input::Saved(saves[0], false), late);
        node.handle_input(Input::Clock { unix_ms: 0, resumed: true }, late);
        assert_eq!(outputs(&mut node), (Vec::new(), Vec::new()));
        assert_eq!(node.poll_timeout(), None);
        assert_eq!(node.check_invariants(), Vec::<String>::new());
    }
}

#[test]
fn what_was_asked_ends_before_the_node() {
    for mut node in both() {
        let (_, saves) = outputs(&mut node);
        node.handle_input(Input::Saved(saves[0], true), Instant::ZERO);
        let room = node.join(&RoomKey::from_seed([3; 32]), Instant::ZERO).expect("a join");
        let request = node.find(RoomId([4; 32]), Instant::ZERO);
        node.shutdown(Instant::ZERO);
        let (events, _) = live(&mut node, 10);
        let at = |wanted: &dyn Fn(&Event) -> bool| events.iter().position(wanted);
        let left = at(&|event| matches!(event, Event::RoomLeft { room: left, .. } if *left == room));
        let found = at(&|event| matches!(event, Event::FindFinished(report) if report.request == request));
        let end = at(&|event| *event == Event::ShutDown);
        assert!(left.is_some() && found.is_some() && end == Some(events.len() - 1), "{events:?}");
        assert_eq!(node.poll_timeout(), None);
        assert_eq!(node.check_invariants(), Vec::<String>::new());
    }
}

#[test]
fn a_find_after_the_end_ends_at_once() {
    for mut node in both() {
        node.shutdown(Instant::ZERO);
        live(&mut node, 10);
        let request = node.find(RoomId([4; 32]), Instant::ZERO + Duration::from_secs(20));
        let (events, _) = outputs(&mut node);
        assert!(
            matches!(&events[..], [Event::FindFinished(report)] if report.request == request),
            "{events:?}"
        );
        assert_eq!(node.poll_timeout(), None);
    }
}
