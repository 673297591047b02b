//! Certificates issued here, judged by ssh-keygen, by a real sshd and by a real ssh.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use keygen_helper::{
    Certificate, CertificateError, CertificateKind, Claim, Curve, KeyKind, KeyPair, KnownHosts,
    Objection, PublicKey, RsaBits, SystemRandomness, Timestamp, Validity, Warrant,
};
use proptest::prelude::*;
use support::keys::run;
use support::sshd::{Sshd, login, own_name};

const KINDS: [KeyKind; 5] = [
    KeyKind::Ed25519,
    KeyKind::Rsa(RsaBits::Bits3072),
    KeyKind::Ecdsa(Curve::P256),
    KeyKind::Ecdsa(Curve::P384),
    KeyKind::Ecdsa(Curve::P521),
];

fn key(kind: KeyKind) -> KeyPair {
    KeyPair::generate(kind, "anna", &mut SystemRandomness).unwrap()
}

fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "sshd looks at the clock")]
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn today() -> Validity {
    Validity { after: Timestamp(now() - 3600), before: Timestamp(now() + 86_400) }
}

/// Writes a pair and, if there is one, its certificate.
fn put(dir: &Path, name: &str, key: &KeyPair, certificate: Option<&Certificate>) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, &*key.to_openssh(None, &mut SystemRandomness).unwrap()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(path.with_extension("pub"), key.public_line()).unwrap();
    if let Some(certificate) = certificate {
        let line = format!("{} anna\n", certificate.public_key());
        fs::write(dir.join(format!("{name}-cert.pub")), line).unwrap();
    }
    path
}

#[test]
fn sshd_takes_certificates_of_every_kind_from_authorities_of_every_kind() {
    let Some(sshd) = Sshd::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let me = own_name();
    let authorities: Vec<KeyPair> = KINDS.map(key).into();
    let lines: Vec<u8> = authorities.iter().flat_map(KeyPair::public_line).collect();
    fs::write(dir.path().join("authorities"), lines).unwrap();
    let setting = format!("TrustedUserCAKeys {}", dir.path().join("authorities").display());
    let listener = sshd.listen(&[&setting, "AuthorizedKeysFile none"]);
    let ed25519 = key(KeyKind::Ed25519);
    let pairs = authorities.iter().map(|authority| (&ed25519, authority));
    let pairs = pairs.chain(authorities.iter().skip(1).map(|subject| (subject, &authorities[0])));
    for (number, (subject, authority)) in pairs.enumerate() {
        let warrant = Warrant::user("anna's laptop", today()).principal(&me).serial(7);
        let issued =
            warrant.issue(&subject.public_key(), authority, &mut SystemRandomness).unwrap();
        let path = put(dir.path(), &number.to_string(), subject, Some(&issued));
        let login = login(&listener, &me, &path, &[]);
        assert!(login.accepted, "{subject:?} by {authority:?}: {}", login.messages);
        // The server logs what the authority wrote into it.
        assert!(listener.log().contains("anna's laptop (serial 7)"), "{}", listener.log());
    }
}

#[test]
fn sshd_respects_names_times_options_and_authorities() {
    let Some(sshd) = Sshd::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let me = own_name();
    let (authority, stranger, anna) =
        (key(KeyKind::Ed25519), key(KeyKind::Ed25519), key(KeyKind::Ed25519));
    fs::write(dir.path().join("authorities"), authority.public_line()).unwrap();
    let setting = format!("TrustedUserCAKeys {}", dir.path().join("authorities").display());
    let listener = sshd.listen(&[&setting, "AuthorizedKeysFile none"]);
    let user = |validity| Warrant::user("anna", validity);
    let past = Validity { after: Timestamp(now() - 7200), before: Timestamp(now() - 3600) };
    let future = Validity { after: Timestamp(now() + 3600), before: Timestamp(now() + 7200) };
    let cases = [
        ("right", user(today()).principal(&me), &authority, true),
        ("for ever", user(Validity::FOREVER).principal("x").principal(&me), &authority, true),
        ("another name", user(today()).principal("somebody-else"), &authority, false),
        ("over", user(past).principal(&me), &authority, false),
        ("not yet", user(future).principal(&me), &authority, false),
        ("for a host", Warrant::host("anna", today()).principal(&me), &authority, false),
        ("unknown authority", user(today()).principal(&me), &stranger, false),
        ("from here", user(today()).principal(&me).source_address("127.0.0.0/8"), &authority, true),
        ("from there", user(today()).principal(&me).source_address("192.0.2.1"), &authority, false),
        ("forced", user(today()).principal(&me).force_command("echo forced"), &authority, true),
    ];
    for (name, warrant, signer, accepted) in cases {
        let issued = warrant.issue(&anna.public_key(), signer, &mut SystemRandomness).unwrap();
        let path = put(dir.path(), &name.replace(' ', "-"), &anna, Some(&issued));
        let login = login(&listener, &me, &path, &[]);
        assert_eq!(login.accepted, accepted, "{name}: {}\n{}", login.messages, listener.log());
        if name == "forced" {
            assert_eq!(login.stdout, b"forced\n");
        }
        // What only the server can see is not judged here.
        if name != "from there" {
            let claim = Claim { kind: CertificateKind::User, name: &me, now: Timestamp(now()) };
            let ours = issued.judge(&claim, &[authority.public_key()]);
            assert_eq!(ours.is_ok(), accepted, "{name}: {ours:?}");
        }
    }
}

