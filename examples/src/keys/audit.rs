//! `keys audit`: would sshd let anybody in by this file, and what is wrong on the way to it?

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use clap::{Args, ValueEnum};
use keygen_helper::fs::Inspection;
use keygen_helper::permissions::{Account, Accounts, Finding, Profile, Weight};
use keygen_helper::{AuthorizedKeys, Content, Strength};
use serde::Serialize;

use super::{Answer, Failure, bytes};
use crate::capped;
use crate::outcome::Outcome;

/// Says what keeps sshd from reading an authorized_keys file (StrictModes), and what to do about it.
///
/// Exit code 3 when sshd would refuse the file, or everybody, since there is no usable key in it;
/// advice alone is no reason.
#[derive(Debug, Args)]
pub struct Audit {
    /// Set the modes right. What belongs to others is left alone, and named.
    #[arg(long)]
    fix: bool,
    /// Whose rules hold [default: those of this machine's distribution].
    #[arg(long, value_enum)]
    profile: Option<Rules>,
    /// The account that logs in [default: the one whose home the file is in; for a .ssh
    /// folder in nobody's home, the owner of the folder around it].
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// An authorized_keys file, a .ssh folder or a home.
    path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rules {
    /// OpenSSH as its authors release it.
    Upstream,
    /// Debian, Ubuntu: a group that only the user is in may write.
    Debian,
}

/// A finding with what to do about it.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    finding: Finding,
    what: String,
    remedy: Option<String>,
}

impl Audit {
    /// Looks, and sets right what was asked for.
    ///
    /// # Errors
    /// When the way to the file cannot be looked at, or a mode cannot be set.
    pub fn run(&self, plan: bool) -> Result<Answer, Failure> {
        let file = authorized_keys(&self.path);
        let accounts = Accounts::parse(&read("/etc/passwd")?, &read("/etc/group")?);
        let account = self.account(&file, &accounts)?;
        let profile = self.profile();
        let mut inspection = Inspection::of(&file, &account, &accounts)?;
        let mut findings = told(&inspection, profile);
        let fix = inspection.facts().fix();
        let mut answer = Answer::done()
            .field("path", bytes(&file))
            .field("user", &account.name)
            .field("profile", profile)
            .field("planned", plan);
        for finding in &findings {
            answer = answer.line(line(finding));
        }
        let changing = self.fix && !fix.changes.is_empty();
        if self.fix {
            answer = answer.field("fix", &fix);
            for change in &fix.changes {
                answer = answer.line(format_args!("{}{change}", if plan { "would " } else { "" }));
            }
            for reason in &fix.refused {
                answer = answer.line(format_args!("not mended: {reason}"));
            }
        }
        if changing && !plan {
            inspection.apply(&fix)?;
            inspection = Inspection::of(&file, &account, &accounts)?;
            findings = told(&inspection, profile);
            for finding in &findings {
                answer = answer.line(format_args!("still: {}", line(finding)));
            }
        }
        let (notes, usable) = look_into(&inspection);
        let accepted = inspection.facts().is_accepted(profile);
        answer = notes.iter().fold(answer, |answer, note| answer.line(note));
        let (outcome, verdict, end) = match (accepted, usable) {
            (false, _) => (Outcome::DoneWithProblems, "refuses", ""),
            (true, Some(0)) => (
                Outcome::DoneWithProblems,
                "reads",
                ", and would refuse everybody: there is no key in it with which anybody could log in",
            ),
            (true, _) => (Outcome::Done, "reads", ""),
        };
        Ok(answer
            .line(format_args!("sshd {verdict} {} for {}{end}", bytes(&file), account.name))
            .ends(outcome)
            .field("accepted", accepted)
            .field("usable", usable)
            .field("findings", &findings)
            .field("notes", notes))
    }

    fn profile(&self) -> Profile {
        match self.profile {
            Some(Rules::Upstream) => Profile::Upstream,
            Some(Rules::Debian) => Profile::DebianUserPrivateGroup,
            // Debian and what descends from it has this file (dpkg(1)).
            None if Path::new("/etc/debian_version").exists() => Profile::DebianUserPrivateGroup,
            None => Profile::Upstream,
        }
    }

