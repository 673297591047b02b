//! Faults at every call, and links planted before every call.

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::disk::{Disk, Kernel, Status};
use super::{Document, Existing, FileError, Inspection, KeyFiles};
use crate::permissions::Accounts;

/// What happens at call `at`.
enum Fault {
    /// It fails, and all others succeed.
    Error(Errno),
    /// It and all that follow fail: the process is gone as far as the disk can tell.
    Stop,
    /// Somebody does something just before it.
    Before(Box<dyn Fn() + Send + Sync>),
}

struct Faulty {
    at: u64,
    fault: Fault,
    calls: AtomicU64,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faulty").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Faulty {
    fn new(at: u64, fault: Fault) -> Arc<Faulty> {
        Arc::new(Faulty { at, fault, calls: AtomicU64::new(0) })
    }

    fn gate(&self) -> io::Result<Kernel> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match &self.fault {
            Fault::Error(errno) if call == self.at => Err((*errno).into()),
            Fault::Stop if call >= self.at => Err(Errno::IO.into()),
            Fault::Before(act) if call == self.at => {
                act();
                Ok(Kernel)
            }
            _ => Ok(Kernel),
        }
    }

    /// Whether the run was over before the call that was to fail.
    fn was_out_of_reach(&self) -> bool {
        self.calls.load(Ordering::Relaxed) <= self.at
    }
}

type Dir<'a> = BorrowedFd<'a>;

impl Disk for Faulty {
    fn start(&self, absolute: bool) -> io::Result<OwnedFd> {
        self.gate()?.start(absolute)
    }
    fn hold(&self, dir: Dir<'_>, name: &[u8]) -> io::Result<OwnedFd> {
        self.gate()?.hold(dir, name)
    }
    fn open_directory(&self, held: Dir<'_>) -> io::Result<OwnedFd> {
        self.gate()?.open_directory(held)
    }
    fn open_held(&self, held: Dir<'_>) -> io::Result<OwnedFd> {
        self.gate()?.open_held(held)
    }
    fn names(&self, dir: Dir<'_>, most: usize) -> io::Result<Option<Vec<Vec<u8>>>> {
        self.gate()?.names(dir, most)
    }
    fn read_link(&self, held: Dir<'_>) -> io::Result<Vec<u8>> {
        self.gate()?.read_link(held)
    }
    fn status(&self, file: Dir<'_>) -> io::Result<Status> {
        self.gate()?.status(file)
    }
    fn status_at(&self, dir: Dir<'_>, name: &[u8]) -> io::Result<Option<Status>> {
        self.gate()?.status_at(dir, name)
    }
    fn open(&self, dir: Dir<'_>, name: &[u8]) -> io::Result<OwnedFd> {
        self.gate()?.open(dir, name)
    }
    fn create(&self, dir: Dir<'_>, name: &[u8]) -> io::Result<OwnedFd> {
        self.gate()?.create(dir, name)
    }
    fn open_or_create(&self, dir: Dir<'_>, name: &[u8]) -> io::Result<OwnedFd> {
        self.gate()?.open_or_create(dir, name)
    }
    fn make_directory(&self, dir: Dir<'_>, name: &[u8]) -> io::Result<()> {
        self.gate()?.make_directory(dir, name)
    }
    fn read(&self, file: Dir<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        self.gate()?.read(file, buffer)
    }
    fn write(&self, file: Dir<'_>, bytes: &[u8]) -> io::Result<usize> {
        // One byte at first, so that there is a call with half of it written.
        self.gate()?.write(file, &bytes[..bytes.len().min(1 + bytes.len() / 2)])
    }
    fn set_mode(&self, file: Dir<'_>, mode: u32) -> io::Result<()> {
        self.gate()?.set_mode(file, mode)
    }
    fn set_held_mode(&self, held: Dir<'_>, mode: u32) -> io::Result<()> {
        self.gate()?.set_held_mode(held, mode)
    }
    fn set_owner(&self, file: Dir<'_>, uid: u32, gid: u32) -> io::Result<()> {
        self.gate()?.set_owner(file, uid, gid)
    }
    fn sync(&self, file: Dir<'_>) -> io::Result<()> {
        self.gate()?.sync(file)
    }
    fn link(&self, dir: Dir<'_>, from: &[u8], to: &[u8]) -> io::Result<()> {
        self.gate()?.link(dir, from, to)
    }
    fn rename(&self, dir: Dir<'_>, from: &[u8], to: &[u8]) -> io::Result<()> {
        self.gate()?.rename(dir, from, to)
    }
    fn exchange(&self, dir: Dir<'_>, one: &[u8], other: &[u8]) -> io::Result<()> {
        self.gate()?.exchange(dir, one, other)
    }
    fn unlink(&self, dir: Dir<'_>, name: &[u8]) -> io::Result<()> {
        self.gate()?.unlink(dir, name)
    }
    fn lock(&self, file: Dir<'_>) -> io::Result<()> {
        self.gate()?.lock(file)
    }
}

