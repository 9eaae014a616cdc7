//! Finds, judged against the rooms that had a reachable member; and greedy walks.

use unamed_protocol::Hop;

use super::ring::distance;
use super::*;
use crate::recording::FindVerdict;

impl Oracle {
    /// Has a running node look for a room.
    pub fn find(&mut self, sim: &mut Simulation, finder: NodeIndex, room: RoomIndex) {
        let id = self.room_id(room);
        let reachable = self.reachable_members(sim, finder, room);
        if let Some(request) = sim.command(finder, |running, now| running.find(id, now)) {
            let in_fault = self.fault_ends.is_some() || sim.now() < self.judged_from;
            self.find_figures.attempted += u64::from(!in_fault);
            let find = OpenFind { room, at: sim.now(), reachable, in_fault };
            if self.finds.insert((finder, request), find).is_some() {
                sim.add_violation(finder, format!("{request:?} was given to two finds"));
            }
        }
    }

    /// Members of a room, other than `from`, that run, were told that they joined, and are linked to a running service
    /// node (or are one), none of them behind a partition.
    fn reachable_members(&self, sim: &Simulation, from: NodeIndex, room: RoomIndex) -> Vec<NodeIndex> {
        let apart = |a, b| sim.blocked(a, b) || sim.blocked(b, a);
        let up = |node| sim.condition(node) == Condition::Up;
        let linked = |member| {
            let links = sim.node(member).map(|running| running.links()).unwrap_or_default();
            links.iter().filter(|link| link.service).any(|link| {
                self.peers
                    .get(&link.peer)
                    .is_some_and(|&home| up(home) && !apart(home, member) && !apart(home, from))
            })
        };
        let members = self.rooms[room.0 as usize].members.iter().copied();
        members
            .filter(|&member| member != from && up(member) && self.has_joined(member, room))
            .filter(|&member| !apart(member, from))
            .filter(|&member| sim.kind(member) == NodeKind::Service || linked(member))
            .collect()
    }

    pub(super) fn find_finished(&mut self, sim: &mut Simulation, finder: NodeIndex, report: &FindReport) {
        let Some(find) = self.finds.remove(&(finder, report.request)) else {
            if !self.is_departed(finder) {
                sim.add_violation(finder, format!("{:?} ended and was not open", report.request));
            }
            return;
        };
        let ever = &self.rooms[find.room.0 as usize].ever;
        let was_member = |peer: &PeerId| self.peers.get(peer).is_some_and(|node| ever.contains(node));
        let strangers = report.members.iter().filter(|peer| !was_member(peer)).count();
        self.find_figures.false_members += strangers as u64;
        let reachable = self.reachable_members(sim, finder, find.room);
        if !find.reachable.iter().any(|member| reachable.contains(member)) {
            return;
        }
        let alive = |peer: &PeerId| {
            self.peers
                .get(peer)
                .is_some_and(|&node| sim.condition(node) == Condition::Up && self.has_joined(node, find.room))
        };
        let (named, live) = (report.members.len(), report.members.iter().filter(|peer| alive(peer)).count());
        // A find that a fault overtook began before it, and is told with it all the same.
        if find.in_fault || self.fault_ends.is_some() {
            return self.judge_in_fault(&find, live > 0);
        }
        self.find_figures.eligible += 1;
        self.claims_named += named as u64;
        self.claims_stale += (named - live) as u64;
        if live == 0 {
            self.recording.record_find(FindVerdict::Failed);
            self.detail(Detail::Find, || failure(sim, finder, &find, report));
            return;
        }
        let at_once = report.attempts == 1;
        self.find_figures.succeeded += 1;
        self.find_figures.succeeded_at_once += u64::from(at_once);
        let hops = service_hops(&report.route);
        self.hops.add(hops as f64);
        self.find_ms.add(millis(report.elapsed));
        let latency = report.elapsed;
        self.recording.record_find(FindVerdict::Succeeded { at_once, hops: hops as u32, latency });
        let last = report.route.last().and_then(|hop| self.peers.get(&hop.peer)).copied();
        let room = self.room_id(find.room);
        if last.is_some() && last == self.ring.nearest(&room.0) {
            self.hops_root.add(hops as f64);
        }
        let places = report.route.iter().filter_map(|hop| {
            let node = self.peers.get(&hop.peer)?;
            let place = match self.ring.place(*node) {
                Some(place) => RoomId(place),
                None => sim.node(*node)?.rooms().iter().find(|room| room.primary)?.room,
            };
            Some((place, hop.service))
        });
        self.recording.record_path(&room, places, latency);
    }

