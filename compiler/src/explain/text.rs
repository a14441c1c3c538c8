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
             than the one that is read (those that turn the direction of writing, that have no width), may\n\
             stand in strings as escapes only.\n\n\
             Where the byte shown is in the first few, the file is most likely no plan at all: an archive, a\n\
             picture. Where it stands in a word with an accent, the file was saved in another encoding:\n\
             `iconv -f latin1 -t utf-8 old.plan > new.plan`. Where a character is shown as an escape, it mostly\n\
             came with text copied from a page or a chat: delete it, or write the escape, `\\u{202e}`, if a\n\
             string is to hold it.",
        failing: "",
        mended: "",
        library: None,
        params: &[],
    },
    Page {
        name: "file_too_large",
        text: "A plan is a page that a person reads; a file of more than a megabyte is none, and is not read any\n\
             further.\n\n\
             See that the path names the plan and not its backup or a dump. A plan that a program has written\n\
             out, path by path, becomes short with a pattern (`paths = [\"/srv/*/data\"]`), with a source that\n\
             takes the folder above and an `exclude`, or with libraries that it imports.",
        failing: "",
        mended: "",
        library: None,
        params: &[],
    },
];
