use std::{
    fs::{self, File, OpenOptions},
    io::{BufWriter, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use super::{rng::Rng, text::Text};
use crate::Error;

/// Length of a database page, at which [`database_writes`] aligns its rows' pages.
const PAGE: u64 = 4096;

/// Makes one file of `len` bytes of text, as a dump or a log would hold.
///
/// # Errors
/// [`Error::Io`] when it cannot be written.
pub fn large_file(path: &Path, seed: u64, len: u64) -> Result<(), Error> {
    let text = Text::new(seed);
    let mut rng = Rng::new(seed);
    let file = File::create(path).map_err(Error::io("create", path))?;
    write_text(&file, &text, &mut rng, len).map_err(Error::io("write", path))
}

/// Overwrites `edits` places with `edit_len` new bytes each; the length stays.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened or written.
pub fn edit(path: &Path, seed: u64, edits: u64, edit_len: usize) -> Result<(), Error> {
    let mut rng = Rng::new(seed);
    overwrite(path, edits, edit_len, |len| rng.below(len.saturating_sub(edit_len as u64) + 1), seed)
}

/// Writes `rows` rows of 100 bytes into pages spread over the whole file, as a database does.
///
/// A row never crosses a page of 4 KiB. The length stays; a file shorter than
/// one page is left alone.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened or written.
pub fn database_writes(path: &Path, seed: u64, rows: u64) -> Result<(), Error> {
    let len = fs::metadata(path).map_err(Error::io("stat", path))?.len();
    let rows = if len < PAGE { 0 } else { rows };
    let mut rng = Rng::new(seed);
    overwrite(
        path,
        rows,
        100,
        |len| PAGE * rng.below(len / PAGE) + 100 * rng.below(PAGE / 100),
        seed,
    )
}

/// Puts `count` bytes before the first, so that every old byte moves.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read or written.
pub fn insert_front(path: &Path, seed: u64, count: usize) -> Result<(), Error> {
    let mut front = Vec::new();
    Text::new(seed).fill(&mut Rng::new(seed), count, &mut front);
    // Beside it and renamed: the old content may be larger than memory.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let mut new = File::create(&beside).map_err(Error::io("create", &beside))?;
    new.write_all(&front).map_err(Error::io("write", &beside))?;
    let mut old = File::open(path).map_err(Error::io("open", path))?;
    std::io::copy(&mut old, &mut new).map_err(Error::io("write", &beside))?;
    fs::rename(&beside, path).map_err(Error::io("replace", path))
}

/// Adds `count` bytes at the end, as a log grows.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened or written.
pub fn append(path: &Path, seed: u64, count: u64) -> Result<(), Error> {
    let file = OpenOptions::new().append(true).open(path).map_err(Error::io("open", path))?;
    write_text(&file, &Text::new(seed), &mut Rng::new(seed), count)
        .map_err(Error::io("write", path))
}

fn write_text(file: &File, text: &Text, rng: &mut Rng, len: u64) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut piece = Vec::new();
    let mut left = len;
    while left > 0 {
        let now = left.min(1 << 20);
        text.fill(rng, now as usize, &mut piece);
        out.write_all(&piece)?;
        left -= now;
    }
    out.flush()
}

fn overwrite(
    path: &Path,
    times: u64,
    piece_len: usize,
    mut place: impl FnMut(u64) -> u64,
    seed: u64,
) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).open(path).map_err(Error::io("open", path))?;
    let len = file.metadata().map_err(Error::io("stat", path))?.len();
    let text = Text::new(seed);
    let mut rng = Rng::new(!seed);
    let mut piece = Vec::new();
    for _ in 0..times {
        text.fill(&mut rng, piece_len.min(len as usize), &mut piece);
        file.write_all_at(&piece, place(len)).map_err(Error::io("write", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 300_000;

    /// The file before and after `change`, made twice to show that both are functions of the seed.
    fn before_and_after(change: impl Fn(&Path) -> Result<(), Error>) -> (Vec<u8>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| {
            let path = folder.path().join(name);
            large_file(&path, 3, LEN).unwrap();
            let before = fs::read(&path).unwrap();
            change(&path).unwrap();
            (before, fs::read(&path).unwrap())
        });
        assert_eq!(one, two);
        assert_eq!(one.0.len() as u64, LEN);
        one
    }

    fn differing(a: &[u8], b: &[u8]) -> usize {
        a.iter().zip(b).filter(|(a, b)| a != b).count()
    }

    #[test]
    fn edits_change_that_many_bytes_at_most_and_keep_the_length() {
        let (before, after) = before_and_after(|path| edit(path, 9, 3, 50));
        assert_eq!(before.len(), after.len());
        assert!((1..=150).contains(&differing(&before, &after)));
    }

    #[test]
    fn database_writes_touch_pages_all_over_the_file() {
        let (before, after) = before_and_after(|path| database_writes(path, 9, 200));
        assert_eq!(before.len(), after.len());
        let pages = before
            .chunks(PAGE as usize)
            .zip(after.chunks(PAGE as usize))
            .filter(|(a, b)| a != b)
            .count();
        assert!(pages > 60, "{pages} of 74 pages");
        assert!(differing(&before, &after) <= 200 * 100);
    }

    #[test]
    fn an_insertion_moves_everything_and_loses_nothing() {
        let (before, after) = before_and_after(|path| insert_front(path, 9, 77));
        assert_eq!(after.len(), before.len() + 77);
        assert_eq!(after[77..], before);
    }

    #[test]
    fn an_append_keeps_what_was_there() {
        let (before, after) = before_and_after(|path| append(path, 9, 1000));
        assert_eq!(after.len(), before.len() + 1000);
        assert_eq!(after[..before.len()], before);
    }

    #[test]
    fn an_edit_longer_than_the_file_stays_inside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("short");
        fs::write(&path, "abc").unwrap();
        edit(&path, 1, 4, 100).unwrap();
        database_writes(&path, 1, 4).unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), 3);
    }
}
