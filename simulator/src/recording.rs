//! What a run leaves for plots: plain data, small whatever the length of the run and the size of the network.
//!
//! The engine fills it as the run goes, [`Recording::record_second`] once a virtual second and the other `record_…`
//! methods as things happen or at the end. It decides nothing: a run with a recording takes the same decisions as one
//! without. Series and samples that grow too long are thinned by halves, so equal runs leave equal recordings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use unamed_protocol::{Duration, NodeKind, RoomId};

/// Intervals that a series holds; beyond, neighbours are merged and the interval doubles.
pub const INTERVALS_MAX: usize = 2048;
/// Places of service nodes that the picture of the key space holds; beyond, every second one is dropped.
pub const PLACES_MAX: usize = 2048;
/// Hops of a path, its start included; later ones are dropped.
pub const PATH_MAX: usize = 64;

/// What a run leaves for plots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recording {
    /// Virtual seconds that one element of [`series`](Self::series) stands for: a power of two.
    pub interval_s: u64,
    /// The run over time, oldest first.
    pub series: Vec<Interval>,
    /// Hops between service nodes to whoever answered, of eligible finds that succeeded.
    pub hops: Histogram,
    /// Time to the answer, ms, of eligible finds that succeeded.
    pub latency_ms: Histogram,
    /// Links to service nodes of each service node.
    pub links_service: Histogram,
    /// Clients of each service node.
    pub links_served: Histogram,
    /// Links of each client.
    pub links_client: Histogram,
    /// Links by reason; a link with two reasons counts in both.
    pub links_by_reason: BTreeMap<String, ByKind>,
    /// Bytes sent per node and second, by purpose.
    pub bytes_by_purpose: BTreeMap<String, ByKind>,
    /// The key space, with the path of one find.
    pub key_space: KeySpace,
    /// Links of service nodes by k-bucket: the index is the number of leading bits shared.
    pub buckets: Vec<Bucket>,
    /// What the interval under way has gathered, not part of the data.
    #[serde(skip)]
    open: Finds,
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            interval_s: 1,
            series: Vec::new(),
            hops: Histogram::new(1.0, 64),
            latency_ms: Histogram::new(1.0, 10_000),
            links_service: Histogram::new(1.0, 256),
            links_served: Histogram::new(1.0, 1024),
            links_client: Histogram::new(1.0, 256),
            links_by_reason: BTreeMap::new(),
            bytes_by_purpose: BTreeMap::new(),
            key_space: KeySpace::default(),
            buckets: Vec::new(),
            open: Finds::default(),
        }
    }
}

/// Finds judged in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finds {
    /// Eligible ones.
    pub eligible: u64,
    /// Those that succeeded within their retries.
    pub succeeded: u64,
    /// Those that succeeded at the first attempt.
    pub succeeded_at_once: u64,
}

/// The state of the network at the end of a virtual second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gauges {
    /// Running service nodes.
    pub live_service: u64,
    /// Running clients.
    pub live_clients: u64,
    /// Mean links of a service node to others.
    pub links_service_mean: f64,
    /// Mean links of a client.
    pub links_client_mean: f64,
    /// Rooms whose live members do not all see each other.
    pub rooms_split: u64,
    /// Bytes that a service node sent in that second, in the mean.
    pub bytes_per_s_service: f64,
    /// Bytes that a client sent in that second, in the mean.
    pub bytes_per_s_client: f64,
}

/// One element of the series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its end, virtual seconds.
    pub until_s: u64,
    /// Virtual seconds it stands for; only the last may have fewer than [`Recording::interval_s`].
    pub seconds: u64,
    /// Finds judged in it.
    pub finds: Finds,
    /// Live nodes as at its end; means of links and bytes; the most rooms split at once.
    pub gauges: Gauges,
}

