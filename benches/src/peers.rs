//! The programs that are compared, and how each is asked to mirror a tree.

use std::{
    collections::BTreeMap,
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Error, sshd::Keys};

/// A program that can make one tree equal to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Program {
    /// Ours.
    Mirror,
    /// rsync.
    Rsync,
    /// cp of GNU coreutils.
    Cp,
    /// rclone, local to local.
    Rclone,
    /// unison, local to local.
    Unison,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Mirror, Self::Rsync, Self::Cp, Self::Rclone, Self::Unison];

    /// The name it is called by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::Rsync => "rsync",
            Self::Cp => "cp",
            Self::Rclone => "rclone",
            Self::Unison => "unison",
        }
    }

    fn version_flag(self) -> &'static str {
        match self {
            Self::Unison => "-version",
            _ => "--version",
        }
    }
}

/// A program with the options it is run with: what one row of a table stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Which program.
    pub program: Program,
    options: &'static [&'static str],
}

impl Tool {
    /// `mirror` with these options.
    #[must_use]
    pub fn mirror(options: &'static [&'static str]) -> Self {
        Self { program: Program::Mirror, options }
    }

    /// rsync with these options.
    #[must_use]
    pub fn rsync(options: &'static [&'static str]) -> Self {
        Self { program: Program::Rsync, options }
    }

    /// `cp -a`.
    #[must_use]
    pub fn cp() -> Self {
        Self { program: Program::Cp, options: &["-a"] }
    }

    /// `rclone sync`, keeping symlinks and empty directories.
    #[must_use]
    pub fn rclone() -> Self {
        Self { program: Program::Rclone, options: &["sync"] }
    }

    /// unison in batch mode, keeping times and owners.
    #[must_use]
    pub fn unison() -> Self {
        Self { program: Program::Unison, options: &["-batch"] }
    }
}

/// As it is typed, without the paths and the options that only keep it quiet.
impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program.name())?;
        self.options.iter().try_for_each(|option| write!(f, " {option}"))
    }
}

/// Where each installed program is, and its version.
#[derive(Debug, Clone)]
pub struct Peers {
    mirror: PathBuf,
    versions: BTreeMap<Program, String>,
}

impl Peers {
    /// Asks every program for its version; those that cannot be started are missing.
    ///
    /// # Errors
    /// [`Error::Start`] when `mirror` itself cannot be started.
    pub fn find(mirror: &Path) -> Result<Self, Error> {
        let mut peers = Self { mirror: mirror.to_owned(), versions: BTreeMap::new() };
        for program in Program::ALL {
            let said =
                peers.start(program).arg(program.version_flag()).stdin(Stdio::null()).output();
            match said {
                Ok(said) => {
                    let version = version(&String::from_utf8_lossy(&said.stdout));
                    peers.versions.insert(program, version);
                }
                Err(source) if program == Program::Mirror => {
                    return Err(Error::Start { program: peers.mirror, source });
                }
                Err(_) => {}
            }
        }
        Ok(peers)
    }

    /// Says whether the program was found.
    #[must_use]
    pub fn has(&self, program: Program) -> bool {
        self.versions.contains_key(&program)
    }

    /// Names the versions of these programs, `rsync 3.5.0, cp 9.1`.
    #[must_use]
    pub fn versions(&self, of: impl IntoIterator<Item = Program>) -> String {
        let named: Vec<String> = of
            .into_iter()
            .filter_map(|program| {
                Some(format!("{} {}", program.name(), self.versions.get(&program)?))
            })
            .collect();
        named.join(", ")
    }

    /// Builds the command line that makes `target` equal to `source`.
    ///
    /// `state` is a folder of the run's own for what the program remembers.
    #[must_use]
    pub fn command(&self, tool: &Tool, source: &Path, target: &Path, state: &Path) -> Command {
        let mut command = self.start(tool.program);
        match tool.program {
            Program::Mirror => {
                command.arg("--quiet").arg("--state").arg(state).args(tool.options);
                command.arg(source).arg(target);
            }
            Program::Rsync => {
                // With a slash at the end: the contents, not the folder.
                command.args(tool.options).arg(source.join("")).arg(target.join(""));
            }
            Program::Cp => {
                command.args(tool.options).arg("-T").arg(source).arg(target);
            }
            Program::Rclone => {
                command.args(tool.options).args(["--links", "--create-empty-src-dirs", "--quiet"]);
                command.arg(source).arg(target);
            }
            Program::Unison => {
                command.arg(source).arg(target).args(["-ui", "text"]).args(tool.options);
                command.args(["-silent", "-times", "-owner", "-group", "-numericids"]);
                command.args(["-log=false"]).env("UNISON", state);
            }
        }
        command
    }

