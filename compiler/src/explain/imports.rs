//! Imports and parameters.

use super::{Given, Page};

pub(super) const PAGES: &[Page] = &[
    Page {
        name: "unreadable_import",
        text: "The path of an import starts at the importing file.",
        failing: r#"plan site

import "compny.plan"

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
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
        name: "import_loop",
        text: "A file that imports itself, by whatever way round, has no beginning.",
        failing: r#"plan site

import "company.plan"

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: Some(
            r#"import "site.plan"

keep { weekly = 4 }
"#,
        ),
        params: &[],
    },
    Page {
        name: "imported_plan",
        text: "A file with `plan NAME` is run by itself: importing it would back its sources up twice. What two\n\
             plans share belongs into a library.",
        failing: r#"plan site

import "company.plan"

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: Some(
            r#"plan company

keep { weekly = 4 }
"#,
        ),
        params: &[],
    },
    Page {
        name: "import_conflict",
        text: "A library is part of a plan once, however often it is imported, so all its imports must give the\n\
             same parameters.",
        failing: r#"plan site

import "company.plan" { root = "/backup" }
import "company.plan" { root = "/mnt/backup" }

source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [nas] }
"#,
        mended: r#"plan site

import "company.plan" { root = "/backup" }

source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [nas] }
"#,
        library: Some(
            r#"param root: string

store nas: dir { path = root }
"#,
        ),
        params: &[],
    },
    Page {
        name: "unknown_param",
        text: "A value is given, by an import or by `-p`, for a parameter that the file does not have.",
        failing: r#"plan site

import "company.plan" { rot = "/backup" }

source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [nas] }
"#,
        mended: r#"plan site

import "company.plan" { root = "/backup" }

source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [nas] }
"#,
        library: Some(
            r#"param root = "/mnt/backup"

store nas: dir { path = root }
"#,
        ),
        params: &[],
    },
    Page {
        name: "unbound_param",
        text: "A parameter has its value from the import, from `-p NAME=VALUE`, from the environment variable\n\
             `PLAN_PARAM_NAME`, or from its default, in this order.",
        failing: r#"plan site

param root: string

store local: dir { path = root }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        mended: r#"plan site

param root: string = "/backup"

store local: dir { path = root }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "bad_param",
        text: "A value given by `-p` or the environment is text; it is read as a literal of the parameter's\n\
             type, so that it cannot be anything else by accident. Give a value of that type: for a `duration`\n\
             `30d` or `12h`, for an `int` `7`, for a `bool` `true`.",
        failing: r#"plan site

param days: duration = 30d

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
keep { within = days }
"#,
        mended: r#"plan site

param days: duration = 30d

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
keep { within = days }
"#,
        library: None,
        params: &[Given { name: "days", failing: "many", mended: "60d" }],
    },
];