type Pair = (Option<String>, Option<String>);

fn pair(path: &Path) -> Pair {
    let public = path.with_extension("pub");
    (fs::read_to_string(path).ok(), fs::read_to_string(public).ok())
}

fn of(text: &str) -> Pair {
    (Some(format!("private {text}")), Some(format!("public {text}")))
}

fn write(
    disk: Arc<dyn Disk>,
    path: &Path,
    text: &str,
    existing: Existing,
) -> Result<(), FileError> {
    let (private, public) = of(text);
    let bytes = |text: Option<String>| text.unwrap_or_default().into_bytes();
    KeyFiles::on(disk, path).write(&bytes(private), &bytes(public), existing)
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs `each` for call 0, 1, … until a run ends before its call is reached.
fn at_every_call(mut each: impl FnMut(u64) -> Arc<Faulty>) {
    for at in 0..1000 {
        if each(at).was_out_of_reach() {
            assert!(at > 10, "the faults were not reached");
            return;
        }
    }
    panic!("a run of a thousand calls");
}

#[test]
fn an_error_at_any_call_leaves_the_old_pair_or_the_new_one_and_no_litter() {
    for errno in [Errno::IO, Errno::NOSPC] {
        for (old, existing) in [(None, Existing::Refuse), (Some("old"), Existing::Replace)] {
            at_every_call(|at| {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("id");
                if let Some(old) = old {
                    write(Arc::new(Kernel), &path, old, Existing::Refuse).unwrap();
                }
                let before = pair(&path);
                let disk = Faulty::new(at, Fault::Error(errno));
                let written = write(disk.clone(), &path, "new", existing);
                let after = pair(&path);
                assert!(after == before || after == of("new"), "{at} {written:?}: {after:?}");
                assert!(written.is_err() || after == of("new"), "{at}: {after:?}");
                // Where removing a temporary name failed, the next run does it.
                write(Arc::new(Kernel), &path, "next", Existing::Replace).unwrap();
                assert_eq!(pair(&path), of("next"));
                assert_eq!(names_in(folder.path()), ["id", "id.pub"]);
                disk
            });
        }
    }
}

#[test]
fn a_stop_at_any_call_leaves_the_old_key_or_the_new_one_never_with_a_strange_public_key() {
    for (old, existing) in [(None, Existing::Refuse), (Some("old"), Existing::Replace)] {
        at_every_call(|at| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("id");
            if let Some(old) = old {
                write(Arc::new(Kernel), &path, old, Existing::Refuse).unwrap();
            }
            let before = pair(&path);
            let disk = Faulty::new(at, Fault::Stop);
            let _ = write(disk.clone(), &path, "new", existing);
            let (private, public) = pair(&path);
            for (old, new, now) in
                [(&before.0, of("new").0, &private), (&before.1, of("new").1, &public)]
            {
                assert!(now.is_none() || now == old || *now == new, "{at}: {now:?}");
            }
            // A new public key may be there before its private one, but never beside another.
            let strange = private.is_some() && public.is_some();
            assert!(!strange || pair(&path) == before || pair(&path) == of("new"), "{at}");
            assert!(before.0.is_none() || private.is_some(), "{at}: the key is gone");
            // The next run ends what was begun, and finds either pair, whole.
            let next = KeyFiles::new(&path).write(b"private x", b"public x", Existing::Refuse);
            match next {
                Ok(()) => assert!(old.is_none() && private.is_none(), "{at}"),
                Err(FileError::Exists { .. }) => {
                    assert!(pair(&path) == before || pair(&path) == of("new"), "{at}");
                }
                Err(error) => panic!("{at}: {error}"),
            }
            assert_eq!(names_in(folder.path()), ["id", "id.pub"], "{at}");
            disk
        });
    }
}