impl Interval {
    /// Takes the one that follows into it.
    pub(crate) fn merge(&mut self, next: &Self) {
        let (before, after) = (self.seconds as f64, next.seconds as f64);
        let mean = |a: f64, b: f64| (a * before + b * after) / (before + after).max(1.0);
        self.gauges = Gauges {
            live_service: next.gauges.live_service,
            live_clients: next.gauges.live_clients,
            links_service_mean: mean(self.gauges.links_service_mean, next.gauges.links_service_mean),
            links_client_mean: mean(self.gauges.links_client_mean, next.gauges.links_client_mean),
            rooms_split: self.gauges.rooms_split.max(next.gauges.rooms_split),
            bytes_per_s_service: mean(self.gauges.bytes_per_s_service, next.gauges.bytes_per_s_service),
            bytes_per_s_client: mean(self.gauges.bytes_per_s_client, next.gauges.bytes_per_s_client),
        };
        self.finds.eligible += next.finds.eligible;
        self.finds.succeeded += next.finds.succeeded;
        self.finds.succeeded_at_once += next.finds.succeeded_at_once;
        self.until_s = next.until_s;
        self.seconds += next.seconds;
    }
}

/// A figure for each kind of node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ByKind {
    /// Of service nodes.
    pub service: f64,
    /// Of clients.
    pub client: f64,
}

impl ByKind {
    /// Adds to the figure of a kind.
    pub fn add(&mut self, kind: NodeKind, value: f64) {
        match kind {
            NodeKind::Service => self.service += value,
            NodeKind::Client => self.client += value,
        }
    }
}

/// Counts of samples in bins of equal width from 0 on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Width of a bin, in the unit of the samples.
    pub width: f64,
    /// Bins at most; larger samples are counted in [`over`](Self::over).
    pub bins_max: usize,
    /// Samples in `[i * width, (i + 1) * width)`; bins after the last one in use are left out.
    pub counts: Vec<u64>,
    /// Samples beyond the last bin.
    pub over: u64,
    /// All samples.
    pub samples: u64,
    /// Their sum.
    pub sum: f64,
    /// The largest; 0 without samples.
    pub max: f64,
}

impl Histogram {
    /// An empty one. 8 bytes a bin, once it is used.
    #[must_use]
    pub fn new(width: f64, bins_max: usize) -> Self {
        Self { width, bins_max, ..Self::default() }
    }

    /// Counts a sample; what is below 0 or not a number counts as 0.
    pub fn add(&mut self, sample: f64) {
        let sample = if sample > 0.0 { sample } else { 0.0 };
        self.samples += 1;
        self.sum += sample;
        self.max = self.max.max(sample);
        let bin = if self.width > 0.0 { (sample / self.width) as usize } else { 0 };
        if bin >= self.bins_max {
            self.over += 1;
            return;
        }
        if bin >= self.counts.len() {
            self.counts.resize(bin + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(bin) {
            *count += 1;
        }
    }

    /// The mean of the samples themselves.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.sum / self.samples as f64)
    }

    /// The lower edge of the bin that holds this percentile by nearest rank: exact for whole numbers in bins of 1, else
    /// too small by less than a bin. [`max`](Self::max) where it lies beyond the last bin.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        if self.samples == 0 {
            return None;
        }
        let rank = (libm::ceil(self.samples as f64 * percent / 100.0) as u64).clamp(1, self.samples);
        let mut below = 0;
        for (bin, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return Some(bin as f64 * self.width);
            }
        }
        Some(self.max)
    }
}

/// Links of service nodes in one k-bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Service nodes counted.
    pub nodes: u64,
    /// Links in this bucket of theirs, together.
    pub links: u64,
    /// Those of `nodes` that have none.
    pub empty: u64,
}

/// A picture of the key space. Places are fractions of its circle, from the first eight bytes of an id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeySpace {
    /// Places of service nodes, in [0, 1): all of them, or every n-th.
    pub service: Vec<f64>,
    /// How many service nodes were seen.
    pub service_seen: u64,
    /// The path with the most hops that was recorded; of equals the first.
    pub path: Option<FindPath>,
    /// One in so many service nodes is in [`service`](Self::service).
    stride: u64,
}

/// The path of one find.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindPath {
    /// Where the room lies.
    pub key: f64,
    /// Who passed it on, the origin first and whoever answered last.
    pub hops: Vec<PathHop>,
    /// Time to the answer, ms.
    pub latency_ms: f64,
}

/// A node on the path of a find.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathHop {
    /// Where it lies.
    pub place: f64,
    /// Whether it is a service node.
    pub service: bool,
}

/// A find that was eligible, as judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindVerdict {
    /// It failed.
    Failed,
    /// It succeeded.
    Succeeded {
        /// At the first attempt.
        at_once: bool,
        /// Hops between service nodes to whoever answered.
        hops: u32,
        /// Time to the answer.
        latency: Duration,
    },
}

