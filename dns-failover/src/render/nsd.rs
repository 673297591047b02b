//! NSD 4.6: nsd.conf. It takes no UPDATE, and this version reads no catalog, so its zones are listed.

use std::fmt::Write;

use super::text::{bare, head, zone_file};
use super::{Context, RenderedFile};

pub(super) fn files(context: &Context<'_>) -> Vec<RenderedFile> {
    let mut files = context.seeds();
    files.push(Context::file("keys.conf", keys(context), true));
    files.push(Context::file("nsd.conf", config(context), false));
    files
}

fn keys(context: &Context<'_>) -> String {
    let mut out = head("#");
    for key in context.keys() {
        let (name, algorithm) = (bare(key.name()), key.algorithm().name());
        let secret = key.secret_base64();
        let _ = write!(
            out,
            "key:\n\tname: \"{name}\"\n\talgorithm: {algorithm}\n\tsecret: \"{}\"\n",
            *secret
        );
    }
    out
}

fn config(context: &Context<'_>) -> String {
    let server = context.server;
    let mut out = head("#");
    let _ = write!(out, "include: \"{}\"\n\nserver:\n", context.at("keys.conf"));
    for at in &server.listen {
        let _ = writeln!(out, "\tip-address: {}@{}", at.ip(), at.port());
    }
    let user = server.user.as_deref().unwrap_or_default();
    let _ = writeln!(out, "\tusername: \"{user}\"\n\tzonesdir: \"{}\"", server.folder.display());
    for (keyword, file) in [
        ("pidfile", "nsd.pid"),
        ("xfrdfile", "xfrd.state"),
        ("zonelistfile", "zone.list"),
        ("xfrdir", ""),
    ] {
        let path = context.at(file);
        let _ = writeln!(out, "\t{keyword}: \"{}\"", path.trim_end_matches('/'));
    }
    let _ = write!(
        out,
        "\tdatabase: \"\"\n\thide-version: yes\n\thide-identity: yes\n\tminimal-responses: yes\n\
         \tipv4-edns-size: 1232\n\tipv6-edns-size: 1232\n\ttcp-count: 1000\n\
         \txfrd-tcp-max: 128\n\txfrd-tcp-pipeline: 128\n\txfrd-reload-timeout: 0\n\
         \tzonefiles-write: 60\n\tround-robin: no\n\trrl-ratelimit: 200\n\
         \nremote-control:\n\tcontrol-enable: yes\n\tcontrol-interface: \"{}\"\n\n",
        context.at("control.sock"),
    );
    let own = bare(server.key.name());
    out.push_str("pattern:\n\tname: \"domain\"\n");
    if context.is_primary() {
        for key in context.keys() {
            for any in ["0.0.0.0/0", "::/0"] {
                let _ = writeln!(out, "\tprovide-xfr: {any} {}", bare(key.name()));
            }
        }
        for secondary in &context.secondaries {
            let (at, key) = (secondary.reach, bare(secondary.key.name()));
            let _ = writeln!(out, "\tnotify: {}@{} {key}", at.ip(), at.port());
        }
    } else {
        for primary in &context.primaries {
            let at = primary.reach;
            let _ = writeln!(out, "\trequest-xfr: {}@{} {own}", at.ip(), at.port());
        }
        for any in ["0.0.0.0/0", "::/0"] {
            let _ = write!(out, "\tallow-notify: {any} {own}\n\tprovide-xfr: {any} {own}\n");
        }
        // A primary that has lost its disk starts from an old serial; that is mended there.
        out.push_str("\tmax-retry-time: 60\n\tmin-retry-time: 1\n");
    }
    for name in context.listed() {
        let _ = write!(
            out,
            "\nzone:\n\tname: \"{}\"\n\tzonefile: \"{}\"\n\tinclude-pattern: \"domain\"\n",
            bare(name),
            zone_file(name),
        );
    }
    out
}