fn edit(disk: Arc<dyn Disk>, path: &Path, content: &str) -> Result<(), FileError> {
    Document::read_on(disk, path)?.replace(content.as_bytes())
}

#[test]
fn a_fault_at_any_call_leaves_the_old_document_or_the_new_one() {
    for old in [None, Some("old\n")] {
        for stop in [false, true] {
            at_every_call(|at| {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join(".ssh/authorized_keys");
                if let Some(old) = old {
                    edit(Arc::new(Kernel), &path, old).unwrap();
                }
                let fault = if stop { Fault::Stop } else { Fault::Error(Errno::NOSPC) };
                let disk = Faulty::new(at, fault);
                let edited = edit(disk.clone(), &path, "new\n");
                let now = fs::read_to_string(&path).ok();
                assert!(now.as_deref() == old || now.as_deref() == Some("new\n"), "{at}: {now:?}");
                assert!(edited.is_err() || now.as_deref() == Some("new\n"), "{at}");
                edit(Arc::new(Kernel), &path, "next\n").unwrap();
                assert_eq!(names_in(path.parent().unwrap()), ["authorized_keys"], "{at}");
                disk
            });
        }
    }
}

/// Another program writes the file, by any way there is, before any call.
#[test]
fn what_another_writer_does_at_any_call_is_never_lost() {
    let appended = |path: &Path| {
        use std::io::Write;
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(b"theirs\n").unwrap();
    };
    let renamed = |path: &Path| {
        let beside = path.with_extension("theirs");
        let mut content = fs::read(path).unwrap_or_default();
        content.extend_from_slice(b"theirs\n");
        fs::write(&beside, content).unwrap();
        fs::rename(beside, path).unwrap();
    };
    let ways: [fn(&Path); 2] = [appended, renamed];
    for way in ways {
        at_every_call(|at| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("authorized_keys");
            fs::write(&path, "old\n").unwrap();
            let theirs = path.clone();
            let disk = Faulty::new(at, Fault::Before(Box::new(move || way(&theirs))));
            let read = Document::read_on(disk.clone(), &path);
            let edited = read.and_then(|read| {
                let mut content = read.content().to_vec();
                content.extend_from_slice(b"ours\n");
                read.replace(&content)
            });
            let now = fs::read_to_string(&path).unwrap();
            assert!(now.contains("theirs") || disk.was_out_of_reach(), "{at} {edited:?}: {now}");
            assert!(edited.is_err() || now.contains("ours"), "{at}: {now}");
            disk
        });
    }
}

const VICTIM: u32 = 54321;
const ATTACKER: u32 = 54322;

/// Somebody's home, and a folder that is none of theirs.
struct Homes {
    folder: tempfile::TempDir,
}

impl Homes {
    fn new() -> Homes {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let homes = Homes { folder };
        for (path, owner) in [(homes.home(), VICTIM), (homes.outside(), 0)] {
            fs::create_dir(&path).unwrap();
            chown(&path, Some(owner), Some(owner)).unwrap();
        }
        fs::create_dir(homes.home().join(".ssh")).unwrap();
        chown(homes.home().join(".ssh"), Some(VICTIM), Some(VICTIM)).unwrap();
        for name in ["authorized_keys", "id", "id.pub"] {
            fs::write(homes.outside().join(name), "precious").unwrap();
        }
        homes
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    #[track_caller]
    fn assert_outside_untouched(&self) {
        assert_eq!(names_in(&self.outside()), ["authorized_keys", "id", "id.pub"]);
        for name in ["authorized_keys", "id", "id.pub"] {
            let path = self.outside().join(name);
            assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
            assert_eq!(fs::metadata(&path).unwrap().uid(), 0);
        }
        assert_eq!(fs::metadata(self.outside()).unwrap().uid(), 0);
    }
}

fn am_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        let required = std::env::var_os("INTEROP").is_some_and(|value| value == "required");
        assert!(!required, "INTEROP=required, and this is not root");
        println!("skipped: not root");
    }
    root
}