    /// Who logs in by the file.
    fn account(&self, file: &Path, accounts: &Accounts) -> Result<Account, Failure> {
        if let Some(name) = &self.user {
            let missing = || Failure::failed(format!("there is no account {name:?}"));
            return accounts.account(name.as_bytes()).ok_or_else(missing);
        }
        let absolute = without_parents(file).map_err(|error| Failure::of(file, error))?;
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        let real = fs::canonicalize(folder).ok();
        let at = |path: &Path| accounts.account_at(path.as_os_str().as_bytes());
        if let Some(account) = at(&absolute).or_else(|| at(real.as_deref()?)) {
            return Ok(account);
        }
        // Nobody's home as far as this machine knows. Around a `.ssh` there is one all the same; any
        // other file, as in /etc/ssh/keys, may be for anybody.
        let home = match folder.file_name() {
            Some(name) if name == ".ssh" => folder.parent().unwrap_or(Path::new("/")),
            _ => {
                let why = "it is in nobody's home; say who logs in by it: --user NAME";
                return Err(Failure::of(file, why));
            }
        };
        let owner = fs::metadata(home).map_err(|error| Failure::of(home, error))?;
        let home = bytes(home);
        Ok(match accounts.account_of(owner.uid()) {
            Some(account) => Account { home, ..account },
            None => Account {
                name: owner.uid().to_string().as_str().into(),
                uid: owner.uid(),
                gids: vec![owner.gid()],
                home,
            },
        })
    }
}

/// The path from `/` on, without any `..`: behind a link that leads elsewhere than the text says.
fn without_parents(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut parts = absolute.components().collect::<Vec<_>>();
    let Some(last) = parts.iter().rposition(|part| *part == Component::ParentDir) else {
        return Ok(absolute);
    };
    let after: PathBuf = parts.drain(last + 1..).collect();
    Ok(fs::canonicalize(parts.iter().collect::<PathBuf>())?.join(after))
}

fn read(path: &str) -> Result<Vec<u8>, Failure> {
    let path = Path::new(path);
    capped::bytes(path, capped::CONFIGURATION).map_err(|error| Failure::of(path, error))
}

/// The file that a path stands for.
fn authorized_keys(path: &Path) -> PathBuf {
    if !path.is_dir() {
        return path.to_owned();
    }
    let is_ssh = path.file_name().is_some_and(|name| name == ".ssh");
    path.join(if is_ssh { "authorized_keys" } else { ".ssh/authorized_keys" })
}

fn told(inspection: &Inspection, profile: Profile) -> Vec<Told> {
    let fix = inspection.facts().fix();
    let findings = inspection.facts().judge(profile).into_iter();
    let with_remedy = |finding: Finding| Told {
        what: finding.to_string(),
        remedy: fix.remedy(&finding).map(|remedy| remedy.to_string()),
        finding,
    };
    findings.map(with_remedy).collect()
}

fn line(told: &Told) -> String {
    let weight = match told.finding.weight {
        Weight::Refuses => "refused",
        Weight::Advice => "advice",
    };
    let remedy = told.remedy.as_ref().map_or(String::new(), |remedy| format!("; {remedy}"));
    format!("{weight}: {}{remedy}", told.what)
}

/// What is odd in the file itself, and with how many of its keys somebody could log in; none where
/// there is no file or it cannot be read. sshd passes over odd lines, and the others still count.
fn look_into(inspection: &Inspection) -> (Vec<String>, Option<usize>) {
    let unread = |why: String| (vec![format!("advice: its lines were not looked at: {why}")], None);
    let content = match inspection.content() {
        Ok(Some(content)) => content,
        Ok(None) => return (Vec::new(), None),
        Err(error) => return unread(error.to_string()),
    };
    let keys = match AuthorizedKeys::parse(content) {
        Ok(keys) => keys,
        Err(error) => return unread(error.to_string()),
    };
    let mut notes = Vec::new();
    for (index, content) in keys.contents().enumerate() {
        let note = match content {
            Content::Unusable(fault) => Some(fault.to_string()),
            Content::Entry(entry) => match (&entry.options, entry.key.strength()) {
                (Err(error), _) => Some(format!("{error}; correct the options or revoke the key")),
                (_, Strength::Weak(why)) => Some(format!(
                    "the key {} is weak: {why}; revoke it, and authorize a new one",
                    entry.key.fingerprint()
                )),
                _ => None,
            },
            _ => None,
        };
        notes.extend(note.map(|note| format!("advice: line {}: {note}", index + 1)));
    }
    (notes, Some(keys.usable()))
}
