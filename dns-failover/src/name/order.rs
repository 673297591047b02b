//! The canonical order of names (RFC 4034 section 6.1).

use std::cmp::Ordering;

use super::Name;

impl PartialOrd for Name {
    #[inline]
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    #[inline]
    fn cmp(&self, other: &Name) -> Ordering {
        let (a, b) = (self.as_wire(), other.as_wire());
        // Most names that meet are siblings: only their first labels differ.
        let (head_a, rest_a) = split_label(a);
        let (head_b, rest_b) = split_label(b);
        if rest_a == rest_b {
            return compare_labels(head_a, head_b);
        }
        compare_all(a, b)
    }
}

/// The first label, which the root does not have, and what follows it.
#[inline]
fn split_label(wire: &[u8]) -> (&[u8], &[u8]) {
    let end = 1 + usize::from(wire[0]);
    (&wire[1..end], &wire[end..])
}

#[inline]
fn compare_labels(a: &[u8], b: &[u8]) -> Ordering {
    for (a, b) in a.iter().zip(b) {
        if a != b {
            let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
            if a != b {
                return a.cmp(&b);
            }
        }
    }
    a.len().cmp(&b.len())
}

fn compare_all(a: &[u8], b: &[u8]) -> Ordering {
    let (starts_a, starts_b) = (Starts::of(a), Starts::of(b));
    let (labels_a, labels_b) = (starts_a.labels(a).rev(), starts_b.labels(b).rev());
    for (a, b) in labels_a.zip(labels_b) {
        match compare_labels(a, b) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    starts_a.count.cmp(&starts_b.count)
}

/// Where the labels of a name begin.
struct Starts {
    at: [u8; 128],
    count: usize,
}

impl Starts {
    fn of(wire: &[u8]) -> Starts {
        let mut starts = Starts { at: [0; 128], count: 0 };
        let mut at = 0;
        while wire[at] != 0 {
            starts.at[starts.count] = at as u8;
            starts.count += 1;
            at += 1 + usize::from(wire[at]);
        }
        starts
    }

    fn labels<'a>(&'a self, wire: &'a [u8]) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.at[..self.count].iter().map(move |&start| {
            let start = usize::from(start);
            &wire[start + 1..start + 1 + usize::from(wire[start])]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_4034_is_in_order() {
        let names = [
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "Z.a.example.",
            "zABC.a.EXAMPLE.",
            "z.example.",
            r"\001.z.example.",
            "*.z.example.",
            r"\200.z.example.",
        ];
        let names: Vec<Name> = names.iter().map(|name| name.parse().unwrap()).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(Name::root() < names[0]);
    }
}