#[test]
fn ssh_takes_host_certificates_for_their_names_only() {
    let Some(sshd) = Sshd::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let me = own_name();
    let anna = put(dir.path(), "anna", &key(KeyKind::Ed25519), None);
    let known = dir.path().join("known_hosts");
    for kind in KINDS {
        let authority = key(kind);
        let line = String::from_utf8(authority.public_line()).unwrap();
        fs::write(&known, format!("@cert-authority uk.example.net,us.example.net {line}")).unwrap();
        let host = key(KeyKind::Ed25519);
        let over = Validity { after: Timestamp(now() - 7200), before: Timestamp(now() - 3600) };
        let to_come = Validity { after: Timestamp(now() + 3600), before: Timestamp(u64::MAX) };
        for (name, validity, trusted) in [
            ("uk.example.net", today(), true),
            ("us.example.net", today(), false),
            ("uk.example.net", over, false),
            ("uk.example.net", to_come, false),
        ] {
            let warrant = Warrant::host("uk", validity).principal("uk.example.net");
            let issued =
                warrant.issue(&host.public_key(), &authority, &mut SystemRandomness).unwrap();
            let path = put(dir.path(), "host", &host, Some(&issued));
            let settings = [
                format!("HostKey {}", path.display()),
                format!("HostCertificate {}-cert.pub", path.display()),
                format!("AuthorizedKeysFile {}", anna.with_extension("pub").display()),
            ];
            let listener = sshd.listen(&settings.each_ref().map(String::as_str));
            let file = KnownHosts::parse(fs::read(&known).unwrap()).unwrap();
            let ours = file.check_certificate(&name.parse().unwrap(), &issued, Timestamp(now()));
            assert_eq!(ours.is_trusted(), trusted, "{kind} {name}: {ours:?}");
            let options = [
                "-o".to_owned(),
                "StrictHostKeyChecking=yes".to_owned(),
                "-o".to_owned(),
                format!("UserKnownHostsFile={}", known.display()),
                "-o".to_owned(),
                format!("HostKeyAlias={name}"),
            ];
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let login = login(&listener, &me, &anna, &options);
            assert_eq!(login.accepted, trusted, "{kind} {name}: {}", login.messages);
        }
    }
}

