//! The scenarios: which trees, which programs, what must hold after each run.
//!
//! A program that ends well without having done the work gives an error, never
//! a figure: after a no-op nothing in the target may have changed, after a copy
//! or an update the target must equal the source.

mod acceptance;
mod contestant;
mod disk;
mod far;
mod first_copy;
mod inputs;
pub mod keys;
pub mod legs;
mod noop;
mod update;
pub mod zone_files;
pub mod zones;

use std::{path::PathBuf, time::Duration};

pub use acceptance::AcceptWork;
pub use contestant::{Contestant, Work};
pub use inputs::NamedTree;

use crate::{Error, peers::Peers};

/// One piece of work that several programs do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scenario {
    /// Nothing changed in a kernel tree.
    NoopKernel,
    /// Nothing changed in 100,000 small files.
    NoopSmall,
    /// First copy of a kernel tree, without waiting for the disk.
    CopyKernel,
    /// First copy of 100,000 small files, without waiting for the disk.
    CopySmall,
    /// First copy that is on the disk when the program ends.
    CopyDurable,
    /// First copy of a million entries.
    MillionCopy,
    /// Nothing changed in a million entries.
    MillionNoop,
    /// A release gives way to the next one.
    Update,
    /// The directory that holds everything got another name.
    Rename,
    /// First copy of a kernel tree over SSH, on one machine.
    SshCopy,
    /// A release gives way to the next one over SSH, on one machine.
    SshUpdate,
    /// First copy of small files over SSH, an ocean apart.
    WanCopy,
    /// First copy of a kernel tree over SSH, an ocean apart, over a wide link.
    WanBulk,
    /// Nothing changed in a kernel tree, an ocean apart.
    WanNoop,
    /// Ed25519 keys made.
    KeysEd25519,
    /// A large authorized_keys file read and changed.
    AuthorizedKeys,
    /// A large zone file read.
    ZoneParse,
    /// A large zone printed.
    ZonePrint,
    /// One domain changes sites on six name servers.
    ZonesOne,
    /// A thousand domains do.
    ZonesThousand,
    /// What six name servers read of a thousand domains.
    ZonesRender,
    /// Mail to smtp-sink on one connection.
    MailOneConnection,
    /// A backlog of mail over a slow link.
    MailDrain,
    /// Mail accepted while it is delivered to two places.
    MailAccept,
    /// Mail that waits for legs that are away.
    MailQueue,
}

impl Scenario {
    /// All of them; those that free many inodes come last.
    pub const ALL: [Self; 25] = [
        Self::ZonesOne,
        Self::ZonesThousand,
        Self::ZonesRender,
        Self::KeysEd25519,
        Self::AuthorizedKeys,
        Self::ZoneParse,
        Self::ZonePrint,
        Self::MailOneConnection,
        Self::MailDrain,
        Self::MailAccept,
        Self::MailQueue,
        Self::NoopKernel,
        Self::NoopSmall,
        Self::CopyKernel,
        Self::CopySmall,
        Self::CopyDurable,
        Self::MillionCopy,
        Self::MillionNoop,
        Self::WanCopy,
        Self::WanBulk,
        Self::WanNoop,
        Self::SshCopy,
        Self::SshUpdate,
        Self::Update,
        Self::Rename,
    ];

