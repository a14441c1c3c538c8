//! Every finding has a page, and the examples of the pages do what they say.

use std::collections::{BTreeMap, BTreeSet};

use backplan_compiler::codes::{CODES, LIVE, TOGETHER};
use backplan_compiler::explain::{Given, Page, page, pages};
use backplan_compiler::finding::{Mend, Severity};
use backplan_compiler::{Compiled, compile};
use backplan_grammar::{format, parse};

use crate::common::{applied, inputs, set_of, shown};

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

/// What a finding is told apart by: its name, and the plan's text that it is about.
fn known(compiled: &Compiled) -> BTreeMap<(&'static str, String), usize> {
    let mut all = BTreeMap::new();
    for finding in &compiled.findings {
        *all.entry((finding.name, finding.message.clone())).or_insert(0) += 1;
    }
    all
}

fn errors(compiled: &Compiled) -> BTreeSet<&'static str> {
    let errors = compiled.findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| finding.name).collect()
}

#[test]
fn every_mend_that_an_editor_offers_mends_and_breaks_nothing() {
    let mut wrong = String::new();
    let mut made = 0;
    let mistakes = [
        include_str!("../mistakes/checks.plan"),
        include_str!("../mistakes/declarations.plan"),
        include_str!("../mistakes/torn.plan"),
    ];
    let shown_pages = pages().filter(|page| !page.failing.is_empty());
    let examples = shown_pages.map(|page| (page.name, page.failing, page.library, page.params));
    for (name, text, library, params) in
        examples.chain(mistakes.iter().map(|text| ("mistakes", *text, None, &[][..])))
    {
        let params: Vec<(&str, &str)> = params.iter().map(|given| (given.name, given.failing)).collect();
        let checked = |text: &str| {
            let mut files = vec![("site.plan", text)];
            files.extend(library.map(|library| ("company.plan", library)));
            let set = set_of(&files);
            let compiled = compile(&set, &inputs(&params));
            (set, compiled)
        };
        let (set, before) = checked(text);
        for finding in &before.findings {
            let here = |mend: &&Mend| mend.edits.iter().all(|edit| edit.place.file == set.root());
            for mend in finding.mends.iter().filter(here) {
                made += 1;
                let (_, after) = checked(&applied(&set, mend));
                let key = (finding.name, finding.message.clone());
                let left = known(&after).get(&key).copied().unwrap_or(0);
                let news: Vec<_> = errors(&after).difference(&errors(&before)).copied().collect();
                if left >= known(&before)[&key] || !news.is_empty() {
                    wrong.push_str(&format!(
                        "== {name}: {} `{}`: left {left}, new errors {news:?}\n",
                        finding.message, mend.title
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(made > 20, "{made} mends");
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn declarations_that_are_advised_can_be_written() {
    let mut wrong = String::new();
    let mut seen = BTreeSet::new();
    for page in pages() {
        let (failing, _) = compiled(page, page.failing, |given| given.failing);
        let advice = failing.findings.iter().filter_map(|finding| finding.help.clone());
        for text in advice {
            for code in quoted(&text).filter(|code| code.contains(" = ") || code.contains(" {")) {
                let code = code.replace('\u{2026}', "x");
                let whole = [
                    code.clone(),
                    format!("x {{ {code} }}"),
                    format!("let x = {code}"),
                    format!("import \"a.plan\" {code}"),
                ];
                if !whole.iter().any(|text| parse(text).errors.is_empty()) {
                    wrong.push_str(&format!("{}: `{code}` in: {text}\n", page.name));
                }
                seen.insert(code);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(seen.len() > 20, "{seen:?}");
}

#[test]
fn formatting_moves_no_allowance_from_what_it_allows() {
    let mut wrong = String::new();
    for page in pages().filter(|page| !page.failing.is_empty() && !page.failing.contains("# allow")) {
        let names = |text: &str| {
            let (compiled, _) = compiled(page, text, |given| given.failing);
            compiled.findings.iter().map(|finding| finding.name).collect::<Vec<_>>()
        };
        let lines: Vec<&str> = page.failing.lines().collect();
        for at in 0..lines.len() {
            for comment in ["above", "behind"] {
                let allow = format!("# allow: {} it is so", page.name);
                let mut text: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
                match comment {
                    "above" => text.insert(at, allow),
                    _ => text[at] = format!("{} {allow}", text[at]),
                }
                let text = text.join("\n") + "\n";
                let Ok(formatted) = format(&text) else { continue };
                let (before, after) = (names(&text), names(&formatted));
                if before != after {
                    wrong.push_str(&format!(
                        "== {}: {before:?} became {after:?}\n{text}=>\n{formatted}",
                        page.name
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
