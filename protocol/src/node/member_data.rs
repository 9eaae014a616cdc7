//! Application data of members: what each says of itself in a room, a nickname for instance.
//!
//! A statement goes over the link of its author, before each room proof there, so that whoever takes the member in knows
//! it already, and again when it changes. A proof without one says that there is nothing to say. Updates are coalesced by
//! their author and limited by their receivers.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use super::api::{Event, MemberDataError};
use super::clock::Timer;
use super::dispatch::Fate;
use super::metrics::Counter;
use crate::rate::Gcra;
use crate::wire::message::MemberData;
use crate::wire::{MemberStatement, Message, Sequence};
use crate::{Instant, LinkId, PeerId, RoomId};

/// What this node says of itself in one room.
#[derive(Debug, Default)]
pub(super) struct OwnData {
    /// Empty for nothing.
    data: Bytes,
    /// The data as others get them; made when first needed.
    statement: Option<MemberStatement>,
    /// Whether there was ever something to say.
    said: bool,
    /// When the next update may go out.
    next: Instant,
}

impl OwnData {
    /// What this node says; empty for nothing.
    pub(super) const fn data(&self) -> &Bytes {
        &self.data
    }
}

/// What another member says of itself, as far as it proved to be its.
#[derive(Debug, Default)]
pub(super) struct Said {
    known: Option<Box<(Sequence, Bytes)>>,
    /// How far it has used up its updates.
    updates: Gcra,
}

impl Said {
    /// What it says; empty for nothing.
    pub(super) fn data(&self) -> Bytes {
        self.known.as_ref().map_or_else(Bytes::new, |known| known.1.clone())
    }

    /// Whether a statement is the one known.
    fn is(&self, statement: &MemberStatement) -> bool {
        self.known
            .as_ref()
            .is_some_and(|known| known.0 == statement.sequence() && known.1 == *statement.data())
    }

    /// Takes a statement that is not older than the one known; whether the data changed.
    fn take(&mut self, statement: &MemberStatement) -> bool {
        let before = self.data();
        // A copy of its own: the statement's bytes are not kept.
        let data = Bytes::copy_from_slice(statement.data());
        self.known = Some(Box::new((statement.sequence(), data)));
        before != *statement.data()
    }

    /// Takes what was said directly before a proof, on another link or by another run than before: a proof without a
    /// statement says that there is none. Whether the data changed; `None` if the statement is an old one, and ignored.
    pub(super) fn proved(
        &mut self,
        statement: Option<&MemberStatement>,
        relinked: bool,
        other_run: bool,
    ) -> Option<bool> {
        let before = self.data();
        if other_run {
            self.known = None;
        }
        match statement {
            Some(statement) if self.is_old(statement) && !self.is(statement) => return None,
            Some(statement) => {
                self.take(statement);
            }
            None if relinked => self.known = None,
            None => {}
        }
        Some(before != self.data())
    }

    /// Whether a statement is older than the one known, or another one under its number.
    fn is_old(&self, statement: &MemberStatement) -> bool {
        self.known.as_ref().is_some_and(|known| statement.sequence() <= known.0)
    }
}

impl Node {
    pub(super) fn change_member_data(
        &mut self,
        room: RoomId,
        data: Bytes,
        now: Instant,
    ) -> Result<(), MemberDataError> {
        let Some(state) = self.rooms.get_mut(&room) else { return Err(MemberDataError::NotJoined) };
        if data.len() > MemberStatement::DATA_BYTES_MAX {
            return Err(MemberDataError::TooLarge { max: MemberStatement::DATA_BYTES_MAX });
        }
        let own = &mut state.own_data;
        if own.data == data {
            return Ok(());
        }
        *own = OwnData { data, statement: None, said: true, next: own.next };
        let due = own.next.max(now);
        self.timers.set(Timer::MemberData(room), due);
        Ok(())
    }

