//! A journal replays to the same bytes, and whatever a crash leaves of it is taken up again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use dns_failover::decision::{Effect, Event, Policy, PolicyConfig, Report, State, Timestamp};
use dns_failover::journal::{Entry, JournalDir, JournalError, Record, Writer, read, replay};

fn policy() -> Policy {
    Policy::new(PolicyConfig::example()).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_795_374_000_000 + seconds * 1000)
}

/// Two minutes in which the UK goes down and comes back.
fn events() -> Vec<(Event, Timestamp)> {
    let mut events = Vec::new();
    for second in (0..120).step_by(2) {
        for observer in ["london", "newyork", "zurich"] {
            let uk = !(30..70).contains(&second);
            let report = Report::new(observer.parse().unwrap(), at(second));
            let report = report.saw("web", "uk", uk).unwrap().saw("web", "us", true).unwrap();
            events.push((Event::Observed(report), at(second)));
        }
        events.push((Event::Tick, at(second + 1)));
    }
    events
}

fn write(policy: &Policy) -> (String, Vec<State>) {
    let mut writer = Writer::default();
    let mut state = policy.start(at(0));
    let first = Entry { at: at(0), what: Record::State(Box::new(state.clone())) };
    let mut text = writer.header().to_owned() + &writer.line(&first);
    let mut states = vec![state.clone()];
    for (event, now) in events() {
        let (next, effects) = policy.step(state, &event, now);
        state = next;
        text += &writer.line(&Entry { at: now, what: Record::Event(event) });
        if !effects.is_empty() {
            text += &writer.line(&Entry { at: now, what: Record::Effects(effects) });
        }
        states.push(state.clone());
    }
    (text, states)
}

#[test]
fn a_journal_replays_to_the_same_bytes() {
    let policy = policy();
    let (text, states) = write(&policy);
    let reading = read(text.as_bytes()).unwrap();
    assert_eq!((reading.lost, reading.whole), (0, text.len()));
    let state = replay(&policy, &reading.entries).unwrap();
    assert_eq!(
        serde_json::to_string(&state).unwrap(),
        serde_json::to_string(states.last().unwrap()).unwrap()
    );
    let mut writer = Writer::default();
    let again: String = reading.entries.iter().map(|entry| writer.line(entry)).collect();
    assert_eq!(writer.header().to_owned() + &again, text);
    let decided = |entry: &Entry| match &entry.what {
        Record::Effects(effects) => effects.iter().any(|of| matches!(of, Effect::Decided(_))),
        _ => false,
    };
    assert_eq!(reading.entries.iter().filter(|entry| decided(entry)).count(), 1);
}

/// Cut anywhere, it leads to the state after its last whole event; and going on from there with the
/// events that are left comes to the same end.
#[test]
fn a_crash_at_any_octet_reaches_the_same_state() {
    let policy = policy();
    let (text, states) = write(&policy);
    let all = events();
    let mut ends = std::collections::BTreeSet::new();
    for cut in 0..=text.len() {
        // Within a line it is all the same where, so look closely at its ends only.
        let near =
            text.as_bytes()[cut.saturating_sub(2)..(cut + 2).min(text.len())].contains(&b'\n');
        if !near && cut % 97 != 0 {
            continue;
        }
        let reading = read(&text.as_bytes()[..cut]).unwrap();
        assert_eq!(reading.whole.max(cut - reading.lost), cut - reading.lost);
        if reading.entries.is_empty() {
            continue;
        }
        let mut state = replay(&policy, &reading.entries).unwrap();
        let done = reading.entries.iter().filter(|of| matches!(of.what, Record::Event(_))).count();
        assert_eq!(state, states[done], "cut at {cut}");
        ends.insert(done);
        for (event, now) in &all[done..] {
            state = policy.step(state, event, *now).0;
        }
        assert_eq!(&state, states.last().unwrap(), "cut at {cut}");
    }
    assert_eq!(ends.len(), all.len() + 1);
}

#[test]
fn a_changed_octet_ends_what_is_believed() {
    let (text, _) = write(&policy());
    let whole = read(text.as_bytes()).unwrap();
    for place in (24..text.len()).step_by(211) {
        let mut damaged = text.clone().into_bytes();
        damaged[place] ^= 1;
        let reading = read(&damaged).unwrap();
        assert!(reading.lost > 0 && reading.whole <= place, "at {place}");
        assert_eq!(reading.entries, whole.entries[..reading.entries.len()]);
    }
    assert!(read(b"something else\n").is_err());
    assert!(read(text.replacen("journal 1", "journal 2", 1).as_bytes()).is_err());
}

