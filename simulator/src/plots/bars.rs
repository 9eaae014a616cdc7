//! Histograms, and bars by name.

use std::collections::BTreeMap;

use super::axes::{Frame, end_of_axis, figure, legend, nothing, number, step, title};
use super::paint::{Align, Ink, Letters, Paint};
use crate::recording::{Bucket, ByKind, Histogram, Recording};

/// Bars of a histogram at most.
const BARS_MAX: usize = 60;

/// The bins of a histogram, if they are many up to the one beyond which lies one sample in a thousand, neighbours merged
/// into bins of a round width: that width, the counts, and how many samples lie beyond.
fn rebinned(histogram: &Histogram) -> (f64, Vec<u64>, u64) {
    let used = histogram.counts.len();
    let end = histogram.percentile(99.9).unwrap_or(0.0);
    let shown = if used <= BARS_MAX { used } else { ((end / histogram.width) as usize + 1).min(used) };
    let mut together = 1;
    for factor in [2, 5, 10, 20, 50, 100, 200, 500, 1000] {
        if shown.div_ceil(together) <= BARS_MAX {
            break;
        }
        together = factor;
    }
    let counts = histogram.counts.get(..shown).unwrap_or_default();
    let bars: Vec<u64> = counts.chunks(together).map(|chunk| chunk.iter().sum()).collect();
    let beyond = histogram.samples - bars.iter().sum::<u64>();
    (histogram.width * together as f64, bars, beyond)
}

/// What a histogram counts.
struct Counted<'a> {
    histogram: &'a Histogram,
    /// Name of the x axis.
    unit: &'a str,
    /// Whether samples are whole numbers, which stand in the middle of their bars.
    whole: bool,
    ink: Ink,
}

/// The bars of a histogram in a part of the figure between two x, as shares of all samples.
fn histogram(paint: &mut dyn Paint, counted: &Counted<'_>, (left, right): (f64, f64)) -> Option<Frame> {
    let histogram = counted.histogram;
    if histogram.samples == 0 {
        return None;
    }
    let (width, bars, _) = rebinned(histogram);
    let share = |count: u64| 100.0 * count as f64 / histogram.samples as f64;
    // Room above the bars for the words of marks.
    let most = bars.iter().copied().map(share).fold(0.0, f64::max) * 1.2;
    let shift = if counted.whole { 0.5 } else { 0.0 };
    let end = (bars.len() as f64 * width).max(if counted.whole { 4.0 } else { width });
    let frame = Frame { left, right, ..Frame::whole((-shift, end - shift), (0.0, end_of_axis(most))) };
    frame.y_axis(paint, "% of samples");
    for (index, &count) in bars.iter().enumerate() {
        let from = index as f64 * width - shift;
        let (x0, y0) = frame.at(from, share(count));
        let (x1, y1) = frame.at(from + width, 0.0);
        let gap = if x1 - x0 > 4.0 { 1.0 } else { 0.0 };
        paint.rect((x0 + gap, y0), (x1 - gap, y1), counted.ink);
    }
    if counted.whole {
        frame.x_axis_whole(paint, counted.unit);
    } else {
        frame.x_axis(paint, counted.unit);
    }
    Some(frame)
}

/// Mean, median and 99th percentile in words.
fn summary(histogram: &Histogram) -> String {
    let (_, _, beyond) = rebinned(histogram);
    let mut text =
        format!("{} samples, largest {}", number(histogram.samples as f64, 1.0), figure(histogram.max));
    if beyond > 0 {
        text += &format!("; {beyond} beyond the right edge");
    }
    text
}

