//! `network.toml`: the example is right, and everything wrong is told with its line. `zones` over it, against
//! name servers on loopback.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dns_failover::testing::{Behaviour, Loopback, MemoryNetwork};
use dns_failover::{Active, Name, RecordType, SiteId};
use examples::network::Network;

const EXAMPLE: &str = include_str!("../network.toml");
/// The beginning of a domain, not of a site.
const PARKED: &str = "name = \"parked.example\"\nprimary";

/// A folder with the example and its keys; `edit` changes the text.
fn folder(edit: impl FnOnce(String) -> String) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("keys")).unwrap();
    for number in 1..=6 {
        let file = folder.path().join(format!("keys/ns{number}.key"));
        let secret = format!("{number}").repeat(43) + "=";
        let secret = secret.replace("1=", "0=").replace("2=", "0=").replace("3=", "0=");
        let secret = secret.replace("5=", "4=").replace("6=", "4=");
        let key =
            format!("key \"ns{number}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n");
        fs::write(&file, key).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let file = folder.path().join("network.toml");
    fs::write(&file, edit(EXAMPLE.to_owned())).unwrap();
    (folder, file)
}

/// The line of the example that holds this text; the text must be there just once.
#[track_caller]
fn line_of(text: &str) -> usize {
    assert_eq!(EXAMPLE.matches(text).count(), 1, "{text:?} is not there once");
    EXAMPLE[..EXAMPLE.find(text).unwrap()].lines().count() + usize::from(!text.starts_with('\n'))
}

fn told(file: &Path) -> String {
    Network::load(file).unwrap_err().to_string()
}

#[test]
fn the_example_is_right() {
    let (_folder, file) = folder(|text| text);
    let network = Network::load(&file).unwrap_or_else(|error| panic!("{error}"));
    let topology = network.topology;
    assert_eq!(topology.domains().len(), 3);
    let name: Name = "customer.example".parse().unwrap();
    let domain = topology.domain(&name).unwrap();
    for (state, zone) in topology.reachable_zones(domain, dns_failover::Epoch::new(1, SiteId::Uk)) {
        assert!(zone.get(&name.child("shop").unwrap(), RecordType::CNAME).is_some(), "{state}");
        assert_eq!(zone.verify_digest(), Some(true));
    }
}

