//! Backups by pgBackRest, rehearsed: from the repository in an artefact, and from one of its own.

use std::fs;

use super::{Cluster, open_above, world};
use crate::scenario::Scenario;

fn write_plan(scenario: &Scenario, cluster: &Cluster, stanza: &str, is_apart: bool, rows: u32) {
    let (staging, way) = match is_apart {
        true => (String::new(), "separate db {\n  to = [store]\n}"),
        false => (
            "  staging = \"pg/repository\"\n".to_owned(),
            "archive main {\n  from = [db]\n  to   = [store]\n}",
        ),
    };
    let text = format!(
        "plan p\nstore store: dir {{\n  path = \"store\"\n}}\nstaging {{\n  path = \"staging\"\n}}\n\
         source db: postgres {{\n  driver  = pgbackrest\n  stanza  = \"{stanza}\"\n{staging}{}}}\n\
         source notes: files {{\n  paths = [\"notes\"]\n}}\narchive notes {{\n  from = [notes]\n  to = [store]\n}}\n{way}\n\
         verify {{\n  restore = db\n  query = \"select count(*) = {rows} from t\"\n}}\nobjective {{\n  rto = 1h\n}}\n",
        cluster.place()
    );
    scenario.write("p.plan", text);
}

fn nothing_is_left(scenario: &Scenario) {
    assert_eq!(fs::read_dir(scenario.path("../tmp")).unwrap().count(), 0);
}

#[test]
fn repositories_are_restored_from_and_asked() {
    for (is_apart, stanza) in [(false, "backplan_rehearsed"), (true, "backplan_rehearsed_apart")] {
        let scenario = world().file("notes/a", "a");
        open_above(&scenario.path("../tmp/x"));
        let own = match is_apart {
            true => scenario.path("store/.backplan-repo/p/db"),
            false => scenario.path("pg/repository"),
        };
        let config = own.join("pgbackrest.conf");
        let push = format!("pgbackrest --config={} --stanza={stanza} archive-push %p", config.display());
        fs::create_dir_all(scenario.path("store")).unwrap();
        open_above(&scenario.path("store/x"));
        let cluster = Cluster::start(&scenario, "pg", &push);
        cluster.fill(500);
        write_plan(&scenario, &cluster, stanza, is_apart, 500);
        scenario.plan(["run", "p.plan"]).status(0);
        let answer = scenario.plan(["verify", "--rehearse", "p.plan"]).status(0);
        answer.says("by pgbackrest").says("passed   query").says("passed   pg_checksums");
        nothing_is_left(&scenario);
        write_plan(&scenario, &cluster, stanza, is_apart, 501);
        scenario.plan(["verify", "--rehearse", "p.plan"]).status(1).says("it answered `f`");
        nothing_is_left(&scenario);
    }
}