#[test]
fn a_folder_swapped_for_a_link_at_any_call_leads_nowhere() {
    if !am_root() {
        return;
    }
    for existing in [None, Some(false), Some(true)] {
        for keys in [false, true] {
            at_every_call(|at| {
                let homes = Homes::new();
                let (ssh, outside) = (homes.home().join(".ssh"), homes.outside());
                match existing {
                    None => fs::remove_dir(&ssh).unwrap(),
                    Some(false) => {}
                    Some(true) => {
                        let path = ssh.join("authorized_keys");
                        edit(Arc::new(Kernel), &path, "old\n").unwrap();
                        write(Arc::new(Kernel), &ssh.join("id"), "old", Existing::Refuse).unwrap();
                    }
                }
                let link = ssh.clone();
                let swap = move || {
                    // Where there is no folder yet, the link is there first.
                    let _ = fs::rename(&link, link.with_extension("moved"));
                    symlink(&outside, &link).unwrap();
                    lchown(&link, Some(VICTIM), Some(VICTIM)).unwrap();
                };
                let disk = Faulty::new(at, Fault::Before(Box::new(swap)));
                let done = match keys {
                    true => write(disk.clone(), &ssh.join("id"), "new", Existing::Replace),
                    false => edit(disk.clone(), &ssh.join("authorized_keys"), "new\n"),
                };
                homes.assert_outside_untouched();
                if let Err(error) = done {
                    assert!(matches!(error, FileError::Link { .. }), "{at}: {error}");
                }
                disk
            });
        }
    }
}

#[test]
fn links_in_anothers_home_are_refused_wherever_they_stand() {
    if !am_root() {
        return;
    }
    for owner in [VICTIM, 0] {
        for place in [".ssh", ".ssh/authorized_keys"] {
            let homes = Homes::new();
            let link = homes.home().join(place);
            if place == ".ssh" {
                fs::remove_dir(&link).unwrap();
            }
            let target = if place == ".ssh" { homes.outside() } else { homes.outside().join("id") };
            symlink(target, &link).unwrap();
            lchown(&link, Some(owner), Some(owner)).unwrap();
            let path = homes.home().join(".ssh/authorized_keys");
            let error = edit(Arc::new(Kernel), &path, "new\n").unwrap_err();
            let right = match place {
                ".ssh" => matches!(error, FileError::Link { .. }),
                _ => matches!(error, FileError::LinkedFile { .. }),
            };
            assert!(right, "{place}: {error}");
            homes.assert_outside_untouched();
        }
    }
}

/// A folder of root's with something in it, which its owner-to-be puts in the place of the new one.
#[test]
fn a_folder_of_roots_put_in_place_of_the_new_one_is_never_given_away() {
    if !am_root() {
        return;
    }
    for keys in [false, true] {
        at_every_call(|at| {
            let homes = Homes::new();
            let (ssh, roots) = (homes.home().join(".ssh"), homes.home().join("roots"));
            fs::remove_dir(&ssh).unwrap();
            fs::create_dir(&roots).unwrap();
            fs::set_permissions(&roots, fs::Permissions::from_mode(0o700)).unwrap();
            fs::write(roots.join("secret"), "precious").unwrap();
            let inode = fs::metadata(&roots).unwrap().ino();
            let here = ssh.clone();
            let swap = move || {
                let _ = fs::rename(&here, here.with_extension("moved"));
                fs::rename(&roots, &here).unwrap();
            };
            let disk = Faulty::new(at, Fault::Before(Box::new(swap)));
            let done = match keys {
                true => write(disk.clone(), &ssh.join("id"), "new", Existing::Refuse),
                false => edit(disk.clone(), &ssh.join("authorized_keys"), "new\n"),
            };
            for name in names_in(&homes.home()) {
                let metadata = fs::metadata(homes.home().join(name)).unwrap();
                assert!(metadata.ino() != inode || metadata.uid() == 0, "{at}: {done:?}");
            }
            disk
        });
    }
}

