//! A progress bar on a terminal, and nothing anywhere else.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use mirror_core::{Event, Observer, Traffic};

/// Shows how a run goes, and says at once what went wrong.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    entries: AtomicU64,
    expected: AtomicU64,
    told: Mutex<()>,
    wires: Mutex<Vec<Arc<Traffic>>>,
}

impl Bar {
    /// A bar on standard error, if that is a terminal and `quiet` is not asked for.
    pub fn new(quiet: bool) -> Bar {
        let shown = !quiet && std::io::stderr().is_terminal();
        let bar = if shown { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let template = "{msg:12} {wide_bar} {prefix} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Bar {
            bar,
            entries: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            told: Mutex::default(),
            wires: Mutex::default(),
        }
    }

    /// Shows as well what goes over a wire, all of them together.
    pub fn watch(&self, traffic: Option<Arc<Traffic>>) {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner).extend(traffic);
    }

    /// What went over all wires so far, and how fast.
    fn wire(&self) -> String {
        let wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
        if wires.is_empty() {
            return String::new();
        }
        let total: u64 = wires.iter().map(|wire| wire.sent() + wire.received()).sum();
        let rate = total as f64 / self.bar.elapsed().as_secs_f64().max(0.001);
        format!(", wire {} at {}/s", HumanBytes(total), HumanBytes(rate as u64))
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn tell(&self, line: &str) {
        let _told = self.told.lock();
        self.bar.suspend(|| eprintln!("{line}"));
    }
}

impl Observer for Bar {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Phase(phase) => self.bar.set_message(phase.to_string()),
            Event::Planned { entries, bytes } => {
                self.expected.store(*entries, Ordering::Relaxed);
                self.bar.set_length(*bytes);
            }
            Event::Advanced { entries, bytes } => {
                let done = self.entries.fetch_add(*entries, Ordering::Relaxed) + entries;
                self.bar.inc(*bytes);
                if !self.bar.is_hidden() {
                    let expected = self.expected.load(Ordering::Relaxed);
                    self.bar.set_prefix(format!("{done}/{expected} entries{}", self.wire()));
                }
            }
            Event::Problem(problem) => self.tell(&problem.to_string()),
            _ => {}
        }
    }
}
