//! No text makes an answer panic, wherever it is asked for.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use backplan_compiler::sources::Inputs;
use proptest::prelude::{ProptestConfig, Strategy, any, prop, proptest};

use crate::complete::complete;
use crate::examine::{Job, examine};
use crate::files::Files;
use crate::hover::hover;
use crate::mentions::Meaning;
use crate::outline::outline;
use crate::{names, uri};

const PLAN: &str = "/nowhere/of/any/site.plan";
const LIBRARY: &str = "/nowhere/of/any/company.plan";

const TEXT: &str = "\
plan site
import \"company.plan\" { site = 'é𝄞' }
let data = \"/srv ${time(\"%Y\")}\" # allow: unused_name é
param zone: string = \"UTC\"
source web: files { paths = [\"${data}/web\"], compare = mtime }
archive main { from = [web], to = [nas], encrypt = [] }
schedule { run = daily at 02:30, zone = zone }
keep { cycles = 2 }
";
const COMPANY: &str = "param site: string\nstore nas: dir { path = \"/mnt/${site}\", keep { last = 3 } }\n";

/// The text with pieces put in and taken out.
fn damaged() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "",
        "\"",
        "${",
        "}",
        "{",
        "[",
        "]",
        "(",
        "'",
        "=",
        ",",
        "#",
        "\n",
        "\r",
        "𝄞",
        "é",
        "# allow: ",
        "import \"",
        "store ",
        ": ",
        "let ",
        "param p: ",
        "\u{0}",
    ]);
    let change = (any::<prop::sample::Index>(), 0..4_usize, piece);
    prop::collection::vec(change, 0..5).prop_map(|changes| {
        let mut chars: Vec<char> = TEXT.chars().collect();
        for (at, length, piece) in changes {
            let at = at.index(chars.len() + 1);
            let end = (at + length).min(chars.len());
            chars.splice(at..end, piece.chars());
        }
        chars.into_iter().collect()
    })
}

/// Asks everything at every tenth place and at one chosen.
fn ask_all(text: &str, chosen: usize) {
    let mut files = Files::default();
    let inputs = Inputs::default();
    let path = Path::new(PLAN);
    files.open(uri::of_path(path).unwrap(), 1, text.to_owned());
    files.open(uri::of_path(Path::new(LIBRARY)).unwrap(), 1, COMPANY.to_owned());
    for set in files.plans_of(path) {
        let _ = examine(&Job::new(&files, set).unwrap(), &inputs);
    }
    let file = files.get(path).unwrap();
    let _ = outline(&file);
    for (count, (offset, _)) in text.char_indices().chain([(text.len(), ' ')]).enumerate() {
        if count % 10 != chosen % 10 {
            continue;
        }
        let _ = complete(&mut files, path, offset);
        let _ = hover(&mut files, path, offset);
        if let Some(mention) = names::mention_at(&mut files, path, offset)
            && let Meaning::Name(name) = mention.meaning
        {
            let _ = names::all_of(&mut files, path, &name);
            let _ = names::renamed(&mut files, &inputs, path, &name, "other");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_an_answer_panic(text in damaged(), chosen in 0..10_usize) {
        ask_all(&text, chosen);
    }
}