    /// The name for `--only`, also that of its section in the results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoopKernel => "noop-kernel",
            Self::NoopSmall => "noop-small",
            Self::CopyKernel => "copy-kernel",
            Self::CopySmall => "copy-small",
            Self::CopyDurable => "copy-durable",
            Self::Update => "update",
            Self::Rename => "rename",
            Self::MillionCopy => "million-copy",
            Self::MillionNoop => "million-noop",
            Self::SshCopy => "ssh-copy",
            Self::SshUpdate => "ssh-update",
            Self::WanCopy => "wan-copy",
            Self::WanBulk => "wan-bulk",
            Self::WanNoop => "wan-noop",
            Self::KeysEd25519 => "keys-ed25519",
            Self::AuthorizedKeys => "authorized-keys",
            Self::ZoneParse => "zone-parse",
            Self::ZonePrint => "zone-print",
            Self::ZonesOne => "zones-one",
            Self::ZonesThousand => "zones-thousand",
            Self::ZonesRender => "zones-render",
            Self::MailOneConnection => "mail-one-connection",
            Self::MailDrain => "mail-drain",
            Self::MailAccept => "mail-accept",
            Self::MailQueue => "mail-queue",
        }
    }

    /// What it is, as the heading of its table.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::NoopKernel => "No-op with state, kernel tree",
            Self::NoopSmall => "No-op with state, many small files",
            Self::CopyKernel => "First copy, kernel tree, no durability asked",
            Self::CopySmall => "First copy, many small files, no durability asked",
            Self::CopyDurable => "First copy that survives a power cut",
            Self::Update => "Update from one kernel release to the next",
            Self::Rename => "Rename of the directory that holds everything",
            Self::MillionCopy => "First copy, a million entries",
            Self::MillionNoop => "No-op with state, a million entries",
            Self::SshCopy => "First copy over SSH on loopback, kernel tree, no durability asked",
            Self::SshUpdate => "Update from one kernel release to the next over SSH on loopback",
            Self::WanCopy => "First copy over SSH at 100 ms and 200 Mbit/s, many small files",
            Self::WanBulk => "First copy over SSH at 100 ms and 1 Gbit/s, kernel tree",
            Self::WanNoop => "No-op with state over SSH at 100 ms and 200 Mbit/s, kernel tree",
            Self::KeysEd25519 => "Ed25519 keys",
            Self::AuthorizedKeys => "A large authorized_keys file",
            Self::ZoneParse => "A large zone file read",
            Self::ZonePrint => "A large zone printed",
            Self::ZonesOne => "A change of site, one domain",
            Self::ZonesThousand => "A change of site, a thousand domains",
            Self::ZonesRender => "Zones and configurations for six name servers",
            Self::MailOneConnection => "Mail on one connection",
            Self::MailDrain => "A backlog of mail over a slow link",
            Self::MailAccept => "Mail accepted for good while it is delivered to two places",
            Self::MailQueue => "A hundred thousand messages that wait",
        }
    }

    /// Finds a scenario by its name.
    ///
    /// # Errors
    /// [`Error::NoSuchScenario`] with the names there are.
    pub fn named(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::NoSuchScenario { name: name.to_owned(), known }
        })
    }

    /// Runs it.
    ///
    /// # Errors
    /// When an input cannot be made, or a program fails or does not do its work.
    pub fn run(self, bench: &mut Bench<'_>) -> Result<Comparison, Error> {
        match self {
            Self::NoopKernel | Self::NoopSmall | Self::MillionNoop => noop::run(self, bench),
            Self::CopyKernel | Self::CopySmall | Self::CopyDurable | Self::MillionCopy => {
                first_copy::run(self, bench)
            }
            Self::Update => update::releases(bench),
            Self::Rename => update::renamed_directory(bench),
            Self::SshCopy | Self::WanCopy | Self::WanBulk => far::first_copy(self, bench),
            Self::SshUpdate => far::update(bench),
            Self::WanNoop => far::noop(bench),
            Self::KeysEd25519 => keys::generate(bench),
            Self::AuthorizedKeys => keys::merge(bench),
            Self::ZoneParse => zone_files::parse(bench),
            Self::ZonePrint => zone_files::print(bench),
            Self::ZonesOne => zones::one(bench),
            Self::ZonesThousand => zones::thousand(bench),
            Self::ZonesRender => zones::rendering(bench),
            Self::MailOneConnection => legs::one_connection(bench),
            Self::MailDrain => legs::drain(bench),
            Self::MailAccept => acceptance::accept(bench),
            Self::MailQueue => acceptance::queue(bench),
        }
    }
}

/// How often and on what.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Measured rounds of every scenario but the durable copy and the million entries.
    pub rounds: u32,
    /// Measured rounds of the durable copy, which is slow.
    pub durable_rounds: u32,
    /// Files in the generated kernel-like tree.
    pub kernel_files: u64,
    /// Small files.
    pub small_files: u64,
    /// Small files of the first copy an ocean apart.
    pub wan_files: u64,
    /// Files in the kernel-like tree of the durable copy.
    pub durable_files: u64,
    /// Entries of the million.
    pub million: u64,
    /// A real tree instead of the kernel-like one.
    pub tree: Option<NamedTree>,
    /// Its next release instead of the generated update.
    pub update: Option<NamedTree>,
    /// Whether to wait five minutes where freed inodes would slow the next run.
    pub rest: bool,
}

/// What the scenarios need: settings, programs, a folder to work in, someone to tell.
#[expect(missing_debug_implementations, reason = "holds a closure")]
pub struct Bench<'a> {
    settings: Settings,
    peers: Peers,
    work: PathBuf,
    say: &'a mut dyn FnMut(&str),
    /// How many paths were handed out.
    places: usize,
    /// What may be removed when the disk fills up.
    spent: Vec<PathBuf>,
    /// Whether many files were deleted or replaced since the last rest.
    freed_inodes: bool,
}

impl<'a> Bench<'a> {
    /// Works in `work`, an empty folder on the file system to be measured; the caller removes it.
    ///
    /// `say` is told what is going on, a line at a time.
    pub fn new(
        settings: Settings,
        peers: Peers,
        work: PathBuf,
        say: &'a mut dyn FnMut(&str),
    ) -> Self {
        Self { settings, peers, work, say, places: 0, spent: Vec::new(), freed_inodes: false }
    }

    /// The programs that take part.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.peers
    }
}

/// What came out of one scenario.
#[derive(Debug, Clone)]
#[must_use]
pub struct Comparison {
    /// Which.
    pub scenario: Scenario,
    /// What the input was, in words.
    pub input: String,
    /// Who took part, ours first, with all runs.
    pub contestants: Vec<Contestant>,
    /// Programs that are not installed.
    pub skipped: Vec<&'static str>,
    /// The peak memory that ours should stay below, in bytes.
    pub memory_goal: Option<u64>,
    /// The time that ours should stay below.
    pub time_goal: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_found_by_its_name() {
        for scenario in Scenario::ALL {
            assert_eq!(Scenario::named(scenario.name()).unwrap(), scenario);
        }
    }

    #[test]
    fn an_unknown_scenario_is_answered_with_the_known_ones() {
        let error = Scenario::named("nop").unwrap_err().to_string();
        assert!(error.contains("\"nop\"") && error.contains("noop-kernel, noop-small"), "{error}");
    }
}
