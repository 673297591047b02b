//! `dual-mail relay`: receives mail and brings it to all legs, until it is told to stop.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, process};

use mail_dual::{
    Damage, DiskFolder, Engine, Event, LogOptions, LogSpool, Observer, RecoveryReport, Serving,
    SpoolError, SystemClock,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::control::Control;
use super::{Config, Failure, network};

/// Receive mail and bring it to all legs.
#[derive(Debug, clap::Args)]
pub struct Relay {
    /// The configuration, instead of --config.
    pub config: Option<PathBuf>,
    /// Say what happens to every message, not only what somebody should know.
    #[arg(long)]
    verbose: bool,
}

/// Writes events to standard error, which systemd and others keep.
#[derive(Debug)]
struct Log {
    verbose: bool,
}

impl Observer for Log {
    fn event(&self, event: &Event) {
        let usual = matches!(
            event,
            Event::Accepted { .. }
                | Event::Delivered { .. }
                | Event::Deferred { .. }
                | Event::Done { .. }
                | Event::Refused { .. }
                | Event::AlreadyHere { .. }
        );
        if self.verbose || !usual {
            // A log that cannot be written is no reason to stop.
            let _ = writeln!(io::stderr(), "{event}");
        }
    }
}

/// Takes the spool and reads it back.
///
/// # Errors
///
/// One sentence on what to do.
pub fn open(config: &Config, observer: Arc<dyn Observer>) -> Result<Engine, Failure> {
    let legs = config.legs()?;
    let path = config.spool();
    let shown = path.display();
    let folder = DiskFolder::open_or_create(path).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "make the folder that holds it".to_owned(),
            io::ErrorKind::PermissionDenied => {
                "give this user the right to it, or choose another folder".to_owned()
            }
            io::ErrorKind::NotADirectory => "it is no folder; choose another".to_owned(),
            _ => error.to_string(),
        };
        Failure::failed(format!("cannot use the spool folder {shown}: {advice}"))
    })?;
    check_private(path)?;
    let salt = random()?;
    let spool = LogSpool::open(Arc::new(folder), LogOptions::new(salt)).map_err(of_spool)?;
    let clock = Arc::new(SystemClock);
    let (engine, report) = Engine::open(config.settings(), legs, Arc::new(spool), clock, observer)
        .map_err(of_spool)?;
    tell_recovery(&report);
    Ok(engine)
}

fn of_spool(error: SpoolError) -> Failure {
    match error {
        SpoolError::Busy => Failure::temporary(error),
        other => Failure::failed(other),
    }
}

fn tell_recovery(report: &RecoveryReport) {
    if report.torn > 0 {
        eprintln!("the last write was cut off: {} bytes, which nobody was told of", report.torn);
    }
    let damaged: &[Damage] = &report.damaged;
    if !damaged.is_empty() {
        eprintln!("{} places of the spool cannot be read; see above", damaged.len());
    }
}

/// Others could read the mail, or answer in the relay's name.
fn check_private(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    let mode = fs::metadata(path)
        .map_err(|error| Failure::failed(format!("cannot look at {shown}: {error}")))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(Failure::failed(format!(
            "others can enter the spool folder {shown}; run chmod 700 {shown}"
        )));
    }
    Ok(())
}

fn random() -> Result<u64, Failure> {
    getrandom::u64()
        .map_err(|error| Failure::failed(format!("the kernel gives no random bytes: {error}")))
}

impl Relay {
    /// Serves until SIGTERM or SIGINT.
    ///
    /// # Errors
    ///
    /// One sentence on what to do.
    pub fn run(&self, config: &Config) -> Result<(), Failure> {
        let tables = config.tables();
        if tables.listen.is_empty() {
            return Err(Failure::usage("there is no [[listen]]; say where mail is handed over"));
        }
        // Before anything starts, so that no signal falls in between.
        let mut signals = Signals::new([SIGTERM, SIGINT])
            .map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))?;
        let mut listeners = Vec::new();
        for listen in &tables.listen {
            listeners.push(network::listener(listen, &tables.hostname, tables.largest)?);
        }
        let mut engine = open(config, Arc::new(Log { verbose: self.verbose }))?;
        let control = Control::bind(&config.control_socket())?;
        let threads = |error| Failure::failed(format!("the system gives no threads: {error}"));
        engine.start().map_err(threads)?;
        let mut serving: Vec<Serving> = Vec::new();
        let mut out = io::stdout();
        for listener in listeners {
            let served = listener.serve(Arc::new(engine.handle())).map_err(threads)?;
            // Tests, and people, want to know the port that was free.
            let _ = writeln!(out, "listening at {}", served.address());
            serving.push(served);
        }
        let control = control.serve(engine.handle()).map_err(threads)?;
        let _ = writeln!(out, "ready, process {}", process::id()).and_then(|()| out.flush());
        signals.forever().next();
        drop(control);
        for listener in serving {
            listener.stop();
        }
        engine.shutdown().map_err(Failure::failed)
    }
}
