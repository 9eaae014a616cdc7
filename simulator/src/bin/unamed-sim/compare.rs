//! `unamed-sim compare`.

use std::path::PathBuf;
use std::process::ExitCode;

use unamed_simulator::compare::{Options, compare};

/// Something changed.
const CHANGED: u8 = 1;
/// A file cannot be used.
const BAD_FILE: u8 = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// A report as JSON, a sweep's table, a report's folder, or a folder of such files.
    a: PathBuf,
    /// The same, of what is compared with it.
    b: PathBuf,
    /// Chance in percent that a comparison of equals shows any change.
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
    alpha: f64,
    /// Relative change in percent from which single values count.
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
    threshold: f64,
    /// Prints the figures that did not change, too.
    #[arg(long)]
    all: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent < 100.0 => Ok(percent),
        _ => Err(String::from("expected a number above 0 and below 100")),
    }
}

impl Compare {
    pub(crate) fn execute(&self) -> ExitCode {
        let options = Options { alpha: self.alpha / 100.0, threshold: self.threshold / 100.0 };
        match compare(&self.a, &self.b, options) {
            Ok(comparison) => {
                print!("{}", comparison.text(self.all));
                ExitCode::from(if comparison.changed() { CHANGED } else { 0 })
            }
            Err(error) => {
                eprintln!("unamed-sim: {error}");
                ExitCode::from(BAD_FILE)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_bounded() {
        assert_eq!([percent("5"), percent("0.1%")], [Ok(5.0), Ok(0.1)]);
        for text in ["0", "100", "-1", "x", "", "nan"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }
}