    /// The own statement for a room, if there was ever something to say.
    fn own_statement(&mut self, room: RoomId) -> Option<Bytes> {
        let own = &self.rooms.get(&room)?.own_data;
        if !own.said {
            return None;
        }
        if let Some(statement) = &own.statement {
            return Some(statement.bytes().clone());
        }
        let data = own.data.clone();
        let sequence = self.next_sequence();
        let (crypto, network) = (self.crypto.as_ref(), &self.config.network);
        let statement = MemberStatement::make(room, sequence, data, &self.identity, crypto, network)?;
        let bytes = statement.bytes().clone();
        self.rooms.get_mut(&room)?.own_data.statement = Some(statement);
        Some(bytes)
    }

    /// Says on a link what this node has to say of itself in a room: a proof of the room follows.
    pub(super) fn state_member_data(&mut self, room: RoomId, link: LinkId, now: Instant) {
        if let Some(statement) = self.own_statement(room) {
            self.send(link, &Message::MemberData(MemberData { statement }), now);
        }
    }

    /// An update is due: it goes to all members that are linked, by the links in use, which may be newer than those on which
    /// they proved themselves.
    pub(super) fn member_data_due(&mut self, room: RoomId, now: Instant) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let links: Vec<LinkId> =
            state.members.keys().filter_map(|peer| self.peers.get(peer)).copied().collect();
        if links.is_empty() {
            return;
        }
        state.own_data.next = now + self.config.rooms.member_data_pause;
        for link in links {
            self.state_member_data(room, link, now);
        }
    }

    /// A statement came: of a member, or of a peer that is about to prove the room.
    pub(super) fn handle_member_data(&mut self, id: LinkId, message: &MemberData, now: Instant) -> Fate {
        let peer = self.open_peer(id).ok_or(Counter::UnknownLink)?;
        let statement = MemberStatement::decode(&message.statement).ok();
        let Some(statement) = statement.filter(|statement| statement.peer() == peer) else {
            return Err(Counter::MemberDataInvalid);
        };
        let room = statement.room_id();
        let Some(state) = self.rooms.get_mut(&room) else {
            return Err(Counter::RoomMessagesForeign);
        };
        match state.members.get_mut(&peer).filter(|member| member.link == Some(id)) {
            Some(_) => return self.member_says(peer, &statement, now),
            // Nothing is checked or believed before the proof.
            None => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.stated = Some(Box::new(statement));
                }
            }
        }
        Ok(())
    }

    /// A member says something over the link on which it proved itself.
    fn member_says(&mut self, peer: PeerId, statement: &MemberStatement, now: Instant) -> Fate {
        let room = statement.room_id();
        let Some(state) = self.rooms.get_mut(&room) else { return Err(Counter::RoomMessagesForeign) };
        let Some(member) = state.members.get_mut(&peer).filter(|member| !member.said.is(statement)) else {
            return Ok(());
        };
        if member.said.is_old(statement) {
            return Err(Counter::MemberDataOld);
        }
        if !member.said.updates.take(self.config.limits.member_data, 1, now) {
            return Err(Counter::MemberDataLimited);
        }
        if !statement.verify(self.crypto.as_ref(), &self.config.network) {
            return Err(Counter::MemberDataInvalid);
        }
        let changed = member.said.take(statement);
        if changed && state.joined {
            let data = statement.data().clone();
            self.emit(Event::MemberChanged { room, peer, data });
        }
        Ok(())
    }

    /// What a peer said on a link directly before its proof of a room, if that is its own and for that room.
    pub(super) fn take_stated(&mut self, id: LinkId, room: RoomId) -> Option<MemberStatement> {
        let stated = self.links.get_mut(&id)?.stated.take()?;
        let sound = stated.room_id() == room && stated.verify(self.crypto.as_ref(), &self.config.network);
        if !sound {
            self.metrics.count(Counter::MemberDataInvalid);
        }
        sound.then_some(*stated)
    }
}
