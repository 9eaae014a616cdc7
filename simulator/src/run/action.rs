//! What a run has scheduled, as one number: a run of any size keeps no list of what is to come.

/// Something that is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A second has passed.
    Tick,
    /// The measured phase begins.
    Measure,
    /// The quiet phase begins.
    Quiet,
    /// Churn begins.
    Churn,
    /// A stranger looks for a room.
    Find,
    /// A member of some room sends a message.
    Talk,
    /// Somebody leaves, in the way whose turn it is.
    Leave(u32),
    /// Somebody switches the primary room.
    Switch,
    /// A person starts the node.
    Start(u32),
    /// A person joins the room with this place in the person's list.
    Join(u32, u32),
    /// The session of a person with this number ends.
    Depart(u32, u32),
    /// A person comes back after the session with this number.
    Return(u32, u32),
    /// A fault begins.
    FaultBegins(u32),
    /// A fault ends.
    FaultEnds(u32),
    /// The time to recover from a fault is over.
    FaultRecovered(u32),
    /// The first of a pair enters a room.
    PairFirst(u32),
    /// The second of it does.
    PairSecond(u32),
    /// A pair is judged, and leaves.
    PairEnds(u32),
    /// A Sybil starts.
    StartSybil(u32),
    /// Those that misbehave begin, or learn of new accomplices.
    Misbehave,
    /// The intruders of the fault with this number say something.
    Intrude(u32),
}

const FIELD: u32 = 28;

impl Action {
    /// Highest number that an action can carry.
    pub(super) const FIELD_MAX: u32 = (1 << FIELD) - 1;

    pub(super) const fn encode(self) -> u64 {
        let (kind, a, b) = match self {
            Self::Tick => (0, 0, 0),
            Self::Measure => (1, 0, 0),
            Self::Quiet => (2, 0, 0),
            Self::Churn => (3, 0, 0),
            Self::Find => (4, 0, 0),
            Self::Talk => (5, 0, 0),
            Self::Leave(turn) => (6, turn, 0),
            Self::Switch => (7, 0, 0),
            Self::Start(person) => (8, person, 0),
            Self::Join(person, place) => (9, person, place),
            Self::Depart(person, session) => (10, person, session),
            Self::Return(person, session) => (11, person, session),
            Self::FaultBegins(fault) => (12, fault, 0),
            Self::FaultEnds(fault) => (13, fault, 0),
            Self::FaultRecovered(fault) => (14, fault, 0),
            Self::PairFirst(pair) => (15, pair, 0),
            Self::PairSecond(pair) => (16, pair, 0),
            Self::PairEnds(pair) => (17, pair, 0),
            Self::StartSybil(number) => (18, number, 0),
            Self::Misbehave => (19, 0, 0),
            Self::Intrude(fault) => (20, fault, 0),
        };
        let [a, b] = [a & Self::FIELD_MAX, b & Self::FIELD_MAX];
        kind << (2 * FIELD) | (a as u64) << FIELD | b as u64
    }

    pub(super) const fn decode(number: u64) -> Option<Self> {
        let a = (number >> FIELD) as u32 & Self::FIELD_MAX;
        let b = number as u32 & Self::FIELD_MAX;
        Some(match number >> (2 * FIELD) {
            0 => Self::Tick,
            1 => Self::Measure,
            2 => Self::Quiet,
            3 => Self::Churn,
            4 => Self::Find,
            5 => Self::Talk,
            6 => Self::Leave(a),
            7 => Self::Switch,
            8 => Self::Start(a),
            9 => Self::Join(a, b),
            10 => Self::Depart(a, b),
            11 => Self::Return(a, b),
            12 => Self::FaultBegins(a),
            13 => Self::FaultEnds(a),
            14 => Self::FaultRecovered(a),
            15 => Self::PairFirst(a),
            16 => Self::PairSecond(a),
            17 => Self::PairEnds(a),
            18 => Self::StartSybil(a),
            19 => Self::Misbehave,
            20 => Self::Intrude(a),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_says_all() {
        let most = Action::FIELD_MAX;
        let actions = [
            Action::Tick,
            Action::Measure,
            Action::Quiet,
            Action::Churn,
            Action::Find,
            Action::Talk,
            Action::Leave(3),
            Action::Switch,
            Action::Start(most),
            Action::Join(most, 0),
            Action::Depart(0, most),
            Action::Return(1, 2),
            Action::FaultBegins(1),
            Action::FaultEnds(2),
            Action::FaultRecovered(3),
            Action::PairFirst(4),
            Action::PairSecond(5),
            Action::PairEnds(6),
            Action::StartSybil(7),
            Action::Misbehave,
            Action::Intrude(8),
        ];
        for action in actions {
            assert_eq!(Action::decode(action.encode()), Some(action));
        }
        assert_eq!(Action::decode(u64::MAX), None);
    }
}