/// One change of the example, and what must be told: on the line of the second text, or on that of the
/// whole file where it is empty.
#[test]
fn what_is_wrong_is_told_with_its_line() {
    let block = |number: usize| {
        let blocks: Vec<&str> = EXAMPLE.split("[[name-servers]]").collect();
        blocks[number].split("# ----").next().unwrap().to_owned()
    };
    let without_sixth = EXAMPLE.replace(&format!("[[name-servers]]{}", block(6)), "");
    let seventh = block(5)
        .replace("ns5.host.uk", "ns7.host.uk")
        .replace("192.0.2.54\", \"2001:db8:1::54", "192.0.2.77\", \"2001:db8:1::77");
    let with_seventh = EXAMPLE
        .replace("# ---- The domains.", &format!("[[name-servers]]{seventh}\n# ---- The domains."));
    let us = &EXAMPLE
        [EXAMPLE.find("\n[servers.us]\n").unwrap()..EXAMPLE.find("# ---- What all").unwrap()];
    let one_prefix = ["198.51.100.53\"", "203.0.113.3\"", "203.0.113.4\"", "203.0.113.6\""]
        .iter()
        .enumerate()
        .fold(EXAMPLE.to_owned(), |text, (index, from)| {
            text.replace(from, &format!("192.0.2.{}\"", 100 + index))
        });
    let cases: Vec<(String, &str, &str)> = vec![
        (
            without_sixth,
            "[[name-servers]]\n# What NS",
            "6 name servers are promised for every domain, and there are 5",
        ),
        (with_seventh, "[[name-servers]]\n# What NS", "there are 7"),
        (EXAMPLE.replace(us, ""), "[servers.uk]\n", "us is there 0 times"),
        (one_prefix, "[[name-servers]]\n# What NS", "all name servers are in 192.0.2.0/24"),
        (EXAMPLE.replace("ttl = 30\n", "ttl = 301\n"), "ttl = 30\n", "may be 300 s at most"),
        (EXAMPLE.replace("ttl = 30\n", "ttl = 0\n"), "ttl = 30\n", "nothing would be cached"),
        (
            EXAMPLE.replace("asn = 64500", "as-number = 64500"),
            "asn = 64500",
            "unknown field `as-number`",
        ),
        (
            EXAMPLE.replace("[dns]", "[dns]\nfoo = 1"),
            "# Who is responsible, as",
            "unknown field `foo`",
        ),
        (
            EXAMPLE.replace("web = [\"192.0.2.10\"", "web = [\"192.0.2.256\""),
            "web = [\"192.0.2.10\"",
            "\"192.0.2.256\" is no IP address",
        ),
        (
            EXAMPLE.replace("\"203.0.113.4\", ", "\"203.0.113.3\", "),
            "addresses = [\"203.0.113.4\"",
            "203.0.113.3 is used before, by ns3.host.uk.",
        ),
        (
            EXAMPLE.replace("name = \"ns5.host.uk\"", "name = \"ns2.host.us\""),
            "name = \"ns5.host.uk\"",
            "the name ns2.host.us. is used before",
        ),
        (
            EXAMPLE.replace("name = \"ns5.host.uk\"", "name = \"ns_5.host.uk\""),
            "name = \"ns5.host.uk\"",
            "is not a host name",
        ),
        (
            EXAMPLE.replace(
                "web = [\"198.51.100.10\", \"2001:db8:2::10\"]",
                "web = [\"198.51.100.10\"]",
            ),
            "web = [\"198.51.100.10\"",
            "us has no IPv6 address",
        ),
        (
            EXAMPLE.replace("selector = \"us1\"", "selector = \"uk1\""),
            "dkim = [{ selector = \"us1\"",
            "selector uk1. is used before, by uk",
        ),
        (EXAMPLE.replace("retry = 3600", "retry = 36000"), "retry = 3600", "retry must be shorter"),
        (
            EXAMPLE.replace("expire = 1209600", "expire = 3600"),
            "expire = 1209600",
            "expire must be longer",
        ),
        (
            EXAMPLE.replace("hostmaster@host.uk\"\n# The name", "hostmaster.host.uk\"\n# The name"),
            "hostmaster = \"hostmaster@host.uk\"",
            "it has no @",
        ),
        (
            EXAMPLE.replace("managed = [\"@\", \"www\"]", "managed = []"),
            "managed = [\"@\", \"www\"]",
            "nothing of customer.example. would fail over",
        ),
        (
            EXAMPLE.replace("managed = [\"@\", \"www\"]", "managed = [\"www.other.example.\"]"),
            "managed = [\"@\", \"www\"]",
            "is not within customer.example.",
        ),
        (
            EXAMPLE.replace("shop        CNAME", "www         CNAME"),
            "# ours at the same name and",
            "is managed by the failover",
        ),
        (
            EXAMPLE.replace("status      A     203.0.113.80", "status      A     203.0.113.800"),
            "status      A",
            "is no IPv4 address",
        ),
        (
            EXAMPLE.replace("'0 issue \"sectigo.com\"'", "'0 is-sue \"sectigo.com\"'"),
            "caa = ['0 issue",
            "is no CAA record",
        ),
        (
            EXAMPLE.replace("sshfp = [\"4 2 7d", "sshfp = [\"4 2 xx"),
            "sshfp = [\"4 2 7d",
            "is no SSHFP record",
        ),
        (
            EXAMPLE.replace(PARKED, "name = \"customer.example\"\nprimary"),
            PARKED,
            "the name customer.example. is used before",
        ),
        (
            EXAMPLE.replace(PARKED, "name = \"par ked.example\"\nprimary"),
            PARKED,
            "letters, digits, hyphens",
        ),
        (
            EXAMPLE.replace("software = \"powerdns\"", "software = \"unbound\""),
            "software = \"powerdns\"",
            "unknown variant `unbound`",
        ),
        (
            EXAMPLE.replace("software = \"powerdns\"", "software = \"nsd\""),
            "location = \"singapore\"",
            "nsd takes no UPDATE",
        ),
        (
            EXAMPLE.replace("keys/ns4.key", "keys/ns44.key"),
            "key = \"keys/ns4.key\"",
            "No such file",
        ),
        (
            EXAMPLE.replace("folder = \"/var/lib/bind/failover\"", "folder = \"bind\""),
            "folder = \"/var/lib",
            "must be an absolute path",
        ),
        (
            EXAMPLE.replace("primary = \"us\"\nmail", "primary = \"de\"\nmail"),
            "primary = \"us\"\nmail",
            "unknown variant `de`",
        ),
        (EXAMPLE.replace("minimum = 300", "minimum = -1"), "minimum = 300", "integer"),
        (
            EXAMPLE.replace("refresh = 14400", "refresh = 14400 seconds"),
            "refresh = 14400",
            "expected",
        ),
    ];
    for (text, place, what) in cases {
        assert_ne!(text, EXAMPLE, "{what}: nothing was changed");
        // Where a line was put in or taken out above, or the field is missing, the line is near.
        assert_told(text, line_of(place), 8, what);
    }
    let contradictions = contradictions();
    assert!(contradictions.len() >= 40);
    for (from, to, place, what) in contradictions {
        assert_eq!(EXAMPLE.matches(from).count(), 1, "{from:?} is not there once");
        let text = EXAMPLE.replace(from, to);
        assert_eq!(text.matches(place).count(), 1, "{place:?} is not there once");
        let line = text[..text.find(place).unwrap()].matches('\n').count() + 1;
        assert_told(text, line, 0, what);
    }
}

