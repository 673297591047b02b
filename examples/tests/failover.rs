//! `failover` and `status-page`, as programs: a controller, two observers, two web sites, and name servers
//! on loopback; a site dies, people look, give orders, and read the page.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dns_failover::testing::{Loopback, MemoryNetwork};
use dns_failover::{EpochRecord, Name};
use examples::network::Network;

const EXAMPLE: &str = include_str!("../network.toml");

/// A program that is stopped with its test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A web site that can be switched off.
fn site() -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let up = Arc::new(AtomicBool::new(true));
    let kept = Arc::clone(&up);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if kept.load(Ordering::SeqCst) {
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello\n");
            }
        }
    });
    (address, up)
}

fn free_udp() -> SocketAddr {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

struct Ground {
    folder: tempfile::TempDir,
    config: PathBuf,
    loopback: Loopback,
    uk_is_up: Arc<AtomicBool>,
}

impl Ground {
    fn new() -> Ground {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        fs::create_dir(&keys).unwrap();
        let secret = |name: &str, text: String| {
            let path = keys.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        for number in 1..=6 {
            let base64 = "A".repeat(43) + "=";
            let key =
                format!("key \"ns{number}\" {{ algorithm hmac-sha256; secret \"{base64}\"; }};\n");
            secret(&format!("ns{number}.key"), key);
        }
        secret("observers.key", "a secret of at least thirty-two octets\n".into());
        let ((uk, uk_is_up), (us, _)) = (site(), site());
        let mut text = EXAMPLE
            .replace("reach = \"192.0.2.53:53\"\n", "")
            .replace("192.0.2.10:5300", &free_udp().to_string())
            .replace("198.51.100.10:5300", &free_udp().to_string())
            .replace("192.0.2.10:80", &uk.to_string())
            .replace("198.51.100.10:80", &us.to_string())
            .replace("9.9.9.9:53", &us.to_string())
            .replace("1.1.1.1:53", &us.to_string())
            .replace("interval = \"2s\"", "interval = \"500ms\"")
            .replace("/var/lib/dns-failover", "state");
        // All at once, so that no port is given twice.
        let held: Vec<_> =
            (0..6).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        for (number, held) in (1..=6).zip(&held) {
            let key = format!("key = \"keys/ns{number}.key\"");
            let reach = format!("reach = \"{}\"\n{key}", held.local_addr().unwrap());
            text = text.replace(&key, &reach);
        }
        drop(held);
        let config = folder.path().join("network.toml");
        fs::write(&config, text).unwrap();
        let network = Network::load(&config).unwrap_or_else(|error| panic!("{error}"));
        let loopback =
            Loopback::serve(MemoryNetwork::serving(&network.topology, 1_790_000_000)).unwrap();
        Ground { folder, config, loopback, uk_is_up }
    }

    fn start(&self, words: &[&str]) -> Started {
        let log = self.log();
        let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_failover"))
            .args(words)
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Started(child.unwrap())
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn run(&self, program: &str, words: &[&str]) -> Output {
        Command::new(program).args(words).arg(&self.config).output().unwrap()
    }

    fn failover(&self, words: &[&str]) -> (i32, String) {
        let output = self.run(env!("CARGO_BIN_EXE_failover"), words);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    /// Where a domain points on each of the six.
    fn answers(&self, domain: &str) -> Vec<String> {
        let name: Name = domain.parse().unwrap();
        let record = |index| {
            let server = self.loopback.network().server(index);
            EpochRecord::of(server.zone(&name).unwrap()).unwrap().active.to_string()
        };
        (0..6).map(record).collect()
    }

    #[track_caller]
    fn wait(&self, mut what: impl FnMut() -> bool) {
        for _ in 0..1200 {
            if what() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("never; the log:\n{}", fs::read_to_string(self.log()).unwrap_or_default());
    }
}

#[test]
fn a_site_dies_and_people_look_order_and_read() {
    let ground = Ground::new();
    let observers = ["newyork", "zurich"].map(|name| ground.start(&["observe", "--as", name]));
    let controller = ground.start(&["run", "--as", "london"]);
    let status = |words: &str| ground.failover(&["status"]).1.contains(words);
    ground.wait(|| {
        status("web-uk is at uk") && status("(it always was there) and stays: it is at its best")
    });
    ground.wait(|| ground.failover(&["status"]).0 == 0);
    // A second one on the same state is refused.
    let (code, said) = ground.failover(&["run", "--as", "london"]);
    assert_eq!(code, 1, "{said}");

    ground.uk_is_up.store(false, Ordering::SeqCst);
    ground.wait(|| ground.answers("customer.example") == ["us"; 6]);
    assert_eq!(ground.answers("parked.example"), ["us"; 6]);
    ground.wait(|| status("on all name servers"));
    let (code, said) = ground.failover(&["status"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("web-uk is at us") && said.contains("uk is down as seen from"), "{said}");

    // The controller is killed and started again; nothing moves by that.
    drop(controller);
    let controller = ground.start(&["run", "--as", "london"]);
    ground.uk_is_up.store(true, Ordering::SeqCst);
    ground.wait(|| status("a person says when to return"));
    assert_eq!(ground.answers("customer.example"), ["us"; 6]);

    // Orders.
    let order = ["--why", "repaired", "--who", "anna"];
    let (code, said) =
        ground.failover(&[&["move", "--service", "web-uk", "--site", "uk"][..], &order].concat());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("web-uk moves from us to uk: a person ordered it"), "{said}");
    ground.wait(|| ground.answers("customer.example") == ["uk"; 6]);
    let (code, said) = ground.failover(
        &[&["force", "--service", "web-us", "--site", "mars", "--for", "1h"][..], &order].concat(),
    );
    assert_eq!(code, 4, "{said}");
    let (code, said) = ground.failover(&["drain", "--site", "uk", "--for", "1h"]);
    assert_eq!(code, 0, "{said}");
    ground.wait(|| ground.answers("customer.example") == ["us"; 6]);

    // The page, with words of people's own.
    let notes = ground.folder.path().join("incidents.toml");
    let text = "[[incident]]\nid = \"a\"\ntitle = \"<script>\"\n[[incident.update]]\n\
                at = \"2026-11-22T10:00Z\"\nstatus = \"resolved\"\nbody = \"done\"\n";
    fs::write(&notes, text).unwrap();
    let out = ground.folder.path().join("page");
    let words = ["--out", out.to_str().unwrap(), "--incidents", notes.to_str().unwrap()];
    let output = ground.run(env!("CARGO_BIN_EXE_status-page"), &words);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |path: &str| fs::read_to_string(out.join(path)).unwrap();
    let page = read("index.html");
    for words in
        ["UK was not reachable", "&lt;script&gt;", "Peer unreachable", "web-uk moves from uk to us"]
    {
        assert!(page.contains(words), "{words} not in {page}");
    }
    assert!(read("feed.atom").contains("<entry>"));
    let summary: serde_json::Value = serde_json::from_str(&read("api/v2/summary.json")).unwrap();
    assert_eq!(summary["components"][0]["name"], "Web sites at home in the UK");
    drop((controller, observers));
    // Nobody is there to take an order now, so it is taken back.
    let (code, said) = ground.failover(&["drain", "--site", "us", "--for", "1h"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no controller took the order"), "{said}");
    assert!(waiting(ground.folder.path()).is_empty());
}

fn waiting(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("state/orders")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|of| of == "order")).collect()
}

#[test]
fn simulate_prints_a_row_for_each() {
    let output = Command::new(env!("CARGO_BIN_EXE_failover"))
        .args(["simulate", "--years", "1", "--quiet", "--json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["rows"].as_array().unwrap().len(), 7);
}

#[test]
fn a_bad_failover_section_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("network.toml");
    for (from, to, words) in [
        (
            "interval = \"2s\"",
            "interval = \"2 hours\"",
            "a span of time is a number and ms, s, m, h or d",
        ),
        ("interval = \"2s\"", "intervall = \"2s\"", "unknown field `intervall`"),
        ("name = \"london\"", "name = \"London\"", "is no name"),
        (
            "check = \"tcp\"\naddress = \"9.9.9.9:53\"",
            "check = \"ping\"\naddress = \"9.9.9.9:53\"",
            "unknown variant `ping`",
        ),
        ("fail-back = \"manual\"", "fail-back = \"soon\"", "\"manual\", or how long"),
        ("starts = \"2030-02-01T02:00:00Z\"", "starts = \"tomorrow\"", "an instant is written"),
    ] {
        assert!(EXAMPLE.contains(from), "{from}");
        let text = EXAMPLE.replacen(from, to, 1);
        let line = EXAMPLE[..EXAMPLE.find(from).unwrap()].lines().count();
        fs::write(&config, &text).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_failover")).arg("status").arg(&config).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said}");
        // The reader of TOML names the line of the value, or that of the table it is in.
        let told: usize = said.split(':').nth(2).unwrap().parse().unwrap();
        assert!(told > 0 && told <= line + 1, "{line}: {said}");
    }
}
