//! PowerDNS 4.7 with its SQLite backend: pdns.conf, and the SQL that fills the database.

use std::fmt::Write;
use std::sync::Arc;

use super::text::{bare, head};
use super::{Context, Keeper, RenderedFile};
use crate::topology::Feed;

/// The empty tables, from the backend's own package.
const SCHEMA: &str = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";

pub(super) fn files(context: &Context<'_>) -> Vec<RenderedFile> {
    let mut files = context.seeds();
    // The zones are read once, when the database is filled.
    for file in &mut files {
        file.keeper = Keeper::Ours;
    }
    files.push(Context::file("pdns.conf", config(context), false));
    files.push(Context::file("fill.sh", fill(context), false));
    files.push(RenderedFile {
        path: "keys.sql".into(),
        contents: Arc::from(keys(context).into_bytes()),
        secret: true,
        keeper: Keeper::Ours,
    });
    files
}

fn config(context: &Context<'_>) -> String {
    let server = context.server;
    let folder = server.folder.display();
    let mut out = head("#");
    let addresses: Vec<String> = server.listen.iter().map(|at| at.to_string()).collect();
    let _ = write!(
        out,
        "local-address={}\nsocket-dir={folder}\nlaunch=gsqlite3\n\
         gsqlite3-database={}\ngsqlite3-pragma-foreign-keys=yes\ngsqlite3-dnssec=yes\n\
         gsqlite3-pragma-synchronous=1\n",
        addresses.join(", "),
        context.at("pdns.sqlite3"),
    );
    if let Some(user) = &server.user {
        let _ = write!(out, "setuid={user}\nsetgid={user}\n");
    }
    let _ = write!(
        out,
        "version-string=anonymous\nserver-id=\nsecurity-poll-suffix=\nudp-truncation-threshold=1232\n\
         max-tcp-connections=1000\n\
         # Nothing is cached here, so that what was changed is served at once.\n\
         cache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\nzone-cache-refresh-interval=0\nzone-metadata-cache-ttl=0\n\
         # Who may do so is told by keys, zone by zone.\n\
         allow-axfr-ips=\n",
    );
    match (context.is_primary(), &server.feed) {
        (true, Feed::Update) => {
            // There is no resolver here to find the other servers with; they are told by address.
            let also: Vec<String> =
                context.secondaries.iter().map(|s| s.reach.to_string()).collect();
            let _ = write!(
                out,
                "dnsupdate=yes\nallow-dnsupdate-from=0.0.0.0/0,::/0\nprimary=yes\nonly-notify=\nalso-notify={}\n",
                also.join(","),
            );
        }
        (true, _) => out.push_str("primary=yes\nonly-notify=\n"),
        (false, _) => out.push_str(
            "secondary=yes\nxfr-cycle-interval=60\nallow-notify-from=0.0.0.0/0,::/0\n\
             allow-unsigned-notify=no\n",
        ),
    }
    out
}

/// A script that makes the database, or adds to it what is new. Zones that are there stay as they are.
fn fill(context: &Context<'_>) -> String {
    let folder = context.server.folder.display();
    let mut out = format!(
        "#!/bin/sh\n{}set -eu\ncd '{folder}'\numask 077\n\
         [ -s pdns.sqlite3 ] || sqlite3 pdns.sqlite3 <'{SCHEMA}'\n",
        head("#"),
    );
    if context.is_primary() {
        out.push_str(
            "known=$(sqlite3 pdns.sqlite3 'select lower(name) from domains')\n\
             load() {\n  printf '%s\\n' \"$known\" | grep -qxF -e \"$1\" ||\n    \
             pdnsutil --config-dir=. load-zone \"$1\" \"$2\"\n}\n",
        );
        for name in context.listed() {
            let _ = writeln!(out, "load '{}' '{}'", bare(name), super::text::zone_file(name));
        }
    }
    out.push_str("sqlite3 pdns.sqlite3 <keys.sql\n");
    out
}

fn keys(context: &Context<'_>) -> String {
    let mut out =
        "-- Rendered from network.toml; what is changed here is lost.\nbegin;\n".to_owned();
    for key in context.keys() {
        let (name, algorithm) = (bare(key.name()), key.algorithm().name());
        let secret = key.secret_base64();
        let _ = writeln!(
            out,
            "delete from tsigkeys where name = '{name}';\n\
             insert into tsigkeys(name, algorithm, secret) values ('{name}', '{algorithm}', '{}');",
            *secret
        );
    }
    let own = bare(context.server.key.name());
    if context.is_primary() {
        out.push_str("update domains set type = 'MASTER';\ndelete from domainmetadata;\n");
        let mut metadata = vec![("TSIG-ALLOW-DNSUPDATE", own)];
        if context.server.feed != Feed::Update {
            metadata.clear();
        }
        for key in context.keys() {
            metadata.push(("TSIG-ALLOW-AXFR", bare(key.name())));
        }
        for (kind, content) in metadata {
            let _ = writeln!(
                out,
                "insert into domainmetadata(domain_id, kind, content) select id, '{kind}', '{content}' from domains;"
            );
        }
    } else {
        secondary(context, &own, &mut out);
    }
    out.push_str("commit;\n");
    out
}

/// Zones that are transferred, by name: those learnt from a catalog would be asked for unsigned.
fn secondary(context: &Context<'_>, key: &str, out: &mut String) {
    let masters: Vec<String> =
        context.primaries.iter().map(|primary| primary.reach.to_string()).collect();
    for name in context.listed() {
        let name = bare(name);
        let _ =
            writeln!(out, "insert or ignore into domains(name, type) values ('{name}', 'SLAVE');");
    }
    let _ = writeln!(
        out,
        "update domains set type = 'SLAVE', master = '{}';\ndelete from domainmetadata;",
        masters.join(",")
    );
    for kind in ["AXFR-MASTER-TSIG", "TSIG-ALLOW-AXFR"] {
        let _ = writeln!(
            out,
            "insert into domainmetadata(domain_id, kind, content) select id, '{kind}', '{key}' from domains;"
        );
    }
}