#[track_caller]
fn assert_told(text: String, line: usize, off_by: usize, what: &str) {
    let (_folder, file) = folder(|_| text);
    let told = told(&file);
    let found = told.lines().any(|told| {
        let start = format!("{}:", file.display());
        let rest = told.strip_prefix(&start).unwrap_or_default();
        let at = rest.split(':').next().and_then(|line| line.parse::<usize>().ok());
        at.is_some_and(|at| at.abs_diff(line) <= off_by) && told.contains(what)
    });
    assert!(found, "wanted line {line} and {what:?}, told:\n{told}");
}

/// What is in the example once, what stands there instead, a text on the line that is told, and what is
/// said.
fn contradictions() -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    vec![
        // Sites.
        (
            "name = \"intranet\"",
            "name = \"parked.example\"",
            "name = \"parked.example\"\nprimary = \"us\"\nfolder",
            "the name parked.example is used before",
        ),
        ("\"intranet\"", "\"in/tranet\"", "\"in/tranet\"", "is no name for a site"),
        (
            "\"internal/wiki\"",
            "\"customer.example/wiki\"",
            "\"customer.example/wiki\"",
            "both would be mirrored twice",
        ),
        ("\"internal/wiki\"", "\"../wiki\"", "\"../wiki\"", "is no folder within www"),
        ("\"internal/wiki\"", "\".sites/x\"", "\".sites/x\"", "is no folder within www"),
        (
            "primary = \"us\"\nfolder",
            "folder",
            "name = \"intranet\"",
            "intranet is none of the [[domains]], so say primary",
        ),
        (
            "primary = \"uk\"\n# Its folder",
            "primary = \"us\"\n# Its folder",
            "primary = \"us\"\n# Its folder",
            "the domain customer.example has its primary in uk",
        ),
        ("[\"cache/\",", "[\"[a\",", "exceptions =", "rule 1"),
        ("max-delete = \"50%\"", "max-delete = \"150%\"", "max-delete =", "a limit on deletions"),
        ("www = \"/var/www\"\n", "", "[servers.us]\n", "us has no www"),
        ("www = \"/var/www\"", "www = \"var/www\"", "www = \"var", "must be an absolute path"),
        (
            "@198.51.100.10\"",
            "@198.51.100.10/www\"",
            "@198.51.100.10/www\"",
            "the folder goes into www",
        ),
        ("\"ssh://mirror@198.51.100.10\"", "\"mirror\"", "ssh = \"mirror\"", "is written ssh://"),
        (
            "ssh://mirror@198.51.100.10",
            "ssh://mirror:pw@198.51.100.10",
            "ssh://mirror:pw",
            "a password does not belong",
        ),
        (
            "ssh://mirror@198.51.100.10",
            "ssh://mirror@192.0.2.10",
            "ssh = \"ssh://mirror@192.0.2.10\"\nhost-keys = [\"SHA256:ea2",
            "both servers have the same address",
        ),
        (
            "ssh = \"ssh://mirror@198.51.100.10\"\n",
            "",
            "agent = \"mirror-agent --root /var/www\"",
            "it means nothing without ssh",
        ),
        ("\"SHA256:ea2", "\"MD5:ea2", "\"MD5:ea2", "is no host key"),
        ("\"SHA256:ea2", "\"SHA256:2", "\"SHA256:2", "a pin is a fingerprint"),
        ("\"/var/lib/site\"", "\"/srv/www/state\"", "state = \"/srv", "where it would be mirrored"),
        ("\"/var/lib/site\"", "\"lib/site\"", "state = \"lib", "must be an absolute path"),
        ("every = \"1d\"", "every = \"10s\"", "every = \"10s\"", "every minute at most"),
        ("every = \"1d\"", "every = \"often\"", "every = \"often\"", "a span is a number"),
        (
            "# after-run = [\"/usr/local/bin/after-run\"]",
            "after-run = [\"after-run\"]",
            "after-run = [",
            "give the program's whole path",
        ),
        ("# ssh-command = \"ssh\"", "ssh-command = \" \"", "ssh-command = \" \"", "leave it out"),
        (
            "fidelity = \"archive\"",
            "fidelity = \"hosted\"",
            "fidelity = \"hosted\"\n# How",
            "both-ways",
        ),
        ("disk = \"fast\"", "disc = \"fast\"", "disc = \"fast\"", "unknown field `disc`"),
        // Keys.
        ("mirror-uk.pub", "mirror-uk", "keys/mirror-uk", "give the file that ends in .pub"),
        (
            "\"/home/mirror/.ssh/authorized_keys\"\n# What is run",
            "\"authorized_keys\"\n# What is run",
            "authorized-keys = \"authorized_keys\"",
            "must be an absolute path, such as /home",
        ),
        (
            "from = [\"192.0.2.10\", \"2001:db8:1::10\"]",
            "from = [\"uk.host.uk\"]",
            "from = [\"uk",
            "sshd would have to look a name up",
        ),
        ("# restrict = true", "restrict = false", "restrict = false", "needs no terminal"),
        ("at = \"us\"", "at = \"de\"", "at = \"de\"", "unknown variant `de`"),
        (
            "public = \"keys/mirror-us.pub\"\nat = \"uk\"",
            "public = \"keys/mirror-uk.pub\"\nat = \"us\"",
            "public = \"keys/mirror-uk.pub\"\nat = \"us\"",
            "sshd takes the laxer of both lines",
        ),
        (
            "command = \"mirror-agent --root /var/www\"",
            "command = \"\"",
            "command = \"\"",
            "say what the key is for",
        ),
        // Mail.
        (
            "[mail.uk]\nhostname = \"mail.host.uk\"",
            "[mail.uk]\nhostname = \"mail.host.net\"",
            "hostname = \"mail.host.net\"",
            "MX records call the mail server in uk mail.host.uk",
        ),
        (
            "\"198.51.100.25:2424\"\ntls = \"implicit\"\nverify",
            "\"198.51.100.26:2424\"\ntls = \"implicit\"\nverify",
            "198.51.100.26:2424",
            "is no address of the mail server in us",
        ),
        (
            "recipients = [\"*@customer.example\", \"*@host.uk\", \"postmaster\"]\nlegs = [\"uk\"",
            "recipients = [\"*@host.uk\", \"postmaster\"]\nlegs = [\"uk\"",
            "name = \"customer.example\"\n# The site",
            "no [[mail.uk.route]] is for it",
        ),
        (
            "legs = [\"uk\", \"us\"]",
            "legs = [\"uk\"]",
            "name = \"customer.example\"\n# The site",
            "goes to one account only from uk",
        ),
        (
            "[mail.uk]\nhostname = \"mail.host.uk\"\nspool = \"/var",
            "[mail.uk]\nhostname = \"mail.host.uk\"\nspool = \"var",
            "[mail.uk]\n",
            "spool must be given from the root on",
        ),
        // Status pages.
        (
            "https://status-us.host.uk",
            "https://status-uk.host.uk",
            "us = \"https:",
            "the same address",
        ),
        (
            "https://status-us.host.uk",
            "https://www.customer.example/",
            "us = \"https:",
            "fails over, and the page would go with it",
        ),
        (
            "https://status-us.host.uk",
            "status-us.host.uk",
            "us = \"status",
            "it begins with https://",
        ),
        ("name = \"Host\"", "name = \"\"", "name = \"\"", "say whose page it is"),
        // Who looks.
        (
            "address = \"192.0.2.10:5300\"\n",
            "",
            "site = \"uk\"\n\n[[failover.observers]]\nname = \"newyork\"",
            "a controller runs in its site",
        ),
        (
            "site = \"us\"\naddress = \"198.51.100.10:5300\"",
            "site = \"uk\"\naddress = \"198.51.100.10:5300\"",
            "site = \"uk\"\naddress = \"198.51.100.10:5300\"",
            "another observer stands in uk already",
        ),
        (
            "\"198.51.100.10:5300\"",
            "\"192.0.2.10:5300\"",
            "address = \"192.0.2.10:5300\"\n\n[[failover.observers]]\nname = \"zurich\"",
            "another observer has this address",
        ),
        ("\"zurich\"", "\"london\"", "name = \"london\"\ndomain = \"elsewhere\"", "is used before"),
        (
            "\"192.0.2.10:80\"",
            "\"198.51.100.10:81\"",
            "\"198.51.100.10:81\"",
            "uk would be judged by the wrong server",
        ),
        (
            "[[failover.probes]]\nsite = \"us\"",
            "[[failover.probes]]\nsite = \"uk\"",
            "[[failover.probes]]\nsite = \"uk\"\ncheck = \"http\"\naddress = \"192",
            "site us has no probe",
        ),
        (
            "\"9.9.9.9:53\"",
            "\"192.0.2.10:53\"",
            "\"192.0.2.10:53\"",
            "would seem blind when uk is down",
        ),
        (
            "ends = \"2030-02-01T04:00:00Z\"",
            "ends = \"2030-02-01T01:00:00Z\"",
            "ends = \"2030",
            "it ends before it starts",
        ),
        (
            "title = \"New disks in the UK\"",
            "title = \"1\"\n[[failover.maintenance]]\nname = \"more\"\nsite = \"us\"\nstarts = \
             \"2030-02-01T03:00:00Z\"\nends = \"2030-02-01T05:00:00Z\"",
            "starts = \"2030-02-01T03",
            "nobody would serve",
        ),
    ]
}

