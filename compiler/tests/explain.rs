//! Every finding has a page, and the examples of the pages do what they say.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use backplan_compiler::codes::{CODES, LIVE, TOGETHER};
use backplan_compiler::explain::{Given, Page, page, pages};
use backplan_compiler::{Compiled, compile};

use common::{inputs, set_of, shown};

fn compiled(page: &Page, text: &str, value: fn(&Given) -> &'static str) -> (Compiled, String) {
    let mut files = vec![("site.plan", text)];
    files.extend(page.library.map(|library| ("company.plan", library)));
    let set = set_of(&files);
    let params: Vec<(&str, &str)> = page.params.iter().map(|given| (given.name, value(given))).collect();
    let compiled = compile(&set, &inputs(&params));
    let shown = shown(&set, &compiled.findings);
    (compiled, shown)
}

#[test]
fn every_finding_has_a_page() {
    for code in CODES.iter().chain(LIVE).chain(TOGETHER) {
        assert!(page(code.name).is_some(), "no page on {}", code.name);
    }
    assert_eq!(pages().count(), CODES.len() + LIVE.len() + TOGETHER.len());
}

#[test]
fn examples_fail_and_are_mended_as_they_say() {
    let mut wrong = String::new();
    for page in pages() {
        if page.failing.is_empty() {
            let is_live = LIVE.iter().chain(TOGETHER).any(|code| code.name == page.name);
            assert!(is_live || ["file_too_large", "not_text"].contains(&page.name));
            // No text has it; what the page shows is a plan all the same, and the page says what to do.
            assert!(page.text.len() > 60, "{}", page.name);
            if is_live {
                let (shown, text) = compiled(page, page.mended, |given| given.mended);
                assert!(shown.model.is_some(), "{}: {text}", page.name);
            } else {
                assert_eq!(page.mended, "", "{}: a plan that shows nothing", page.name);
            }
            continue;
        }
        let (failing, text) = compiled(page, page.failing, |given| given.failing);
        let names: BTreeSet<&str> = failing.findings.iter().map(|finding| finding.name).collect();
        if names != BTreeSet::from([page.name]) {
            wrong.push_str(&format!("== {}: the failing example finds\n{text}", page.name));
        }
        let (mended, text) = compiled(page, page.mended, |given| given.mended);
        if !mended.findings.is_empty() || mended.model.is_none() {
            wrong.push_str(&format!("== {}: the mended example finds\n{text}", page.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