/// The place of an id as a fraction of the circle, in [0, 1).
#[must_use]
pub fn place(id: &RoomId) -> f64 {
    let first = id.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    // 53 bits, so that the division is exact and the result below 1.
    (first >> 11) as f64 / (1_u64 << 53) as f64
}

impl Recording {
    /// An eligible find was judged. It counts in the interval that the next [`record_second`](Self::record_second) ends.
    pub fn record_find(&mut self, verdict: FindVerdict) {
        self.open.eligible += 1;
        if let FindVerdict::Succeeded { at_once, hops, latency } = verdict {
            self.open.succeeded += 1;
            self.open.succeeded_at_once += u64::from(at_once);
            self.hops.add(f64::from(hops));
            self.latency_ms.add(latency.as_micros() as f64 / 1000.0);
        }
    }

    /// A virtual second ended at `at_s`. Seconds that are left out count with the next one that is not.
    pub fn record_second(&mut self, at_s: u64, gauges: Gauges) {
        let finds = std::mem::take(&mut self.open);
        let before = self.series.last().map_or(0, |last| last.until_s);
        let new = Interval { until_s: at_s, seconds: at_s.saturating_sub(before), finds, gauges };
        match self.series.last_mut() {
            Some(last) if last.seconds < self.interval_s => last.merge(&new),
            _ => self.series.push(new),
        }
        if self.series.len() > INTERVALS_MAX {
            self.interval_s *= 2;
            let halves = self.series.chunks(2).filter_map(|pair| {
                let (first, rest) = pair.split_first()?;
                let mut merged = *first;
                rest.iter().for_each(|next| merged.merge(next));
                Some(merged)
            });
            self.series = halves.collect();
        }
    }