    /// Builds the command line that makes `target` behind `server` equal to `source`; the server
    /// listens on `port`, or something that leads to it does.
    #[must_use]
    pub fn far_command(
        &self,
        tool: &Tool,
        source: &Path,
        (server, port): (&Keys, u16),
        target: &Path,
        state: &Path,
    ) -> Command {
        let mut command = self.start(tool.program);
        command.args(tool.options);
        if tool.program == Program::Mirror {
            let agent = self.mirror.with_file_name("mirror-agent").display().to_string();
            command.args(["--quiet", "--agent-command", &format!("{agent} --root /")]);
            command.arg("--state").arg(state).arg("--identity").arg(server.identity());
            command.args(["--pin", server.pin()]);
            command.arg(source).arg(format!("ssh://127.0.0.1:{port}{}", target.display()));
        } else {
            command.args(["-e", &server.ssh(port)]).arg(source.join(""));
            command.arg(format!("127.0.0.1:{}", target.join("").display()));
        }
        command
    }

    fn start(&self, program: Program) -> Command {
        let mut command = match program {
            Program::Mirror => Command::new(&self.mirror),
            other => Command::new(other.name()),
        };
        // An empty name keeps rclone's configuration in memory, and its folder out of the home.
        command.env("LC_ALL", "C").env("RCLONE_CONFIG", "");
        command
    }
}

/// Finds the first word with a digit in the first line: `rsync  version 3.5.0  protocol…`.
fn version(said: &str) -> String {
    let mut words = said.lines().next().unwrap_or_default().split_whitespace();
    words
        .find(|word| word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()))
        .map_or("(unknown version)", |word| word.trim_start_matches('v'))
        .to_owned()
}

/// Builds `mirror` in release mode and returns where it is.
///
/// It stands beside this program's own `release` folder, so that both come from one build.
///
/// # Errors
/// [`Error::Build`] when cargo fails, [`Error::Io`] when this program cannot find itself.
pub fn build_mirror() -> Result<PathBuf, Error> {
    let here = env::current_exe().map_err(Error::io("find", Path::new("compare")))?;
    let profiles = here.parent().and_then(Path::parent).unwrap_or(Path::new("target"));
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "-p", "examples", "--bin", "mirror", "--bin", "mirror-agent"])
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(profiles)
        .status();
    match status {
        Ok(status) if status.success() => Ok(profiles.join("release/mirror")),
        Ok(_) => Err(Error::Build),
        Err(source) => Err(Error::Start { program: "cargo".into(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_how_each_program_says_them() {
        assert_eq!(version("rsync  version 3.5.0  protocol version 32\nmore 9"), "3.5.0");
        assert_eq!(version("cp (GNU coreutils) 9.1\n"), "9.1");
        assert_eq!(version("rclone v1.60.1-DEV\n"), "1.60.1-DEV");
        assert_eq!(version("unison version 2.52.1 (ocaml 4.13.1)\n"), "2.52.1");
        assert_eq!(version(""), "(unknown version)");
    }

    #[test]
    fn a_label_is_what_one_would_type() {
        assert_eq!(Tool::rsync(&["-aHAX", "--delete"]).to_string(), "rsync -aHAX --delete");
        assert_eq!(Tool::mirror(&[]).to_string(), "mirror");
    }

    #[test]
    fn mirror_gets_a_state_of_its_own() {
        let peers = Peers { mirror: "/m".into(), versions: BTreeMap::new() };
        let tool = Tool::mirror(&["--durability", "none"]);
        let command = peers.command(&tool, "s".as_ref(), "t".as_ref(), "st".as_ref());
        let args: Vec<_> = command.get_args().collect();
        assert_eq!(args, ["--quiet", "--state", "st", "--durability", "none", "s", "t"]);
    }
}
