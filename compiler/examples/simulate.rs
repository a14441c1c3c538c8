//! How long it takes to play a plan forward: ten years of half-hourly runs and some others.
//!
//! `cargo run --release --example simulate`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use backplan_compiler::compile;
use backplan_compiler::model::StoreId;
use backplan_compiler::simulate::{Horizon, simulate};
use backplan_compiler::sources::{Inputs, SourceFile, SourceSet};

const SITE: &str = "plan p
store local: dir { path = \"/backup\" }
source a: files { paths = [\"/srv/a\"] }
archive main { from = [a], to = [local] }
";

const CASES: &[(&str, &str)] = &[
    (
        "half-hourly, incrementals, all periods",
        "schedule { run = every 30m, zone = \"Europe/Berlin\" }
         cycle { incrementals = 47, base = previous }
         keep { hourly = 48, daily = 14, weekly = 8, monthly = 12, yearly = 3 }",
    ),
    ("half-hourly by cron, last", "schedule { run = \"*/30 * * * *\" }\nkeep { last = 1000 }"),
    (
        "half-hourly, within and wal",
        "schedule { run = every 30m }\nkeep { within = 7d, wal = 45d, daily = 30 }",
    ),
    (
        "daily, days weeks months",
        "schedule { run = daily at 02:30 }\nkeep { daily = 7, weekly = 4, monthly = 12 }",
    ),
];

fn main() {
    for (name, more) in CASES {
        let mut set = SourceSet::default();
        let text = format!("{SITE}{more}\n");
        let parsed = backplan_grammar::parse(&text);
        set.add(SourceFile { path: PathBuf::from("/p.plan"), shown: "p.plan".into(), text, parsed });
        let inputs = Inputs { params: BTreeMap::new(), env_params: BTreeMap::new(), home: None };
        let Some(model) = compile(&set, &inputs).model else {
            println!("{name}: the plan has errors");
            continue;
        };
        let best = (0..5).map(|_| {
            let began = Instant::now();
            let simulation = simulate(&model, Horizon::years(10, usize::MAX));
            let runs = simulation.lives(StoreId(0)).len();
            (began.elapsed(), runs)
        });
        if let Some((time, runs)) = best.min() {
            println!("{name}: {runs} runs in {:.1} ms", time.as_secs_f64() * 1000.0);
        }
    }
}