#[test]
fn ssh_keygen_shows_what_was_issued_and_what_it_issues_is_read() {
    if Sshd::find().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let authority = key(KeyKind::Rsa(RsaBits::Bits3072));
    let ca = put(dir.path(), "ca", &authority, None);
    for kind in KINDS {
        let subject = key(kind);
        let warrant = Warrant::user("the id", today())
            .serial(u64::MAX)
            .principal("anna")
            .principal("bert")
            .source_address("192.0.2.0/24,2001:db8::1")
            .verify_required()
            .extension("permit-port-forwarding");
        let issued =
            warrant.issue(&subject.public_key(), &authority, &mut SystemRandomness).unwrap();
        let path = put(dir.path(), "key", &subject, Some(&issued));
        let file = dir.path().join("key-cert.pub");
        let shown = run(Command::new("ssh-keygen").args(["-L", "-f"]).arg(&file));
        let shown = String::from_utf8(shown).unwrap();
        for expected in [
            "Key ID: \"the id\"",
            "Serial: 18446744073709551615",
            "source-address 192.0.2.0/24,2001:db8::1",
            "permit-port-forwarding",
            "permit-pty",
            "verify-required",
            "anna",
            "bert",
            &authority.public_key().fingerprint().to_string(),
        ] {
            assert!(shown.contains(expected), "{expected}: {shown}");
        }

        fs::remove_file(&file).unwrap();
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-s"]).arg(&ca).args(["-I", "theirs", "-n", "anna", "-z", "9"]);
        command.args(["-O", "force-command=true", "-V", "-1h:+1h"]).arg(path.with_extension("pub"));
        run(&mut command);
        let line = fs::read(&file).unwrap();
        let theirs = Certificate::read(&PublicKey::parse_line(&line).unwrap().0).unwrap();
        assert_eq!((theirs.serial, theirs.key_id.as_bytes()), (9, &b"theirs"[..]));
        assert_eq!(theirs.subject, subject.public_key());
        assert_eq!(theirs.extensions.len(), 5);
        assert_eq!(theirs.critical_options[&"force-command".into()].as_bytes(), b"true");
        let claim = Claim { kind: CertificateKind::User, name: "anna", now: Timestamp(now()) };
        assert_eq!(theirs.judge(&claim, &[authority.public_key()]), Ok(()));
    }
}

#[test]
fn a_changed_byte_is_noticed() {
    let (authority, anna) = (key(KeyKind::Ed25519), key(KeyKind::Ecdsa(Curve::P256)));
    let warrant = Warrant::user("anna", Validity::FOREVER).principal("anna");
    let issued = warrant.issue(&anna.public_key(), &authority, &mut SystemRandomness).unwrap();
    let blob = issued.public_key().blob().to_vec();
    let claim = Claim { kind: CertificateKind::User, name: "anna", now: Timestamp(1) };
    for place in 0..blob.len() {
        let mut changed = blob.clone();
        changed[place] ^= 1;
        let read = PublicKey::from_blob(&changed).ok();
        let read = read.and_then(|key| Certificate::read(&key).ok());
        let judged = read.map(|read| read.judge(&claim, &[authority.public_key()]));
        assert!(!matches!(judged, Some(Ok(()))), "{place}");
    }
    let stranger = key(KeyKind::Ed25519).public_key();
    assert_eq!(issued.judge(&claim, &[stranger]), Err(Objection::UnknownAuthority));
}

#[test]
fn what_no_certificate_can_say_is_refused() {
    let (authority, anna) = (key(KeyKind::Ed25519), key(KeyKind::Ed25519).public_key());
    let user = || Warrant::user("anna", today());
    let backwards = Validity { after: Timestamp(2), before: Timestamp(2) };
    let too_many = (0..257).fold(user(), |warrant, number| warrant.principal(&number.to_string()));
    let cases: [(&str, Warrant); 11] = [
        ("no name", user()),
        ("two in one", user().principal("anna,root")),
        ("two lines", user().principal("anna\nroot")),
        ("empty", user().principal("")),
        ("too many", too_many),
        ("no time", Warrant::user("anna", backwards).principal("anna")),
        ("id of two lines", Warrant::user("an\nna", today()).principal("anna")),
        ("addresses", user().principal("anna").source_address("everywhere")),
        ("no command", user().principal("anna").force_command("")),
        ("a blank command", user().principal("anna").force_command(" ")),
        ("host", Warrant::host("uk", today()).principal("uk").force_command("true")),
    ];
    for (name, warrant) in cases {
        let issued = warrant.issue(&anna, &authority, &mut SystemRandomness);
        assert!(issued.is_err(), "{name}");
    }
    let unknown = PublicKey::from_blob(b"\0\0\0\x05other\0\0\0\x01x").unwrap();
    let issued = user().principal("anna").issue(&unknown, &authority, &mut SystemRandomness);
    assert!(matches!(issued, Err(CertificateError::NoSuchKind(_))));
    assert!(matches!(Certificate::read(&anna), Err(CertificateError::NotACertificate)));
}

proptest! {
    #[test]
    fn arbitrary_certificates_never_panic(tail in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut blob = b"\0\0\0\x20ssh-ed25519-cert-v01@openssh.com\0\0\0\x01n\0\0\0\x20".to_vec();
        blob.extend_from_slice(&[7; 32]);
        blob.extend_from_slice(&tail);
        if let Ok(key) = PublicKey::from_blob(&blob) {
            let _ = Certificate::read(&key);
        }
    }
}
