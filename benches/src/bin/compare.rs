//! `compare`: runs the same work through `mirror` and its peers and prints the ratios.
//!
//! See the README of this crate for the scenarios and how to read the tables.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use benches::{
    Error,
    environment::Environment,
    peers::{self, Peers},
    results,
    scenario::{Bench, NamedTree, Scenario, Settings},
    table,
};
use clap::Parser;

/// Runs the same work through mirror and the installed peers, in turn, and prints the ratios.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Run only this scenario (repeatable)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// List the scenarios and end
    #[arg(long)]
    list: bool,
    /// Measured rounds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measured rounds of copy-durable, which is slow
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    durable_rounds: u32,
    /// A real kernel tree instead of the generated one; it is only read
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// The next release of --tree, for the scenario `update`; it is only read
    #[arg(long, value_name = "DIR", requires = "tree")]
    update: Option<PathBuf>,
    /// What to call --tree in the results
    #[arg(long, value_name = "TEXT", default_value = "a real tree")]
    tree_name: String,
    /// What to call --update in the results
    #[arg(long, value_name = "TEXT", default_value = "its next release")]
    update_name: String,
    /// Files in the generated kernel-like tree
    #[arg(long, value_name = "N", default_value_t = 78_000)]
    kernel_files: u64,
    /// Files in the tree of small files
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    small_files: u64,
    /// Files in the tree of wan-copy
    #[arg(long, value_name = "N", default_value_t = 30_000)]
    wan_files: u64,
    /// Files in the kernel-like tree of copy-durable
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    durable_files: u64,
    /// Entries of the million
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    million: u64,
    /// The program to measure; built from this workspace when not given
    #[arg(long, value_name = "PATH")]
    mirror: Option<PathBuf>,
    /// Where to make the trees (default: the system's temporary folder)
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Do not wait five minutes where inodes freed by one run slow the next one on ext4
    #[arg(long)]
    no_rest: bool,
    /// Put each table into its section of benches/RESULTS.md
    #[arg(long)]
    write: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut message = format!("compare: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                message += &format!(": {error}");
                cause = error.source();
            }
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Error> {
    if arguments.list {
        for scenario in Scenario::ALL {
            println!("{:14}{}", scenario.name(), scenario.title());
        }
        return Ok(());
    }
    let chosen = match arguments.only.as_slice() {
        [] => Scenario::ALL.to_vec(),
        names => names.iter().map(|name| Scenario::named(name)).collect::<Result<_, _>>()?,
    };
    let mirror = match &arguments.mirror {
        Some(path) => fs::canonicalize(path).map_err(io_error("find", path))?,
        None => peers::build_mirror()?,
    };
    let folder = arguments.work.clone().unwrap_or_else(std::env::temp_dir);
    fs::create_dir_all(&folder).map_err(io_error("create", &folder))?;
    let folder = fs::canonicalize(&folder).map_err(io_error("find", &folder))?;
    let work = tempfile::Builder::new()
        .prefix("compare-")
        .tempdir_in(&folder)
        .map_err(io_error("create a work folder in", &folder))?;
    let environment = Environment::of(work.path());
    let mut say = |line: &str| eprintln!("{line}");
    let peers = Peers::find(&mirror)?;
    let mut bench = Bench::new(settings(&arguments)?, peers, work.path().to_owned(), &mut say);
    for scenario in chosen {
        let comparison = scenario.run(&mut bench)?;
        let section = table::markdown(&comparison, bench.peers(), &environment);
        println!("{section}");
        if arguments.write {
            write(scenario.name(), &section)?;
        }
    }
    Ok(())
}

fn settings(arguments: &Arguments) -> Result<Settings, Error> {
    let named = |path: &Option<PathBuf>, name: &str| match path {
        None => Ok(None),
        Some(path) => {
            let path = fs::canonicalize(path).map_err(io_error("find", path))?;
            Ok(Some(NamedTree { path, name: name.to_owned() }))
        }
    };
    Ok(Settings {
        rounds: arguments.rounds,
        durable_rounds: arguments.durable_rounds,
        kernel_files: arguments.kernel_files,
        small_files: arguments.small_files,
        wan_files: arguments.wan_files,
        durable_files: arguments.durable_files,
        million: arguments.million,
        tree: named(&arguments.tree, &arguments.tree_name)?,
        update: named(&arguments.update, &arguments.update_name)?,
        rest: !arguments.no_rest,
    })
}

/// Replaces the section at once, so that an interrupted run leaves the old results.
fn write(name: &str, section: &str) -> Result<(), Error> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = folder.join("RESULTS.md");
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => "# Results\n".to_owned(),
        read => read.map_err(io_error("read", &path))?,
    };
    let new = folder.join("RESULTS.md.new");
    fs::write(&new, results::with_section(&text, name, section)?)
        .map_err(io_error("write", &new))?;
    fs::rename(&new, &path).map_err(io_error("replace", &path))
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing, path, source }
}
