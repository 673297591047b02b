//! Peers that lie about what is remembered.

use super::*;
use crate::wire::gist::GISTS_MAX;
use crate::wire::link::BYE;

/// Pulls from an agent whose tree holds a directory `d`, remembers that, and pulls again from one
/// that answers the scan with these messages.
fn pull_again(answer: Vec<Scanned>) -> (Result<Report, Error>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let (target, state) = (folder.path().join("target"), folder.path().join("state"));
    fs::create_dir(&target).unwrap();
    let honest = vec![root(), part("", vec![directory("d")]), part("d", vec![]), Scanned::End];
    let mut ran = None;
    for (round, messages) in [honest, answer].into_iter().enumerate() {
        let (ours, theirs) = memory_pair().unwrap();
        let ending = theirs.ending.clone();
        ran = Some(thread::scope(|scope| {
            scope.spawn(move || {
                let mut speaker = Speaker::new(theirs, Role::Agent);
                speaker.welcome(Capabilities::all());
                let (stream, _, request) = speaker.hear().unwrap();
                let Ok(Request::Scan(order)) = decode(&request) else { panic!("not a scan") };
                assert_eq!(order.known.is_some(), round == 1, "what is remembered is told");
                for message in &messages {
                    speaker.say(stream, message);
                }
                speaker.raw(stream, CLOSE, &[]);
                speaker.raw(0, BYE, &[]);
                speaker.drain();
            });
            let source = RemoteTree::connect(ours, "evil", &RemoteOptions::default());
            let ran = source.and_then(|source| {
                let target = LocalTree::open(&target)?;
                let mirror = Mirror::new(&source, &target).state(&state);
                mirror.plan()?.approve(&Guards::default())?.apply()
            });
            ending.close();
            ran
        }));
        let names = fs::read_dir(&target).unwrap().count();
        assert_eq!(names, 1, "round {round}: `d` and nothing else");
    }
    (ran.unwrap(), Vec::new())
}

fn known(directories: u32) -> Known {
    Known { directories, ..Known::default() }
}

#[test]
fn an_agent_that_says_all_is_known_is_believed_as_if_it_had_listed_it() {
    let (ran, _) = pull_again(vec![root(), Scanned::Known(known(2)), Scanned::End]);
    let report = ran.unwrap();
    assert_eq!((report.counts.total(), report.entries), (0, 1));
}

#[test]
fn s15_s22_s25_an_agent_that_lies_about_what_is_remembered_is_cut_off() {
    let holes = |name_of: &str| vec![(name(name_of), 0)];
    for (what, messages) in [
        ("more directories than there are", vec![Scanned::Known(known(3))]),
        ("fewer", vec![Scanned::Known(known(1)), Scanned::End]),
        ("none at all", vec![Scanned::Known(known(0))]),
        ("unknown flags", vec![Scanned::Known(Known { flags: 64, ..known(1) })]),
        ("an incomplete one", vec![Scanned::Known(Known { flags: INCOMPLETE, ..known(1) })]),
        ("holes in several", vec![Scanned::Known(Known { holes: holes("d"), ..known(2) })]),
        ("holes in nothing", vec![Scanned::Known(Known { holes: holes("e"), ..known(1) })]),
        ("asked twice", vec![Scanned::Differs, Scanned::Differs]),
        (
            "in the middle of a directory",
            vec![
                Scanned::Directory(DirectoryPart {
                    entries: vec![directory("d")],
                    flags: MORE,
                    ..DirectoryPart::default()
                }),
                Scanned::Known(known(1)),
            ],
        ),
    ] {
        let messages = [vec![root()], messages].concat();
        assert_cut_off(pull_again(messages), what);
    }
    // Where nothing is remembered nothing is known.
    for message in [Scanned::Known(known(1)), Scanned::Differs] {
        assert_cut_off(pull(listing(vec![root(), message])), "nothing is remembered");
    }
}

#[test]
fn s14_a_caller_that_remembers_more_than_is_kept_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = memory_pair().unwrap();
    let config = AgentConfig::new(folder.path());
    let agent = thread::spawn(move || serve(theirs, &config));
    let mut speaker = Speaker::new(ours, Role::Caller);
    speaker.say(0, &Hello { versions: VERSIONS, program: "evil".to_owned() });
    let (path, standing) = (Bytes::default(), Standing::default());
    speaker.say(0, &Enter { path, may_be_missing: false, standing });
    let order = ScanOrder {
        fidelity: Fidelity::Archive,
        one_file_system: false,
        filter: crate::Filter::default(),
        hide_excluded: true,
        known: Some(Digest::of(b"nothing like it")),
    };
    speaker.raw(1, OPEN, &encode(&Request::Scan(order)));
    let gists = Gists(vec![[1; 16]; 50_000]);
    for _ in 0..=GISTS_MAX / gists.0.len() {
        if !speaker.say(1, &gists) {
            break;
        }
    }
    speaker.drain();
    match agent.join().unwrap() {
        Err(Error::Link { source: LinkError::Protocol(why), .. }) => {
            assert!(why.starts_with("S14"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}
