//! The numbers of steps, for those who write scripts by hand.

/// What the first byte of a step says; further numbers start anew. The choices of a step follow it, one byte each where
/// nothing else is said. `end` picks one of the links to peers, circuits included; `carrier` one of the open carriers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// A peer connects: person, variant (0: an honest one; 1: raw, without a session; 2, 4, …: another run of the
    /// person; 3, 5, …: the same, as a node of the other kind).
    Accept = 0,
    /// The operator names an address: person, which of its addresses, with or without its peer id.
    Bootstrap = 1,
    /// A waiting dial ends: which, how (0: it succeeds; 1: somebody else is there, then the person; 2: raw; else it
    /// fails).
    AnswerDial = 2,
    /// A frame that nobody authenticated: carrier, length, bytes.
    RawFrame = 3,
    /// A peer says a message: end, class, the choices of a message.
    Say = 4,
    /// A peer says bytes: end, class, length, bytes.
    SayBytes = 5,
    /// A peer acknowledges and answers a request that it got: which (0 is the last), how, payload.
    Answer = 6,
    /// A peer proves a room: end, room, answer wanted.
    Prove = 7,
    /// A peer writes into a room as its author: end, room, sequence (below 0x80: the next one of its stream), content,
    /// size (number), signed, recipients.
    Write = 8,
    /// A carrier takes more: carrier, number of bytes.
    Grant = 9,
    /// The other side of a carrier stops or starts to take frames: carrier.
    Hold = 10,
    /// A carrier breaks: carrier, how.
    Disconnect = 11,
    /// A save is answered: whether it succeeded.
    Saved = 12,
    /// The wall clock is read: how far it is off, whether the machine slept.
    Clock = 13,
    /// Time passes, and deadlines with it or not: how long, whether each deadline is handled on time.
    Advance = 14,
    /// Time passes up to the next deadline, which is handled.
    Deadline = 15,
    /// The application joins a room.
    Join = 16,
    /// It leaves a room.
    Leave = 17,
    /// It sends a message: room, size (number), recipients.
    Broadcast = 18,
    /// It looks for a room.
    Find = 19,
    /// It makes a room the primary one.
    MakePrimary = 20,
    /// It shuts the node down.
    Shutdown = 21,
    /// A peer opens a circuit that ends at the node: end, person inside, room.
    OpenCircuit = 22,
    /// A peer accepts the circuit that the node opened last through it.
    AcceptCircuit = 23,
    /// The driver speaks of a link that is gone, or never was.
    Stray = 24,
    /// The process ends without a word and starts from what it saved last.
    Restart = 25,
    /// The node is told of a person by a valid home claim: end, person.
    Introduce = 26,
    /// A peer sends on what it got from another one: end, which message.
    Forward = 27,
    /// A peer sends a request on its way: end, how many others have passed it, the choices of a request.
    Ask = 28,
    /// A person connects, and both ends join a room: person, room.
    Member = 29,
    /// A WebRTC stack of the node does something: which, what (0, 1: it describes itself; 2, 3: it finds a candidate; 4: it
    /// has found all; 5: its channel opens; else it fails), a description or candidate.
    Stack = 30,
    /// A peer says something of itself: end, room, bytes of it (number), content.
    State = 31,
    /// The application says something of the node: room, bytes of it (number), content.
    Describe = 32,
}

impl Step {
    /// All of them, by number.
    pub const ALL: [Self; 33] = [
        Self::Accept,
        Self::Bootstrap,
        Self::AnswerDial,
        Self::RawFrame,
        Self::Say,
        Self::SayBytes,
        Self::Answer,
        Self::Prove,
        Self::Write,
        Self::Grant,
        Self::Hold,
        Self::Disconnect,
        Self::Saved,
        Self::Clock,
        Self::Advance,
        Self::Deadline,
        Self::Join,
        Self::Leave,
        Self::Broadcast,
        Self::Find,
        Self::MakePrimary,
        Self::Shutdown,
        Self::OpenCircuit,
        Self::AcceptCircuit,
        Self::Stray,
        Self::Restart,
        Self::Introduce,
        Self::Forward,
        Self::Ask,
        Self::Member,
        Self::Stack,
        Self::State,
        Self::Describe,
    ];
}

/// Bits of the first byte of an input: the set-up.
pub mod setup {
    /// A service node; a client otherwise.
    pub const SERVICE: u8 = 1;
    /// Tight bounds instead of the defaults.
    pub const TIGHT: u8 = 2;
    /// Dials to persons succeed at once, saves are answered at once.
    pub const SMOOTH: u8 = 4;
    /// Carriers grant credit as they should; otherwise the script does.
    pub const CREDIT: u8 = 8;
    /// Peers acknowledge hops, answer proofs and accept circuits.
    pub const POLITE: u8 = 16;
    /// Peers answer requests as they should.
    pub const HELPFUL: u8 = 32;
    /// The wall clock starts at zero.
    pub const EPOCH: u8 = 64;
    /// The node has addresses of its own, if it is a service node; a client links by WebRTC.
    pub const LISTENS: u8 = 128;
}
