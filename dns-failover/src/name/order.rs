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
    fn cmp(&self, other: &Name) -> Ordering {
        let (a, b) = (self.as_wire(), other.as_wire());
        if a == b {
            return Ordering::Equal;
        }
        let (starts_a, starts_b) = (Starts::of(a), Starts::of(b));
        let (labels_a, labels_b) = (starts_a.labels(a).rev(), starts_b.labels(b).rev());
        for (a, b) in labels_a.zip(labels_b) {
            let folded = a.iter().map(u8::to_ascii_lowercase);
            match folded.cmp(b.iter().map(u8::to_ascii_lowercase)) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        starts_a.count.cmp(&starts_b.count)
    }
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