/// Else a run of root's that is killed would keep the user out of that file for ever.
#[test]
fn a_stop_at_any_call_leaves_no_lock_behind() {
    at_every_call(|at| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authorized_keys");
        edit(Arc::new(Kernel), &path, "old\n").unwrap();
        let disk = Faulty::new(at, Fault::Stop);
        let _ = edit(disk.clone(), &path, "new\n");
        let names = names_in(folder.path());
        assert!(names.iter().all(|name| !name.contains("lock")), "{at}: {names:?}");
        disk
    });
}

#[test]
fn where_folders_cannot_be_locked_a_file_is_and_no_link_is_followed_for_it() {
    for planted in [false, true] {
        let (mut done, mut refused) = (0, 0);
        at_every_call(|at| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("authorized_keys");
            edit(Arc::new(Kernel), &path, "old\n").unwrap();
            let outside = folder.path().join("outside");
            if planted {
                fs::write(&outside, "precious").unwrap();
                symlink(&outside, path.with_file_name(".authorized_keys.keygen-lock")).unwrap();
            }
            let disk = Faulty::new(at, Fault::Error(Errno::BADF));
            match edit(disk.clone(), &path, "new\n") {
                Ok(()) if !disk.was_out_of_reach() => done += 1,
                Err(FileError::Link { .. }) => refused += 1,
                _ => {}
            }
            assert_eq!(planted, names_in(folder.path()).iter().any(|name| name.contains("lock")));
            assert!(!planted || fs::read(&outside).unwrap() == b"precious");
            disk
        });
        assert_eq!((done > 0, refused > 0), (!planted, planted));
    }
}

fn accounts() -> Accounts {
    let passwd = format!("victim:x:{VICTIM}:{VICTIM}::/nonexistent:/bin/sh\n");
    Accounts::parse(passwd.as_bytes(), format!("victim:x:{VICTIM}:\n").as_bytes())
}

/// Looks at a home in which all is open, and sets it right.
fn mend(disk: Arc<dyn Disk>, homes: &Homes) -> Result<(), FileError> {
    let mut account = accounts().account(b"victim").expect("just listed");
    account.home = homes.home().to_str().unwrap().into();
    let path = homes.home().join(".ssh/authorized_keys");
    let inspection = Inspection::on(disk, &path, &account, &accounts())?;
    inspection.apply(&inspection.facts().fix())
}

/// The home, its folder and its file, with these modes.
fn laid_open(modes: [u32; 3]) -> Homes {
    let homes = Homes::new();
    let path = homes.home().join(".ssh/authorized_keys");
    fs::write(&path, "# nobody yet\n").unwrap();
    chown(&path, Some(VICTIM), Some(VICTIM)).unwrap();
    for (path, mode) in parts(&homes).iter().zip(modes) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    homes
}

fn parts(homes: &Homes) -> [PathBuf; 3] {
    let ssh = homes.home().join(".ssh");
    [homes.home(), ssh.clone(), ssh.join("authorized_keys")]
}

fn modes(paths: &[PathBuf]) -> Vec<u32> {
    let mode = |path: &PathBuf| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
    paths.iter().map(mode).collect()
}

const OPEN: [u32; 3] = [0o777, 0o777, 0o666];
const MENDED: [u32; 3] = [0o755, 0o700, 0o600];

#[test]
fn a_fault_at_any_call_of_a_fix_leaves_modes_mended_from_the_home_down() {
    if !am_root() {
        return;
    }
    for stop in [false, true] {
        at_every_call(|at| {
            let homes = laid_open(OPEN);
            let fault = if stop { Fault::Stop } else { Fault::Error(Errno::IO) };
            let disk = Faulty::new(at, fault);
            let done = mend(disk.clone(), &homes);
            let after = modes(&parts(&homes));
            let mended = after.iter().zip(MENDED).take_while(|(is, right)| **is == *right).count();
            assert_eq!(after[mended..], OPEN[mended..], "{at}: {done:?}");
            // A home that cannot be gone to is the one thing that is not an error but a fact.
            assert!(done.is_err() || mended == 3 || mended == 0, "{at}: {after:?}");
            mend(Arc::new(Kernel), &homes).unwrap();
            assert_eq!(modes(&parts(&homes)), MENDED, "{at}");
            disk
        });
    }
}

