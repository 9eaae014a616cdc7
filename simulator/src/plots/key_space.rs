//! A picture of the key space, with the path of a find.
//!
//! The circle stands for all ids in their order, a quarter for each two leading bits. Distance in the network is XOR and
//! not the way along the circle; the table beside it tells how many leading bits each hop shares with the room.

use super::axes::{SIZE, figure, nothing, number, title};
use super::paint::{Align, Ink, Letters, Paint, Point};
use crate::recording::{FindPath, PathHop, Recording};

const CENTRE: Point = (222.0, 242.0);
const RADIUS: f64 = 138.0;

fn on_circle(place: f64, radius: f64) -> Point {
    let angle = (place - 0.25) * core::f64::consts::TAU;
    (CENTRE.0 + radius * libm::cos(angle), CENTRE.1 + radius * libm::sin(angle))
}

/// The first 53 bits of the id that lies there.
fn bits(place: f64) -> u64 {
    (place * (1_u64 << 53) as f64) as u64
}

/// Leading bits that two places share, of 53.
fn shared(a: f64, b: f64) -> u32 {
    (bits(a) ^ bits(b)).leading_zeros() - 11
}

/// The picture.
pub(crate) fn draw(paint: &mut dyn Paint, recording: &Recording) {
    let space = &recording.key_space;
    let (shown, seen) = (space.service.len(), space.service_seen);
    let all = number(seen as f64, 1.0);
    let under = if shown as u64 == seen {
        format!("{all} service nodes by their ids, and the longest path of a find")
    } else {
        let shown = number(shown as f64, 1.0);
        format!("{shown} of {all} service nodes by their ids, and the longest path of a find")
    };
    title(paint, "The key space", &under);
    if space.service.is_empty() && space.path.is_none() {
        return nothing(paint, "no place was recorded");
    }
    ring(paint);
    let size = if shown > 500 { 1.2 } else { 2.4 };
    for &place in &space.service {
        paint.dot(on_circle(place, RADIUS), size, Ink::BLUE);
    }
    match &space.path {
        Some(path) => {
            chords(paint, path);
            table(paint, path);
        }
        None => paint.text("no find's path was recorded", (440.0, 120.0), Letters::LABEL),
    }
}

fn ring(paint: &mut dyn Paint) {
    let steps = 180;
    let circle: Vec<Point> =
        (0..=steps).map(|at| on_circle(f64::from(at) / f64::from(steps), RADIUS)).collect();
    paint.line(&circle, 6.0, Ink::PALE);
    for (quarter, label) in ["00…", "40…", "80…", "c0…"].into_iter().enumerate() {
        let place = quarter as f64 / 4.0;
        paint.line(&[on_circle(place, RADIUS - 7.0), on_circle(place, RADIUS + 7.0)], 1.0, Ink::FAINT);
        paint.text(label, on_circle(place, RADIUS + 24.0), Letters::LABEL.align(Align::Centre));
    }
}

fn chords(paint: &mut dyn Paint, path: &FindPath) {
    for pair in path.hops.windows(2) {
        if let [from, to] = pair {
            arrow(paint, on_circle(from.place, RADIUS), on_circle(to.place, RADIUS));
        }
    }
    let (x, y) = on_circle(path.key, RADIUS);
    let size = 8.0;
    paint.polygon(&[(x - size, y), (x, y - size), (x + size, y), (x, y + size)], Ink::GREEN);
    for (index, hop) in path.hops.iter().enumerate() {
        let ink = if hop.service { Ink::RED } else { Ink::ORANGE };
        paint.dot(on_circle(hop.place, RADIUS), 4.5, ink);
        // Numbers of neighbours stand one behind the other.
        let near = |other: &&PathHop| {
            let apart = libm::fabs(other.place - hop.place);
            apart.min(1.0 - apart) < 0.025
        };
        let before = path.hops.iter().take(index).filter(near).count();
        let letters = Letters { bold: true, align: Align::Centre, ..Letters::LABEL }.ink(Ink::TEXT);
        paint.text(&index.to_string(), on_circle(hop.place, RADIUS - 16.0 - 13.0 * before as f64), letters);
    }
}

