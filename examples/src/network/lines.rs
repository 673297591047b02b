//! Which line a value is on.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A step on the way to a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum At<'a> {
    Key(&'a str),
    Index(usize),
}

/// A text and where its values are.
pub(super) struct Lines<'a> {
    text: &'a str,
    /// Where each line begins.
    starts: Vec<usize>,
    tree: Option<Spanned<DeTable<'a>>>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Lines<'a> {
        let feeds = text.bytes().enumerate().filter(|(_, octet)| *octet == b'\n');
        let starts = std::iter::once(0).chain(feeds.map(|(at, _)| at + 1)).collect();
        Lines { text, starts, tree: DeTable::parse(text).ok() }
    }

    /// The line of an octet, counted from 1.
    pub(super) fn line(&self, octet: usize) -> usize {
        self.starts.partition_point(|start| *start <= octet)
    }

    /// The line of a value: that of its key when it has one, else that of the nearest thing around it
    /// that is there; 0 for nothing at all.
    pub(super) fn at(&self, path: &[At<'_>], field: Option<&str>) -> usize {
        self.find(path, field).map_or(0, |(start, _)| self.line(start))
    }

    /// The line on which the text of a string begins: behind `"""` that is the next one.
    pub(super) fn first_line_of_value(&self, path: &[At<'_>], field: &str) -> usize {
        let Some((_, value)) = self.find(path, Some(field)) else { return 0 };
        let rest = self.text.get(value..).unwrap_or_default();
        let quotes = rest.trim_start_matches(['"', '\'']);
        let next = quotes.starts_with('\n') || quotes.starts_with("\r\n");
        self.line(value) + usize::from(next)
    }

    /// Where the key and the value of something begin.
    fn find(&self, path: &[At<'_>], field: Option<&str>) -> Option<(usize, usize)> {
        let tree = self.tree.as_ref()?;
        let mut table: &DeTable<'_> = tree.get_ref();
        let mut value: Option<&DeValue<'_>> = None;
        let mut found = (tree.span().start, tree.span().start);
        for step in path.iter().copied().chain(field.map(At::Key)) {
            let next = match (step, value) {
                (At::Index(index), Some(DeValue::Array(items))) => {
                    items.get(index).map(|item| (item.span().start, item))
                }
                (At::Key(key), None | Some(DeValue::Table(_))) => {
                    let entry = table.iter().find(|(name, _)| name.get_ref().as_ref() == key);
                    entry.map(|(name, item)| (name.span().start, item))
                }
                _ => None,
            };
            let Some((start, item)) = next else { return Some(found) };
            found = (start, item.span().start);
            if let DeValue::Table(inner) = item.get_ref() {
                table = inner;
            }
            value = Some(item.get_ref());
        }
        Some(found)
    }
}