#[test]
fn one_place_for_all_and_cyclic_glue_are_told() {
    let one_place = |text: String| {
        let mut text = text;
        for place in ["us", "frankfurt", "singapore"] {
            text = text.replace(&format!("location = \"{place}\""), "location = \"uk\"");
        }
        text
    };
    let (_folder, file) = folder(one_place);
    assert!(told(&file).contains("all name servers are at \"uk\""), "{}", told(&file));

    let circle = |text: String| {
        let text = text.replace("glue = true\n", "");
        let text = text.replace("key = \"keys/ns", "glue = false\nkey = \"keys/ns");
        text + "\n[[domains]]\nname = \"host.us\"\nprimary = \"us\"\n"
    };
    let (_folder, file) = folder(circle);
    assert!(told(&file).contains("no name server can be found"), "{}", told(&file));

    let without = |text: String| {
        let text = text.replace("glue = true\n", "");
        text.replace("key = \"keys/ns", "glue = false\nkey = \"keys/ns")
    };
    // host.us is somebody else's zone, so its servers are found.
    let (_folder, file) = folder(without);
    assert!(Network::load(&file).is_ok());
}

#[test]
fn a_key_that_others_may_read_is_refused_and_not_shown() {
    let (folder, file) = folder(|text| text);
    let key = folder.path().join("keys/ns3.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let told = told(&file);
    assert!(told.contains("others may read this secret (mode 0640)"), "{told}");
    assert!(!told.contains("3333"), "{told}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let network = Network::load(&file).unwrap();
    assert!(!format!("{network:?}").contains("3333"));
}

/// An address on loopback that is free for both TCP and UDP.
fn free_port() -> (SocketAddr, (TcpListener, UdpSocket)) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if let Ok(udp) = UdpSocket::bind(address) {
            return (address, (tcp, udp));
        }
    }
}