#[test]
fn what_is_swapped_at_any_call_of_a_fix_leads_to_no_change_outside() {
    if !am_root() {
        return;
    }
    for whole in [false, true] {
        at_every_call(|at| {
            let homes = laid_open(OPEN);
            let targets = ["", "authorized_keys", "id"].map(|name| homes.outside().join(name));
            let before = modes(&targets);
            let (ssh, outside) = (homes.home().join(".ssh"), homes.outside());
            let swap = move || {
                let (from, to) = match whole {
                    true => (ssh.clone(), outside.clone()),
                    false => (ssh.join("authorized_keys"), outside.join("authorized_keys")),
                };
                fs::rename(&from, from.with_extension("moved")).unwrap();
                symlink(to, &from).unwrap();
                lchown(&from, Some(VICTIM), Some(VICTIM)).unwrap();
            };
            let disk = Faulty::new(at, Fault::Before(Box::new(swap)));
            let _ = mend(disk.clone(), &homes);
            homes.assert_outside_untouched();
            assert_eq!(modes(&targets), before, "{at}");
            disk
        });
    }
}

#[test]
fn hard_links_to_what_others_may_not_read_are_refused() {
    if !am_root() {
        return;
    }
    let homes = Homes::new();
    let path = homes.home().join(".ssh/authorized_keys");
    fs::hard_link(homes.outside().join("id"), &path).unwrap();
    let error = Document::read(&path).unwrap_err();
    assert!(matches!(error, FileError::HardLinked { .. }), "{error}");
    // Nor does a name like ours help.
    fs::hard_link(homes.outside().join("id"), path.with_file_name(".authorized_keys.keygen-new"))
        .unwrap();
    assert!(matches!(Document::read(&path), Err(FileError::HardLinked { .. })));
}

#[test]
fn content_of_a_third_user_is_refused_and_never_given_away() {
    if !am_root() {
        return;
    }
    let homes = Homes::new();
    let ssh = homes.home().join(".ssh");
    fs::write(ssh.join("authorized_keys"), "planted\n").unwrap();
    chown(ssh.join("authorized_keys"), Some(ATTACKER), Some(ATTACKER)).unwrap();
    let error = Document::read(&ssh.join("authorized_keys")).unwrap_err();
    let FileError::OtherOwner { owner: ATTACKER, .. } = &error else { panic!("{error}") };
    assert!(error.to_string().contains("root and user 54321"), "{error}");
    chown(&ssh, Some(ATTACKER), Some(ATTACKER)).unwrap();
    let error = write(Arc::new(Kernel), &ssh.join("id"), "new", Existing::Refuse).unwrap_err();
    assert!(matches!(error, FileError::OtherOwner { owner: ATTACKER, .. }), "{error}");
    assert_eq!(fs::metadata(&ssh).unwrap().uid(), ATTACKER);
}

#[test]
fn what_root_makes_in_a_home_belongs_to_its_user() {
    if !am_root() {
        return;
    }
    let homes = Homes::new();
    let ssh = homes.home().join(".ssh");
    fs::remove_dir(&ssh).unwrap();
    edit(Arc::new(Kernel), &ssh.join("authorized_keys"), "new\n").unwrap();
    write(Arc::new(Kernel), &ssh.join("id"), "new", Existing::Refuse).unwrap();
    for (name, mode) in [("", 0o700), ("authorized_keys", 0o600), ("id", 0o600), ("id.pub", 0o600)]
    {
        let metadata = fs::metadata(ssh.join(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (VICTIM, VICTIM), "{name}");
        assert_eq!(metadata.mode() & 0o7777, mode, "{name}");
    }
}

#[test]
fn owner_and_mode_stay_but_for_what_lets_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authorized_keys");
    for (mode, after) in [(0o644, 0o644), (0o666, 0o644), (0o600, 0o600), (0o664, 0o644)] {
        fs::write(&path, "old\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if rustix::process::geteuid().is_root() {
            chown(&path, Some(0), Some(ATTACKER)).unwrap();
        }
        let gid = fs::metadata(&path).unwrap().gid();
        edit(Arc::new(Kernel), &path, "new\n").unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.gid()), (after, gid));
    }
}