fn arrow(paint: &mut dyn Paint, from: Point, to: Point) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = libm::sqrt(dx * dx + dy * dy);
    if length < 14.0 {
        return;
    }
    let (ux, uy) = (dx / length, dy / length);
    let tip = (to.0 - 5.0 * ux, to.1 - 5.0 * uy);
    let back = (tip.0 - 9.0 * ux, tip.1 - 9.0 * uy);
    paint.line(&[from, back], 1.5, Ink::RED);
    paint.polygon(
        &[tip, (back.0 - 4.0 * uy, back.1 + 4.0 * ux), (back.0 + 4.0 * uy, back.1 - 4.0 * ux)],
        Ink::RED,
    );
}

/// The hops as a table right of the circle.
fn table(paint: &mut dyn Paint, path: &FindPath) {
    const ROWS_MAX: usize = 13;
    let columns = [440.0, 470.0, 575.0, 720.0];
    let head = Letters { bold: true, ..Letters::LABEL };
    for (x, (name, align)) in columns.into_iter().zip([
        ("hop", Align::Left),
        ("node", Align::Left),
        ("id", Align::Left),
        ("bits shared", Align::Right),
    ]) {
        paint.text(name, (x, 92.0), head.align(align));
    }
    paint.line(&[(440.0, 104.0), (720.0, 104.0)], 1.0, Ink::FAINT);
    let body = Letters::LABEL.ink(Ink::TEXT);
    let id = |place: f64| format!("{:08x}…", bits(place) >> 21);
    let mut y = 120.0;
    for (index, hop) in path.hops.iter().enumerate().take(ROWS_MAX) {
        let kind = if hop.service { "service node" } else { "client" };
        paint.text(&index.to_string(), (columns[0], y), body);
        paint.dot((columns[1] + 5.0, y), 4.5, if hop.service { Ink::RED } else { Ink::ORANGE });
        paint.text(kind, (columns[1] + 16.0, y), body);
        paint.text(&id(hop.place), (columns[2], y), body);
        paint.text(&shared(hop.place, path.key).to_string(), (columns[3], y), body.align(Align::Right));
        y += 19.0;
    }
    let rest = path.hops.len().saturating_sub(ROWS_MAX);
    if rest > 0 {
        paint.text(&format!("and {rest} more"), (columns[1] + 16.0, y), Letters::LABEL);
        y += 19.0;
    }
    paint.polygon(
        &[(columns[1], y), (columns[1] + 5.0, y - 5.0), (columns[1] + 10.0, y), (columns[1] + 5.0, y + 5.0)],
        Ink::GREEN,
    );
    paint.text("the room", (columns[1] + 16.0, y), body);
    paint.text(&id(path.key), (columns[2], y), body);
    let words = format!("answered after {} ms", figure(path.latency_ms));
    paint.text(&words, (columns[0], (y + 28.0).min(f64::from(SIZE.1) - 16.0)), Letters::LABEL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_bits_are_counted_from_the_top() {
        assert_eq!(
            [shared(0.0, 0.5), shared(0.25, 0.26), shared(0.75, 0.5), shared(0.3, 0.3)],
            [0, 6, 1, 53]
        );
    }

    #[test]
    fn the_circle_starts_at_the_top_and_goes_clockwise() {
        let near = |a: Point, b: Point| (a.0 - b.0).abs() < 1e-9 && (a.1 - b.1).abs() < 1e-9;
        assert!(near(on_circle(0.0, 10.0), (CENTRE.0, CENTRE.1 - 10.0)));
        assert!(near(on_circle(0.25, 10.0), (CENTRE.0 + 10.0, CENTRE.1)));
    }
}
