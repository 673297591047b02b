//! Homes laid out as a table says, each for a user of its own, on accounts that only a private
//! sshd sees.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use keygen_helper::permissions::{Account, Accounts};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

const FIRST_USER: u32 = 21_000;
const OTHER: u32 = 23_000;
const SHARED: u32 = 24_000;
const EMPTY: u32 = 24_001;
const NONE: u32 = 24_999;
/// Groups for each user, counted from these on.
const ALONE: u32 = 25_000;
const BOTH: u32 = 26_000;

/// A folder of root's, in which the homes are, and lists of accounts.
#[derive(Debug)]
pub(crate) struct Homes {
    /// Nobody but root can write on the way to it, as it should be with homes.
    run: TempDir,
    tmp: TempDir,
    key: String,
}

impl Homes {
    /// Room for homes, in whose files there is this key.
    pub(crate) fn build(key: &str, count: u32) -> Homes {
        let room = |at: &Path| {
            let open = Permissions::from_mode(0o755);
            tempfile::Builder::new().prefix("homes-").permissions(open).tempdir_in(at).unwrap()
        };
        let homes =
            Homes { run: room("/run".as_ref()), tmp: room("/tmp".as_ref()), key: key.to_owned() };
        fs::create_dir(homes.accounts_folder()).unwrap();
        let mut passwd = fs::read_to_string("/etc/passwd").unwrap();
        let mut group = fs::read_to_string("/etc/group").unwrap();
        let mut shadow = String::new();
        let mut add = |name: &str, uid: u32, gid: u32, home: &Path| {
            passwd.push_str(&format!("{name}:x:{uid}:{gid}::{}:/bin/sh\n", home.display()));
            shadow.push_str(&format!("{name}:*:19000:0:99999:7:::\n"));
        };
        add("kh-other", OTHER, OTHER, "/nonexistent".as_ref());
        add("kh-another", OTHER + 1, SHARED, "/nonexistent".as_ref());
        group.push_str(&format!("kh-others:x:{OTHER}:\nkh-empty:x:{EMPTY}:\n"));
        let mut members = Vec::new();
        for number in 0..count {
            let (name, uid) = (user(number), FIRST_USER + number);
            add(&name, uid, uid, &homes.home(number));
            group.push_str(&format!("{name}:x:{uid}:\n"));
            group.push_str(&format!("{name}-a:x:{}:{name}\n", ALONE + number));
            group.push_str(&format!("{name}-b:x:{}:{name},kh-other\n", BOTH + number));
            members.push(name);
        }
        group.push_str(&format!("kh-shared:x:{SHARED}:{}\n", members.join(",")));
        let root = "root:*:19000:0:99999:7:::\n";
        for (name, text) in
            [("passwd", passwd), ("group", group), ("shadow", format!("{root}{shadow}"))]
        {
            fs::write(homes.accounts_folder().join(name), text).unwrap();
        }
        homes
    }

    /// Where `passwd`, `group` and `shadow` are that the sshd has to see.
    pub(crate) fn accounts_folder(&self) -> PathBuf {
        self.run.path().join("accounts")
    }

    pub(crate) fn accounts(&self) -> Accounts {
        let read = |name: &str| fs::read(self.accounts_folder().join(name)).unwrap();
        Accounts::parse(&read("passwd"), &read("group"))
    }

    pub(crate) fn account(&self, number: u32) -> Account {
        self.accounts().account(user(number).as_bytes()).unwrap()
    }

    pub(crate) fn home(&self, number: u32) -> PathBuf {
        self.run.path().join(number.to_string()).join("home")
    }

    pub(crate) fn file(&self, number: u32) -> PathBuf {
        self.home(number).join(".ssh/authorized_keys")
    }

    /// Lays out the home of a user: as it should be, and then step by step as it is said.
    pub(crate) fn lay(&self, number: u32, steps: &str) {
        let uid = FIRST_USER + number;
        let own = |path: &Path, mode: u32| {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            chown(path, Some(uid), Some(uid)).unwrap();
        };
        fs::create_dir_all(self.home(number).join(".ssh")).unwrap();
        fs::write(self.file(number), format!("{}\n", self.key)).unwrap();
        own(&self.home(number), 0o755);
        own(&self.home(number).join(".ssh"), 0o700);
        own(&self.file(number), 0o600);
        self.lay_more(number, steps);
    }

    /// Goes on from there.
    pub(crate) fn lay_more(&self, number: u32, steps: &str) {
        for step in steps.split(';').map(str::trim).filter(|step| !step.is_empty()) {
            let words: Vec<&str> = step.split(' ').collect();
            self.step(number, self.place(number, words[0]), &words[1..]);
        }
    }

