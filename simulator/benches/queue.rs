//! The event queue beside a binary heap, with a million events pending that touch 128 bytes of their node's state.
//!
//! `cargo bench -p unamed-simulator --bench queue`. The hold model of Jones (An Empirical Comparison of Priority-Queue and
//! Event-Set Implementations, 1986): the earliest event is taken and another one added, with delays as a network has them.
//! Both sides are timed in turn, round by round; of each the median round counts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::time::Instant as WallClock;

use unamed_protocol::Instant;
use unamed_simulator::{EventQueue, Rng};

const PENDING: usize = 1_000_000;
const ROUNDS: usize = 15;
const EVENTS_PER_ROUND: usize = 200_000;

/// What an event is in the simulator: a node or carrier, and what it is about.
type Event = [u32; 3];

/// State of a node that an event touches.
#[derive(Clone)]
#[repr(align(64))]
struct State([u64; 16]);

/// An event queue of either kind.
trait Queue {
    fn push(&mut self, at: u64, event: Event);
    fn pop(&mut self) -> (u64, Event);
}

impl Queue for EventQueue<Event> {
    fn push(&mut self, at: u64, event: Event) {
        Self::push(self, Instant::from_micros(at), event);
    }

    fn pop(&mut self) -> (u64, Event) {
        let (at, event) = Self::pop(self).expect("events are pending");
        (at.as_micros(), event)
    }
}

/// A heap by (time, sequence).
#[derive(Default)]
struct Heap {
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
}

impl Queue for Heap {
    fn push(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence, event)));
    }

    fn pop(&mut self) -> (u64, Event) {
        let Reverse((at, _, event)) = self.heap.pop().expect("events are pending");
        (at, event)
    }
}

/// A delay, microseconds: half of the events are frames under way, the others timers of up to a minute.
fn delay(rng: &mut Rng) -> u64 {
    if rng.chance(0.5) { 10_000 + rng.below(90_000) } else { rng.below(60_000_000) }
}

struct Side<Q> {
    queue: Q,
    states: Vec<State>,
    rng: Rng,
}

impl<Q: Queue> Side<Q> {
    fn new(mut queue: Q) -> Self {
        let mut rng = Rng::new(1, "bench");
        for index in 0..PENDING {
            let at = delay(&mut rng);
            queue.push(at, [index as u32, 0, 0]);
        }
        Self { queue, states: vec![State([0; 16]); PENDING], rng }
    }

    /// Nanoseconds an event.
    fn round(&mut self) -> f64 {
        let began = WallClock::now();
        for _ in 0..EVENTS_PER_ROUND {
            let (at, event) = self.queue.pop();
            let state = &mut self.states[event[0] as usize].0;
            for word in state.iter_mut() {
                *word = word.wrapping_add(at);
            }
            self.queue.push(at + delay(&mut self.rng), black_box(event));
        }
        began.elapsed().as_nanos() as f64 / EVENTS_PER_ROUND as f64
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    // `cargo test` runs benchmarks without this flag: then there is nothing to do.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let (mut wheel, mut heap) = (Side::new(EventQueue::new()), Side::new(Heap::default()));
    // The hold model forgets how it was filled after a few times the number of events.
    for _ in 0..2 * PENDING / EVENTS_PER_ROUND {
        wheel.round();
        heap.round();
    }
    let (wheel, heap): (Vec<f64>, Vec<f64>) = (0..ROUNDS).map(|_| (wheel.round(), heap.round())).unzip();
    let (wheel, heap) = (median(wheel), median(heap));
    println!("{PENDING} events pending, 128 B of state touched by each");
    println!("  timing wheel {wheel:>8.1} ns an event {:>6.2} M/s", 1000.0 / wheel);
    println!("  BinaryHeap   {heap:>8.1} ns an event {:>6.2} M/s", 1000.0 / heap);
    println!("  ratio        {:>8.2}", heap / wheel);
}
