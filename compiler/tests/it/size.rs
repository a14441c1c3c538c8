//! A large plan is checked like a small one. How long that takes is for `benches/check.sh`.

use std::fmt::Write;

use backplan_compiler::compile;

use crate::common::{inputs, set_of};

/// A plan of ten thousand sources, each with a path of its own.
fn large(more: &str) -> String {
    let mut text = String::from(
        "plan large\nstore local: dir { path = \"/backup\" }\nstaging { path = \"/staging\" }\n",
    );
    for number in 0..10_000 {
        let _ = writeln!(
            text,
            "source s{number}: files {{ paths = [\"/srv/{}/{number}\"], exclude = [\"tmp/\"] }}",
            number % 97
        );
    }
    text.push_str(
        "archive all { from = all, to = [local] }\nschedule { run = every 30m }\nobjective { copies = 1 }\n",
    );
    text + more
}

#[test]
fn among_ten_thousand_sources_only_what_is_wrong_is_told() {
    let set = set_of(&[("large.plan", &large("keep { daily = 7, weekly = 4 }\nobjective { rpo = 33m }\n"))]);
    let compiled = compile(&set, &inputs(&[]));
    assert!(compiled.is_sound() && compiled.findings.is_empty(), "{:?}", compiled.findings.first());
    let wrong = "store inner: dir { path = \"/srv/5/5/store\" }\nsource twice: files { paths = [\"/srv/96/9990/x\"] }\n\
                 objective { rpo = 20m }\n";
    let set = set_of(&[("large.plan", &large(wrong))]);
    let mut names: Vec<&str> =
        compile(&set, &inputs(&[])).findings.iter().map(|finding| finding.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["overlapping_paths", "rpo_missed", "store_in_source", "unused_name"]);
}
