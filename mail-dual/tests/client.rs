//! The client's session against our own server, other servers' habits, and broken connections.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

mod support;

use mail_dual::proto::{Client, ClientConfig, Credentials, Dialect, Next, Server, ServerConfig};
use mail_dual::{Cause, Outcome, Phase, Port, Presence, Scope};
use proptest::prelude::*;

use support::{Store, Wire, Work, job, path, reply, word};

fn client(dialect: Dialect) -> Client {
    Client::new(ClientConfig::new(dialect, "uk.example.org"), false)
}

fn server(dialect: Dialect) -> Server {
    Server::new(ServerConfig::new(dialect, "us.example.org", Port::Fanout), None, false)
}

/// A client on a connection to a server that says what the test has it say.
#[derive(Debug)]
struct Scripted {
    client: Client,
    work: Work,
}

impl Scripted {
    fn new(config: ClientConfig, work: Work) -> Scripted {
        Scripted { client: Client::new(config, false), work }
    }

    /// What the client sends after `answer`; with its error behind, if there was one.
    fn hears(&mut self, answer: &str) -> String {
        let result = self.client.receive(answer.as_bytes(), &mut self.work);
        let mut sent = Vec::new();
        while !self.client.outbox().is_empty() {
            let piece = self.client.outbox().next().to_vec();
            self.client.outbox().advance(piece.len());
            sent.extend_from_slice(&piece);
        }
        let mut sent = String::from_utf8(sent).unwrap();
        if let Err(trouble) = result {
            sent.push_str(&format!("! {trouble}"));
        }
        sent
    }

    fn breaks(&mut self) {
        let trouble = mail_dual::Trouble::io(self.client.phase(), "broken");
        self.client.fail(trouble, &mut self.work);
    }
}

/// After the greeting and EHLO, with these extensions.
fn with_extensions(extensions: &str, work: Work) -> Scripted {
    let mut scripted = Scripted::new(ClientConfig::new(Dialect::Smtp, "uk.example.org"), work);
    assert_eq!(scripted.hears("220 hello\r\n"), "EHLO uk.example.org\r\n");
    scripted.client.receive(b"250-us\r\n", &mut scripted.work).unwrap();
    for extension in extensions.split_whitespace() {
        scripted
            .client
            .receive(format!("250-{extension}\r\n").as_bytes(), &mut scripted.work)
            .unwrap();
    }
    scripted
}

const BODY: &str = "Subject: a\r\n\r\n.\r\nb\r\n";
const MAIL: &str = "MAIL FROM:<ann@example.org>\r\n";

#[test]
fn many_messages_cost_few_round_trips_where_bdat_can_be_pipelined() {
    let store = Store::default();
    let bodies: Vec<String> = (0..200).map(|n| format!("Subject: {n}\r\n\r\n.\r\n")).collect();
    let mut work =
        Work::of((0u128..).zip(&bodies).map(|(n, body)| job(n, &["b@y.org", "c@y.org"], body)));
    let mut wire = Wire::new(client(Dialect::Smtp), server(Dialect::Smtp), &store);
    wire.run(&mut work).unwrap();
    assert_eq!(work.all().len(), 400);
    assert!(work.all().iter().all(|outcome| matches!(outcome, Outcome::Delivered(_))));
    let expected: Vec<_> = bodies.iter().map(|body| body.as_bytes().to_vec()).collect();
    assert_eq!(store.bodies(), expected);
    // Greeting, EHLO, everything, and the last answers.
    assert!(wire.rounds <= 4, "{} rounds", wire.rounds);
}

