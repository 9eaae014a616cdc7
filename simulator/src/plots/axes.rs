//! Axes, ticks, titles and legends.

use super::paint::{Align, Ink, Letters, Paint, Point};

/// Size of a figure in logical pixels.
pub(crate) const SIZE: (u32, u32) = (760, 420);

/// The part of a figure that its data fill, and what its edges stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
    pub(crate) x: (f64, f64),
    pub(crate) y: (f64, f64),
}

impl Frame {
    /// The frame of a figure with one panel.
    pub(crate) fn whole(x: (f64, f64), y: (f64, f64)) -> Self {
        Self { left: 64.0, right: 736.0, top: 104.0, bottom: 372.0, x, y }
    }

    pub(crate) fn at(&self, x: f64, y: f64) -> Point {
        let share = |value: f64, (least, most): (f64, f64)| {
            if most > least { ((value - least) / (most - least)).clamp(0.0, 1.0) } else { 0.0 }
        };
        (
            self.left + share(x, self.x) * (self.right - self.left),
            self.bottom - share(y, self.y) * (self.bottom - self.top),
        )
    }

    /// Grid lines and labels of the y axis, its name above it.
    pub(crate) fn y_axis(&self, paint: &mut dyn Paint, name: &str) {
        let step = step(self.y.1 - self.y.0, 5);
        for tick in ticks(self.y, step) {
            let (_, y) = self.at(self.x.0, tick);
            paint.line(&[(self.left, y), (self.right, y)], 1.0, Ink::GRID);
            let letters = Letters::LABEL.align(Align::Right);
            paint.text(&number(tick, step), (self.left - 8.0, y), letters);
        }
        paint.text(name, (self.left - 44.0, self.top - 20.0), Letters::LABEL);
    }

    /// The line and the labels of the x axis, its name under it.
    pub(crate) fn x_axis(&self, paint: &mut dyn Paint, name: &str) {
        self.x_axis_from(paint, name, 0.0);
    }

    /// The same for whole numbers.
    pub(crate) fn x_axis_whole(&self, paint: &mut dyn Paint, name: &str) {
        self.x_axis_from(paint, name, 1.0);
    }

    fn x_axis_from(&self, paint: &mut dyn Paint, name: &str, least_step: f64) {
        let wanted = ((self.right - self.left) / 80.0) as usize;
        let step = step(self.x.1 - self.x.0, wanted.max(2)).max(least_step);
        for tick in ticks(self.x, step) {
            let (x, y) = self.at(tick, self.y.0);
            paint.line(&[(x, y), (x, y + 4.0)], 1.0, Ink::FAINT);
            paint.text(&number(tick, step), (x, y + 15.0), Letters::LABEL.align(Align::Centre));
        }
        paint.line(&[(self.left, self.bottom), (self.right, self.bottom)], 1.0, Ink::FAINT);
        let middle = f64::midpoint(self.left, self.right);
        paint.text(name, (middle, self.bottom + 35.0), Letters::LABEL.align(Align::Centre));
    }

    /// Dashed lines across at each `x`, with words beside their upper ends, each a row lower than the one before.
    pub(crate) fn marks(&self, paint: &mut dyn Paint, marks: &[(f64, String)]) {
        for (x, _) in marks {
            let (x, _) = self.at(*x, self.y.0);
            let mut y = self.top;
            while y < self.bottom {
                paint.line(&[(x, y), (x, (y + 5.0).min(self.bottom))], 1.0, Ink::TEXT);
                y += 9.0;
            }
        }
        let letters = Letters::LABEL.ink(Ink::TEXT);
        for (row, (x, words)) in marks.iter().enumerate() {
            let (x, _) = self.at(*x, self.y.0);
            let y = self.top + 7.0 + 17.0 * row as f64;
            let width = paint.width(words, letters);
            let fits = x + 8.0 + width < self.right;
            let (at, align) = if fits { (x + 6.0, Align::Left) } else { (x - 6.0, Align::Right) };
            let (from, to) = if fits { (at - 2.0, at + width + 2.0) } else { (at - width - 2.0, at + 2.0) };
            paint.rect((from, y - 8.0), (to, y + 8.0), Ink::PAPER);
            paint.text(words, (at, y), letters.align(align));
        }
    }
}

/// A figure's title and a line under it.
pub(crate) fn title(paint: &mut dyn Paint, title: &str, under: &str) {
    let letters = Letters { size: 17.0, bold: true, ink: Ink::TEXT, align: Align::Left };
    paint.text(title, (20.0, 24.0), letters);
    paint.text(under, (20.0, 46.0), Letters { size: 12.5, ..Letters::LABEL });
}