#[test]
fn the_form_on_disk_is_the_one_that_was_agreed_on() {
    let mut writer = Writer::default();
    let policy = policy();
    let mut text = writer.header().to_owned();
    let state = Box::new(policy.start(at(0)));
    text += &writer.line(&Entry { at: at(0), what: Record::State(state) });
    let (event, now) = events().remove(0);
    text += &writer.line(&Entry { at: now, what: Record::Event(event) });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/journal.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap());
}

/// Runs a controller's journal in a folder, and stops it after every event.
#[test]
fn a_folder_is_taken_up_after_every_event() {
    let policy = policy();
    let folder = tempfile::tempdir().unwrap();
    let (_, states) = write(&policy);
    let (mut dir, state, notes) = JournalDir::open(folder.path(), &policy).unwrap();
    assert!(state.is_none() && notes.is_empty());
    let mut state = policy.start(at(0));
    dir.begin(&state, at(0)).unwrap();
    for ((event, now), expected) in events().iter().zip(&states[1..]) {
        let (next, effects) = policy.step(state, event, *now);
        dir.append(event, &effects, &next, *now).unwrap();
        drop(dir);
        let (opened, stored, notes) = JournalDir::open(folder.path(), &policy).unwrap();
        assert!(notes.is_empty(), "{notes:?}");
        dir = opened;
        state = stored.unwrap();
        assert_eq!(&state, expected);
    }
    assert!(matches!(
        JournalDir::open(folder.path(), &policy).unwrap_err(),
        JournalError::Busy { .. }
    ));
    let history = JournalDir::history(folder.path()).unwrap();
    let decided = history.entries.iter().filter(|(_, of)| matches!(of, Effect::Decided(_)));
    assert_eq!(decided.count(), 1);
    assert_eq!(JournalDir::peek(folder.path(), &policy).unwrap().as_ref(), states.last());
}

#[test]
fn a_line_that_was_cut_off_is_left_out_and_told() {
    let policy = policy();
    let folder = tempfile::tempdir().unwrap();
    let (text, states) = write(&policy);
    fs::write(folder.path().join("journal"), &text[..text.len() - 5]).unwrap();
    let (_dir, state, notes) = JournalDir::open(folder.path(), &policy).unwrap();
    assert_eq!(state.unwrap(), states[states.len() - 2]);
    assert!(notes[0].contains("cut off"), "{notes:?}");
    // What was decided then is in the history now.
    let history = JournalDir::history(folder.path()).unwrap();
    assert!(!history.entries.is_empty());
}

/// A bad sector in the middle takes what comes after it out of what can be believed, not off the disk.
#[test]
fn what_comes_after_damage_is_put_aside() {
    let policy = policy();
    let (text, states) = write(&policy);
    for name in ["journal", "history"] {
        let folder = tempfile::tempdir().unwrap();
        let mut damaged = text.clone().into_bytes();
        let place = text.len() / 2;
        damaged[place] ^= 1;
        fs::write(folder.path().join(name), &damaged).unwrap();
        let (dir, state, notes) = JournalDir::open(folder.path(), &policy).unwrap();
        drop(dir);
        assert!(notes.len() == 1 && notes[0].contains(".damaged"), "{notes:?}");
        let whole = fs::read(folder.path().join(name)).unwrap();
        assert!(whole.len() <= place && damaged.starts_with(&whole));
        let aside = fs::read(folder.path().join(format!("{name}.damaged"))).unwrap();
        assert_eq!([whole, aside].concat(), damaged);
        if name == "journal" {
            assert!(states.contains(&state.unwrap()), "an earlier one of its states");
        }
        // The next start finds nothing wrong.
        let (_, _, notes) = JournalDir::open(folder.path(), &policy).unwrap();
        assert!(notes.is_empty(), "{notes:?}");
    }
}

#[test]
fn a_journal_of_other_rules_keeps_where_things_are() {
    let folder = tempfile::tempdir().unwrap();
    let (text, _) = write(&policy());
    fs::write(folder.path().join("journal"), &text).unwrap();
    let mut config = PolicyConfig::example();
    config.thresholds.fall = 4;
    config.observers[2].id = "geneva".parse().unwrap();
    let policy = Policy::new(config).unwrap();
    let (_dir, state, notes) = JournalDir::open(folder.path(), &policy).unwrap();
    assert!(notes[0].contains("rules were changed"), "{notes:?}");
    assert_eq!(state.unwrap().services().len(), 1);
}