    fn place(&self, number: u32, name: &str) -> PathBuf {
        let inner = |dir: &TempDir, name: &str| dir.path().join(format!("{number}-{name}"));
        match (name, name.strip_prefix("@run/"), name.strip_prefix("@tmp/")) {
            ("home", ..) => self.home(number),
            ("ssh", ..) => self.home(number).join(".ssh"),
            ("file", ..) => self.file(number),
            (_, Some(name), _) => inner(&self.run, name),
            (_, _, Some(name)) => inner(&self.tmp, name),
            ("../real-home", ..) => self.home(number).with_file_name("real-home"),
            _ => self.home(number).join(name),
        }
    }

    fn step(&self, number: u32, path: PathBuf, words: &[&str]) {
        let uid = FIRST_USER + number;
        match words {
            ["mode", octal] => {
                let mode = u32::from_str_radix(octal, 8).unwrap();
                fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            }
            ["owner", who] => {
                // Changing the owner takes bits off the mode.
                let mode = fs::metadata(&path).unwrap().permissions();
                chown(&path, Some(owner(uid, who)), None).unwrap();
                fs::set_permissions(path, mode).unwrap();
            }
            ["link-owner", who] => lchown(path, Some(owner(uid, who)), None).unwrap(),
            ["group", name] => {
                let gid = match *name {
                    "user" => uid,
                    "root" => 0,
                    "shared" => SHARED,
                    "others" => OTHER,
                    "empty" => EMPTY,
                    "none" => NONE,
                    "alone" => ALONE + number,
                    "both" => BOTH + number,
                    other => panic!("no group {other}"),
                };
                let mode = fs::metadata(&path).unwrap().permissions();
                chown(&path, None, Some(gid)).unwrap();
                fs::set_permissions(path, mode).unwrap();
            }
            ["moved", to] => self.relocate(number, &path, to),
            ["fifo"] => {
                fs::remove_file(&path).unwrap();
                mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
                chown(path, Some(uid), Some(uid)).unwrap();
            }
            ["socket"] => {
                fs::remove_file(&path).unwrap();
                drop(UnixListener::bind(&path).unwrap());
                fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
                chown(path, Some(uid), Some(uid)).unwrap();
            }
            ["directory"] => {
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
                fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
                chown(path, Some(uid), Some(uid)).unwrap();
            }
            ["missing"] if path.is_dir() => fs::remove_dir_all(path).unwrap(),
            ["missing"] => fs::remove_file(path).unwrap(),
            ["dangling"] => {
                fs::remove_file(&path).unwrap();
                symlink("nothing", &path).unwrap();
                lchown(path, Some(uid), Some(uid)).unwrap();
            }
            ["hard"] => fs::hard_link(&path, self.home(number).join("second-name")).unwrap(),
            other => panic!("no step {other:?}"),
        }
    }

    /// Moves something and leaves a symlink, which is relative within the home.
    fn relocate(&self, number: u32, from: &Path, to: &str) {
        let uid = FIRST_USER + number;
        let target = self.place(number, to);
        for above in target.parent().unwrap().ancestors() {
            if above.exists() {
                break;
            }
            fs::create_dir_all(above).unwrap();
        }
        let made = target.parent().unwrap().ancestors();
        for dir in
            made.take_while(|dir| dir.starts_with(self.home(number)) && **dir != self.home(number))
        {
            chown(dir, Some(uid), Some(uid)).unwrap();
        }
        fs::rename(from, &target)
            .or_else(|_| {
                fs::copy(from, &target).and_then(|_| {
                    fs::remove_file(from)?;
                    fs::set_permissions(&target, Permissions::from_mode(0o600))?;
                    chown(&target, Some(uid), Some(uid))
                })
            })
            .unwrap();
        let depth =
            from.strip_prefix(self.home(number)).map_or(0, |path| path.components().count());
        let link = match to.starts_with('@') || to.starts_with("../") {
            true => target.clone(),
            false => PathBuf::from("../".repeat(depth - 1)).join(to),
        };
        symlink(link, from).unwrap();
        lchown(from, Some(uid), Some(uid)).unwrap();
    }
}

fn owner(uid: u32, who: &str) -> u32 {
    match who {
        "user" => uid,
        "root" => 0,
        "other" => OTHER,
        other => panic!("no user {other}"),
    }
}

/// The name of a user.
pub(crate) fn user(number: u32) -> String {
    format!("kh-{number}")
}
