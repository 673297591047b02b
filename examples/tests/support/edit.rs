//! A long list of changes to the tree with every kind of entry.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, lremovexattr, mknodat};

use super::every_kind::{acl, noise, set_time, set_xattr};
use super::tree::walk;

/// Changes a bit of everything, and deletes far less than half.
pub(crate) fn everything(root: &Path, as_root: bool) {
    contents(root);
    kinds(root);
    renames(root);
    hard_links(root);
    metadata(root);
    if as_root {
        roots_own(root);
    }
    for gone in ["plain/empty", "links/self", "special/socket", "names/-rf"] {
        fs::remove_file(root.join(gone)).unwrap();
    }
    fs::remove_dir_all(root.join("deep/level-1/level-2")).unwrap();
}

fn contents(root: &Path) {
    fs::write(root.join("plain/text"), "some more words than before\n").unwrap();
    let write_at = |name: &str, bytes: &[u8], offset: u64| {
        let file = OpenOptions::new().write(true).open(root.join(name)).unwrap();
        file.write_all_at(bytes, offset).unwrap();
        file.sync_all().unwrap();
    };
    write_at("plain/large", b"\x00", 150_000);
    write_at("sparse/only-hole", &noise(70, 4096), 512 * 1024);
    write_at("sparse/vast", &noise(71, 4096), 1024 * 1024 * 1024);
    let shorter = OpenOptions::new().write(true).open(root.join("sparse/comb")).unwrap();
    shorter.set_len(300 * 1024).unwrap();
    shorter.sync_all().unwrap();
    fs::write(root.join("names/new\nanew"), "new").unwrap();
    fs::create_dir(root.join("new folder")).unwrap();
    fs::write(root.join("new folder/new file"), noise(72, 10_000)).unwrap();
}

/// Every entry that takes the place of another is of another kind.
fn kinds(root: &Path) {
    let gone = |name: &str| {
        let path = root.join(name);
        match path.symlink_metadata().unwrap().is_dir() {
            true => fs::remove_dir_all(&path).unwrap(),
            false => fs::remove_file(&path).unwrap(),
        }
        path
    };
    let dir = gone("plain/block");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("inside"), "was a file").unwrap();
    fs::write(gone("empty/a"), "was a directory").unwrap();
    fs::write(gone("plain/folder/inner"), "was a full directory").unwrap();
    symlink("text", gone("plain/other")).unwrap();
    fs::write(gone("links/relative"), "was a symlink").unwrap();
    fs::create_dir(gone("links/to-folder")).unwrap();
    fs::write(root.join("links/to-folder/one"), "was a symlink to a directory").unwrap();
    symlink("plain", gone("empty/b")).unwrap();
    fs::write(gone("special/same-fifo"), "was a fifo").unwrap();
    mknodat(CWD, gone("names/--delete"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    symlink("another/target", gone("links/dangling")).unwrap();
}

fn renames(root: &Path) {
    let rename = |from: &str, to: &str| fs::rename(root.join(from), root.join(to)).unwrap();
    // A swap.
    rename("plain/large", "plain/kept");
    rename("hard/twin", "plain/large");
    rename("plain/kept", "hard/twin");
    // A change of case only, and a leading dash.
    rename("names/~", "names/-~");
    rename("times/file-zero", "times/FILE-ZERO");
    // A directory, with a change inside, and one that goes below a new one.
    rename("plain/folder", "renamed folder");
    fs::write(root.join("renamed folder/two"), "changed after the rename").unwrap();
    fs::create_dir(root.join("over")).unwrap();
    rename("names/folders", "over/folders");
}

fn hard_links(root: &Path) {
    // Broken: same bytes, same time, another inode.
    let broken = root.join("hard/b/c/three");
    let (bytes, meta) = (fs::read(&broken).unwrap(), broken.metadata().unwrap());
    fs::remove_file(&broken).unwrap();
    fs::write(&broken, bytes).unwrap();
    set_time(&broken, meta.mtime(), meta.mtime_nsec());
    // Made: a new name, and two that were apart.
    fs::hard_link(root.join("plain/zeros"), root.join("hard/zeros")).unwrap();
    fs::remove_file(root.join("hard/b/empty")).unwrap();
    fs::hard_link(root.join("hard/half"), root.join("hard/b/empty")).unwrap();
    // One name of a group goes to another directory.
    fs::rename(root.join("hard/b/two"), root.join("empty/two")).unwrap();
}

fn metadata(root: &Path) {
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
    };
    mode("modes/file-0444", 0o640);
    mode("modes/file-4755", 0o755);
    mode("modes/file-0755", 0o4711);
    mode("modes/dir-1777", 0o711);
    mode("modes/dir-0700", 0o555);
    mode("hard/a/one", 0o600);
    let file = root.join("xattrs/file");
    set_xattr(&file, "user.text", b"another value");
    set_xattr(&file, "user.new", b"new");
    lremovexattr(&file, "user.bytes").unwrap();
    set_xattr(&root.join("plain"), "user.new", b"on a directory");
    lremovexattr(root.join("xattrs"), "user.on-a-directory").unwrap();
    // No list any more, another list, a new one, no default any more.
    lremovexattr(root.join("acls-file"), "system.posix_acl_access").unwrap();
    set_xattr(&root.join("acls/own"), "system.posix_acl_access", &acl(6, 12348, 6, 4, 0));
    set_xattr(&root.join("acls/plain"), "system.posix_acl_access", &acl(6, 12345, 4, 4, 0));
    lremovexattr(root.join("acls"), "system.posix_acl_default").unwrap();
    set_xattr(&root.join("empty"), "system.posix_acl_default", &acl(7, 12345, 5, 5, 0));
    for name in ["times/dir-zero", "times/link-zero", "modes/dir-2775"] {
        set_time(&root.join(name), 1_234_567_890, 1);
    }
    set_time(&root.join("times/file-recent"), 1_600_000_000, 123_456_788);
}

fn roots_own(root: &Path) {
    for name in ["owners/file", "owners/setuid", "plain/text", "times"] {
        lchown(root.join(name), Some(23456), Some(65432)).unwrap();
    }
    lchown(root.join("owners/link"), Some(0), None).unwrap();
    lremovexattr(root.join("xattrs/capability"), "security.capability").unwrap();
}

/// Gives a whole tree to one user; the bits that a change of owner takes away are put back.
pub(crate) fn give_away(root: &Path, id: u32) {
    walk(root, &mut |_, path, meta| {
        if (meta.uid(), meta.gid()) == (id, id) {
            return;
        }
        lchown(path, Some(id), Some(id)).unwrap();
        if !meta.is_symlink() {
            fs::set_permissions(path, Permissions::from_mode(meta.mode() & 0o7777)).unwrap();
        }
    });
}
