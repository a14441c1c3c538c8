//! `plan graph`

use crate::scenario::{SITE, Scenario, plan, repository};

/// Names of the steps that a drawing has, with their mark.
fn steps(svg: &str) -> Vec<(String, String)> {
    let groups = svg.split("<g class=\"step ").skip(1);
    let named = groups.map(|group| {
        let class = group.split('"').next().unwrap();
        let title = group.split("<title>").nth(1).unwrap().split(['<', '\n']).next().unwrap();
        let mark = class.split(' ').nth(1).unwrap_or_default();
        (title.to_owned(), mark.to_owned())
    });
    named.collect()
}

#[test]
fn every_step_is_drawn_once_and_nothing_is_needed_from_elsewhere() {
    let scenario = Scenario::new();
    let file = repository("plans/quickstart/quickstart.plan");
    let compiled = scenario.plan(["compile".as_ref(), file.as_os_str()]).status(0);
    let expected: Vec<&str> =
        compiled.stdout.lines().filter_map(|line| line.trim().strip_prefix("- id: ")).collect();
    assert!(expected.len() >= 9, "{expected:?}");
    for format in ["svg", "html"] {
        let drawn = scenario
            .plan(["graph".as_ref(), file.as_os_str(), "--format".as_ref(), format.as_ref()])
            .status(0);
        let mut names: Vec<String> = steps(&drawn.stdout).into_iter().map(|(name, _)| name).collect();
        let mut expected: Vec<&str> = expected.clone();
        names.sort();
        expected.sort_unstable();
        assert_eq!(names, expected);
        let elsewhere = drawn.stdout.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("http") && !elsewhere.contains("src="), "{format}");
        // Levels and stores are told by words and numbers.
        drawn
            .stdout_has("full, then 6 differential")
            .stdout_has("store local (dir)")
            .stdout_has("class=\"number\"");
    }
}

#[test]
fn a_name_cannot_break_out_of_a_drawing() {
    let text = plan(&SITE.replace("[\"site\"]", "[\"<script>alert(1)</script>&\\\"\"]"));
    let scenario = Scenario::new().file("p.plan", text);
    let drawn = scenario.plan(["graph", "--format", "svg"]);
    drawn.stdout_has("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;");
    // What reads XML finds it well formed.
    scenario.write("p.svg", &scenario.plan(["graph", "--format", "svg"]).stdout);
    let parsed = scenario.other(&["python3", "-c", "import xml.dom.minidom as x; x.parse('p.svg')"]);
    parsed.status(0);
}

#[test]
fn what_changed_is_marked_by_sign_and_line() {
    let old = format!("{SITE}\nkeep {{\n  last = 3\n}}\n");
    let new = format!(
        "{}\nstore other: dir {{\n  path = \"other\"\n}}\n",
        SITE.replace("[store]", "[store, other]")
            .replace("site: files", "web: files")
            .replace("[site]", "[web]")
    );
    let scenario = Scenario::new().file("old.plan", plan(&old)).file("new.plan", plan(&new));
    let draw = |format: &str| {
        scenario.plan(["graph", "new.plan", "--diff", "old.plan", "--format", format]).status(0).stdout
    };
    let marks = steps(&draw("svg"));
    let has = |name: &str, mark: &str| {
        assert!(marks.contains(&(name.to_owned(), mark.to_owned())), "{name} {mark}: {marks:?}");
    };
    has("scan/web", "added");
    has("scan/site", "removed");
    has("pack/main", "changed");
    has("commit/other", "added");
    has("prune/store", "removed");
    has("lock", "same");
    assert!(draw("svg").contains(">~</text>") && draw("svg").contains(">+</text>"));
    let dot = draw("dot");
    assert!(dot.contains("\"scan/site\" [label=\"- scan/site\", color=red, style=dashed]"), "{dot}");
    assert!(dot.trim_end().ends_with('}'), "{dot}");
    let mermaid = draw("mermaid");
    assert!(mermaid.contains("+ scan/web") && mermaid.contains(":::added"), "{mermaid}");
    scenario.plan(["graph", "new.plan", "--diff", "none.plan"]).status(2).stderr_has("does not exist");
}

/// Of a drawing: its width and height.
fn size(svg: &str) -> (i64, i64) {
    let number = |name: &str| {
        svg.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
    };
    (number("width"), number("height"))
}

#[test]
fn a_small_plan_is_seen_as_a_whole_and_no_name_is_wider_than_its_place() {
    let name = "w".repeat(64);
    let short = plan(&format!("{SITE}\nkeep {{\n  last = 3\n}}\n"));
    let long =
        short.replace("site: files", &format!("{name}: files")).replace("[site]", &format!("[{name}]"));
    let long =
        long.replace("store store:", &format!("store {name}:")).replace("[store]", &format!("[{name}]"));
    for text in [short, long.replace("plan p\n", &format!("plan {name}\n"))] {
        let scenario = Scenario::new().file("p.plan", text);
        let drawn = scenario.plan(["graph", "--format", "svg"]).status(0).stdout;
        let (width, height) = size(&drawn);
        assert!(width <= 1280 && height <= 900, "{width} x {height}");
        // By the real letters of a font, as far as that can be had without a browser: none is wider than `w`.
        for line in drawn.lines().filter(|line| line.starts_with("<text x=") && line.contains("</text>")) {
            let shown = line.split('>').nth(1).unwrap().split('<').next().unwrap();
            assert!(shown.matches('w').count() < 34, "{line}");
        }
    }
}

#[test]
fn many_sources_stand_beside_one_another_and_no_step_upon_another() {
    let mut text = String::new();
    for number in 0..40 {
        text += &format!("source s{number}: files {{\n  paths = [\"s{number}\"]\n}}\n");
    }
    text += "archive main {\n  from = all\n  to = [t0, t1, t2, t3, t4]\n}\n";
    for number in 0..5 {
        text += &format!("store t{number}: dir {{\n  path = \"t{number}\"\n}}\n");
    }
    let scenario = Scenario::new().file("p.plan", plan(&text));
    let drawn = scenario.plan(["graph", "--format", "svg"]).status(0).stdout;
    let (width, height) = size(&drawn);
    let mut boxes: Vec<(i64, i64)> = Vec::new();
    for group in drawn.split("<g class=\"step ").skip(1) {
        let text = group.split("<text ").nth(1).unwrap();
        let number = |name: &str| {
            text.split(&format!("{name}=\""))
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .parse::<i64>()
                .unwrap()
        };
        boxes.push((number("x"), number("y")));
    }
    assert!(boxes.len() > 55);
    assert!(boxes.iter().all(|(x, y)| *x > 0 && x + 150 < width && *y > 0 && y + 20 < height));
    for (at, one) in boxes.iter().enumerate() {
        let upon = |other: &&(i64, i64)| (one.0 - other.0).abs() < 180 && (one.1 - other.1).abs() < 30;
        assert_eq!(boxes[at + 1..].iter().find(upon), None, "{one:?}");
    }
}