    fn judge_in_fault(&mut self, find: &OpenFind, succeeded: bool) {
        let figures = &mut self.fault_find_figures;
        figures.eligible += 1;
        figures.succeeded += u64::from(succeeded);
        if let (false, Some(ends)) = (succeeded, self.fault_ends) {
            let after = find.at.since(ends).as_secs_f64();
            figures.last_failure_s = Some(figures.last_failure_s.unwrap_or(0.0).max(after));
        }
    }

    /// Figures on finds.
    #[must_use]
    pub fn find_figures(&self) -> FindFigures {
        let figures = &self.find_figures;
        FindFigures {
            first_attempt_rate: share(figures.succeeded_at_once, figures.eligible),
            success_rate: share(figures.succeeded, figures.eligible),
            hops_mean: self.hops.mean(),
            hops_p99: self.hops.percentile(99),
            hops_root_mean: self.hops_root.mean(),
            at_root: self.hops_root.len() as u64,
            walk_hops_mean: share(self.walks.hops, self.walks.right),
            latency_ms_p50: self.find_ms.percentile(50),
            latency_ms_p99: self.find_ms.percentile(99),
            latency_ms_mean: self.find_ms.mean(),
            ..figures.clone()
        }
    }

    /// Figures on finds in faults.
    #[must_use]
    pub fn fault_find_figures(&self) -> FaultFindFigures {
        self.fault_find_figures.clone()
    }

    /// Of the members that answers to eligible finds named, the share that did not run or were not in the room.
    #[must_use]
    pub fn stale_claim_share(&self) -> Option<f64> {
        share(self.claims_stale, self.claims_named)
    }

    /// Eligible finds so far, and how many of them succeeded.
    #[must_use]
    pub const fn finds_so_far(&self) -> (u64, u64) {
        (self.find_figures.eligible, self.find_figures.succeeded)
    }

    /// A greedy walk over links to ready nodes, from a ready service node towards a key; whether it ended at the nearest
    /// ready one. `counted` walks are part of the figures.
    pub fn walk(&mut self, sim: &Simulation, from: NodeIndex, key: &[u8; 32], counted: bool) -> bool {
        let (mut at, mut hops) = (from, 0);
        while let (Some(place), Some(running)) = (self.ring.place(at), sim.node(at)) {
            let here = distance(&place, key);
            let links = running.links().into_iter().filter(|link| link.service);
            let next = links
                .filter_map(|link| {
                    let node = *self.peers.get(&link.peer)?;
                    let there = distance(&self.ring.place(node)?, key);
                    (there < here && self.ring.is_ready(node)).then_some((there, node))
                })
                .min();
            let Some((_, node)) = next else { break };
            (at, hops) = (node, hops + 1);
        }
        let right = Some(at) == self.ring.nearest_ready(key);
        if counted {
            self.walks.sampled += 1;
            self.walks.right += u64::from(right);
            self.walks.hops += if right { hops } else { 0 };
        }
        right
    }

    /// Whether a walk can start at a node.
    #[must_use]
    pub fn is_ready(&self, node: NodeIndex) -> bool {
        self.ring.is_ready(node)
    }

    /// Share of walks that ended at the nearest.
    #[must_use]
    pub fn greedy_reachability(&self) -> Option<f64> {
        share(self.walks.right, self.walks.sampled)
    }
}

/// What is known of a find that failed.
fn failure(sim: &Simulation, finder: NodeIndex, find: &OpenFind, report: &FindReport) -> String {
    format!(
        "{:?} node {}: a find of room {} failed after {} attempts and {:?}; {} members named, route {:?}",
        sim.now(),
        finder.0,
        find.room.0,
        report.attempts,
        report.elapsed,
        report.members.len(),
        report.route.iter().map(|hop| hop.peer).collect::<Vec<_>>()
    )
}

/// Hops between service nodes on a route.
fn service_hops(route: &[Hop]) -> usize {
    route.windows(2).filter(|pair| pair.iter().all(|hop| hop.service)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hops_between_service_nodes_count() {
        let route = |kinds: &[bool]| {
            let hop = |&service| Hop { peer: PeerId::default(), rtt: Duration::ZERO, service };
            kinds.iter().map(hop).collect::<Vec<Hop>>()
        };
        let table: [(&[bool], usize); 5] = [
            (&[], 0),
            (&[false, true], 0),
            (&[false, true, true, true], 2),
            (&[true, true], 1),
            (&[false, true, true, false], 1),
        ];
        for (kinds, hops) in table {
            assert_eq!(service_hops(&route(kinds)), hops, "{kinds:?}");
        }
    }
}