#[test]
fn without_chunking_a_message_costs_one_round_trip_and_without_pipelining_one_a_command() {
    let rounds = |hidden: &[&str], count: u128| {
        let store = Store::default();
        let mut work = Work::of((0..count).map(|n| job(n, &["b@y.org"], BODY)));
        let mut wire = Wire::new(client(Dialect::Smtp), server(Dialect::Smtp), &store);
        wire.hidden = hidden;
        wire.run(&mut work).unwrap();
        assert_eq!(store.bodies(), vec![BODY.as_bytes().to_vec(); count as usize]);
        assert!(work.all().iter().all(|outcome| matches!(outcome, Outcome::Delivered(_))));
        wire.rounds
    };
    assert_eq!(rounds(&["CHUNKING"], 60) - rounds(&["CHUNKING"], 50), 10);
    let plain = ["CHUNKING", "PIPELINING"];
    assert_eq!(rounds(&plain, 60) - rounds(&plain, 50), 4 * 10);
    assert_eq!(rounds(&["PIPELINING"], 60) - rounds(&["PIPELINING"], 50), 3 * 10);
}

#[test]
fn a_refused_recipient_stops_neither_the_others_nor_the_next_message() {
    for dialect in [Dialect::Smtp, Dialect::Lmtp] {
        for hidden in [&[][..], &["CHUNKING"], &["PIPELINING"], &["CHUNKING", "PIPELINING"]] {
            let store = Store::default();
            let mut work = Work::of([
                job(1, &["a@y.org", "nobody@y.org", "later@y.org", "b@y.org"], BODY),
                job(2, &["nobody@y.org"], BODY),
                job(3, &["full@y.org", "c@y.org"], BODY),
                job(4, &["d@y.org", "full@y.org"], BODY),
            ]);
            let mut wire = Wire::new(client(dialect), server(dialect), &store);
            wire.hidden = hidden;
            wire.run(&mut work).unwrap();
            assert_eq!(
                work.words(),
                "delivered failed deferred delivered failed deferred delivered delivered deferred",
                "{dialect:?} without {hidden:?}"
            );
            assert_eq!(store.count(), 3);
        }
    }
}

