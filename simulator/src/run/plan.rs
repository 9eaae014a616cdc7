//! Who is in which room, drawn before the run.

use crate::rng::{Rng, zipf};
use crate::scenario::Scenario;

/// Links that a client has beside its homes and fellow members: service nodes that relay, links being replaced.
const SPARE_LINKS: usize = 4;

/// What bounds a person's rooms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Rooms joined at a time.
    pub(super) joined_max: usize,
    /// Fellow members in all rooms together.
    pub(super) fellows_max: usize,
}

impl Bounds {
    /// Rooms are full meshes, so a client has a link to each fellow member besides its homes and the service nodes that
    /// relay for it.
    pub(super) fn of(client: &unamed_protocol::Config) -> Self {
        let taken = client.routing.homes + SPARE_LINKS;
        Self {
            joined_max: client.rooms.joined_max,
            fellows_max: client.link.overlay_hard.saturating_sub(taken),
        }
    }
}

/// The rooms of each person. Persons are numbered, service nodes first.
pub(super) fn memberships(scenario: &Scenario, bounds: Bounds) -> Vec<Vec<u32>> {
    let mut rng = Rng::new(scenario.seed, "rooms");
    match scenario.workload.rooms_each {
        Some(each) => rooms_each(scenario, each, &mut rng),
        None => drawn(scenario, bounds, &mut rng),
    }
}

/// Every client in exactly so many rooms of one size: the list of clients, shuffled, is dealt out that often. A room left
/// over at the end of a deal is smaller.
fn rooms_each(scenario: &Scenario, each: u32, rng: &mut Rng) -> Vec<Vec<u32>> {
    let (services, clients) = (scenario.nodes.service as usize, scenario.client_nodes() as usize);
    let mut rooms_of = vec![Vec::new(); services + clients];
    let (size, count) = (scenario.workload.members.1 as usize, scenario.room_count());
    let mut room = 0;
    for _ in 0..each {
        let mut order: Vec<usize> = (services..services + clients).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, rng.index(at + 1));
        }
        for members in order.chunks(size) {
            for &member in members {
                rooms_of[member].push(room % count);
            }
            room += 1;
        }
    }
    rooms_of.iter_mut().for_each(|rooms| {
        rooms.sort_unstable();
        rooms.dedup();
    });
    rooms_of
}

/// Rooms of sizes k with P(k) proportional to 1/k, members drawn without repetition within a room. Whoever has no budget
/// left for all fellow members is not drawn.
fn drawn(scenario: &Scenario, bounds: Bounds, rng: &mut Rng) -> Vec<Vec<u32>> {
    let workload = &scenario.workload;
    let (services, clients) = (scenario.nodes.service as usize, scenario.client_nodes() as usize);
    let (fewest, most) = (workload.members.0 as usize, workload.members.1 as usize);
    let before = zipf(most).get(fewest.wrapping_sub(2)).copied().unwrap_or(0.0);
    let sizes: Vec<f64> = zipf(most).iter().skip(fewest - 1).map(|sum| sum - before).collect();
    let mut rooms_of: Vec<Vec<u32>> = vec![Vec::new(); services + clients];
    let mut fellows = vec![0_usize; services + clients];
    for room in 0..scenario.room_count() {
        let size = fewest + rng.weighted(&sizes);
        let mut members: Vec<usize> = Vec::with_capacity(size);
        // A small population may not have enough nodes with room for another room: the draws are bounded.
        for _ in 0..size * 20 {
            if members.len() == size {
                break;
            }
            let from_service = clients == 0 || rng.chance(workload.service_members);
            let person = if from_service { rng.index(services) } else { services + rng.index(clients) };
            if !members.contains(&person)
                && rooms_of[person].len() < bounds.joined_max
                && fellows[person] + size - 1 <= bounds.fellows_max
            {
                fellows[person] += size - 1;
                rooms_of[person].push(room);
                members.push(person);
            }
        }
    }
    rooms_of
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { joined_max: 32, fellows_max: 25 };

    fn sizes(rooms_of: &[Vec<u32>], rooms: u32) -> Vec<usize> {
        (0..rooms).map(|room| rooms_of.iter().filter(|rooms| rooms.contains(&room)).count()).collect()
    }

    #[test]
    fn sizes_follow_one_by_k() {
        let mut scenario = Scenario::new(100, 20_000, 3000, 1);
        scenario.workload.service_members = 0.0;
        let sizes = sizes(&memberships(&scenario, BOUNDS), 3000);
        let share = |size: usize| sizes.iter().filter(|&&at| at == size).count() as f64 / 3000.0;
        let all: f64 = (2..=10).map(|k| 1.0 / f64::from(k)).sum();
        for size in [2, 3, 10] {
            assert!((share(size) - 1.0 / size as f64 / all).abs() < 0.03, "{size}: {}", share(size));
        }
        assert_eq!(sizes.iter().filter(|&&size| !(2..=10).contains(&size)).count(), 0);
    }

    #[test]
    fn every_client_is_in_so_many_rooms() {
        let mut scenario = Scenario::new(10, 80, 1, 1);
        scenario.workload.rooms_each = Some(5);
        scenario.workload.members = (4, 4);
        assert_eq!(scenario.room_count(), 100);
        let rooms_of = memberships(&scenario, BOUNDS);
        assert!(rooms_of[..10].iter().all(Vec::is_empty));
        assert!(rooms_of[10..].iter().all(|rooms| rooms.len() == 5));
        assert_eq!(sizes(&rooms_of, 100), vec![4; 100]);
    }

    #[test]
    fn nobody_has_more_fellows_than_links() {
        let rooms_of = memberships(&Scenario::new(3, 12, 60, 1), BOUNDS);
        let sizes = sizes(&rooms_of, 60);
        for rooms in rooms_of {
            let fellows: usize = rooms.iter().map(|&room| sizes[room as usize] - 1).sum();
            assert!(fellows <= BOUNDS.fellows_max, "{fellows}");
        }
    }
}
