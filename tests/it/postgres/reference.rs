//! The plan of a product whose Postgres is included in its archive, against a real cluster: six days of a cycle of five.

use std::fs;

use super::faults::rows_in;
use super::{Cluster, open_above, restore};
use crate::scenario::{Scenario, repository, shell};

const STANZA: &str = "backplan_rosemeta";
const NAME: &str = "alation_v2_2023_1_included";

/// The plan as it stands in `plans/`, its folders below the scenario and its server where the test has it.
fn plan(scenario: &Scenario, cluster: &Cluster) -> String {
    let file = repository(&format!("plans/{NAME}.plan"));
    let text = fs::read_to_string(file).unwrap();
    let (place, below) =
        (cluster.place(), format!("\"{}/", scenario.path("").to_str().unwrap().trim_end_matches('/')));
    let text = text.replace("\"/", &below).replace("\"alation\"", &format!("\"{STANZA}\""));
    let with_place = text.replace("  run_as  = \"postgres\"\n", &place);
    assert!(with_place.contains(&place) && text != with_place);
    with_place
}

fn manifest(scenario: &Scenario, number: u32) -> String {
    shell(&scenario.path("data2/backup"), &format!("cat .backplan/{NAME}/manifests/{number:08}-*"))
}

#[test]
fn a_product_s_plan_with_postgres_included_gives_back_each_day_of_its_cycle() {
    let scenario = Scenario::new()
        .file("opt/alation/build", "5-17-0-116556\n")
        .file("opt/alation/site_config/site.conf", "day 0\n")
        .file("data1/site_data/file", "site\n")
        .file("data2/kafka/events", "events\n");
    for folder in ["data2/backup", "data2/tmp"] {
        fs::create_dir(scenario.path(folder)).unwrap();
    }
    let repository = scenario.path("data2/backup/pgbackrest");
    open_above(&repository);
    let config = repository.join("pgbackrest.conf");
    let push = format!("pgbackrest --config={} --stanza={STANZA} archive-push %p", config.display());
    let cluster = Cluster::start(&scenario, "pg", &push);
    scenario.write("p.plan", plan(&scenario, &cluster));
    let mut days = Vec::new();
    for number in 1..=6 {
        cluster.fill(1000);
        days.push(cluster.rows());
        scenario.write("opt/alation/site_config/site.conf", format!("day {number}\n"));
        if number > 1 {
            fs::write(scenario.path("data2/tmp/rest"), "of a run that died").unwrap();
        }
        scenario.next_day().plan(["run", "p.plan"]).status(0);
        assert!(shell(&scenario.path("data2/tmp"), "ls -A").is_empty(), "day {number}: the staging is clear");
        let wanted = if number % 5 == 1 { "full" } else { "diff" };
        let said = manifest(&scenario, number);
        assert!(said.contains(&format!("type: {wanted}\n")), "day {number}: {said}");
        let kept = shell(&repository.join("backup").join(STANZA), "ls -d 2* | wc -l");
        // The cycle grows to five, and the next full ends it.
        let wanted = if number == 6 { 1 } else { number };
        assert_eq!(kept.trim(), wanted.to_string(), "day {number}");
    }
    let artefacts = shell(&scenario.path("data2/backup"), "ls *_5-17-0-116556_alation_backup.tar.gz | wc -l");
    assert_eq!(artefacts.trim(), "6");
    for number in [1, 5, 6] {
        let run = number.to_string();
        let restored = restore(&scenario, &run, "rosemeta");
        assert_eq!(rows_in(&scenario, &cluster, STANZA, &restored), days[number - 1], "day {number}");
        let site = restore(&scenario, &run, "site");
        let found = shell(&site, "find . -name site.conf -exec cat {} +");
        assert_eq!(found, format!("day {number}\n"));
    }
}
