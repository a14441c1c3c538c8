//! A page on each finding: what it means, a plan that has it, the same plan mended. The examples are real plans, and a
//! test compiles them all.
//!
//! Each is a text of its own, `compiler/explain/NAME.md`, which the program holds.

use std::sync::LazyLock;

use crate::codes::{Code, code};

macro_rules! texts {
    ($($name:literal,)*) => { &[$(($name, include_str!(concat!("../explain/", $name, ".md")))),*] };
}

/// The name and text of every page, by subject.
const TEXTS: &[(&str, &str)] = texts![
    "syntax",
    "nesting_too_deep",
    "too_large",
    "not_text",
    "file_too_large",
    "missing_plan",
    "unknown_kind",
    "unknown_type",
    "missing_type",
    "missing_name",
    "unexpected_name",
    "duplicate",
    "replaced",
    "unknown_attribute",
    "missing_attribute",
    "unknown_block",
    "empty_block",
    "attribute_conflict",
    "driver_attribute",
    "wrong_type",
    "bad_value",
    "empty_list",
    "unknown_name",
    "unknown_reference",
    "unknown_keyword",
    "unknown_function",
    "wrong_arguments",
    "loop",
    "misplaced_run_value",
    "bad_schedule",
    "bad_address",
    "bad_file_name",
    "unreadable_import",
    "import_loop",
    "imported_plan",
    "import_conflict",
    "unknown_param",
    "unbound_param",
    "bad_param",
    "unreached_source",
    "empty_archive",
    "archived_and_separate",
    "useless_exclude",
    "unused_name",
    "after_loop",
    "endless_window",
    "separate_without_repository",
    "repository_homeless",
    "repository_unreachable",
    "repository_unruled",
    "wal_without_base",
    "level_unsupported",
    "no_full",
    "changed_blocks",
    "recompressed",
    "same_name",
    "repeated_name",
    "coarse_name",
    "misleading_name",
    "store_in_source",
    "staging_in_source",
    "cleared_by_staging",
    "dangerous_staging",
    "shared_staging",
    "same_store",
    "nested_stores",
    "overlapping_paths",
    "live_database",
    "swallowed_path",
    "useless_pattern",
    "misplaced_secret",
    "inline_secret",
    "no_recipient",
    "bad_recipient",
    "left_in_clear",
    "missing_identity",
    "copies_unreachable",
    "offsite_unreachable",
    "log_copies",
    "silent_copy",
    "needed_store",
    "copies_of_newest",
    "query_of_no_database",
    "policy_broken",
    "unused_allow",
    "allow_without_reason",
    "rpo_missed",
    "rpo_tight",
    "rpo_clock_change",
    "rpo_unscheduled",
    "rto_unrehearsed",
    "rehearsal_late",
    "clock_change",
    "short_months",
    "jitter_overlaps",
    "timeout_overlaps",
    "level_never_comes",
    "endless_chain",
    "useless_rule",
    "keep_without_effect",
    "immutable_outlasts_keep",
    "keep_outlasts_immutable",
    "pinned_chain",
    "cut_cycle",
    "log_hole",
    "moment_lost",
    "path_missing",
    "path_is_link",
    "store_away",
    "store_read_only",
    "store_unusable",
    "state_unusable",
    "store_full",
    "store_unsynced",
    "staging_away",
    "staging_unsafe",
    "staging_strangers",
    "staging_short",
    "scratch_short",
    "plan_writable",
    "clock_wrong",
    "account_missing",
    "tool_missing",
    "tool_old",
    "server_away",
    "server_refuses",
    "cluster_other",
    "rights_missing",
    "dump_lacks",
    "slots_full",
    "no_checksums",
    "summarize_off",
    "wal_level",
    "archive_off",
    "archive_standby",
    "archive_command",
    "archive_unreachable",
    "archive_behind",
    "archive_fails",
    "timelines_apart",
    "archive_timeout",
    "stanza_missing",
    "stanza_other",
    "repository_unreadable",
    "config_conflict",
    "name_spoils",
    "shared_plan_name",
    "shared_artefact_name",
];

/// What an example is headed by: one that has the finding, what that imports, one that has it not, and one that only shows what
/// is looked at.
const FAILING: &str = "A plan that has it";
const LIBRARY: &str = "company.plan, which it imports";
const MENDED: &str = "Mended";
const SHOWN: &str = "A plan of the sort that is looked at";

static PAGES: LazyLock<Vec<Page>> =
    LazyLock::new(|| TEXTS.iter().map(|(name, text)| Page::read(name, text)).collect());

