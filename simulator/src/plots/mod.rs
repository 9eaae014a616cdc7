//! The report folder of a run: figures as SVG and PNG, the data behind them, and one page that holds everything.
//!
//! | file | what |
//! |---|---|
//! | `index.html` | the page: verdict, command, figures, tables; refers to nothing outside of itself |
//! | `report.json` | the [`Report`], as `--json` writes it |
//! | `recording.json` | the [`Recording`] behind the figures |
//! | `NAME.svg`, `NAME.png` | each of [`figures`] |
//!
//! Colours are those of Okabe and Ito, which the colour-blind can tell apart.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::recording::Recording;
use crate::report::Report;

mod axes;
mod bars;
mod key_space;
mod page;
mod paint;
mod series;

use page::Shown;
use paint::Paint;

/// What a report says of where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The page's title, such as the scenario's name.
    pub title: String,
    /// The command that repeats the run.
    pub command: String,
    /// The scenario file as it was run.
    pub scenario: Option<String>,
}

/// Why a report folder could not be written.
#[derive(Debug)]
pub enum ReportError {
    /// A figure could not be drawn.
    Draw {
        /// Its name.
        figure: &'static str,
        /// What the drawing library says.
        reason: String,
    },
    /// The figures are no JSON, which non-finite numbers are not.
    Encode {
        /// The file that they were for.
        file: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A file or the folder could not be written. Files before it are whole; this one is as it was.
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draw { figure, reason } => write!(f, "the figure {figure} cannot be drawn: {reason}"),
            Self::Encode { file, source } => write!(f, "{file}: {source}"),
            Self::Write { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for ReportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Draw { .. } => None,
            Self::Encode { source, .. } => Some(source),
            Self::Write { source, .. } => Some(source),
        }
    }
}

/// Name, caption and drawing.
type Figure = (&'static str, &'static str, fn(&mut dyn Paint, &Recording));

/// The figures in the order of the page.
const DRAWN: [Figure; 11] = [
    ("success", "Share of eligible finds that succeeded, over time", series::success),
    ("latency", "Distribution of the time from a find to its answer", bars::latency),
    ("hops", "Distribution of the hops of a find", bars::hops),
    ("key-space", "Service nodes on the circle of ids, with the path of a find", key_space::draw),
    ("degrees", "Distribution of the number of links of a node", bars::degrees),
    ("reasons", "Links by the reason for which they stand", bars::reasons),
    ("bytes", "Bytes per second by purpose", bars::bytes),
    ("buckets", "Mean number of links by k-bucket", bars::buckets),
    ("population", "Live nodes and split rooms over time", series::population),
    ("links", "Mean number of links over time", series::links),
    ("traffic", "Bytes per second over time", series::traffic),
];

/// Names of the figures, which are names of files too, in the order of the page.
pub fn figures() -> impl Iterator<Item = &'static str> {
    DRAWN.into_iter().map(|(name, ..)| name)
}

/// Writes the report folder, creating it where it is missing. Everything is drawn before the first file is written, and
/// each file takes its place whole; `index.html` is the last, so a folder that has it has all.
///
/// # Errors
/// See [`ReportError`].
pub fn write(dir: &Path, report: &Report, recording: &Recording, about: &About) -> Result<(), ReportError> {
    let mut drawn = Vec::new();
    for (name, caption, draw) in DRAWN {
        let failed = |reason| ReportError::Draw { figure: name, reason };
        let svg = paint::svg(axes::SIZE, &|paint| draw(paint, recording)).map_err(failed)?;
        let png = paint::png(axes::SIZE, &|paint| draw(paint, recording)).map_err(failed)?;
        drawn.push((name, caption, svg, png));
    }
    let report_json = json("report.json", report)?;
    let figures =
        serde_json::to_value(report).map_err(|source| ReportError::Encode { file: "report.json", source })?;
    let shown: Vec<Shown<'_>> =
        drawn.iter().map(|(name, caption, svg, _)| Shown { name, caption, svg }).collect();
    let page = page::page(about, &figures, &shown);

    fs::create_dir_all(dir).map_err(|source| ReportError::Write { path: dir.to_path_buf(), source })?;
    place(dir, "report.json", report_json.as_bytes())?;
    place(dir, "recording.json", json("recording.json", recording)?.as_bytes())?;
    for (name, _, svg, png) in &drawn {
        place(dir, &format!("{name}.svg"), svg.as_bytes())?;
        place(dir, &format!("{name}.png"), png)?;
    }
    place(dir, "index.html", page.as_bytes())
}

fn json<T: serde::Serialize>(file: &'static str, value: &T) -> Result<String, ReportError> {
    let mut text =
        serde_json::to_string_pretty(value).map_err(|source| ReportError::Encode { file, source })?;
    text.push('\n');
    Ok(text)
}

/// Writes a file beside its place, then moves it there.
fn place(dir: &Path, name: &str, content: &[u8]) -> Result<(), ReportError> {
    let path = dir.join(name);
    let partial = dir.join(format!("{name}.partial"));
    let written = fs::write(&partial, content).and_then(|()| fs::rename(&partial, &path));
    written.map_err(|source| {
        // What is left of the attempt may not even exist.
        let _ = fs::remove_file(&partial);
        ReportError::Write { path, source }
    })
}

#[cfg(test)]
mod tests;
