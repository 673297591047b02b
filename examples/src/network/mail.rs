//! `[mail.uk]` and `[mail.us]` of `network.toml`: the tables of dual-mail of each server, held against
//! servers and domains.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dns_failover::{Draft, Mail, SiteId};
use mail_dual::{ForwardPath, Port};
use serde::Deserialize;

use super::Reader;
use super::lines::At;
use crate::mail::MailTables;

/// `[mail]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MailTable {
    uk: Option<Box<MailTables>>,
    us: Option<Box<MailTables>>,
}

impl Reader<'_> {
    /// The tables of each server that has some.
    pub(super) fn mail(&mut self, table: MailTable, draft: &Draft) -> BTreeMap<SiteId, MailTables> {
        let mut all = BTreeMap::new();
        for (id, tables) in [(SiteId::Uk, table.uk), (SiteId::Us, table.us)] {
            let Some(tables) = tables else { continue };
            self.mail_of(id, &tables, draft);
            all.insert(id, *tables);
        }
        if let (1, Some(id)) = (all.len(), all.keys().next().copied()) {
            let at = [At::Key("mail"), At::Key(id.as_str())];
            let other = id.other();
            let what = format!(
                "{other} would have no relay, and its mail one account only; add [mail.{other}]"
            );
            self.problems.push((self.lines.at(&at, None), what));
        }
        all
    }

    fn mail_of(&mut self, id: SiteId, tables: &MailTables, draft: &Draft) {
        let at = [At::Key("mail"), At::Key(id.as_str())];
        if let Err(what) = tables.check() {
            self.problems.push((self.lines.at(&at, None), what));
        }
        let server = draft.sites.iter().find(|site| site.id == id);
        let other = draft.sites.iter().find(|site| site.id == id.other());
        let host = server.map(|site| site.mail_host.to_string());
        let host = host.as_deref().map(|host| host.trim_end_matches('.'));
        if let Some(host) = host
            && !tables.hostname.eq_ignore_ascii_case(host)
        {
            let what = format!(
                "MX records call the mail server in {id} {host}, and it calls itself {}; write the same in both",
                tables.hostname
            );
            self.problem(&at, "hostname", what);
        }
        for (index, leg) in tables.leg.iter().enumerate() {
            let at = [at[0], at[1], At::Key("leg"), At::Index(index)];
            let Some(address) = leg.peer_address() else { continue };
            if let Some(site) = other
                && !address.is_loopback()
                && !site.mail.iter().any(|mail: IpAddr| mail == address)
            {
                let what = format!(
                    "{address} is no address of the mail server in {}; see [servers.{}]",
                    site.id, site.id
                );
                self.problem(&at, "address", what);
            }
        }
        let routes = tables.routing();
        for (index, domain) in draft.domains.iter().enumerate() {
            let name = domain.name.to_string();
            let name = name.trim_end_matches('.');
            let Ok(anybody) = ForwardPath::new(format!("postmaster@{name}")) else { continue };
            let legs = routes.legs(Port::Fanout, &anybody).len();
            let at = [At::Key("domains"), At::Index(index)];
            match (&domain.mail, legs) {
                (Mail::Dual { .. }, 0) => {
                    let what = format!(
                        "mail for {name} comes to both servers, and no [[mail.{id}.route]] is for it; add \"*@{name}\" to one"
                    );
                    self.problem(&at, "name", what);
                }
                (Mail::Dual { .. }, 1) => {
                    let what = format!(
                        "the mail of {name} goes to one account only from {id}; name both legs in [[mail.{id}.route]]"
                    );
                    self.problem(&at, "name", what);
                }
                _ => {}
            }
        }
    }
}