/// A page on a finding.
#[derive(Debug)]
pub struct Page {
    /// The finding's name.
    pub name: &'static str,
    /// What it means and why it matters: a paragraph or two.
    pub text: &'static str,
    /// A plan, `site.plan`, that has the finding and no other; empty where no plan can be shown, as it comes from the world.
    pub failing: &'static str,
    /// The plan without it; empty where no plan would tell anything.
    pub mended: &'static str,
    /// What `company.plan` holds, where the plan imports it.
    pub library: Option<&'static str>,
    /// `-p NAME=VALUE`, where the finding comes from there.
    pub params: &'static [Given],
}

/// A parameter that is given with an example.
#[derive(Debug, Clone)]
pub struct Given {
    /// The parameter.
    pub name: &'static str,
    /// Its value where the finding is.
    pub failing: &'static str,
    /// Its value where it is mended.
    pub mended: &'static str,
}

impl Page {
    /// Reads a page: `# NAME`, its text, and under a heading each an example between fences.
    fn read(name: &'static str, text: &'static str) -> Page {
        let mut sections = text.split("\n## ");
        let first = sections.next().unwrap_or_default();
        let text = first.split_once('\n').map_or("", |(_, text)| text.trim());
        let mut page = Page { name, text, failing: "", mended: "", library: None, params: &[] };
        for section in sections {
            let Some((heading, rest)) = section.split_once('\n') else { continue };
            let (title, given) = heading.split_once(", with ").unwrap_or((heading, ""));
            let plan = fenced(rest);
            match title {
                FAILING => (page.failing, page.params) = (plan, failing_params(given)),
                LIBRARY => page.library = Some(plan),
                MENDED => (page.mended, page.params) = (plan, mended_params(page.params, given)),
                SHOWN => page.mended = plan,
                _ => {}
            }
        }
        page
    }

    /// The name, weight and meaning of its finding.
    pub fn code(&self) -> Option<&'static Code> {
        code(self.name)
    }
}

/// Every page, by subject.
pub fn pages() -> impl Iterator<Item = &'static Page> {
    PAGES.iter()
}

/// The page on the finding with this name.
pub fn page(name: &str) -> Option<&'static Page> {
    pages().find(|page| page.name == name)
}

/// What is between the fences, its last end of line with it.
fn fenced(text: &'static str) -> &'static str {
    let opened = text.split_once("```plan\n").map_or("", |(_, plan)| plan);
    opened.rsplit_once("```").map_or("", |(plan, _)| plan)
}

/// Names and values of `` `-p NAME=VALUE` ``, one behind the other.
fn values(given: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let quoted = given.split('`').skip(1).step_by(2);
    quoted.filter_map(|option| option.strip_prefix("-p ")?.split_once('='))
}

fn failing_params(given: &'static str) -> &'static [Given] {
    let params: Vec<Given> =
        values(given).map(|(name, failing)| Given { name, failing, mended: "" }).collect();
    params.leak()
}

/// The parameters of the example that fails, with their values in the one that is mended, which comes behind it.
fn mended_params(failing: &[Given], given: &'static str) -> &'static [Given] {
    let value = |name: &str| values(given).find(|(known, _)| *known == name).map_or("", |(_, value)| value);
    let params: Vec<Given> =
        failing.iter().map(|param| Given { mended: value(param.name), ..param.clone() }).collect();
    params.leak()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;
    use std::fmt::Write;
    use std::path::Path;

    use super::{FAILING, Given, LIBRARY, MENDED, Page, SHOWN, TEXTS, pages};

    fn given(page: &Page, value: fn(&Given) -> &'static str) -> String {
        let params: Vec<String> =
            page.params.iter().map(|given| format!("`-p {}={}`", given.name, value(given))).collect();
        if params.is_empty() { String::new() } else { format!(", with {}", params.join(" ")) }
    }

    /// A page as its file has it.
    fn written(page: &Page) -> String {
        let mut text = format!("# {}\n\n{}\n", page.name, page.text);
        let mut example = |title: &str, given: String, plan: &str| {
            write!(text, "\n## {title}{given}\n\n```plan\n{plan}```\n").unwrap();
        };
        if !page.failing.is_empty() {
            example(FAILING, given(page, |given| given.failing), page.failing);
        }
        if let Some(library) = page.library {
            example(LIBRARY, String::new(), library);
        }
        match (page.failing, page.mended) {
            (_, "") => {}
            ("", shown) => example(SHOWN, String::new(), shown),
            (_, mended) => example(MENDED, given(page, |given| given.mended), mended),
        }
        text
    }

    #[test]
    fn of_each_file_everything_is_read() {
        for (page, (name, text)) in pages().zip(TEXTS) {
            assert_eq!(page.name, *name);
            assert_eq!(written(page), *text, "{name}");
        }
    }

    #[test]
    fn every_file_is_a_page() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("explain");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
        let files: BTreeSet<String> = files.map(|name| name.into_string().unwrap()).collect();
        let pages: BTreeSet<String> = pages().map(|page| format!("{}.md", page.name)).collect();
        assert_eq!(files, pages);
    }
}
