//! Plans made to break the compiler get a finding.

use std::fmt::Write;

use backplan_compiler::compile;

use crate::common::{compile_files, inputs, set_of, shown};

fn names(files: &[(&str, &str)]) -> Vec<&'static str> {
    let (_, compiled) = compile_files(files);
    let mut names: Vec<_> = compiled.findings.iter().map(|finding| finding.name).collect();
    names.dedup();
    names
}

fn with_items(items: &str) -> String {
    format!(
        "plan p\nstore local: dir {{ path = a0 }}\nsource s: files {{ paths = [\"/s\"] }}\n\
         archive a {{ from = [s], to = [local] }}\n{items}"
    )
}

#[test]
fn a_long_chain_of_names_is_refused() {
    let mut items = String::new();
    for number in 0..5000 {
        let _ = writeln!(items, "let a{number} = \"${{a{}}}\"", number + 1);
    }
    items.push_str("let a5000 = \"/x\"\n");
    assert!(names(&[("p.plan", &with_items(&items))]).contains(&"nesting_too_deep"));
}

#[test]
fn lists_that_double_are_no_work() {
    let mut items = String::from("let a0 = b0\n");
    for number in 0..60 {
        let _ = writeln!(items, "let b{number} = [b{}, b{}]", number + 1, number + 1);
    }
    items.push_str("let b60 = [1]\n");
    assert_eq!(names(&[("p.plan", &with_items(&items))]), ["wrong_type"]);
}

#[test]
fn imports_are_nested_only_so_deep() {
    let files: Vec<(String, String)> = (0..40)
        .map(|number| {
            let header = if number == 0 { with_items("let a0 = \"/x\"\n") } else { String::new() };
            (format!("f{number}.plan"), format!("{header}import \"f{}.plan\"\n", number + 1))
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert!(names(&files).contains(&"nesting_too_deep"));
}

#[test]
fn a_long_chain_of_sources_is_fine() {
    let mut text =
        String::from("plan p\nstore local: dir { path = \"/b\" }\narchive a { from = all, to = [local] }\n");
    for number in 0..9000 {
        let _ = writeln!(
            text,
            "source s{number}: files {{ paths = [\"/s/{number}\"], after = [s{}] }}",
            number + 1
        );
    }
    text.push_str("source s9000: files { paths = [\"/s/9000\"] }\n");
    assert!(names(&[("p.plan", &text)]).is_empty());
}

#[test]
fn parameters_come_from_outside() {
    let text = "plan p\nparam days: duration\nparam root = \"/b\"\nparam key: secret\n\
                store local: dir { path = root }\nsource s: files { paths = [\"/s\"] }\n\
                archive a { from = [s], to = [local] }\nkeep { within = days }\n\
                notify n: webhook { url = key }\n";
    let set = set_of(&[("p.plan", text)]);
    let mut inputs = inputs(&[("days", "30d"), ("root", "/elsewhere")]);
    inputs.env_params.insert("key".into(), "hunter2".into());
    inputs.env_params.insert("root".into(), "/hidden_by_p".into());
    let compiled = compile(&set, &inputs);
    assert_eq!(shown(&set, &compiled.findings), "");
    let model = format!("{:?}", compiled.model.unwrap());
    assert!(model.contains("within: Some(2592000)") && model.contains("\"/elsewhere\""), "{model}");
    assert!(model.contains("PLAN_PARAM_KEY") && !model.contains("hunter2"), "{model}");
}

#[test]
fn an_hour_that_comes_twice_is_seen() {
    let text = |zone: &str, name: &str| {
        format!(
            "plan p\nstore local: dir {{ path = \"/b\" }}\nsource s: files {{ paths = [\"/s\"] }}\n\
             archive a {{ from = [s], to = [local], name = \"${{time(\"{name}\")}}.tar.gz\" }}\n\
             schedule {{ run = every 30m, zone = \"{zone}\" }}\n"
        )
    };
    let found = |zone, name| names(&[("p.plan", &text(zone, name))]);
    assert_eq!(found("Europe/Berlin", "%Y%m%d%H%M"), ["repeated_name"]);
    assert!(found("Europe/Berlin", "%Y%m%d%H%M%z").is_empty());
    assert!(found("UTC", "%Y%m%d%H%M").is_empty());
    assert!(found("Asia/Tokyo", "%Y%m%d%H%M").is_empty());
}
