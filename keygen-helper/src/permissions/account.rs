//! Who is who, out of passwd(5) and group(5).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;

/// An account to log in to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: Bytes,
    /// Its number.
    pub uid: u32,
    /// The numbers of all its groups.
    pub gids: Vec<u32>,
    /// Its home, as passwd has it.
    pub home: Bytes,
}

/// What counts about a group that may write somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Group {
    /// The users whose first group it is, by their numbers.
    pub primary: BTreeSet<u32>,
    /// The names of the members that the group lists, in its order.
    pub members: Vec<Bytes>,
}

/// The accounts and groups of a machine, as its files list them.
///
/// Those that come from elsewhere (LDAP, systemd-homed) are not in the files; `getent passwd` and
/// `getent group` print all in the same form.
///
/// ```
/// use keygen_helper::permissions::Accounts;
///
/// let passwd = b"root:x:0:0::/root:/bin/sh\nanna:x:1000:1000:Anna:/home/anna:/bin/sh\n";
/// let accounts = Accounts::parse(passwd, b"anna:x:1000:\nstaff:x:50:ben,anna\n");
/// let anna = accounts.account(b"anna").expect("listed");
/// assert_eq!((anna.uid, &*anna.gids), (1000, &[1000, 50][..]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accounts {
    users: Vec<User>,
    groups: BTreeMap<u32, Vec<Bytes>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    name: Bytes,
    uid: u32,
    gid: u32,
    home: Bytes,
}

impl Accounts {
    /// Reads the content of both files. Lines that make no sense are passed over, as the C library
    /// does.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Accounts {
        let users = records(passwd).filter_map(|fields| {
            let [name, _, uid, gid, _, home, ..] = &*fields else { return None };
            let (uid, gid) = (number(uid)?, number(gid)?);
            Some(User { name: (*name).into(), uid, gid, home: (*home).into() })
        });
        let mut groups = BTreeMap::new();
        for fields in records(group) {
            let [_, _, gid, members, ..] = &*fields else { continue };
            let Some(gid) = number(gid) else { continue };
            let members = members.split(|&byte| byte == b',').filter(|name| !name.is_empty());
            // The first of several with one number is the one that is found by it.
            groups.entry(gid).or_insert_with(|| members.map(Bytes::from).collect());
        }
        Accounts { users: users.collect(), groups }
    }

    /// The account of this name.
    pub fn account(&self, name: &[u8]) -> Option<Account> {
        self.users.iter().find(|user| user.name.as_bytes() == name).map(|user| self.of(user))
    }

    /// The first account with this number.
    pub fn account_of(&self, uid: u32) -> Option<Account> {
        self.users.iter().find(|user| user.uid == uid).map(|user| self.of(user))
    }

    /// The account whose home is this folder, or the nearest above it.
    pub fn account_at(&self, path: &[u8]) -> Option<Account> {
        let holds = |user: &&User| {
            let home = user.home.as_bytes();
            let rest = path.strip_prefix(home);
            home.len() > 1 && rest.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
        };
        let user = self.users.iter().filter(holds).max_by_key(|user| user.home.as_bytes().len());
        user.map(|user| self.of(user))
    }

    fn of(&self, user: &User) -> Account {
        let mut gids = vec![user.gid];
        let listed = self.groups.iter().filter(|(_, members)| members.contains(&user.name));
        gids.extend(listed.map(|(gid, _)| *gid).filter(|gid| *gid != user.gid));
        Account { name: user.name.clone(), uid: user.uid, gids, home: user.home.clone() }
    }

    /// The group of this number.
    pub fn group(&self, gid: u32) -> Option<Group> {
        let members = self.groups.get(&gid)?.clone();
        let users = self.users.iter().filter(|user| user.gid == gid);
        Some(Group { primary: users.map(|user| user.uid).collect(), members })
    }

    /// The name of the first account with this number.
    pub fn name(&self, uid: u32) -> Option<&Bytes> {
        self.users.iter().find(|user| user.uid == uid).map(|user| &user.name)
    }
}

fn records(file: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let lines = file.split(|&byte| byte == b'\n');
    lines.map(|line| line.split(|&byte| byte == b':').collect())
}

fn number(digits: &[u8]) -> Option<u32> {
    let digits = str::from_utf8(digits).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}
