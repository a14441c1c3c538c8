//! Declarations and their attributes.

use super::Page;

pub(super) const PAGES: &[Page] = &[
    Page {
        name: "missing_plan",
        text: "A file that begins with `plan NAME` can be run. One without it is a library: it is imported by\n\
             plans.",
        failing: r#"store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "unknown_kind",
        text: "The first word of a declaration says what it is. The reference page lists the kinds.",
        failing: r#"plan site

stroe local: dir { path = "/backup" }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "unknown_type",
        text: "Stores, sources and notifications have a type behind a colon; a `param` may have one.",
        failing: r#"plan site

store local: folder { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "missing_type",
        text: "A store, a source or a notification needs its type: what it is decides which attributes it has.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "missing_name",
        text: "Stores, sources, archives, windows and notifications are named, as others speak of them;\n\
             `separate` and `wal` bear the name of their source.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive { from = [site], to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "unexpected_name",
        text: "What stands once in a plan needs no name.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
keep main { daily = 7 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
keep { daily = 7 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "duplicate",
        text: "Names are given once for each kind, also over all imported files; an attribute is written once\n\
             in its block; an unnamed declaration stands once in a file (`objective`, `verify` and `policy`\n\
             may repeat).",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
keep { daily = 7 }
keep { weekly = 4 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
keep { daily = 7, weekly = 4 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "replaced",
        text: "An unnamed declaration of the importing file replaces a library's as a whole; nothing of the\n\
             library's is mixed in. A `policy` cannot be replaced.",
        failing: r#"plan site

import "company.plan"

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
keep { daily = 7 }
"#,
        mended: r#"plan site

import "company.plan"

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: Some(
            r#"keep { weekly = 4 }
"#,
        ),
        params: &[],
    },
    Page {
        name: "unknown_attribute",
        text: "Each kind has its attributes; the reference page lists them.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"], excludes = ["*.tmp"] }
archive site { from = [site], to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"], exclude = ["*.tmp"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "missing_attribute",
        text: "Some attributes have no sensible default: where a store is, what a source reads. Some drivers\n\
             need attributes that others do not.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "unknown_block",
        text: "Only `store` and `separate` hold blocks: a `keep` of their own, and a `separate` a `schedule`.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site {
  from = [site]
  to   = [local]
  keep { daily = 7 }
}
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
keep { daily = 7 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "empty_block",
        text: "A declaration that says nothing is read as if it said something. A `keep` without a rule keeps\n\
             nothing, and no `keep` at all keeps everything: the difference is too large to be left to a\n\
             typing error.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
keep { prefer = full }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
keep { monthly = 12, prefer = full }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "attribute_conflict",
        text: "With `run`, the level of a run comes from the cycle; with `full`, `differential` and\n\
             `incremental`, from the schedule. A plan does one or the other. Likewise a webhook has a `shape`, or a\n\
             `template` of its own.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
cycle { incrementals = 6 }
schedule { full = weekly on sun at 03:00, incremental = daily at 02:30 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
cycle { incrementals = 6 }
schedule { run = daily at 02:30 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "driver_attribute",
        text: "The drivers of a `postgres` source are different tools, and an attribute that the tool of choice\n\
             does not know would be silently without effect.",
        failing: r#"plan db

store local: dir { path = "/backup" }
source db: postgres { driver = dump, stanza = "main" }
archive db { from = [db], to = [local] }
"#,
        mended: r#"plan db

store local: dir { path = "/backup" }
source db: postgres { driver = pgbackrest, stanza = "main", staging = "/var/lib/pgbackrest" }
archive db { from = [db], to = [local] }
"#,
        library: None,
        params: &[],
    },
];
