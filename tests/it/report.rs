//! The page on how plans stand: what is in it, that it asks for nothing, and that names are text.

use std::fs;

use crate::scenario::{Scenario, shell};

/// Reads a page as a browser would: tags that nest, no script, nothing from elsewhere. Prints headings and cells.
const READER: &str = r#"
import sys, html.parser
VOID = {'meta', 'br'}
class Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(); self.open = []; self.text = []; self.ids = set(); self.links = []
    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        assert tag not in ('script', 'link', 'img', 'iframe', 'object', 'embed', 'base', 'form'), tag
        for name, value in attrs.items():
            assert not name.startswith('on'), name
            assert name not in ('src', 'srcset', 'action'), name
            if name == 'href': assert value.startswith('#'), value; self.links.append(value[1:])
            if name == 'id': assert value not in self.ids, value; self.ids.add(value)
        if tag not in VOID: self.open.append(tag)
    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID: self.open.pop()
    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()
    def handle_data(self, data):
        if self.open[-1:] != ['style']: self.text.append(data)
        else: assert 'url(' not in data and '@import' not in data
page = open(sys.argv[1], encoding='utf-8').read()
assert 'http:' not in page and 'https:' not in page
reader = Reader(); reader.feed(page); reader.close()
assert not reader.open, reader.open
assert set(reader.links) <= reader.ids, (reader.links, reader.ids)
print(' '.join(' '.join(reader.text).split()))
"#;

fn read(scenario: &Scenario, page: &str) -> String {
    scenario.write("reader.py", READER);
    shell(&scenario.path("."), &format!("python3 reader.py {page}"))
}

const SITE: &str = "plan site

store near: dir {
  path = \"near\"
}

store far: dir {
  path    = \"far\"
  offsite = true
}

source site: files {
  paths = [\"site\", \"<b>more</b>&'\"]
}

source db: sqlite {
  path = \"app.db\"
}

archive main {
  from = all
  to   = [near, far]
}

cycle { incrementals = 3 }
keep  { cycles = 2 }

schedule {
  run = daily at 02:30
}

objective {
  rpo    = 26h
  copies = 2
}

verify {
  every   = 7d
  restore = site
}

retry {
  attempts = 1
}
";

#[test]
fn a_page_has_all_of_it_and_asks_for_nothing() {
    let scenario = Scenario::new().file(
        "plans/site.plan",
        SITE.replace("= \"", "= \"../").replace("[\"site\", \"", "[\"../site\", \"../"),
    );
    fs::create_dir_all(scenario.path("site")).unwrap();
    scenario.write("site/a", "a");
    fs::create_dir_all(scenario.path("<b>more</b>&'")).unwrap();
    scenario.write("<b>more</b>&'/b", "b");
    shell(&scenario.path("."), "sqlite3 app.db 'create table t (n)'");
    for night in 0..6 {
        scenario.write("site/a", "x".repeat(1000 * night));
        scenario.next_day().plan(["run", "plans/site.plan"]).status(0);
    }
    scenario.plan(["report", "plans/site.plan", "-o", "site.html"]).status(0);
    let told = read(&scenario, "site.html");
    for part in [
        "Backups of plan site",
        "all is well",
        "What is protected",
        "2 copies",
        "far (offsite)",
        "Promises",
        "rpo 1 d 2 h",
        "The last runs",
        "The last runs by step",
        "pack/main",
        "commit/far",
        "usually",
        "Sizes",
        "Days of which there are backups",
        "2026-01",
        "Chains",
        "Fddd",
        "Rehearsals",
        "passed",
        "Why backups stay in near",
        "base of",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // What is wrong, in a page of several plans; names of the world are text.
    fs::remove_dir_all(scenario.path("<b>more</b>&'")).unwrap();
    fs::remove_file(scenario.path("app.db")).unwrap();
    scenario.next_day().plan(["run", "plans/site.plan"]).status(1);
    scenario.write("plans/broken.plan", "plan broken\nstore");
    scenario.plan(["report", "plans", "-o", "all.html"]).status(2);
    let page = scenario.read("all.html");
    assert!(
        !page.contains("<b>more") && page.contains("&lt;b&gt;more&lt;/b&gt;&amp;&#39;` is not there"),
        "{page}"
    );
    let told = read(&scenario, "all.html");
    for part in [
        "Backups of 2 plans",
        "does not compile",
        "somebody should look",
        "without db; only a part of site",
        "\u{2717} dump/db",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let broken = scenario.plan(["report", "plans/site.plan", "-o", "none/x.html"]).status(1);
    broken.stderr_has("could not be written");
}
