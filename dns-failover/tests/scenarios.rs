//! The table of scenarios in `data/scenarios.txt`, each with the moves that must come of it.
//!
//! A line is a time and what happens then. Three observers (`london` in the UK, `newyork` in the US,
//! `zurich` outside) report every two seconds what they were last said to see; `moves` and `stays`
//! are what must come of it. `UPDATE_GOLDEN=1` rewrites those two; the difference is the review.

mod common;

use common::scenario::{self, Outcome};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/scenarios.txt");

#[test]
fn every_scenario_of_the_table_ends_as_it_says() {
    let table = std::fs::read_to_string(TABLE).unwrap();
    let mut rewritten = String::new();
    let mut wrong = String::new();
    let mut count = 0;
    for block in table.split_inclusive("\n\n") {
        let Some(title) = block.trim_start().strip_prefix("== ") else {
            rewritten += block;
            continue;
        };
        count += 1;
        let Outcome { lines, result } = scenario::run(block);
        let told: Vec<_> = block.lines().filter(|line| scenario::is_result(line)).collect();
        if told != result {
            wrong += &format!(
                "== {}\n  told: {told:#?}\n  came: {result:#?}\n",
                title.lines().next().unwrap()
            );
        }
        for line in lines.iter().chain(&result) {
            rewritten += line;
            rewritten.push('\n');
        }
        rewritten.push('\n');
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(TABLE, rewritten).unwrap();
        return;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 80, "{count} scenarios");
}
