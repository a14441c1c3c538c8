//! Values.

use super::Page;

pub(super) const PAGES: &[Page] = &[
    Page {
        name: "wrong_type",
        text: "Every attribute has a type, and nothing is converted: `45` is no duration, one store is no list\n\
             of stores.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = local }
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
        name: "bad_value",
        text: "The value has the right type, and still no run could use it: a number out of its bounds, a time\n\
             zone that does not exist, a range that begins above its end.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 04:30, zone = "Europe/Berln" }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 04:30, zone = "Europe/Berlin" }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "empty_list",
        text: "A list of stores, sources, paths or words of a command must hold something.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [] }
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
        name: "unknown_name",
        text: "A bare word is the name of a declaration or a keyword where the attribute wants one, and else\n\
             the name of a `let` or `param` of the same file. Text stands in quotes.",
        failing: r#"plan site

let folder = "/backup"

store local: dir { path = "${foldre}/site" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        mended: r#"plan site

let folder = "/backup"

store local: dir { path = "${folder}/site" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "unknown_reference",
        text: "Archives name sources and stores, windows and objectives name sources. The name must be\n\
             declared, in this file or an imported one.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [sites], to = [local] }
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
        name: "unknown_keyword",
        text: "Some attributes take one of a few words.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
cycle { incrementals = 6, base = fulls }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
cycle { incrementals = 6, base = full }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "unknown_function",
        text: "`env`, `file` and `exec` are secrets; `time`, `host`, `level` and `read` are filled in by each\n\
             run. There are no others.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site {
  from = [site]
  to   = [local]
  name = "${date("%Y%m%d%H%M")}_site.tar.gz"
}
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site {
  from = [site]
  to   = [local]
  name = "${time("%Y%m%d%H%M")}_site.tar.gz"
}
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "wrong_arguments",
        text: "Functions take strings that are known when the plan is read, and `exec` a list of them, and perhaps a\n\
             second one of `NAME=value`: what its program is given. A secret in that may be of `env` or `file`, or of an\n\
             `exec` without a second list.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
notify ops: webhook { url = exec("pass show hook") }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
notify ops: webhook { url = exec(["pass", "show", "hook"]) }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "loop",
        text: "A `let` may use any other of its file, in any order, as long as none rests on itself.",
        failing: r#"plan site

let a = "${b}/a"
let b = "${a}/b"

store local: dir { path = a }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        mended: r#"plan site

let a = "${b}/a"
let b = "/backup"

store local: dir { path = a }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "misplaced_run_value",
        text: "`time`, `host`, `level` and `read` have their value in a run only. They may stand where a run\n\
             fills them in: artefact names, argument lists, notifications, and (`host` alone) the prefix of a\n\
             store. A path must be known before, or the checks could say nothing of it.",
        failing: r#"plan site

store local: dir { path = "/backup/${time("%Y")}" }
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
        name: "bad_schedule",
        text: "A schedule is `every 30m` (counted from midnight), `hourly`, `daily at 02:30`, `weekly on sun at\n\
             03:00`, `monthly on 1 at 04:00`, or a cron string. It must be due some day.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = "0 0 31 2 *" }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = "0 0 28 2 *" }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "bad_address",
        text: "From what a store says an address is made: names of buckets and containers have letters, digits, `.`, `-`\n\
             and `_`; an `endpoint` is `https://HOST:PORT`; a `prefix` has no part `..`, as a bucket has no folders; the\n\
             two keys of S3 come together. The `host` and the `user` of a file server become words for `ssh`, and\n\
             must not be options or commands.",
        failing: r#"plan site

store far: s3 { bucket = "my backups" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [far] }
"#,
        mended: r#"plan site

store far: s3 { bucket = "my-backups" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [far] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "bad_file_name",
        text: "`name` and `as` are single file names: where an artefact goes is the store's affair, where a\n\
             source's output goes the archive's.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source users: command { run = ["getent", "passwd"], as = "lists/users.txt" }
archive users { from = [users], to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source users: command { run = ["getent", "passwd"], as = "users.txt" }
archive users { from = [users], to = [local] }
"#,
        library: None,
        params: &[],
    },
];