/// The names of the series, in their colours, right of the title.
pub(crate) fn legend(paint: &mut dyn Paint, entries: &[(&str, Ink)]) {
    let letters = Letters::LABEL.ink(Ink::TEXT);
    let mut x = f64::from(SIZE.0) - 24.0;
    for (name, ink) in entries.iter().rev() {
        x -= paint.width(name, letters);
        paint.text(name, (x, 68.0), letters);
        x -= 18.0;
        paint.rect((x, 62.0), (x + 12.0, 74.0), *ink);
        x -= 18.0;
    }
}

/// Says that there is nothing to show.
pub(crate) fn nothing(paint: &mut dyn Paint, what: &str) {
    let middle = (f64::from(SIZE.0) / 2.0, f64::from(SIZE.1) / 2.0);
    paint.text(what, middle, Letters { size: 14.0, align: Align::Centre, ..Letters::LABEL });
}

/// A step of 1, 2 or 5 times a power of ten that divides a span into `wanted` parts or fewer.
pub(crate) fn step(span: f64, wanted: usize) -> f64 {
    let least = span / wanted.max(1) as f64;
    if !(least > 0.0 && least.is_finite()) {
        return 1.0;
    }
    let power = libm::pow(10.0, libm::floor(libm::log10(least)));
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|&step| step >= least * 0.999_999)
        .unwrap_or(10.0 * power)
}

/// The multiples of `step` within a range.
fn ticks((least, most): (f64, f64), step: f64) -> Vec<f64> {
    let first = libm::ceil(least / step - 1e-6);
    let last = libm::floor(most / step + 1e-6);
    let count = (last - first).clamp(0.0, 100.0) as usize;
    (0..=count)
        .map(|index| (first + index as f64) * step)
        .filter(|tick| *tick <= most + step * 1e-6)
        .collect()
}

/// A number with as many decimals as its step asks for, and thousands apart.
pub(crate) fn number(value: f64, step: f64) -> String {
    let decimals = if step >= 1.0 { 0.0 } else { libm::ceil(-libm::log10(step) - 1e-9) };
    let text = format!("{value:.0$}", decimals.clamp(0.0, 6.0) as usize);
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("\u{2212}", rest));
    let (whole, rest) = digits.split_once('.').map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    let mut out = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(rest) = rest {
        out.push('.');
        out.push_str(rest);
    }
    out
}

/// A number with about three significant digits.
pub(crate) fn figure(value: f64) -> String {
    if value == 0.0 {
        return String::from("0");
    }
    let size = libm::fabs(value);
    let whole = libm::floor(value) - value == 0.0;
    let step = if whole || size >= 100.0 {
        1.0
    } else if size >= 10.0 {
        0.1
    } else if size >= 0.1 {
        0.01
    } else {
        0.0001
    };
    number(value, step)
}

/// The smallest round number that is not below the value, as the end of an axis that starts at 0.
pub(crate) fn end_of_axis(most: f64) -> f64 {
    if most > 0.0 {
        let step = step(most, 5);
        libm::ceil(most / step - 1e-9) * step
    } else {
        1.0
    }
}

/// Time of a run: unit, and seconds in it.
pub(crate) fn time_unit(seconds: f64) -> (&'static str, f64) {
    if seconds <= 600.0 {
        ("virtual time, s", 1.0)
    } else if seconds <= 3.0 * 3600.0 {
        ("virtual time, min", 60.0)
    } else {
        ("virtual time, h", 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_ticks_lie_within() {
        for (span, wanted, expected) in
            [(100.0, 5, 20.0), (1.0, 5, 0.2), (7.0, 5, 2.0), (0.0, 5, 1.0), (f64::NAN, 5, 1.0)]
        {
            assert!((step(span, wanted) - expected).abs() < 1e-9, "{span} {wanted}");
        }
        assert_eq!(ticks((99.0, 100.0), 0.5), [99.0, 99.5, 100.0]);
        assert_eq!(ticks((0.0, 95.0), 20.0), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!([0.0, 93.0, 100.0, 1234.0].map(end_of_axis), [1.0, 100.0, 100.0, 1500.0]);
    }

    #[test]
    fn numbers_are_readable() {
        let table = [
            (1_234_567.0, 1.0, "1,234,567"),
            (99.95, 0.05, "99.95"),
            (-1200.0, 100.0, "\u{2212}1,200"),
            (0.0, 0.5, "0.0"),
        ];
        for (value, step, text) in table {
            assert_eq!(number(value, step), text);
        }
        assert_eq!(
            [0.0, 0.01234, 3.456, 46.78, 1567.8].map(figure),
            ["0", "0.0123", "3.46", "46.8", "1,568"]
        );
    }

    #[test]
    fn a_frame_keeps_what_it_shows_inside() {
        let frame = Frame::whole((0.0, 10.0), (0.0, 1.0));
        assert_eq!(frame.at(0.0, 0.0), (64.0, 372.0));
        assert_eq!(frame.at(99.0, 99.0), (736.0, 104.0));
        assert_eq!(Frame::whole((1.0, 1.0), (0.0, 1.0)).at(1.0, 0.0), (64.0, 372.0));
    }
}
