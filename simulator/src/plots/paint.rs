//! The few shapes that figures are made of, drawn alike as SVG and as pixels.
//!
//! Coordinates are logical pixels from the top left. A figure does not see errors: the painter keeps the first one.

use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea as _};
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color as _, FontDesc, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle, register_font,
};

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ink(pub(crate) u8, pub(crate) u8, pub(crate) u8);

impl Ink {
    /// Text and axes.
    pub(crate) const TEXT: Self = Self(0x1f, 0x24, 0x28);
    /// Subtitles and labels of ticks.
    pub(crate) const FAINT: Self = Self(0x5c, 0x66, 0x6e);
    /// Grid lines.
    pub(crate) const GRID: Self = Self(0xe3, 0xe7, 0xea);
    /// The ground.
    pub(crate) const PAPER: Self = Self(0xff, 0xff, 0xff);
    // The palette of Okabe and Ito (Color Universal Design, 2008), which the colour-blind can tell apart.
    /// The first series: service nodes, or all.
    pub(crate) const BLUE: Self = Self(0x00, 0x72, 0xb2);
    /// The second series: clients.
    pub(crate) const ORANGE: Self = Self(0xe6, 0x9f, 0x00);
    /// The third series.
    pub(crate) const GREEN: Self = Self(0x00, 0x9e, 0x73);
    /// What deserves a look: paths, trouble.
    pub(crate) const RED: Self = Self(0xd5, 0x5e, 0x00);
    /// A pale ground of a shape.
    pub(crate) const PALE: Self = Self(0xcf, 0xe3, 0xf0);

    const fn rgb(self) -> RGBColor {
        RGBColor(self.0, self.1, self.2)
    }
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Centre,
    Right,
}

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Letters {
    pub(crate) size: f64,
    pub(crate) bold: bool,
    pub(crate) ink: Ink,
    pub(crate) align: Align,
}

impl Letters {
    /// Labels of ticks and values.
    pub(crate) const LABEL: Self = Self { size: 12.0, bold: false, ink: Ink::FAINT, align: Align::Left };

    pub(crate) const fn align(self, align: Align) -> Self {
        Self { align, ..self }
    }

    pub(crate) const fn ink(self, ink: Ink) -> Self {
        Self { ink, ..self }
    }
}

/// A point in logical pixels.
pub(crate) type Point = (f64, f64);

/// What figures draw on.
pub(crate) trait Paint {
    /// A filled rectangle between two corners.
    fn rect(&mut self, from: Point, to: Point, ink: Ink);
    /// A line through all points.
    fn line(&mut self, points: &[Point], width: f64, ink: Ink);
    /// A filled polygon.
    fn polygon(&mut self, points: &[Point], ink: Ink);
    /// A filled circle.
    fn dot(&mut self, centre: Point, radius: f64, ink: Ink);
    /// A text whose middle line runs through a point.
    fn text(&mut self, text: &str, at: Point, letters: Letters);
    /// How wide a text is, roughly.
    fn width(&mut self, text: &str, letters: Letters) -> f64;
}

/// The fonts, registered once in a process.
fn fonts() -> Result<(), String> {
    static FONTS: OnceLock<bool> = OnceLock::new();
    let registered = FONTS.get_or_init(|| {
        let faces: [(FontStyle, &[u8]); 2] = [
            (FontStyle::Normal, include_bytes!("font/DejaVuSans.ttf")),
            (FontStyle::Bold, include_bytes!("font/DejaVuSans-Bold.ttf")),
        ];
        faces.into_iter().all(|(style, bytes)| register_font(FAMILY, style, bytes).is_ok())
    });
    if *registered { Ok(()) } else { Err(String::from("the font cannot be read")) }
}

/// The name under which the font is registered; in an SVG, the viewer's own takes its place.
const FAMILY: &str = "sans-serif";

/// Size of a font as plotters counts it (ascent to descent), per size in the usual sense.
const FONT_SCALE: f64 = 1.2;

/// How far below where they are told to the backends must put a text, in parts of its size, so that its middle lies there:
/// plotters centres it by the x-height in an SVG, and by an estimate of its own in pixels.
const DROP_SVG: f64 = 0.05;
const DROP_PIXELS: f64 = 0.21;

struct Painter<DB: DrawingBackend> {
    area: DrawingArea<DB, Shift>,
    scale: f64,
    drop: f64,
    failure: Option<String>,
}

impl<DB: DrawingBackend> Painter<DB> {
    fn new(backend: DB, scale: f64, drop: f64) -> Self {
        Self { area: backend.into_drawing_area(), scale, drop, failure: None }
    }

    fn at(&self, (x, y): Point) -> (i32, i32) {
        ((x * self.scale).round() as i32, (y * self.scale).round() as i32)
    }

    fn style(&self, letters: Letters) -> TextStyle<'static> {
        let style = if letters.bold { FontStyle::Bold } else { FontStyle::Normal };
        let anchor = match letters.align {
            Align::Left => HPos::Left,
            Align::Centre => HPos::Center,
            Align::Right => HPos::Right,
        };
        // `FontDesc::style` would keep the face that was looked up first.
        FontDesc::new(FontFamily::SansSerif, letters.size * FONT_SCALE * self.scale, style)
            .color(&letters.ink.rgb())
            .pos(Pos::new(anchor, VPos::Center))
    }

    fn note<E: std::fmt::Display>(&mut self, result: Result<(), E>) {
        if let Err(error) = result
            && self.failure.is_none()
        {
            self.failure = Some(error.to_string());
        }
    }

    fn finish(mut self) -> Result<(), String> {
        let presented = self.area.present();
        self.note(presented);
        self.failure.map_or(Ok(()), Err)
    }
}

