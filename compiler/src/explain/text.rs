//! Text that cannot be read.

use super::Page;

pub(super) const PAGES: &[Page] = &[
    Page {
        name: "syntax",
        text: "The text cannot be read as a plan from the place shown on. Everything that could be read is\n\
             checked all the same; what depends on the part that could not be read is not told of.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site] to = [local] }
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
        name: "nesting_too_deep",
        text: "Blocks, lists and calls may be nested so deep, and names may rest on one another so deep, and no\n\
             deeper: a plan is a page that a person reads, and the compiler must not be made to fall over.",
        failing: r#"plan site

let deep = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]

store local: dir { path = "/backup" }
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
        name: "too_large",
        text: "A string made of other strings doubles quickly. One longer than 64 KiB is refused, as no path,\n\
             name or argument is that long.",
        failing: r#"plan site

let a = "0123456789012345678901234567890123456789"
let b = "${a}${a}"
let c = "${b}${b}"
let d = "${c}${c}"
let e = "${d}${d}"
let f = "${e}${e}"
let g = "${f}${f}"
let h = "${g}${g}"
let i = "${h}${h}"
let j = "${i}${i}"
let k = "${j}${j}"
let l = "${k}${k}"

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/${l}"] }
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
        name: "not_text",
        text: "A plan is UTF-8 text. Control characters, and characters that make a reader see another text\n\
             than the one that is read, may stand in strings as escapes only. (No example is shown.)",
        failing: r#""#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "file_too_large",
        text: "A plan is a page that a person reads; a file of more than a megabyte is none. (No example is\n\
             shown.)",
        failing: r#""#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
];
