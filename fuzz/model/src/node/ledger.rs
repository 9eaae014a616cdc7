//! What the application was told, and what must be true of it.

use std::collections::{BTreeMap, BTreeSet};

use unamed_protocol::wire::MemberStatement;
use unamed_protocol::{Event, JoinOutcome, LinkId, MessageId, Node, PeerId, RequestId, RoomId};

/// One joined room.
#[derive(Debug, Default)]
struct Joined {
    answered: bool,
    members: BTreeSet<PeerId>,
    messages: BTreeSet<MessageId>,
}

/// The application's side of a node's events.
#[derive(Debug)]
pub(super) struct Ledger {
    me: PeerId,
    rooms: BTreeMap<RoomId, Joined>,
    finds: BTreeSet<RequestId>,
    links: BTreeMap<LinkId, PeerId>,
    closed: BTreeSet<LinkId>,
    online: bool,
    ready: bool,
    pub(super) shut_down: bool,
}

impl Ledger {
    pub(super) const fn new(me: PeerId) -> Self {
        Self {
            me,
            rooms: BTreeMap::new(),
            finds: BTreeSet::new(),
            links: BTreeMap::new(),
            closed: BTreeSet::new(),
            online: false,
            ready: false,
            shut_down: false,
        }
    }

    /// A join was accepted.
    pub(super) fn joining(&mut self, room: RoomId) {
        assert!(self.rooms.insert(room, Joined::default()).is_none(), "{room:?} is joined twice");
    }

    /// A find was begun.
    pub(super) fn finding(&mut self, request: RequestId) {
        assert!(self.finds.insert(request), "{request:?} is given out twice");
    }

    /// Whether the application believes to be in a room.
    pub(super) fn is_in(&self, room: RoomId) -> bool {
        self.rooms.contains_key(&room)
    }

    /// Nothing that was asked for is still open: every join was answered, every find ended.
    pub(super) fn assert_answered(&self) {
        let open: Vec<_> = self.rooms.iter().filter(|(_, room)| !room.answered).map(|(id, _)| id).collect();
        assert!(open.is_empty(), "joins without an answer: {open:?}");
        assert!(self.finds.is_empty(), "finds without an end: {:?}", self.finds);
    }

    /// What the node shows must be what it told.
    pub(super) fn compare(&self, node: &Node) {
        if self.shut_down {
            return;
        }
        let links: BTreeMap<LinkId, PeerId> =
            node.links().into_iter().map(|view| (view.link, view.peer)).collect();
        assert_eq!(links, self.links, "the links that were reported are those in use");
        let rooms: Vec<RoomId> = node.rooms().into_iter().map(|view| view.room).collect();
        assert_eq!(rooms.len(), self.rooms.len(), "the rooms that were reported are those joined");
        for room in rooms {
            let known = self.rooms.get(&room).unwrap_or_else(|| panic!("{room:?} was not joined"));
            let members = node.members(room).unwrap_or_default();
            assert!(
                !known.answered || members.iter().eq(&known.members),
                "members of {room:?}: {members:?}, reported: {:?}",
                known.members
            );
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        assert!(!self.shut_down, "{event:?} after the end");
        match event {
            Event::RoomJoined { room, outcome } => self.joined(*room, outcome),
            Event::RoomLeft { room, .. } => {
                assert!(self.rooms.remove(room).is_some(), "{room:?} is left and was not joined");
            }
            Event::MemberJoined { room, peer, data } => {
                let me = self.me;
                assert!(data.len() <= MemberStatement::DATA_BYTES_MAX, "{event:?}");
                let known = self.answered(*room, event);
                assert!(*peer != me && known.members.insert(*peer), "{peer:?} joined twice");
            }
            Event::MemberLeft { room, peer, .. } => {
                assert!(self.answered(*room, event).members.remove(peer), "{peer:?} left and was not in");
            }
            Event::MemberChanged { room, peer, data } => {
                assert!(data.len() <= MemberStatement::DATA_BYTES_MAX, "{event:?}");
                assert!(self.answered(*room, event).members.contains(peer), "{event:?}: no member");
            }
            Event::Message(message) => {
                assert_ne!(message.from, self.me, "an own message came back");
                let known = self.answered(message.room, event);
                assert!(known.messages.insert(message.id), "{:?} came twice", message.id);
            }
            Event::MessagesLost { room, from, count } => {
                assert!(*count > 0 && *from != self.me, "{event:?}");
                self.answered(*room, event);
            }
            Event::RoomMerged { room, members } => {
                assert!(!members.is_empty() && !members.contains(&self.me), "{event:?}");
                self.answered(*room, event);
            }
            Event::RoomWritable { room } => assert!(self.rooms.contains_key(room), "{event:?}"),
            Event::MessageProgress { received, total, .. } => assert!(received <= total, "{event:?}"),
            Event::SendProgress { sent, total, .. } => assert!(sent <= total, "{event:?}"),
            Event::LinkOpened { link, peer, .. } => {
                assert!(*peer != self.me && !self.closed.contains(link), "{event:?}");
                assert!(self.links.insert(*link, *peer).is_none(), "{link:?} opened twice");
            }
            Event::LinkClosed { link, peer, .. } => {
                assert_eq!(self.links.remove(link), Some(*peer), "{event:?}");
                self.closed.insert(*link);
            }
            Event::LinkFailed { link, .. } => {
                assert!(!self.links.contains_key(link), "{event:?}: it was open");
                assert!(self.closed.insert(*link), "{event:?}: it was closed");
            }
            Event::Online(online) => {
                assert_ne!(*online, self.online, "{event:?} twice in a row");
                self.online = *online;
            }
            Event::Ready => assert!(!core::mem::replace(&mut self.ready, true), "ready twice"),
            Event::FindFinished(report) => {
                assert!(self.finds.remove(&report.request), "{report:?} was not asked for");
                assert!(report.members.is_sorted_by(|a, b| a < b) && report.attempts > 0, "{report:?}");
                assert!(report.route.first().is_none_or(|hop| hop.peer == self.me), "{report:?}");
            }
            Event::ShutDown => {
                assert!(self.links.is_empty(), "shut down with links: {:?}", self.links);
                self.shut_down = true;
            }
            Event::NewServiceAddress { address } => assert!(address.peer.is_some(), "{event:?}"),
            Event::PrimaryChanged { .. } | Event::SaveFailed | Event::IdentityInUse { .. } => {}
        }
    }

    fn joined(&mut self, room: RoomId, outcome: &JoinOutcome) {
        let known = self.rooms.get_mut(&room).unwrap_or_else(|| panic!("{room:?} was not joined"));
        assert!(!core::mem::replace(&mut known.answered, true), "{room:?} is answered twice");
        match outcome {
            JoinOutcome::Joined { members } => {
                assert!(!members.is_empty() && members.is_sorted_by(|a, b| a < b), "{members:?}");
                assert!(!members.contains(&self.me), "a member of its own: {members:?}");
                known.members.extend(members);
            }
            JoinOutcome::NoneReachable { known } => assert!(*known > 0, "none known is not unreachable"),
            JoinOutcome::Alone | JoinOutcome::Offline => {}
        }
    }

    fn answered(&mut self, room: RoomId, event: &Event) -> &mut Joined {
        let known = self.rooms.get_mut(&room).unwrap_or_else(|| panic!("{event:?}: not joined"));
        assert!(known.answered, "{event:?} before the join was answered");
        known
    }
}
