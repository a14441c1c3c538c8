//! What `plan check` finds between plans that it is given together. No plan has it alone.

use super::Page;

const NAMED: &str = r#"plan shop

store disk: dir { path = "/backup" }
source site: files { paths = ["/srv/shop"] }
archive site { from = [site], to = [disk], name = "shop_${time("%Y%m%d%H%M%S")}.tar.gz" }
"#;

const fn page(name: &'static str, text: &'static str) -> Page {
    Page { name, text, failing: "", mended: NAMED, library: None, params: &[] }
}

pub(super) const PAGES: &[Page] = &[
    page(
        "shared_plan_name",
        "In a store, all that belongs to a plan goes by the plan's name: its runs, its locks, what retention may\n\
         delete. Two plans of one name in one store take each other's backups for their own; the second one to\n\
         run is refused, until somebody says `--adopt`. Give each plan a name of its own behind `plan`, or its\n\
         own store. A plan that has run under its name keeps it: rename the newer one. A copy that is only kept\n\
         for reading goes out of the folder, or gets another ending than `.plan`. Plans of several machines whose\n\
         folders are only called the same (`/backup` on each) are checked one by one, or in a folder for each machine.",
    ),
    page(
        "shared_artefact_name",
        "Artefacts of all plans of a store lie side by side under the names that the plans give them, and none is\n\
         ever overwritten: where two plans write one name, the later run fails. Put the plan's own name into each\n\
         `name`, or leave `name` out: the usual one has it. Names with `host()` in them are taken to be of several\n\
         machines.",
    ),
];
