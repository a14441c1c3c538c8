//! Paths and patterns.

use super::Page;

pub(super) const PAGES: &[Page] = &[
    Page {
        name: "store_in_source",
        text: "A store inside a source is packed into the artefact that is brought to it: each run holds all\n\
             runs before it.",
        failing: r#"plan site

store local: dir { path = "/srv/site/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/srv/site/backup" }
source site: files { paths = ["/srv/site"], exclude = ["/backup"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "staging_in_source",
        text: "A staging inside a source is read while archives are built in it.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
staging { path = "/srv/site/tmp" }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
staging { path = "/var/cache/backplan" }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "cleared_by_staging",
        text: "The contents of a staging are deleted before and after each run. A source, a store, a plan, a\n\
             key or another tool's staging in it would be deleted with them.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/data/site"] }
archive site { from = [site], to = [local] }
staging { path = "/data" }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/data/site"] }
archive site { from = [site], to = [local] }
staging { path = "/data/tmp" }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "dangerous_staging",
        text: "The contents of a staging are deleted before and after each run, so it cannot be a folder that\n\
             other programs or people use.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
staging { path = "/tmp" }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
staging { path = "/tmp/backplan" }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "shared_staging",
        text: "A staging belongs to one program. Two of them in one folder, or one where finished artefacts\n\
             are, would delete each other's files.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
staging { path = "/backup" }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
staging { path = "/backup/tmp" }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "same_store",
        text: "Two stores that are one place are one copy, whatever `objective` counts.",
        failing: r#"plan site

store local: dir { path = "/backup" }
store second: dir { path = "/backup/../backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local, second] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
store second: dir { path = "/mnt/second" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local, second] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "nested_stores",
        text: "A store inside another is on the same disk: what destroys one destroys both.",
        failing: r#"plan site

store local: dir { path = "/backup" }
store second: dir { path = "/backup/second" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local, second] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
store second: dir { path = "/mnt/second" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local, second] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "overlapping_paths",
        text: "A path inside another is read and packed twice. Where both are in one archive, that is hardly\n\
             ever meant.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site", "/srv/site/images"] }
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
        name: "live_database",
        text: "A database that is copied as plain files while it is written to is torn, and may not start after\n\
             a restore. It has a source of its own that reads it properly: leave its files out of the other.",
        failing: r#"plan app

store local: dir { path = "/backup" }
source data: files { paths = ["/srv/app"] }
source db: sqlite { path = "/srv/app/app.db" }
archive app { from = all, to = [local] }
"#,
        mended: r#"plan app

store local: dir { path = "/backup" }
source data: files { paths = ["/srv/app"], exclude = ["/app.db", "/app.db-*"] }
source db: sqlite { path = "/srv/app/app.db" }
archive app { from = all, to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "swallowed_path",
        text: "An exclusion that takes everything leaves an empty backup.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"], exclude = ["*"] }
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
        name: "useless_pattern",
        text: "Patterns are anchored at each entry of `paths`: `/cache` under `/srv/site` means\n\
             `/srv/site/cache`. A pattern written as an absolute path, with `..` or `~`, or behind a folder\n\
             that is left out as a whole, matches nothing.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"], exclude = ["/srv/site/cache"] }
archive site { from = [site], to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"], exclude = ["/cache"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
];
