//! Tables of test cases in `tests/data`, and their escapes.

/// The lines that are neither blank nor comments, with their numbers.
pub(crate) fn rows(table: &str) -> impl Iterator<Item = (usize, &str)> {
    let rows = table.lines().enumerate().map(|(index, row)| (index + 1, row));
    rows.filter(|(_, row)| !row.is_empty() && !row.starts_with('#'))
}

/// Replaces what `{NAME}` stands for, and then the escapes `\n \r \t \0 \\` and `\xNN`.
#[track_caller]
pub(crate) fn unescape(text: &str, meaning: impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(['\\', '{']) {
        out.extend_from_slice(&rest.as_bytes()[..start]);
        rest = &rest[start..];
        if let Some(name) = rest.strip_prefix('{') {
            let end = name.find('}').expect("a closing brace");
            let meaning = meaning(&name[..end]);
            out.extend(meaning.unwrap_or_else(|| panic!("{rest} means nothing")).into_bytes());
            rest = &name[end + 1..];
            continue;
        }
        let (byte, length) = match rest.as_bytes()[1] {
            b'n' => (b'\n', 2),
            b'r' => (b'\r', 2),
            b't' => (b'\t', 2),
            b'0' => (0, 2),
            b'\\' => (b'\\', 2),
            b'x' => (u8::from_str_radix(&rest[2..4], 16).expect("two digits"), 4),
            other => panic!("no escape: {}", char::from(other)),
        };
        out.push(byte);
        rest = &rest[length..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Runs `work` on all items with a few threads, and gives the results in their order.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let size = items.len().div_ceil(4).max(1);
    std::thread::scope(|scope| {
        let work = &work;
        let chunks = items.chunks(size);
        let threads: Vec<_> = chunks
            .map(|chunk| scope.spawn(move || chunk.iter().map(work).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}
