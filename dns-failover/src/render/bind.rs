//! BIND 9.18: named.conf and its parts.

use std::fmt::Write;

use super::text::{bare, head, zone_file};
use super::{Context, RenderedFile};
use crate::key::TsigKey;
use crate::name::Name;
use crate::topology::{Feed, NameServer};

pub(super) fn files(context: &Context<'_>) -> Vec<RenderedFile> {
    let mut files = context.seeds();
    files.push(Context::file("keys.conf", keys(context), true));
    files.push(Context::file("named.conf", options(context), false));
    files.push(Context::file("zones.conf", zones(context), false));
    files
}

fn keys(context: &Context<'_>) -> String {
    let mut out = head("//");
    for key in context.keys() {
        let (name, algorithm) = (bare(key.name()), key.algorithm().name());
        let secret = key.secret_base64();
        let _ = writeln!(
            out,
            "key \"{name}\" {{\n\talgorithm {algorithm};\n\tsecret \"{}\";\n}};",
            *secret
        );
    }
    out
}

fn options(context: &Context<'_>) -> String {
    let server = context.server;
    let folder = server.folder.display();
    let mut out = head("//");
    let _ = write!(
        out,
        "include \"{}\";\n\noptions {{\n\tdirectory \"{folder}\";\n",
        context.at("keys.conf")
    );
    for (keyword, v6) in [("listen-on", false), ("listen-on-v6", true)] {
        let mut addresses = server.listen.iter().filter(|at| at.is_ipv6() == v6).peekable();
        if addresses.peek().is_none() {
            let _ = writeln!(out, "\t{keyword} {{ none; }};");
        }
        for at in addresses {
            let _ = writeln!(out, "\t{keyword} port {} {{ {}; }};", at.port(), at.ip());
        }
    }
    for (keyword, file) in
        [("pid-file", "named.pid"), ("session-keyfile", "session.key"), ("lock-file", "named.lock")]
    {
        let _ = writeln!(out, "\t{keyword} \"{}\";", context.at(file));
    }
    let _ = writeln!(out, "\tmanaged-keys-directory \"{folder}\";");
    let transfer: String = context.keys().into_iter().map(key_match).collect();
    let _ = write!(
        out,
        "\t// Answers for its zones, and nothing else.\n\
         \trecursion no;\n\tdnssec-validation no;\n\tempty-zones-enable no;\n\
         \tversion none;\n\thostname none;\n\tserver-id none;\n\
         \tminimal-responses yes;\n\tmax-udp-size 1232;\n\tedns-udp-size 1232;\n\
         \trate-limit {{ responses-per-second 50; window 5; }};\n\
         \t// Customers' names are looked at before; here they would keep a whole zone from being served.\n\
         \tcheck-names primary ignore;\n\tcheck-names secondary ignore;\n\
         \tallow-transfer {{ {transfer}}};\n\tallow-update {{ none; }};\n\
         \t// A thousand zones may change at once; the defaults take a minute for that.\n\
         \tnotify-delay 0;\n\tnotify-rate 1000;\n\tserial-query-rate 1000;\n\
         \ttransfers-in 200;\n\ttransfers-per-ns 200;\n\ttransfers-out 1000;\n\
         \ttcp-clients 1000;\n\tmax-journal-size 1m;\n\tnotify explicit;\n",
    );
    if context.is_primary() {
        let also: String = context.secondaries.iter().map(|s| reach(s, &s.key)).collect();
        if !also.is_empty() {
            let _ = writeln!(out, "\talso-notify {{ {also}}};");
        }
    } else {
        let primaries: String =
            context.primaries.iter().map(|primary| reach(primary, &server.key)).collect();
        let _ = write!(
            out,
            "\tallow-notify {{ {}}};\n\tallow-new-zones yes;\n\tcatalog-zones {{\n\t\tzone \"{}\"\n\
             \t\t\tdefault-primaries {{ {primaries}}}\n\
             \t\t\tzone-directory \"{}\" in-memory no min-update-interval 1;\n\t}};\n",
            key_match(&server.key),
            bare(context.catalog()),
            context.at("zones"),
        );
    }
    let _ = write!(
        out,
        "}};\n\n// Told by signals; there is no port for rndc.\ncontrols {{ }};\n\n\
         // Every update would be a handful of lines, a thousand updates a thousand handfuls.\n\
         logging {{\n\tchannel errors {{ stderr; severity notice; print-time yes; print-category yes; }};\n\
         \tcategory default {{ errors; }};\n}};\n\n"
    );
    let _ = writeln!(out, "include \"{}\";", context.at("zones.conf"));
    out
}

fn zones(context: &Context<'_>) -> String {
    let mut out = head("//");
    let server = context.server;
    if !context.is_primary() {
        let primaries: String =
            context.primaries.iter().map(|primary| reach(primary, &server.key)).collect();
        let _ = write!(
            out,
            "zone \"{}\" {{\n\ttype secondary;\n\tfile \"{}\";\n\tprimaries {{ {primaries}}};\n\
             \tallow-query {{ {}}};\n}};\n",
            bare(context.catalog()),
            zone_file(context.catalog()),
            key_match(&server.key),
        );
        return out;
    }
    let catalog = context.catalog();
    for name in context.listed() {
        zone(context, name, name == catalog, &mut out);
    }
    out
}

fn zone(context: &Context<'_>, name: &Name, is_catalog: bool, out: &mut String) {
    let (key, file) = (bare(context.server.key.name()), zone_file(name));
    let _ = write!(out, "zone \"{}\" {{\n\ttype primary;\n\tfile \"{file}\";\n", bare(name));
    if context.server.feed == Feed::Update {
        let _ = writeln!(out, "\tupdate-policy {{ grant \"{key}\" zonesub ANY; }};");
    }
    if is_catalog {
        // The list of all customers is nobody else's business.
        let keys: String = context.keys().into_iter().map(key_match).collect();
        let _ = writeln!(out, "\tallow-query {{ {keys}}};");
    }
    out.push_str("};\n");
}

fn key_match(key: &TsigKey) -> String {
    format!("key \"{}\"; ", bare(key.name()))
}

fn reach(server: &NameServer, key: &TsigKey) -> String {
    let at = server.reach;
    format!("{} port {} key \"{}\"; ", at.ip(), at.port(), bare(key.name()))
}
