//! Words and tables for standard output, and progress for a person who waits.
//!
//! What others gave a name to is in all of it: nothing that a terminal obeys leaves here, but what this file itself writes.

use crate::failure::Failure;
use rdmafs_fs::shown::{plain, plain_json, shown};
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Prints a text and a newline.
///
/// # Errors
/// Standard output cannot be written. A reader that went away (`| head`) is none.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write_out(&plain(text))
}

/// Prints a text in the place of all that is on the terminal.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn print_over(text: &str) -> Result<(), Failure> {
    write_out(&format!("\x1b[H\x1b[2J{}", plain(text)))
}

/// What `what` is as JSON.
///
/// # Errors
/// It cannot be written as JSON.
pub(crate) fn json(what: &str, value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value);
    text.map(|text| plain_json(&text))
        .map_err(|error| Failure::system(format!("cannot write {what} as JSON: {error}")))
}

fn write_out(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::system(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Says on standard error, one line each, what was understood in another way than it may have been meant.
pub(crate) fn notes(lines: &[String]) {
    for line in lines {
        // What cannot be shown is not worth failing for.
        let _ = writeln!(std::io::stderr(), "rdmafs mount: note: {}", shown(line));
    }
}

/// Between two lines of progress where standard error is no terminal.
const PAUSE: Duration = Duration::from_secs(2);

/// One line on the terminal that is written over and over; where standard error is no terminal, a line every 2 s.
pub(crate) struct Progress {
    shown: bool,
    last: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            shown: false,
            last: now(),
        }
    }

    /// Shows how far it is.
    pub(crate) fn show(&mut self, text: &str) {
        let mut err = std::io::stderr();
        // What cannot be shown is not worth failing for.
        if err.is_terminal() {
            self.shown = true;
            let _ = write!(err, "\r\x1b[K{}", shown(text)).and_then(|()| err.flush());
        } else if now().duration_since(self.last) >= PAUSE {
            self.say(text);
        }
    }

    /// Says something at once.
    pub(crate) fn say(&mut self, text: &str) {
        let mut err = std::io::stderr();
        self.last = now();
        if err.is_terminal() {
            self.show(text);
        } else {
            let _ = writeln!(err, "{}", shown(text));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how often a person is told: the edge")]
fn now() -> Instant {
    Instant::now()
}

/// The line is wiped.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// A table as text: lines of cells, each column as wide as its widest cell; an empty cell is `-`.
pub(crate) fn columns(heads: &[&str], rows: Vec<Vec<String>>) -> String {
    let heads = heads.iter().map(|&head| head.to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
    let filled = |cell: &String| match cell.as_str() {
        "" => "-".to_owned(),
        cell => shown(cell).to_string(),
    };
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|column| {
            lines
                .iter()
                .map(|line| filled(&line[column]).chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let text = lines.iter().map(|line| {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{:width$}", filled(cell)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    text.collect::<Vec<_>>().join("\n")
}