fn filled(ink: Ink) -> ShapeStyle {
    ink.rgb().filled()
}

impl<DB: DrawingBackend> Paint for Painter<DB> {
    fn rect(&mut self, from: Point, to: Point, ink: Ink) {
        let shape = Rectangle::new([self.at(from), self.at(to)], filled(ink));
        let drawn = self.area.draw(&shape);
        self.note(drawn);
    }

    fn line(&mut self, points: &[Point], width: f64, ink: Ink) {
        let points: Vec<(i32, i32)> = points.iter().map(|&point| self.at(point)).collect();
        let width = (width * self.scale).round().max(1.0) as u32;
        let drawn = self.area.draw(&PathElement::new(points, ink.rgb().stroke_width(width)));
        self.note(drawn);
    }

    fn polygon(&mut self, points: &[Point], ink: Ink) {
        let points: Vec<(i32, i32)> = points.iter().map(|&point| self.at(point)).collect();
        let drawn = self.area.draw(&Polygon::new(points, filled(ink)));
        self.note(drawn);
    }

    fn dot(&mut self, centre: Point, radius: f64, ink: Ink) {
        let radius = (radius * self.scale).round().max(1.0) as i32;
        let drawn = self.area.draw(&Circle::new(self.at(centre), radius, filled(ink)));
        self.note(drawn);
    }

    fn text(&mut self, text: &str, at: Point, letters: Letters) {
        // XML has no control characters, escaped or not.
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let at = self.at((at.0, at.1 + self.drop * letters.size));
        let shape = Text::new(text, at, self.style(letters));
        let drawn = self.area.draw(&shape);
        self.note(drawn);
    }

    fn width(&mut self, text: &str, letters: Letters) -> f64 {
        let style = self.style(letters);
        match self.area.estimate_text_size(text, &style) {
            Ok((width, _)) => f64::from(width) / self.scale,
            Err(error) => {
                self.note::<_>(Err(error));
                0.0
            }
        }
    }
}

/// A drawing, its size, and what draws it.
pub(crate) type Draw<'a> = &'a dyn Fn(&mut dyn Paint);

/// Pixels are drawn at this many times the logical size, then halved, which smooths all edges.
const OVERSAMPLING: u32 = 4;

/// Draws as SVG.
pub(crate) fn svg((width, height): (u32, u32), draw: Draw<'_>) -> Result<String, String> {
    fonts()?;
    let mut text = String::new();
    let mut painter = Painter::new(SVGBackend::with_string(&mut text, (width, height)), 1.0, DROP_SVG);
    painter.rect((0.0, 0.0), (f64::from(width), f64::from(height)), Ink::PAPER);
    draw(&mut painter);
    painter.finish()?;
    Ok(text)
}

/// Draws as PNG, two pixels to a logical one.
pub(crate) fn png((width, height): (u32, u32), draw: Draw<'_>) -> Result<Vec<u8>, String> {
    fonts()?;
    let (wide, high) = (width * OVERSAMPLING, height * OVERSAMPLING);
    let mut pixels = vec![0xff; wide as usize * high as usize * 3];
    let mut painter = Painter::new(
        BitMapBackend::with_buffer(&mut pixels, (wide, high)),
        f64::from(OVERSAMPLING),
        DROP_PIXELS,
    );
    draw(&mut painter);
    painter.finish()?;
    let halved = halve(&pixels, wide as usize);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, wide / 2, high / 2);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    writer.write_image_data(&halved).map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    Ok(file)
}

/// The mean of each two by two pixels of three bytes.
fn halve(pixels: &[u8], width: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() / 4);
    let row = width * 3;
    for rows in pixels.chunks_exact(row * 2) {
        let (upper, lower) = rows.split_at(row);
        for (above, below) in upper.chunks_exact(6).zip(lower.chunks_exact(6)) {
            let (left, right) = above.split_at(3);
            let (under_left, under_right) = below.split_at(3);
            let corners = left.iter().zip(right).zip(under_left.iter().zip(under_right));
            out.extend(corners.map(|((&a, &b), (&c, &d))| {
                let sum = [a, b, c, d].into_iter().map(u32::from).sum::<u32>();
                ((sum + 2) / 4) as u8
            }));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_takes_the_mean_of_four() {
        let pixels = [[0, 0, 0], [40, 4, 0], [80, 8, 255], [40, 4, 255]].concat();
        assert_eq!(halve(&pixels, 2), [40, 4, 128]);
    }

    #[test]
    fn texts_are_escaped() {
        let text = svg((100, 20), &|paint| paint.text("<a&\u{7}b>", (5.0, 10.0), Letters::LABEL));
        assert!(text.expect("it draws").contains("&lt;a&amp; b&gt;"));
    }

    #[test]
    fn a_png_says_its_size() {
        let file = png((30, 10), &|paint| paint.dot((15.0, 5.0), 3.0, Ink::BLUE)).expect("it draws");
        let info = png::Decoder::new(std::io::Cursor::new(file)).read_info().expect("it is a PNG");
        assert_eq!((info.info().width, info.info().height), (60, 20));
    }
}
