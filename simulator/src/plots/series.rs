//! Figures over time: success, who lives, traffic.

use super::axes::{Frame, end_of_axis, legend, nothing, time_unit, title};
use super::paint::{Ink, Paint, Point};
use crate::recording::{Finds, Gauges, Interval, Recording};

/// Points of a line at most: more are merged.
const POINTS_MAX: usize = 120;

/// The time axis of a run: its unit, seconds in that, and its end in it.
fn time_axis(recording: &Recording) -> (&'static str, f64, f64) {
    let seconds = recording.series.last().map_or(0, |last| last.until_s) as f64;
    let (unit, scale) = time_unit(seconds);
    (unit, scale, (seconds / scale).max(1e-9))
}

/// The series with so many neighbours merged that few enough points are left.
fn merged(recording: &Recording) -> Vec<Interval> {
    let together = recording.series.len().div_ceil(POINTS_MAX).max(1);
    let chunks = recording.series.chunks(together);
    chunks
        .filter_map(|chunk| {
            let (first, rest) = chunk.split_first()?;
            let mut all = *first;
            rest.iter().for_each(|next| all.merge(next));
            Some(all)
        })
        .collect()
}

/// The lower end of an axis of success rates: a round one below the least rate.
fn floor_of_rates(least: f64) -> f64 {
    let below = |floor: &f64| least >= *floor + (100.0 - floor) * 0.1;
    [99.0, 95.0, 90.0, 80.0, 50.0].into_iter().find(below).unwrap_or(0.0)
}

/// Share of eligible finds that succeeded, over time.
pub(crate) fn success(paint: &mut dyn Paint, recording: &Recording) {
    let points: Vec<Interval> =
        merged(recording).into_iter().filter(|interval| interval.finds.eligible > 0).collect();
    let share = |part: u64, finds: &Finds| 100.0 * part as f64 / finds.eligible as f64;
    let total = points.iter().fold((0, 0, 0), |sum, Interval { finds, .. }| {
        (sum.0 + finds.eligible, sum.1 + finds.succeeded, sum.2 + finds.succeeded_at_once)
    });
    let under = format!(
        "of {} eligible finds {} succeeded, {} of them at the first attempt",
        super::axes::number(total.0 as f64, 1.0),
        super::axes::number(total.1 as f64, 1.0),
        super::axes::number(total.2 as f64, 1.0)
    );
    title(paint, "Finds that succeed", &under);
    if points.is_empty() {
        return nothing(paint, "no eligible find was judged");
    }
    let least = points.iter().map(|i| share(i.finds.succeeded_at_once, &i.finds)).fold(100.0, f64::min);
    let (unit, scale, end) = time_axis(recording);
    let frame = Frame::whole((0.0, end), (floor_of_rates(least), 100.0));
    frame.y_axis(paint, "% of eligible finds");
    // The thinner line is drawn last: where both are equal, both are seen.
    for (at_once, width, ink) in [(false, 4.0, Ink::BLUE), (true, 1.5, Ink::ORANGE)] {
        let line = points.iter().map(|interval| {
            let finds = &interval.finds;
            let part = if at_once { finds.succeeded_at_once } else { finds.succeeded };
            frame.at(middle(interval) / scale, share(part, finds))
        });
        curve(paint, &line.collect::<Vec<Point>>(), width, ink);
    }
    frame.x_axis(paint, unit);
    legend(paint, &[("within the retries", Ink::BLUE), ("at the first attempt", Ink::ORANGE)]);
}

/// The middle of an interval, seconds.
fn middle(interval: &Interval) -> f64 {
    interval.until_s as f64 - interval.seconds as f64 / 2.0
}

/// A line, with dots where there are few points.
fn curve(paint: &mut dyn Paint, points: &[Point], width: f64, ink: Ink) {
    if points.len() > 1 {
        paint.line(points, width, ink);
    }
    if points.len() <= 40 {
        points.iter().for_each(|&point| paint.dot(point, width + 1.0, ink));
    }
}

/// One line of a figure over time.
type Line<'a> = (&'a str, Ink, fn(&Gauges) -> f64);

/// Lines over time, from 0 up.
fn lines(paint: &mut dyn Paint, recording: &Recording, y_name: &str, lines: &[Line<'_>]) {
    let points = merged(recording);
    if points.is_empty() {
        return nothing(paint, "no second was recorded");
    }
    let most = lines
        .iter()
        .flat_map(|(_, _, value)| points.iter().map(|interval| value(&interval.gauges)))
        .fold(0.0, f64::max);
    let (unit, scale, end) = time_axis(recording);
    let frame = Frame::whole((0.0, end), (0.0, end_of_axis(most)));
    frame.y_axis(paint, y_name);
    for (_, ink, value) in lines {
        let line =
            points.iter().map(|interval| frame.at(interval.until_s as f64 / scale, value(&interval.gauges)));
        curve(paint, &line.collect::<Vec<Point>>(), 2.0, *ink);
    }
    frame.x_axis(paint, unit);
    let entries: Vec<(&str, Ink)> = lines.iter().map(|(name, ink, _)| (*name, *ink)).collect();
    legend(paint, &entries);
}

/// Live nodes and split rooms over time.
pub(crate) fn population(paint: &mut dyn Paint, recording: &Recording) {
    let most = recording.series.iter().map(|interval| interval.gauges.rooms_split).max().unwrap_or(0);
    title(paint, "Who lives", &format!("most rooms split at once: {most}"));
    lines(
        paint,
        recording,
        "nodes, rooms",
        &[
            ("service nodes", Ink::BLUE, |gauges| gauges.live_service as f64),
            ("clients", Ink::ORANGE, |gauges| gauges.live_clients as f64),
            ("split rooms", Ink::RED, |gauges| gauges.rooms_split as f64),
        ],
    );
}

/// Mean links of a node over time.
pub(crate) fn links(paint: &mut dyn Paint, recording: &Recording) {
    title(paint, "Links over time", "mean of the live nodes");
    lines(
        paint,
        recording,
        "links",
        &[
            ("service node to service nodes", Ink::BLUE, |gauges| gauges.links_service_mean),
            ("client", Ink::ORANGE, |gauges| gauges.links_client_mean),
        ],
    );
}

/// Bytes sent per node and second over time.
pub(crate) fn traffic(paint: &mut dyn Paint, recording: &Recording) {
    title(paint, "Traffic over time", "mean of the live nodes, all that they send");
    lines(
        paint,
        recording,
        "bytes/s a node",
        &[
            ("service node", Ink::BLUE, |gauges| gauges.bytes_per_s_service),
            ("client", Ink::ORANGE, |gauges| gauges.bytes_per_s_client),
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_of_rates_shows_the_least() {
        for (least, floor) in
            [(100.0, 99.0), (99.2, 99.0), (99.05, 95.0), (91.0, 90.0), (12.0, 0.0), (0.0, 0.0)]
        {
            assert_eq!(floor_of_rates(least), floor, "{least}");
        }
    }

    #[test]
    fn merging_keeps_sums() {
        let mut recording = Recording::default();
        for at in 1..=1000 {
            recording.record_find(crate::recording::FindVerdict::Failed);
            recording.record_second(at, Gauges::default());
        }
        let points = merged(&recording);
        assert!(points.len() <= POINTS_MAX);
        assert_eq!(points.iter().map(|point| point.finds.eligible).sum::<u64>(), 1000);
    }
}