fn zones(file: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zones"));
    command.arg(words[0]).arg(file).args(&words[1..]).output().unwrap()
}

#[test]
fn zones_plans_publishes_and_verifies() {
    let held: Vec<_> = (0..6).map(|_| free_port()).collect();
    let reach = |text: String| {
        let mut text = text
            .replace("listen = [\"192.0.2.53:53\", \"[2001:db8:1::53]:53\"]\n", "")
            .replace("reach = \"192.0.2.53:53\"\n", "");
        for (number, (address, _)) in held.iter().enumerate() {
            let key = format!("key = \"keys/ns{}.key\"", number + 1);
            text = text.replace(&key, &format!("reach = \"{address}\"\n{key}"));
        }
        text
    };
    let (_folder, file) = folder(reach);
    drop(held);
    let topology = Network::load(&file).unwrap_or_else(|error| panic!("{error}")).topology;
    let loopback = Loopback::serve(MemoryNetwork::serving(&topology, 1_790_000_000)).unwrap();
    let said = |output: &Output| {
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
    };

    let verified = zones(&file, &["verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
    let planned = zones(&file, &["plan"]);
    assert_eq!((planned.status.code(), said(&planned).as_str()), (Some(0), "nothing to do\n"));
    let planned = zones(&file, &["plan", "--to", "us", "--domain", "customer.example"]);
    assert_eq!(planned.status.code(), Some(0));
    assert!(said(&planned).contains("\n-www.customer.example. 30 IN A 192.0.2.10\n+www.customer.example. 30 IN A 198.51.100.10\n"), "{}", said(&planned));

    let published = zones(&file, &["publish", "--to", "us", "--failover", "--controller", "us"]);
    assert_eq!(published.status.code(), Some(0), "{}", said(&published));
    let www: Name = "www.customer.example".parse().unwrap();
    for index in 0..6 {
        let server = loopback.network().server(index);
        let zone = server.zone(&"customer.example".parse().unwrap()).unwrap();
        let wanted = topology
            .managed_rrsets(topology.domain(zone.origin()).unwrap(), Active::One(SiteId::Us));
        assert!(wanted.iter().any(|set| Some(set) == zone.get(&www, RecordType::A)));
    }

    // A customer's record goes into the file: that is no failover, and a server is down meanwhile.
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace("status      A     203.0.113.80", "status      A     203.0.113.81"),
    )
    .unwrap();
    loopback.network().server(4).behaviour = Behaviour::Answers(dns_failover::Rcode::REFUSED);
    let published = zones(&file, &["publish", "--json"]);
    assert_eq!(published.status.code(), Some(3), "{}", said(&published));
    assert!(said(&published).contains("\"rcode\":5"), "{}", said(&published));
    loopback.network().server(4).behaviour = Behaviour::Well;
    let verified = zones(&file, &["verify"]);
    assert_eq!(verified.status.code(), Some(3), "{}", said(&verified));
    let published = zones(&file, &["publish", "--quiet"]);
    assert_eq!((published.status.code(), said(&published).as_str()), (Some(0), ""));

    // So is what would be wrong, whole zones of which some servers refuse.
    let text = fs::read_to_string(&file).unwrap();
    let clash = text.replace(
        "shop        CNAME shops.example.net.",
        "shop        MX 10 status\nshop        CNAME status",
    );
    fs::write(&file, clash).unwrap();
    let published = zones(&file, &["publish"]);
    assert_eq!(published.status.code(), Some(4), "{}", said(&published));
    assert!(said(&published).contains("error[CNAME01]: "), "{}", said(&published));
    fs::write(&file, text).unwrap();

    // Most of a zone at once is refused until somebody has looked.
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("ttl = 3600\nns-ttl", "ttl = 7200\nns-ttl")).unwrap();
    let published = zones(&file, &["publish"]);
    assert_eq!(published.status.code(), Some(4), "{}", said(&published));
    let published = zones(&file, &["publish", "--confirm"]);
    assert_eq!(published.status.code(), Some(0), "{}", said(&published));
}