    /// A service node that runs at the end: where it lies, its links to others of its kind, and its clients.
    pub fn record_service(&mut self, id: &RoomId, links: usize, served: usize) {
        self.links_service.add(links as f64);
        self.links_served.add(served as f64);
        let space = &mut self.key_space;
        space.stride = space.stride.max(1);
        if space.service_seen.is_multiple_of(space.stride) {
            space.service.push(place(id));
        }
        space.service_seen += 1;
        if space.service.len() > PLACES_MAX {
            space.stride *= 2;
            let mut index = 0;
            space.service.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }

    /// A client that runs at the end, and its links.
    pub fn record_client(&mut self, links: usize) {
        self.links_client.add(links as f64);
    }

    /// Links with this reason, at the end, of nodes of this kind; counts add up.
    pub fn record_links(&mut self, kind: NodeKind, reason: &str, links: u64) {
        entry(&mut self.links_by_reason, reason).add(kind, links as f64);
    }

    /// Bytes per second that a node of this kind sent for this purpose, in the mean; they add up.
    pub fn record_bytes(&mut self, kind: NodeKind, purpose: &str, bytes_per_s: f64) {
        entry(&mut self.bytes_by_purpose, purpose).add(kind, bytes_per_s);
    }

    /// How many links a service node has in the bucket with this index.
    pub fn record_bucket(&mut self, index: u8, links: usize) {
        let index = usize::from(index);
        if index >= self.buckets.len() {
            self.buckets.resize(index + 1, Bucket::default());
        }
        if let Some(bucket) = self.buckets.get_mut(index) {
            bucket.nodes += 1;
            bucket.links += links as u64;
            bucket.empty += u64::from(links == 0);
        }
    }

    /// The path of a find that succeeded, from its origin to whoever answered: location, and whether it is a service
    /// node. Kept if it has more hops than the one before.
    pub fn record_path(
        &mut self,
        key: &RoomId,
        hops: impl IntoIterator<Item = (RoomId, bool)>,
        latency: Duration,
    ) {
        let hops: Vec<PathHop> = hops
            .into_iter()
            .take(PATH_MAX)
            .map(|(id, service)| PathHop { place: place(&id), service })
            .collect();
        let longest = self.key_space.path.as_ref().map_or(0, |path| path.hops.len());
        if hops.len() > longest {
            let latency_ms = latency.as_micros() as f64 / 1000.0;
            self.key_space.path = Some(FindPath { key: place(key), hops, latency_ms });
        }
    }
}

fn entry<'a>(map: &'a mut BTreeMap<String, ByKind>, name: &str) -> &'a mut ByKind {
    map.entry(name.to_owned()).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(first: u64) -> RoomId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&first.to_be_bytes());
        RoomId(id)
    }

    #[test]
    fn a_long_run_is_thinned_and_loses_no_find() {
        let mut recording = Recording::default();
        let seconds = 3 * INTERVALS_MAX as u64 + 1;
        for at in 1..=seconds {
            recording.record_find(FindVerdict::Failed);
            let rooms_split = u64::from(at == 5);
            recording.record_second(
                at,
                Gauges { live_service: at, rooms_split, links_client_mean: 3.0, ..Gauges::default() },
            );
        }
        assert_eq!(recording.interval_s, 4);
        assert!(recording.series.len() <= INTERVALS_MAX);
        assert_eq!(recording.series.iter().map(|interval| interval.finds.eligible).sum::<u64>(), seconds);
        assert_eq!(recording.series.iter().map(|interval| interval.seconds).sum::<u64>(), seconds);
        let last = recording.series.last().expect("there are intervals");
        assert_eq!((last.until_s, last.gauges.live_service), (seconds, seconds));
        assert!(recording.series.iter().all(|interval| interval.gauges.links_client_mean == 3.0));
        assert_eq!(recording.series.iter().map(|interval| interval.gauges.rooms_split).sum::<u64>(), 1);
    }

    #[test]
    fn histograms_keep_what_lies_beyond_their_bins() {
        let mut histogram = Histogram::new(10.0, 3);
        assert_eq!((histogram.mean(), histogram.percentile(50.0)), (None, None));
        for sample in [0.0, 9.9, 10.0, 29.0, 30.0, f64::NAN, -1.0] {
            histogram.add(sample);
        }
        assert_eq!((histogram.counts.as_slice(), histogram.over), ([4, 1, 1].as_slice(), 1));
        assert_eq!((histogram.samples, histogram.max), (7, 30.0));
        assert_eq!([50.0, 70.0, 100.0].map(|p| histogram.percentile(p)), [0.0, 10.0, 30.0].map(Some));
    }

    #[test]
    fn places_are_fractions_and_bounded() {
        assert_eq!([0, 1 << 63, u64::MAX].map(|first| place(&id(first)) < 1.0), [true; 3]);
        assert_eq!(place(&id(1 << 62)), 0.25);
        let mut recording = Recording::default();
        let nodes = 5 * PLACES_MAX as u64;
        for node in 0..nodes {
            recording.record_service(&id(node << 40), 1, 2);
        }
        let space = &recording.key_space;
        assert_eq!(space.service_seen, nodes);
        assert!(space.service.len() > PLACES_MAX / 2 && space.service.len() <= PLACES_MAX);
        let strides: Vec<f64> = space.service.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(strides.windows(2).all(|pair| pair[0] == pair[1]), "the sample is even");
    }

    #[test]
    fn the_longest_path_stays_and_json_holds_all() {
        let mut recording = Recording::default();
        for hops in [2_u64, 4, 3, 4] {
            let path = (0..hops).map(|hop| (id(hop << 60), hop > 0));
            recording.record_path(&id(1 << 63), path, Duration::from_millis(hops * 10));
        }
        recording.record_find(FindVerdict::Succeeded {
            at_once: true,
            hops: 2,
            latency: Duration::from_micros(1500),
        });
        recording.record_second(1, Gauges::default());
        recording.record_links(NodeKind::Client, "home", 3);
        recording.record_links(NodeKind::Client, "home", 2);
        recording.record_bytes(NodeKind::Service, "claims", 12.5);
        recording.record_bucket(3, 0);
        assert_eq!(recording.key_space.path.as_ref().map(|path| path.hops.len()), Some(4));
        assert_eq!(recording.links_by_reason["home"], ByKind { service: 0.0, client: 5.0 });
        assert_eq!(recording.buckets[3], Bucket { nodes: 1, links: 0, empty: 1 });
        let text = serde_json::to_string(&recording).expect("it is plain data");
        assert_eq!(serde_json::from_str::<Recording>(&text).expect("it reads back"), recording);
    }
}
