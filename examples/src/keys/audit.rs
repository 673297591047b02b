//! `keys audit`: would sshd let anybody in by this file, and what is wrong on the way to it?

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use keygen_helper::fs::{Document, Inspection};
use keygen_helper::permissions::{
    Account, Accounts, Finding, Fix, Problem, Profile, Reason, Weight,
};
use keygen_helper::{AuthorizedKeys, Content, Strength};
use serde::Serialize;

use super::{Answer, Failure, bytes};
use crate::outcome::Outcome;

/// Says what keeps sshd from reading an authorized_keys file (StrictModes), and what to do about it.
///
/// Exit code 3 when sshd would refuse the file; advice alone is no reason.
#[derive(Debug, Args)]
pub struct Audit {
    /// Set the modes right. What belongs to others is left alone, and named.
    #[arg(long)]
    fix: bool,
    /// Whose rules hold [default: those of this machine's distribution].
    #[arg(long, value_enum)]
    profile: Option<Rules>,
    /// The account that logs in [default: the one whose home the file is in, else its owner].
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
    remedy: String,
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
        let notes = notes(&file);
        let accepted = inspection.facts().is_accepted(profile);
        let outcome = if accepted { Outcome::Done } else { Outcome::DoneWithProblems };
        answer = notes.iter().fold(answer, |answer, note| answer.line(note));
        let verdict = if accepted { "reads" } else { "refuses" };
        Ok(answer
            .line(format_args!("sshd {verdict} {} for {}", bytes(&file), account.name))
            .ends(outcome)
            .field("accepted", accepted)
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
        let absolute = std::path::absolute(file).map_err(|error| Failure::of(file, error))?;
        if let Some(account) = accounts.account_at(absolute.as_os_str().as_bytes()) {
            return Ok(account);
        }
        // Nobody's home as far as this machine knows: then that of whoever owns the folder above
        // `.ssh`.
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        let home = match folder.file_name() {
            Some(name) if name == ".ssh" => folder.parent().unwrap_or(Path::new("/")),
            _ => folder,
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

fn read(path: &str) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::of(Path::new(path), error))
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
        remedy: remedy(&finding, &fix),
        finding,
    };
    findings.map(with_remedy).collect()
}

fn line(told: &Told) -> String {
    let weight = match told.finding.weight {
        Weight::Refuses => "refused",
        Weight::Advice => "advice",
    };
    format!("{weight}: {}; {}", told.what, told.remedy)
}

/// What to do about a finding: what a fix would do, or why it does not.
fn remedy(finding: &Finding, fix: &Fix) -> String {
    if let Some(change) = fix.changes.iter().find(|change| change.path == finding.path) {
        return change.to_string();
    }
    let about = |reason: &&Reason| match reason {
        Reason::Planted { path, .. }
        | Reason::NotAFile { path, .. }
        | Reason::MoreNames { path }
        | Reason::Outside { path } => *path == finding.path,
        Reason::Missing => finding.problem == Problem::Missing,
        _ => false,
    };
    if let Some(reason) = fix.refused.iter().find(about) {
        return reason.to_string();
    }
    let remedy = match finding.problem {
        Problem::GroupWrites => "chmod g-w, once what is refused has been dealt with",
        Problem::OthersWrite => "chmod o-w, once what is refused has been dealt with",
        Problem::NotSearchable => "chmod u+x, once what is refused has been dealt with",
        Problem::NotReadable => "chmod u+r, once what is refused has been dealt with",
        Problem::Link { .. } => "put a folder or file of the account's own in the link's place",
        Problem::MoreNames { .. } => "put a copy in its place, so that it has one name",
        Problem::Missing => "authorize a key: keys authorize --key FILE.pub AUTHORIZED_KEYS",
        _ => "look at it, and move it out of the way",
    };
    remedy.to_owned()
}

/// What is odd in the file itself. sshd passes over such lines, and the others still count.
fn notes(file: &Path) -> Vec<String> {
    let Ok(document) = Document::read(file) else { return Vec::new() };
    let Ok(keys) = AuthorizedKeys::parse(document.content().to_vec()) else { return Vec::new() };
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
    if document.exists() && keys.usable() == 0 {
        notes.push("advice: the file has no key with which anybody could log in".to_owned());
    }
    notes
}