#[test]
fn s9_too_many_recipients_go_in_the_next_transaction_at_once() {
    for hidden in [&[][..], &["CHUNKING"], &["PIPELINING"]] {
        let store = Store::default();
        let mut config = ServerConfig::new(Dialect::Smtp, "us", Port::Fanout);
        config.limits.recipients = 2;
        let names: Vec<String> = (0..7).map(|n| format!("u{n}@y.org")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut work = Work::of([job(1, &names, BODY)]);
        let server = Server::new(config, None, false);
        let mut wire = Wire::new(client(Dialect::Smtp), server, &store);
        wire.hidden = hidden;
        wire.run(&mut work).unwrap();
        assert!(work.all().iter().all(|outcome| matches!(outcome, Outcome::Delivered(_))));
        let taken: Vec<String> = store
            .kept()
            .iter()
            .flat_map(|kept| kept.envelope.recipients().to_vec())
            .map(|recipient| recipient.path.to_string())
            .collect();
        assert_eq!((taken, store.count()), (names.iter().map(|n| n.to_string()).collect(), 4));
    }
}

#[test]
fn s9_552_means_the_same_unless_it_is_about_the_mailbox() {
    let mut scripted =
        with_extensions("PIPELINING", Work::of([job(1, &["a@y", "b@y", "c@y"], BODY)]));
    scripted.hears("250 HELP\r\n");
    scripted.hears("250 ok\r\n250 ok\r\n552 too many\r\n552 5.2.2 full\r\n354 go\r\n");
    assert_eq!(scripted.hears("250 ok\r\n"), format!("{MAIL}RCPT TO:<b@y>\r\nDATA\r\n"),);
    assert_eq!(scripted.hears("250 ok\r\n552 5.3.1 no room\r\n503 no\r\n"), "");
    assert_eq!(scripted.work.words(), "delivered failed failed");
}

#[test]
fn s6_no_wait_is_shorter_than_the_standard_asks() {
    let minutes = |minutes: u64| std::time::Duration::from_secs(60 * minutes);
    let timeouts = mail_dual::proto::Timeouts::default();
    for (phase, least) in [
        (Phase::Greeting, 5),
        (Phase::Mail, 5),
        (Phase::Rcpt, 5),
        (Phase::Data, 2),
        (Phase::Dot, 10),
    ] {
        assert!(timeouts.for_answer(phase) >= minutes(least), "{phase}");
    }
    assert!(timeouts.block >= minutes(3));
}

#[test]
fn s7_helo_when_ehlo_is_not_known_and_plain_smtp_after_it() {
    let mut scripted = Scripted::new(
        ClientConfig::new(Dialect::Smtp, "uk.example.org"),
        Work::of([job(1, &["b@y"], BODY)]),
    );
    assert_eq!(scripted.hears("220-one\r\n220 two\r\n"), "EHLO uk.example.org\r\n");
    assert_eq!(scripted.hears("502 what?\r\n"), "HELO uk.example.org\r\n");
    assert_eq!(scripted.hears("250 us\r\n"), MAIL);
    assert_eq!(scripted.hears("251 will do\r\n"), "RCPT TO:<b@y>\r\n");
    assert_eq!(scripted.hears("299 fine\r\n"), "DATA\r\n");
    assert_eq!(scripted.hears("354 go\r\n"), "Subject: a\r\n\r\n..\r\nb\r\n.\r\n");
    assert_eq!(scripted.hears("200 ok\r\n"), "");
    assert_eq!(scripted.work.words(), "delivered");
    assert_eq!(scripted.client.next(), Next::Idle);
}

#[test]
fn s8_data_needs_354_and_the_message_2yz() {
    for (answer, outcome) in [("250 ok", "deferred"), ("451 no", "deferred"), ("554 no", "failed")]
    {
        let mut scripted = with_extensions("PIPELINING", Work::of([job(1, &["b@y"], BODY)]));
        scripted.hears("250 HELP\r\n");
        assert_eq!(scripted.hears(&format!("250 ok\r\n250 ok\r\n{answer}\r\n")), "");
        assert_eq!(scripted.work.words(), outcome, "{answer}");
        // The next one is not spoiled by what is left of this.
        scripted.work.jobs.push_back(job(2, &["c@y"], BODY).into());
        scripted.client.fill(&mut scripted.work);
        assert!(scripted.hears("").starts_with("RSET\r\nMAIL"));
    }
    for (answer, outcome) in [
        ("250 ok", "delivered"),
        ("299 what", "delivered"),
        ("354 go", "in-doubt"),
        ("421 bye", "in-doubt"),
        ("451 no", "deferred"),
        ("554 no", "failed"),
        ("what?", "in-doubt"),
    ] {
        let mut scripted = with_extensions("PIPELINING", Work::of([job(1, &["b@y"], BODY)]));
        scripted.hears("250 HELP\r\n");
        scripted.hears("250 ok\r\n250 ok\r\n354 go\r\n");
        scripted.hears(&format!("{answer}\r\n"));
        assert_eq!(scripted.work.words(), outcome, "{answer}");
    }
}

#[test]
fn s10_421_and_a_refusal_to_greet_are_the_hosts_affair() {
    for (greeting, phase) in [("554 go away", Phase::Greeting), ("421 later", Phase::Greeting)] {
        let mut scripted = Scripted::new(ClientConfig::new(Dialect::Smtp, "uk"), Work::default());
        scripted.client.begin(job(1, &["b@y"], BODY).into());
        assert!(scripted.hears(&format!("{greeting}\r\n")).starts_with("! "));
        let all = scripted.work.all();
        let [Outcome::Deferred(trouble)] = all[..] else { panic!("{all:?}") };
        assert_eq!((trouble.phase, trouble.scope), (phase, Scope::Leg));
    }
    // In the middle of a flight: what was answered is done, the rest surely is not.
    let work = Work::of([job(1, &["b@y"], BODY), job(2, &["c@y"], BODY), job(3, &["d@y"], BODY)]);
    let mut scripted = with_extensions("PIPELINING CHUNKING", work);
    scripted.hears("250 HELP\r\n");
    scripted.hears("250 ok\r\n250 ok\r\n250 ok\r\n250 reset\r\n250 ok\r\n421 closing\r\n");
    assert_eq!(scripted.work.words(), "delivered deferred deferred");
}

#[test]
fn s11_every_answer_is_read_and_an_empty_transaction_gets_an_empty_message() {
    let mut scripted = with_extensions("PIPELINING", Work::of([job(1, &["b@y"], BODY)]));
    assert_eq!(scripted.hears("250 HELP\r\n"), format!("{MAIL}RCPT TO:<b@y>\r\nDATA\r\n"));
    assert_eq!(scripted.hears("250 ok\r\n"), "");
    assert_eq!(scripted.hears("550 no\r\n354 go\r\n"), ".\r\n");
    scripted.work.jobs.push_back(job(2, &["c@y"], BODY).into());
    assert_eq!(
        scripted.hears("554 nobody\r\n"),
        format!("RSET\r\n{MAIL}RCPT TO:<c@y>\r\nDATA\r\n")
    );
    // Nothing is sent behind DATA before its answer.
    scripted.work.jobs.push_back(job(3, &["d@y"], BODY).into());
    assert_eq!(scripted.hears("250 ok\r\n250 ok\r\n250 ok\r\n"), "");
    let next = format!("Subject: a\r\n\r\n..\r\nb\r\n.\r\n{MAIL}RCPT TO:<d@y>\r\nDATA\r\n");
    assert_eq!(scripted.hears("354 go\r\n"), next);
    assert_eq!(
        scripted.hears("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"),
        next[..next.find("MAIL").unwrap()]
    );
    scripted.hears("250 ok\r\n");
    assert_eq!(scripted.work.words(), "failed delivered delivered");
}

#[test]
fn over_lmtp_each_recipient_has_its_own_answer() {
    let mut scripted = Scripted::new(
        ClientConfig::new(Dialect::Lmtp, "uk"),
        Work::of([job(1, &["a@y", "b@y", "a@y", "c@y"], BODY), job(2, &["d@y"], BODY)]),
    );
    assert_eq!(scripted.hears("220 hello\r\n"), "LHLO uk\r\n");
    let sent = scripted.hears("250-us\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
    assert_eq!(sent.matches("MAIL").count(), 1, "how many answers come is not known yet: {sent}");
    scripted.hears("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n550 no\r\n");
    assert_eq!(scripted.hears("250 kept\r\n452 full\r\n"), "");
    assert!(scripted.hears("250 kept\r\n").starts_with("MAIL"));
    assert_eq!(scripted.work.outcomes.len(), 4);
    scripted.breaks();
    assert_eq!(scripted.work.words(), "delivered deferred delivered failed in-doubt");

    // A server that refuses the command itself answers once.
    let mut scripted = Scripted::new(
        ClientConfig::new(Dialect::Lmtp, "uk"),
        Work::of([job(1, &["a@y", "b@y"], BODY)]),
    );
    scripted.hears("220 hello\r\n");
    scripted.hears("250-us\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
    scripted.hears("250 ok\r\n250 ok\r\n250 ok\r\n500 what is BDAT?\r\n");
    assert_eq!(
        (scripted.work.words().as_str(), scripted.client.next()),
        ("failed failed", Next::Idle)
    );
}

#[test]
fn s24_what_a_server_cannot_take_is_not_sent_in_another_form() {
    let refusals = |extensions: &str, job: mail_dual::Job| {
        let mut scripted = with_extensions(extensions, Work::of([job]));
        assert_eq!(scripted.hears("250 HELP\r\n"), "");
        let all = scripted.work.all();
        match all[..] {
            [Outcome::Failed(trouble)] => match &trouble.cause {
                Cause::Unsuitable(reply) => reply.enhanced().unwrap().to_string(),
                other => panic!("{other:?}"),
            },
            _ => panic!("{all:?}"),
        }
    };
    assert_eq!(refusals("SIZE=10", job(1, &["b@y"], BODY)), "5.3.4");
    assert_eq!(refusals("8BITMIME", job(1, &["ä@y"], BODY)), "5.6.7");
    assert_eq!(refusals("", job(1, &["b@y"], "A: b\r\n\r\nä\r\n")), "5.6.3");
    let long = format!("A: b\r\n\r\n{}\r\n", "x".repeat(999));
    assert_eq!(refusals("PIPELINING", job(1, &["b@y"], &long)), "5.6.0");

    let mut utf8 = job(1, &["ä@y"], "Subject: ä\r\n\r\n");
    utf8.envelope.smtputf8 = true;
    let mut scripted = with_extensions("SMTPUTF8 8BITMIME SIZE=0 CHUNKING", Work::of([utf8]));
    assert_eq!(
        scripted.hears("250 HELP\r\n"),
        "MAIL FROM:<ann@example.org> SIZE=15 BODY=8BITMIME SMTPUTF8\r\n"
    );

    let mut scripted = with_extensions("CHUNKING", Work::of([job(1, &["b@y"], &long)]));
    scripted.hears("250 HELP\r\n");
    scripted.hears("250 ok\r\n");
    assert_eq!(scripted.hears("250 ok\r\n"), format!("BDAT {} LAST\r\n{long}", long.len()));
}

#[test]
fn s25_legs_are_told_to_report_nothing_and_the_peer_what_was_asked() {
    use mail_dual::{Notify, Orcpt, Ret, Xtext};
    let mut asked = job(1, &["b@y"], BODY);
    let mut recipient = asked.envelope.recipients()[0].clone();
    recipient.dsn.notify = Some(Notify::parse("SUCCESS").unwrap());
    recipient.dsn.orcpt = Some(Orcpt::parse("rfc822;x+2By@z").unwrap());
    asked.envelope = asked.envelope.for_recipients([recipient]).unwrap();
    asked.envelope.dsn.ret = Some(Ret::Hdrs);
    asked.envelope.dsn.envid = Some(Xtext::new("id+2B1").unwrap());

    let mut scripted = with_extensions("DSN PIPELINING", Work::of([asked.clone()]));
    let sent = scripted.hears("250 HELP\r\n");
    assert_eq!(sent, format!("{MAIL}RCPT TO:<b@y> NOTIFY=NEVER\r\nDATA\r\n"));

    let mut config = ClientConfig::new(Dialect::Smtp, "uk");
    config.peer = true;
    let mut scripted = Scripted::new(config, Work::of([asked.clone()]));
    scripted.hears("220 hello\r\n");
    let sent = scripted.hears("250-us\r\n250-DSN\r\n250-PIPELINING\r\n250 XDUAL\r\n");
    let id = asked.id;
    assert_eq!(
        sent,
        format!(
            "MAIL FROM:<ann@example.org> XDUAL={id} RET=HDRS ENVID=id+2B1\r\n\
             RCPT TO:<b@y> NOTIFY=SUCCESS ORCPT=rfc822;x+2By@z\r\nDATA\r\n"
        )
    );
}

#[test]
fn a_peer_that_is_none_gets_nothing_and_one_that_is_remembers() {
    let mut config = ClientConfig::new(Dialect::Lmtp, "uk");
    config.peer = true;
    let mut scripted = Scripted::new(config.clone(), Work::default());
    scripted.client.begin(job(1, &["b@y"], BODY).into());
    scripted.hears("220 hello\r\n");
    assert!(scripted.hears("250 us\r\n").contains("no peer relay"));
    assert_eq!(scripted.work.words(), "deferred");

    let store = Store::default();
    let mut work = Work::of([job(5, &["b@y.org"], BODY)]);
    let server = Server::new(ServerConfig::new(Dialect::Lmtp, "us", Port::Peer), None, false);
    let mut wire = Wire::new(Client::new(config, false), server, &store);
    wire.run(&mut work).unwrap();
    let id = job(5, &["b@y.org"], BODY).id;
    for (recipient, presence) in [("b@y.org", Presence::Present), ("c@y.org", Presence::Absent)] {
        wire.client.ask(id, &path(recipient));
        wire.run(&mut work).unwrap();
        assert_eq!(wire.client.answer(), Some(presence));
    }
}

#[test]
fn passwords_go_over_tls_only_and_show_nowhere() {
    let mut config = ClientConfig::new(Dialect::Smtp, "uk");
    config.credentials = Some(Credentials::new("ann", "secret"));
    let hello = "250-us\r\n250 AUTH LOGIN PLAIN\r\n";
    let mut scripted = Scripted::new(config.clone(), Work::default());
    scripted.hears("220 hello\r\n");
    let sent = scripted.hears(hello);
    assert!(sent.contains("over TLS only") && !sent.contains("AUTH PLAIN"), "{sent}");

    let secured = |extensions: &str| {
        let client = Client::new(config.clone(), true);
        let mut scripted = Scripted { client, work: Work::default() };
        scripted.hears("220 hello\r\n");
        let sent = scripted.hears(&format!("250-us\r\n250 AUTH {extensions}\r\n"));
        (scripted, sent)
    };
    let (mut plain, sent) = secured("LOGIN PLAIN");
    assert_eq!(sent, "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n");
    assert!(!plain.client.is_ready());
    plain.hears("235 2.7.0 ok\r\n");
    assert!(plain.client.is_ready());
    let (mut login, sent) = secured("LOGIN");
    assert_eq!(sent, "AUTH LOGIN\r\n");
    assert_eq!(login.hears("334 VXNlcm5hbWU6\r\n"), "YW5u\r\n");
    assert_eq!(login.hears("334 UGFzc3dvcmQ6\r\n"), "c2VjcmV0\r\n");
    let refused = login.hears("535 5.7.8 no\r\n");
    assert_eq!(refused, "! AUTH: 535 5.7.8 no");
    for text in [format!("{:?}", login.client), format!("{config:?}")] {
        assert!(!text.contains("secret") && !text.contains("c2VjcmV0"), "{text}");
    }
}

#[test]
fn what_comes_behind_the_answer_to_starttls_ends_the_session() {
    let mut config = ClientConfig::new(Dialect::Smtp, "uk");
    config.starttls = true;
    let start = |offer: &str| {
        let mut scripted = Scripted::new(config.clone(), Work::default());
        scripted.client.begin(job(1, &["b@y"], BODY).into());
        scripted.hears("220 hello\r\n");
        let sent = scripted.hears(&format!("250-us\r\n250 {offer}\r\n"));
        (scripted, sent)
    };
    let (mut scripted, sent) = start("starttls");
    assert_eq!(sent, "STARTTLS\r\n");
    let told = scripted.hears("220 go\r\n250-evil.example.org\r\n250 AUTH PLAIN\r\n");
    assert!(told.starts_with("! TLS: the server sent more behind"), "{told}");
    assert_eq!((scripted.client.next(), scripted.work.words().as_str()), (Next::Idle, "deferred"));

    // Half a line is too much as well.
    let (mut scripted, _) = start("STARTTLS");
    assert!(scripted.hears("220 go\r\n2").starts_with("! TLS"));

    let (mut scripted, _) = start("STARTTLS");
    scripted.hears("220 go\r\n");
    assert_eq!(scripted.client.next(), Next::Handshake);
    scripted.client.secured();
    assert_eq!(scripted.hears(""), "EHLO uk\r\n");
    // What was said before the handshake is forgotten.
    assert!(!scripted.client.capabilities().starttls);

    for refusal in ["454 not now\r\n", "554 no\r\n"] {
        let (mut scripted, _) = start("STARTTLS");
        assert!(scripted.hears(refusal).starts_with("! TLS"));
        assert_eq!(scripted.work.words(), "deferred");
    }
    let (scripted, sent) = start("HELP");
    assert_eq!(sent, "! TLS: the server does not offer STARTTLS");
    assert_eq!(scripted.work.words(), "deferred");
}

#[test]
fn a_message_that_is_called_back_is_not_completed() {
    for hidden in [&[][..], &["CHUNKING"], &["PIPELINING"], &["CHUNKING", "PIPELINING"]] {
        let store = Store::default();
        let mut work = Work::of([job(1, &["b@y.org"], BODY)]);
        work.call_back = true;
        let mut wire = Wire::new(client(Dialect::Smtp), server(Dialect::Smtp), &store);
        wire.hidden = hidden;
        let _ = wire.run(&mut work);
        assert_eq!((work.words().as_str(), store.count()), ("deferred", 0), "{hidden:?}");
    }
}

const HIDINGS: [&[&str]; 4] = [&[], &["CHUNKING"], &["PIPELINING"], &["CHUNKING", "PIPELINING"]];

/// Whether what the client says of each recipient is true of what the server kept.
fn check(store: &Store, work: &Work, jobs: &[mail_dual::Job]) -> Result<(), TestCaseError> {
    let kept = store.kept();
    for job in jobs {
        for (index, recipient) in job.envelope.recipients().iter().enumerate() {
            let times = kept
                .iter()
                .filter(|kept| kept.message == job.message)
                .filter(|kept| {
                    kept.envelope.recipients().iter().any(|one| one.path == recipient.path)
                })
                .count();
            let outcomes = work.outcomes.get(&(job.id, index)).map_or(&[][..], |all| all);
            prop_assert_eq!(outcomes.len(), 1, "{:?} {}", job.id, index);
            let told = word(&outcomes[0]);
            let true_word = match told {
                "delivered" => times == 1,
                "in-doubt" => times <= 1,
                _ => times == 0,
            };
            prop_assert!(true_word, "{} but kept {} times", told, times);
            if told == "in-doubt" || told == "delivered" {
                let committed = work
                    .committed
                    .iter()
                    .any(|(id, recipients)| *id == job.id && recipients.contains(&index));
                prop_assert!(committed, "not noted before");
            }
        }
    }
    Ok(())
}

#[test]
fn s1_a_connection_cut_after_every_byte_loses_and_doubles_nothing() {
    for dialect in [Dialect::Smtp, Dialect::Lmtp] {
        for hidden in HIDINGS {
            let jobs = [
                job(1, &["a@y.org", "nobody@y.org", "b@y.org"], "A: 1\r\n\r\none\r\n"),
                job(2, &["c@y.org"], "A: 2\r\n\r\n.\r\n"),
                job(3, &["d@y.org"], "A: 3\r\n\r\nthree\r\n"),
            ];
            let mut doubts = 0;
            for cut in 1.. {
                let store = Store::default();
                let mut work = Work::of(jobs.clone());
                let mut wire = Wire::new(client(dialect), server(dialect), &store);
                wire.hidden = hidden;
                wire.step = 1;
                wire.cut = cut;
                let ended = wire.run(&mut work);
                // What was never asked for is still there.
                for job in std::mem::take(&mut work.jobs) {
                    for index in 0..job.envelope.recipients().len() {
                        let trouble = mail_dual::Trouble::io(Phase::Connect, "not begun");
                        work.outcomes.insert((job.id, index), vec![Outcome::Deferred(trouble)]);
                    }
                }
                check(&store, &work, &jobs).unwrap();
                doubts += usize::from(work.words().contains("in-doubt"));
                if ended.is_ok() {
                    break;
                }
            }
            assert!(doubts > 0, "the gap between the end and its answer was met");
        }
    }
}

proptest! {
    #[test]
    fn no_recipient_is_lost_or_doubled(
        lmtp: bool,
        hiding in 0usize..4,
        step in 1usize..200,
        cut in prop_oneof![Just(usize::MAX), 1usize..3000],
        sizes in proptest::collection::vec((proptest::collection::vec("(u[0-9]|nobody|later|full)@y[.]org", 1..5), "[.a\r\n]{0,30}"), 0..8),
        refusal in proptest::option::of((400u16..600).prop_filter("421 says more", |code| *code != 421)),
        window in 1usize..5,
    ) {
        let dialect = if lmtp { Dialect::Lmtp } else { Dialect::Smtp };
        let store = Store::default();
        *store.accept.lock().unwrap() = refusal.map(|code| reply(code, "no"));
        let jobs: Vec<mail_dual::Job> = (0u128..)
            .zip(&sizes)
            .map(|(number, (recipients, body))| {
                let mut recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
                recipients.sort_unstable();
                recipients.dedup();
                let body = body.replace(['\r', '\n'], "\r\n");
                job(number, &recipients, &format!("Number: {number}\r\n\r\n{body}"))
            })
            .collect();
        let mut config = ClientConfig::new(dialect, "uk");
        config.window = window;
        config.recipients = window + 1;
        let mut work = Work::of(jobs.clone());
        let mut wire = Wire::new(Client::new(config, false), server(dialect), &store);
        wire.hidden = HIDINGS[hiding];
        wire.step = step;
        wire.cut = cut;
        let ended = wire.run(&mut work);
        let at_a_loss = refusal.is_some_and(|code| (500..=504).contains(&code));
        prop_assert!(cut != usize::MAX || ended.is_ok() || at_a_loss, "{:?}", ended);
        let taken: Vec<_> = jobs.into_iter().filter(|job| !work.jobs.iter().any(|left| left.id == job.id)).collect();
        check(&store, &work, &taken)?;
        // Nothing that a server could take for another end ever left.
        let sent = String::from_utf8_lossy(&wire.to_server).replace("\r\n", "");
        let sent = sent.strip_suffix('\r').unwrap_or(&sent);
        prop_assert!(!sent.contains(['\r', '\n', '\0']));
    }

    #[test]
    fn whatever_a_message_is_made_of_its_end_is_the_only_one(
        bytes in proptest::collection::vec(prop_oneof![
            4 => Just(b'\r'), 4 => Just(b'\n'), 4 => Just(b'.'), 1 => Just(0u8), 2 => any::<u8>()
        ], 0..60),
        local: bool,
        hiding in 0usize..4,
    ) {
        use mail_dual::RawMessage;
        let made = if local { RawMessage::from_local(&bytes) } else { RawMessage::new(&bytes) };
        if let Ok(message) = made {
            let store = Store::default();
            let mut sent = job(1, &["b@y.org"], "");
            sent.message = message.clone();
            let mut work = Work::of([sent]);
            let mut wire = Wire::new(client(Dialect::Smtp), server(Dialect::Smtp), &store);
            wire.hidden = HIDINGS[hiding];
            wire.run(&mut work).unwrap();
            prop_assert_eq!(work.words(), "delivered");
            prop_assert_eq!(store.bodies(), [message.as_bytes()]);
            let sent = wire.to_server.iter().map(|&byte| char::from(byte)).collect::<String>();
            let bare = sent.replace("\r\n", "");
            prop_assert!(!bare.contains(['\r', '\n', '\0']));
            if HIDINGS[hiding].contains(&"CHUNKING") {
                let begun = sent.find("DATA\r\n").unwrap() + 4;
                prop_assert_eq!(sent[begun..].find("\r\n.\r\n").unwrap() + begun + 5, sent.len());
            }
        }
    }

    #[test]
    fn any_bytes_leave_the_client_standing(
        lmtp: bool,
        pieces in proptest::collection::vec(prop_oneof![
            "(220|250|354|421|450|503|550|252)[ -][A-Z ]{0,10}\r\n".prop_map(String::into_bytes),
            Just(b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..10),
        ], 0..30),
    ) {
        let dialect = if lmtp { Dialect::Lmtp } else { Dialect::Smtp };
        let mut work = Work::of((0..5).map(|n| job(n, &["a@y", "b@y"], BODY)));
        let mut client = client(dialect);
        for piece in pieces {
            if client.receive(&piece, &mut work).is_err() {
                break;
            }
            let count = client.outbox().next().len();
            client.outbox().advance(count);
        }
        let trouble = mail_dual::Trouble::io(client.phase(), "over");
        client.fail(trouble, &mut work);
        for outcomes in work.outcomes.values() {
            prop_assert_eq!(outcomes.len(), 1);
        }
        prop_assert_eq!(work.outcomes.len() + 2 * work.jobs.len(), 10);
    }
}