/// A figure of one histogram, its mean and percentiles marked.
fn one(paint: &mut dyn Paint, name: &str, counted: &Counted<'_>, marks: &[(&str, Option<f64>)]) {
    title(paint, name, &summary(counted.histogram));
    match histogram(paint, counted, (64.0, 736.0)) {
        Some(frame) => {
            let marks: Vec<(f64, String)> = marks
                .iter()
                .filter_map(|(name, value)| value.map(|value| (value, format!("{name} {}", figure(value)))))
                .collect();
            frame.marks(paint, &marks);
        }
        None => nothing(paint, "nothing was counted"),
    }
}

/// Hops of finds.
pub(crate) fn hops(paint: &mut dyn Paint, recording: &Recording) {
    let histogram = &recording.hops;
    let unit = "hops between service nodes to whoever answered";
    let counted = Counted { histogram, unit, whole: true, ink: Ink::BLUE };
    one(paint, "Hops of finds", &counted, &[("mean", histogram.mean()), ("p99", histogram.percentile(99.0))]);
}

/// Latency of finds.
pub(crate) fn latency(paint: &mut dyn Paint, recording: &Recording) {
    let histogram = &recording.latency_ms;
    let counted = Counted { histogram, unit: "time to the answer, ms", whole: false, ink: Ink::BLUE };
    let marks = [
        ("median", histogram.percentile(50.0)),
        ("mean", histogram.mean()),
        ("p99", histogram.percentile(99.0)),
    ];
    one(paint, "Latency of finds", &counted, &marks);
}

/// Degrees of nodes, in three panels.
pub(crate) fn degrees(paint: &mut dyn Paint, recording: &Recording) {
    title(paint, "Links of a node at the end", "degree distribution of the live nodes");
    let panels = [
        ("service node to service nodes", &recording.links_service, Ink::BLUE),
        ("clients of a service node", &recording.links_served, Ink::GREEN),
        ("client", &recording.links_client, Ink::ORANGE),
    ];
    for (index, (name, histogram_of, ink)) in panels.into_iter().enumerate() {
        let left = 64.0 + 240.0 * index as f64;
        let counted = Counted { histogram: histogram_of, unit: "links", whole: true, ink };
        let right = left + 184.0;
        let letters = Letters { bold: true, align: Align::Centre, ..Letters::LABEL }.ink(Ink::TEXT);
        if let Some(frame) = histogram(paint, &counted, (left, right))
            && let Some(mean) = histogram_of.mean()
        {
            frame.marks(paint, &[(mean, format!("mean {}", figure(mean)))]);
        } else {
            let middle = f64::midpoint(left, right);
            paint.text("no such node", (middle, 240.0), Letters::LABEL.align(Align::Centre));
        }
        paint.text(name, (f64::midpoint(left, right), 68.0), letters);
    }
}

