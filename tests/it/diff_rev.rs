//! `plan diff --rev`: repositories with links and submodules.

use crate::diff::has;
use crate::scenario::{Scenario, shell};

const COMMIT: &str = "git add -A . && git -c user.name=x -c user.email=x@example.org commit -q -m one";

#[test]
fn links_and_submodules_are_read_as_the_revision_has_them() {
    let plan = "plan p\nimport \"../shared/lib.plan\"\nimport \"more.plan\"\nsource site: files { paths = [\"site\"] }\narchive main { from = all, to = [store] }\n";
    let scenario = Scenario::new()
        .file("library/lib.plan", "store store: dir { path = \"/first\" }\n")
        .file("top/hosts/web.plan", plan)
        .file("top/hosts/more.plan", "cycle { incrementals = 2 }\n");
    shell(&scenario.path("library"), &format!("git init -q . && {COMMIT}"));
    shell(
        &scenario.path("top"),
        &format!(
            "git init -q . && git -c protocol.file.allow=always submodule --quiet add ../library shared && \
             ln -s hosts here && ln -s web.plan hosts/link.plan && {COMMIT}"
        ),
    );
    let ask = |plan: &str| scenario.plan(["diff", "--rev", "HEAD", plan, "--format", "json"]);
    for plan in ["top/hosts/web.plan", "top/hosts/link.plan", "top/here/link.plan"] {
        ask(plan).status(0);
    }
    // What the submodule has by now is not what the revision names.
    shell(&scenario.path("top/shared"), &format!("sed -i s/first/second/ lib.plan && {COMMIT}"));
    for plan in ["top/hosts/web.plan", "top/hosts/link.plan"] {
        has(&ask(plan).status(2), "danger", "store_moved");
    }
    // A link that leads to itself, and a submodule that was never fetched.
    shell(&scenario.path("top"), &format!("ln -sf link.plan hosts/link.plan && {COMMIT}"));
    ask("top/hosts/link.plan").status(1).stdout("");
    shell(&scenario.path("."), "git clone -q top clone");
    scenario.plan(["diff", "--rev", "HEAD", "clone/hosts/web.plan"]).status(1).stderr_has("lib.plan");
}
