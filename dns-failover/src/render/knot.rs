//! Knot DNS 3.2: knot.conf.

use std::fmt::Write;

use super::text::{bare, head, zone_file};
use super::{Context, RenderedFile};
use crate::name::Name;
use crate::topology::Feed;

pub(super) fn files(context: &Context<'_>) -> Vec<RenderedFile> {
    let mut files = context.seeds();
    files.push(Context::file("keys.conf", keys(context), true));
    files.push(Context::file("knot.conf", config(context), false));
    files
}

fn keys(context: &Context<'_>) -> String {
    let mut out = head("#");
    out.push_str("key:\n");
    for key in context.keys() {
        let (name, algorithm) = (bare(key.name()), key.algorithm().name());
        let secret = key.secret_base64();
        let _ = writeln!(
            out,
            "  - id: \"{name}.\"\n    algorithm: {algorithm}\n    secret: \"{}\"",
            *secret
        );
    }
    out
}

fn config(context: &Context<'_>) -> String {
    let server = context.server;
    let folder = server.folder.display();
    let mut out = head("#");
    let _ = write!(
        out,
        "include: \"{}\"\n\nserver:\n    rundir: \"{folder}\"\n",
        context.at("keys.conf")
    );
    if let Some(user) = &server.user {
        let _ = writeln!(out, "    user: \"{user}\"");
    }
    for at in &server.listen {
        let _ = writeln!(out, "    listen: {}@{}", at.ip(), at.port());
    }
    let _ = write!(
        out,
        "    version: \"\"\n    identity: \"\"\n    nsid: \"\"\n    udp-max-payload: 1232\n\
         \nlog:\n  - target: stderr\n    any: notice\n\
         \ndatabase:\n    storage: \"{folder}\"\n\
         \x20   # A power cut may take the last changes; the next look of a controller brings them back.\n\
         \x20   journal-db-mode: asynchronous\n\n"
    );
    let fellows: Vec<_> = context.secondaries.iter().map(|s| (s, &s.key)).collect();
    let fellows =
        fellows.into_iter().chain(context.primaries.iter().map(|primary| (primary, &server.key)));
    let mut remotes = String::new();
    for (fellow, key) in fellows {
        let at = fellow.reach;
        let _ = write!(
            remotes,
            "  - id: \"{}\"\n    address: {}@{}\n    key: \"{}.\"\n",
            bare(&fellow.name),
            at.ip(),
            at.port(),
            bare(key.name()),
        );
    }
    if !remotes.is_empty() {
        let _ = write!(out, "remote:\n{remotes}\n");
    }
    out.push_str("acl:\n");
    let own = bare(server.key.name());
    let actions = match (context.is_primary(), &server.feed) {
        (true, Feed::Update) => "transfer, update",
        (true, _) => "transfer",
        (false, _) => "transfer, notify",
    };
    let _ = write!(out, "  - id: publish\n    key: \"{own}.\"\n    action: [{actions}]\n");
    let mut acls = vec!["publish"];
    let others: Vec<String> =
        context.keys().into_iter().skip(1).map(|key| bare(key.name())).collect();
    if !others.is_empty() {
        let keys = others.iter().map(|key| format!("\"{key}.\"")).collect::<Vec<_>>().join(", ");
        let _ = write!(out, "  - id: transfer\n    key: [{keys}]\n    action: transfer\n");
        acls.push("transfer");
    }
    let acls = acls.join(", ");
    let quoted = |names: Vec<&Name>| {
        names.into_iter().map(|name| format!("\"{}\"", bare(name))).collect::<Vec<_>>().join(", ")
    };
    let _ =
        write!(out, "\ntemplate:\n  - id: default\n    storage: \"{folder}\"\n    acl: [{acls}]\n");
    if context.is_primary() {
        // As BIND does it: the file holds the zone as of some time, the journal what came since.
        out.push_str(
            "    zonefile-load: whole\n    zonefile-sync: 60\n    journal-content: changes\n",
        );
        if !context.secondaries.is_empty() {
            let notify = quoted(context.secondaries.iter().map(|s| &s.name).collect());
            let _ = writeln!(out, "    notify: [{notify}]");
        }
    } else {
        let masters = quoted(context.primaries.iter().map(|primary| &primary.name).collect());
        let _ = write!(
            out,
            "    master: [{masters}]\n    zonefile-load: none\n    zonefile-sync: -1\n\
             \x20   journal-content: all\n"
        );
    }
    out.push_str("\nzone:\n");
    if !context.is_primary() {
        let _ = write!(
            out,
            "  - domain: \"{}\"\n    catalog-role: interpret\n    catalog-template: default\n",
            bare(context.catalog()),
        );
        return out;
    }
    for name in context.listed() {
        let _ = writeln!(out, "  - domain: \"{}\"\n    file: \"{}\"", bare(name), zone_file(name));
    }
    out
}
