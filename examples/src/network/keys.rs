//! `[[keys]]` of `network.toml`: who may log in where, and for what.

use std::path::{Path, PathBuf};

use dns_failover::SiteId;
use serde::Deserialize;

use super::lines::At;
use super::{Reader, schema};

/// One of `[[keys]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct KeyTable {
    public: PathBuf,
    at: schema::Site,
    authorized_keys: PathBuf,
    command: Option<String>,
    #[serde(default)]
    from: Vec<String>,
    restrict: Option<bool>,
}

/// A key that may log in at one of the servers.
#[derive(Debug)]
pub struct LoginKey {
    /// The file with its public half.
    pub public: PathBuf,
    /// At which server.
    pub at: SiteId,
    /// The file there that lets it in.
    pub authorized_keys: PathBuf,
    /// What is run whatever is asked for.
    pub command: Option<String>,
    /// From which addresses; from all where there are none.
    pub from: Vec<String>,
    /// Whether it gets no terminal and no forwarding.
    pub restrict: bool,
}

impl Reader<'_> {
    pub(super) fn login_keys(&mut self, tables: Vec<KeyTable>) -> Vec<LoginKey> {
        let mut keys: Vec<LoginKey> = Vec::with_capacity(tables.len());
        for (index, table) in tables.into_iter().enumerate() {
            let at = [At::Key("keys"), At::Index(index)];
            if table.public.extension().is_none_or(|suffix| suffix != "pub") {
                let what = format!(
                    "{} is no public key by its name; give the file that ends in .pub",
                    table.public.display()
                );
                self.problem(&at, "public", what);
            }
            if !table.authorized_keys.is_absolute() {
                self.problem(
                    &at,
                    "authorized-keys",
                    "it must be an absolute path, such as /home/mirror/.ssh/authorized_keys",
                );
            }
            if table.command.as_ref().is_some_and(|command| command.trim().is_empty()) {
                self.problem(
                    &at,
                    "command",
                    "it is empty; say what the key is for, or leave it out",
                );
            }
            let restrict = table.restrict.unwrap_or(true);
            if !restrict && table.command.is_some() {
                self.problem(
                    &at,
                    "restrict",
                    "a key for one command needs no terminal and no forwarding; leave this out",
                );
            }
            for from in &table.from {
                let address = from.trim_start_matches('!');
                let address = address.split('/').next().unwrap_or_default();
                if address.parse::<std::net::IpAddr>().is_err() {
                    let what = format!(
                        "{from:?} is no IP address; sshd would have to look a name up and believe it"
                    );
                    self.problem(&at, "from", what);
                }
            }
            let site = table.at.id();
            let same = |key: &&LoginKey| {
                key.at == site
                    && key.public == self.folder.join(&table.public)
                    && key.authorized_keys == table.authorized_keys
            };
            if keys.iter().find(same).is_some() {
                let what = format!(
                    "this key is let in by {} at {site} before; sshd takes the laxer of both lines, so leave one out",
                    table.authorized_keys.display()
                );
                self.problem(&at, "public", what);
            }
            keys.push(LoginKey {
                public: self.folder.join(table.public),
                at: site,
                authorized_keys: table.authorized_keys,
                command: table.command,
                from: table.from,
                restrict,
            });
        }
        keys
    }
}

impl LoginKey {
    /// The folder that belongs to the account.
    pub fn folder(&self) -> &Path {
        self.authorized_keys.parent().unwrap_or(Path::new("/"))
    }
}
