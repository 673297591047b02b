//! Keeps `properties.md` true: every test that it names is there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

use std::fs;
use std::path::Path;

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_property_has_its_tests() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for folder in ["src", "tests", "../examples/tests"] {
        sources(&here.join(folder), &mut code);
    }
    let table = fs::read_to_string(here.join("tests/properties.md")).unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| S")).collect();
    let numbers: Vec<String> = (1..=26).map(|number| format!("| S{number} |")).collect();
    assert_eq!(rows.len(), numbers.len());
    for (row, number) in rows.iter().zip(&numbers) {
        assert!(row.starts_with(number.as_str()), "{row}");
    }
    let mut named = 0;
    for name in table.split('`').skip(1).step_by(2).filter(|name| !name.contains(['.', '/'])) {
        assert!(code.contains(&format!("fn {name}(")), "there is no test {name}");
        named += 1;
    }
    assert!(named > 40, "{named}");
}
