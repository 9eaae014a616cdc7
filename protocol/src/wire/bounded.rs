//! Lists whose length is checked before anything is allocated.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A list of at most `N` items. A decoder refuses a longer one by its count, before it allocates.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bounded<T, const N: usize>(Vec<T>);

impl<T, const N: usize> Bounded<T, N> {
    /// Most items.
    pub const MAX: usize = N;

    /// `items`, if they are at most `N`.
    #[must_use]
    pub fn new(items: Vec<T>) -> Option<Self> {
        (items.len() <= N).then_some(Self(items))
    }

    /// The items in ascending order, each once, if they are at most `N`.
    #[must_use]
    pub fn ascending(mut items: Vec<T>) -> Option<Self>
    where
        T: Ord,
    {
        items.sort_unstable();
        items.dedup();
        Self::new(items)
    }

    /// The first `N` items of `items`.
    #[must_use]
    pub fn truncated(items: impl IntoIterator<Item = T>) -> Self {
        Self(items.into_iter().take(N).collect())
    }

    /// The items.
    #[must_use]
    pub fn into_inner(self) -> Vec<T> {
        self.0
    }
}

impl<T, const N: usize> Default for Bounded<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for Bounded<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T, const N: usize> Deref for Bounded<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Serialize, const N: usize> Serialize for Bounded<T, N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

/// The text by which the decoder recognises that a list was too long.
pub(crate) const TOO_MANY: &str = "too many items";

/// The text by which the decoder recognises that a list names an item twice, or is not in ascending order.
pub(crate) const DUPLICATE: &str = "a list names an item twice or out of order";

struct Items<T, const N: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Items<T, N> {
    type Value = Bounded<T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {N} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let count = seq.size_hint().unwrap_or(0);
        if count > N {
            return Err(A::Error::custom(TOO_MANY));
        }
        let mut items = Vec::with_capacity(count);
        while let Some(item) = seq.next_element()? {
            if items.len() == N {
                return Err(A::Error::custom(TOO_MANY));
            }
            items.push(item);
        }
        Ok(Bounded(items))
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Bounded<T, N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Items(PhantomData))
    }
}

/// Reads a list that must be in strictly ascending order.
pub(crate) fn ascending<'de, T, D, const N: usize>(from: D) -> Result<Bounded<T, N>, D::Error>
where
    T: Deserialize<'de> + Ord,
    D: Deserializer<'de>,
{
    let items = Bounded::<T, N>::deserialize(from)?;
    if items.is_sorted_by(|a, b| a < b) { Ok(items) } else { Err(D::Error::custom(DUPLICATE)) }
}

/// Reads a list in any order that must not name an item twice. Quadratic, for lists of some tens of items.
pub(crate) fn unique<'de, T, D, const N: usize>(from: D) -> Result<Bounded<T, N>, D::Error>
where
    T: Deserialize<'de> + PartialEq,
    D: Deserializer<'de>,
{
    let items = Bounded::<T, N>::deserialize(from)?;
    if all_differ(items.iter()) { Ok(items) } else { Err(D::Error::custom(DUPLICATE)) }
}

/// Whether no two items are equal. Quadratic.
pub(crate) fn all_differ<T: PartialEq>(items: impl Iterator<Item = T> + Clone) -> bool {
    let mut rest = items;
    while let Some(item) = rest.next() {
        if rest.clone().any(|other| other == item) {
            return false;
        }
    }
    true
}
