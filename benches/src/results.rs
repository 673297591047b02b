//! Keeps `RESULTS.md`: each scenario has a section between two markers, the rest is prose.

use crate::Error;

/// Puts `body` between the markers of `name` and leaves everything else as it is.
///
/// A text without these markers gets the section at its end.
///
/// # Errors
/// [`Error::Markers`] when only one of the two is there, or they are in the wrong order.
pub fn with_section(text: &str, name: &str, body: &str) -> Result<String, Error> {
    let (begin, end) = (format!("<!-- compare {name} -->"), format!("<!-- /compare {name} -->"));
    let body = body.trim_end();
    match (text.find(&begin), text.find(&end)) {
        (Some(from), Some(to)) if from < to => {
            let (before, after) = (&text[..from], &text[to..]);
            Ok(format!("{before}{begin}\n{body}\n{after}"))
        }
        (None, None) => Ok(format!("{}\n\n{begin}\n{body}\n{end}\n", text.trim_end())),
        _ => Err(Error::Markers { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_section_goes_to_the_end() {
        assert_eq!(
            with_section("# Results\n", "update", "table\n").unwrap(),
            "# Results\n\n<!-- compare update -->\ntable\n<!-- /compare update -->\n"
        );
    }

    #[test]
    fn only_what_is_between_its_markers_is_replaced() {
        let one = with_section("# Results\n", "noop", "first").unwrap();
        let two = with_section(&one, "noop-small", "second").unwrap() + "\nProse.\n";
        let three = with_section(&two, "noop", "newer").unwrap();
        assert_eq!(three, two.replace("first", "newer"));
    }

    #[test]
    fn writing_the_same_twice_changes_nothing() {
        let one = with_section("# Results\n", "noop", "first\n").unwrap();
        assert_eq!(with_section(&one, "noop", "first\n").unwrap(), one);
    }

    #[test]
    fn half_a_pair_of_markers_is_refused() {
        let error = with_section("<!-- compare noop -->\nlost", "noop", "x").unwrap_err();
        assert!(error.to_string().contains("<!-- /compare noop -->"), "{error}");
    }
}
