//! Names of artefacts.

use super::Page;

pub(super) const PAGES: &[Page] = &[
    Page {
        name: "same_name",
        text: "Two archives of one run must not be one file.",
        failing: r#"plan site

let name = "${time("%Y%m%d%H%M")}_backup.tar.gz"

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
source users: files { paths = ["/home"] }
archive site { from = [site], to = [local], name = name }
archive users { from = [users], to = [local], name = name }
"#,
        mended: r#"plan site

let stamp = time("%Y%m%d%H%M")

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
source users: files { paths = ["/home"] }
archive site { from = [site], to = [local], name = "${stamp}_site.tar.gz" }
archive users { from = [users], to = [local], name = "${stamp}_users.tar.gz" }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "repeated_name",
        text: "An artefact is never overwritten, so each run needs a name of its own. A name without `time`, or\n\
             with a time coarser than the schedule, would be given twice: the second run would fail. The\n\
             schedule is played forward to find out, and with it what `jitter` may do: a run at 23:45 that is\n\
             delayed past midnight has the name of the next one.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local], name = "${time("%Y%m%d")}_site.tar.gz" }
schedule { run = hourly }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local], name = "${time("%Y%m%d%H%M")}_site.tar.gz" }
schedule { run = hourly }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "coarse_name",
        text: "Two runs of the schedule have names of their own, but a third may come: `plan run` by hand, or one that `catch_up` makes up\n\
             for on the next day. An artefact is never overwritten, so that the one of the two that is later fails. A name with the\n\
             time down to the minute, or the usual one, leaves room for both.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local], name = "${time("%Y%m%d")}_site.tar.gz" }
schedule { run = daily at 02:30 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local], name = "${time("%Y%m%d%H%M%S")}_site.tar.gz" }
schedule { run = daily at 02:30 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "misleading_name",
        text: "The end of a file's name is what people and programs go by: `tar xzf` does not read what is compressed by\n\
             `zstd`, and neither `tar` nor `zstd` reads what is encrypted. `plan restore` looks at what is in the artefact. Let the name end\n\
             as it is packed: `.tar.gz` or `.tar.zst`, with `.age` behind it where it is encrypted. A name without\n\
             such an end is nobody's mistake.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local], compress = zstd, name = "${time("%Y%m%d%H%M%S")}_site.tar.gz" }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local], compress = zstd, name = "${time("%Y%m%d%H%M%S")}_site.tar.zst" }
"#,
        library: None,
        params: &[],
    },
];