#[test]
fn zones_checks_every_domain_in_every_state() {
    let (_folder, file) = folder(|text| text);
    let checked = zones(&file, &["check"]);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "{said}");
    let dangling = |text: String| {
        text.replace(
            "shop        CNAME shops.example.net.",
            "shop        MX 10 status\nshop        CNAME status",
        )
    };
    let (_folder, file) = folder(dangling);
    let checked = zones(&file, &["check"]);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(3), "{said}");
    let line = line_of("name = \"customer.example\"\n# The site");
    assert!(said.contains(&format!("network.toml:{line}:1: error[")), "{said}");
}

#[test]
fn zones_renders_folders_that_keep_secrets_and_published_zones() {
    let (folder, file) = folder(|text| text);
    let out = folder.path().join("out");
    let out_text = out.to_str().unwrap();
    let rendered = zones(&file, &["render", "--out", out_text]);
    assert_eq!(rendered.status.code(), Some(0), "{}", String::from_utf8_lossy(&rendered.stderr));
    for (server, secret) in [("ns1.host.uk", "keys.conf"), ("ns4.host.us", "keys.sql")] {
        let path = out.join(server).join(secret);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let zone = out.join("ns1.host.uk/zones/customer.example.zone");
    fs::write(&zone, "what the server made of it\n").unwrap();
    let rendered = zones(&file, &["render", "--out", out_text, "--server", "ns1.host.uk"]);
    assert_eq!(rendered.status.code(), Some(0));
    assert_eq!(fs::read_to_string(&zone).unwrap(), "what the server made of it\n");
    // What is wrong is written, for whoever means it, and told.
    let text = fs::read_to_string(&file).unwrap();
    let clash = text
        .replace("shop        CNAME shops.example.net.", "shop MX 10 status\nshop CNAME status");
    fs::write(&file, clash).unwrap();
    let rendered = zones(&file, &["render", "--out", out_text]);
    let said = String::from_utf8_lossy(&rendered.stderr);
    assert_eq!(rendered.status.code(), Some(3), "{said}");
    assert!(said.contains(": error[CNAME01]: ") && said.contains("    help: "), "{said}");
}