/// Two bars a name, the names with the largest sums first.
fn by_name(paint: &mut dyn Paint, figures: &BTreeMap<String, ByKind>, unit: &str) {
    const ROWS_MAX: usize = 12;
    let mut rows: Vec<(&str, ByKind)> = figures.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    // A stable sort: names with equal sums stay in the order of the alphabet.
    rows.sort_by(|(_, a), (_, b)| (b.service + b.client).total_cmp(&(a.service + a.client)));
    if rows.is_empty() {
        return nothing(paint, "nothing was counted");
    }
    if let Some((_, rest)) = rows.split_at_checked(ROWS_MAX - 1)
        && rest.len() > 1
    {
        let sum = rest.iter().fold(ByKind::default(), |sum, (_, value)| ByKind {
            service: sum.service + value.service,
            client: sum.client + value.client,
        });
        rows.truncate(ROWS_MAX - 1);
        rows.push(("all others", sum));
    }
    let names = rows.iter().map(|(name, _)| paint.width(name, Letters::LABEL)).fold(0.0, f64::max).min(260.0);
    let most = rows.iter().flat_map(|(_, value)| [value.service, value.client]).fold(0.0, f64::max);
    let end = end_of_axis(most);
    let frame = Frame { left: 34.0 + names, right: 680.0, top: 90.0, ..Frame::whole((0.0, end), (0.0, 1.0)) };
    let grid = step(end, 6);
    for line in 0..=(end / grid + 1e-9) as usize {
        let (x, _) = frame.at(line as f64 * grid, 0.0);
        paint.line(&[(x, frame.top), (x, frame.bottom)], 1.0, Ink::GRID);
    }
    let height = ((frame.bottom - frame.top) / rows.len() as f64).min(56.0);
    let bar = (height * 0.36).min(14.0);
    for (index, (name, value)) in rows.iter().enumerate() {
        let middle = frame.top + height * (index as f64 + 0.5);
        paint.text(name, (frame.left - 10.0, middle), Letters::LABEL.align(Align::Right).ink(Ink::TEXT));
        for (value, y, ink) in [(value.service, middle - bar, Ink::BLUE), (value.client, middle, Ink::ORANGE)]
        {
            let (x, _) = frame.at(value, 0.0);
            paint.rect((frame.left, y), (x, y + bar - 1.0), ink);
            let size = if bar < 11.0 { 9.5 } else { 11.0 };
            paint.text(&figure(value), (x + 5.0, y + bar / 2.0), Letters { size, ..Letters::LABEL });
        }
    }
    paint.line(&[(frame.left, frame.top), (frame.left, frame.bottom)], 1.0, Ink::FAINT);
    frame.x_axis(paint, unit);
    legend(paint, &[("service nodes", Ink::BLUE), ("clients", Ink::ORANGE)]);
}

/// Links by reason.
pub(crate) fn reasons(paint: &mut dyn Paint, recording: &Recording) {
    title(paint, "Why links stand", "all links at the end; one with two reasons counts in both");
    by_name(paint, &recording.links_by_reason, "links");
}

/// Bytes by purpose.
pub(crate) fn bytes(paint: &mut dyn Paint, recording: &Recording) {
    title(paint, "What bytes are for", "sent, in the mean over nodes and time");
    by_name(paint, &recording.bytes_by_purpose, "bytes/s a node");
}

/// Links by k-bucket.
pub(crate) fn buckets(paint: &mut dyn Paint, recording: &Recording) {
    title(
        paint,
        "Links by k-bucket",
        "mean of the service nodes; a bucket is the number of leading bits shared",
    );
    let used = recording.buckets.iter().rposition(|bucket| bucket.links > 0).map_or(0, |last| last + 1);
    let shown = recording.buckets.get(..used.min(BARS_MAX)).unwrap_or_default();
    if shown.is_empty() {
        return nothing(paint, "nothing was counted");
    }
    let mean = |bucket: &Bucket| bucket.links as f64 / bucket.nodes.max(1) as f64;
    let most = shown.iter().map(mean).fold(0.0, f64::max);
    let end = (shown.len() as f64 - 0.5).max(3.5);
    let frame = Frame::whole((-0.5, end), (0.0, end_of_axis(most)));
    frame.y_axis(paint, "links a service node");
    for (index, bucket) in shown.iter().enumerate() {
        let (x0, y0) = frame.at(index as f64 - 0.5, mean(bucket));
        let (x1, y1) = frame.at(index as f64 + 0.5, 0.0);
        paint.rect((x0 + 1.5, y0), (x1 - 1.5, y1), Ink::BLUE);
    }
    frame.x_axis_whole(paint, "k-bucket");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_bins_loses_nothing() {
        let mut latencies = Histogram::new(10.0, 1000);
        for sample in 0..10_000 {
            latencies.add(f64::from(sample % 900));
        }
        latencies.add(123_456.0);
        let (width, bars, beyond) = rebinned(&latencies);
        assert_eq!((width, bars.len(), beyond), (20.0, 45, 1));
        assert_eq!(bars.iter().sum::<u64>() + beyond, latencies.samples);
        assert_eq!(rebinned(&Histogram::new(1.0, 4)).1, [0_u64; 0]);
    }
}
