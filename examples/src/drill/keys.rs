//! The key that each host mirrors with: made, authorized for nothing else, and audited as sshd would.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use keygen_helper::fs::{Document, Existing, Inspection, KeyFiles};
use keygen_helper::permissions::{Account, Accounts, Profile};
use keygen_helper::{
    AuthorizedKeys, Grant, KeyKind, KeyPair, Options, PublicKey, SystemRandomness,
};

use super::Trouble;

/// The files of one direction: who logs in with what, and by which file.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) private: PathBuf,
    pub(super) authorized_keys: PathBuf,
    pub(super) fingerprint: String,
}

/// Lets the key of `from`, which is made if there is none, into `to` for this command alone, and
/// nobody else: the key of a host that burned is worth nothing from then on.
pub(super) fn provide(from: &Path, to: &Path, command: &str) -> Result<Access, Trouble> {
    let failed = |why: &dyn std::fmt::Display| Trouble::new(format!("keys: {why}"));
    let private = from.join("home/.ssh/mirror");
    let authorized_keys = to.join("home/.ssh/authorized_keys");
    for home in [from, to] {
        fs::create_dir_all(home.join("home")).map_err(|error| failed(&error))?;
    }
    let key: PublicKey = match fs::read_to_string(private.with_extension("pub")) {
        Ok(line) => line.trim().parse().map_err(|error| failed(&error))?,
        Err(_) => generate(&private)?.public_key(),
    };
    let options = Options::restricted().with_command(command.as_bytes());
    let options = options.map_err(|error| failed(&error))?;
    let fingerprint = key.fingerprint().to_string();
    let grant = Grant::new(key, options, b"the mirror").map_err(|error| failed(&error))?;
    let document = Document::read(&authorized_keys).map_err(|error| failed(&error))?;
    let file =
        AuthorizedKeys::parse(document.content().to_vec()).map_err(|error| failed(&error))?;
    let content = file.replace_all(&[grant]).apply(file.as_bytes());
    document.replace(&content.map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
    Ok(Access { private, authorized_keys, fingerprint })
}

/// A new key pair in two files.
pub(super) fn generate(private: &Path) -> Result<KeyPair, Trouble> {
    let failed = |why: &dyn std::fmt::Display| Trouble::new(format!("keys: {why}"));
    let mut randomness = SystemRandomness;
    let key = KeyPair::generate(KeyKind::Ed25519, "drill", &mut randomness);
    let key = key.map_err(|error| failed(&error))?;
    let text = key.to_openssh(None, &mut randomness).map_err(|error| failed(&error))?;
    KeyFiles::new(private)
        .write(&text, &key.public_line(), Existing::Refuse)
        .map_err(|error| failed(&error))?;
    Ok(key)
}

/// Whether sshd would read the file under StrictModes, by the stricter of the two rules in use, and
/// let somebody in by it.
pub(super) fn audit(access: &Access) -> Result<(), Trouble> {
    let failed = |why: &dyn std::fmt::Display| Trouble::new(format!("keys: {why}"));
    let read = |path: &str| fs::read(path).unwrap_or_default();
    let accounts = Accounts::parse(&read("/etc/passwd"), &read("/etc/group"));
    let file = &access.authorized_keys;
    let home = file.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let owner = fs::metadata(home).map_err(|error| failed(&error))?;
    let account = Account {
        name: "drill".into(),
        uid: owner.uid(),
        gids: vec![owner.gid()],
        home: home.as_os_str().as_bytes().into(),
    };
    let inspection = Inspection::of(file, &account, &accounts).map_err(|error| failed(&error))?;
    if !inspection.facts().is_accepted(Profile::Upstream) {
        let findings = inspection.facts().judge(Profile::Upstream);
        let first = findings.first().map(ToString::to_string).unwrap_or_default();
        return Err(failed(&format_args!("sshd would refuse {}: {first}", file.display())));
    }
    let content = inspection.content().map_err(|error| failed(&error))?.unwrap_or_default();
    let keys = AuthorizedKeys::parse(content).map_err(|error| failed(&error))?;
    match keys.usable() {
        1 => Ok(()),
        usable => Err(failed(&format_args!("{usable} keys are let in, not 1"))),
    }
}
