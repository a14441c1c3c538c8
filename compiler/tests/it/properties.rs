//! What holds for every text: no panic; the model does not depend on the order of items.

use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

use crate::common::{compile_files, inputs, placeless, set_of};

/// Words of the language, in any order.
const WORDS: &[&str] = &[
    "plan",
    "p",
    "let",
    "param",
    "import",
    "\"company.plan\"",
    "store",
    "local",
    ":",
    "dir",
    "s3",
    "{",
    "}",
    "\n",
    "\n",
    "path",
    "=",
    "\"/backup\"",
    "\"${x}\"",
    "\"${time(\"%Y\")}\"",
    "source",
    "site",
    "files",
    "paths",
    "[",
    "]",
    ",",
    "archive",
    "from",
    "to",
    "all",
    "x",
    "y",
    "env(\"A\")",
    "read(\"f\")",
    "level()",
    "12",
    "30d",
    "5GiB",
    "50MiB/s",
    "02:30",
    "10s..10m",
    "true",
    "keep",
    "daily",
    "every 30m",
    "schedule",
    "run",
    "daily at 02:30",
    "# allow: x y\n",
    "wal",
    "separate",
    "policy",
    "require",
    "encrypt",
    "window",
    "around",
    "verify",
    "restore",
    "command",
    "sqlite",
    "postgres",
    "driver",
    "pgbackrest",
    "'raw'",
    "hourly",
    "name",
    "exclude",
    "\"*\"",
    "staging",
    "cycle",
    "\"..\"",
];

fn soup() -> impl Strategy<Value = String> {
    let word = prop_oneof![8 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()];
    prop::collection::vec(word, 0..80).prop_map(|words| words.join(" "))
}

/// A sample with a few of its bytes replaced, taken out or doubled.
fn damaged() -> impl Strategy<Value = String> {
    let samples = [
        include_str!("../samples/alation.plan"),
        include_str!("../samples/node1.plan"),
        include_str!("../samples/nextcloud.plan"),
        include_str!("../samples/cluster.plan"),
        include_str!("../mistakes/declarations.plan"),
        include_str!("../mistakes/checks.plan"),
    ];
    let change =
        (any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::sample::select(WORDS), 0..3);
    (prop::sample::select(samples.to_vec()), prop::collection::vec(change, 1..6)).prop_map(
        |(text, changes)| {
            let mut words: Vec<String> = text.split_inclusive([' ', '\n', '"']).map(str::to_owned).collect();
            for (at, from, word, what) in changes {
                let at = at.index(words.len());
                match what {
                    0 => words[at] = format!("{word} "),
                    1 => words[at] = String::new(),
                    _ => words[at] = words[from.index(words.len())].clone(),
                }
            }
            words.concat()
        },
    )
}

fn model_of(text: &str) -> String {
    let (_, compiled) = compile_files(&[("site.plan", text)]);
    placeless(&compiled.model.expect("the items make a plan"))
}

const ITEMS: &[&str] = &[
    "plan site\n",
    "let root = \"/backup\"\n",
    "let stamp = time(\"%Y%m%d%H%M\")\n",
    "store local: dir { path = \"${root}/a\" }\n",
    "store nas: dir { path = \"/mnt/nas\", keep { last = 3 } }\n",
    "source a: files { paths = [\"/srv/a\"], after = [db] }\n",
    "source b: files { paths = [\"/srv/b\", \"/srv/c\"] }\n",
    "source db: sqlite { path = \"/srv/app.db\" }\n",
    "archive one { from = [b, a], to = [nas, local], name = \"${stamp}_one.tar.gz\" }\n",
    "archive rest { from = all, exclude = [a, b], to = [local] }\n",
    "objective { rpo = 24h }\n",
    "objective { of = [a], copies = 2 }\n",
    "verify { restore = db, every = 7d }\n",
    "verify { restore = a }\n",
    "window w { around = all, enter = [\"a\"], leave = [\"b\"] }\n",
    "notify n: command { run = [\"mail\"], on = [failure, start] }\n",
    "keep { daily = 7 }\n",
    "schedule { run = daily at 02:30 }\n",
    "cycle { incrementals = 6 }\n",
];

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in soup(), library in soup()) {
        let set = set_of(&[("site.plan", &text), ("company.plan", &library)]);
        let _ = backplan_compiler::compile(&set, &inputs(&[("x", "12")]));
    }

    #[test]
    fn no_damage_makes_it_panic(text in damaged()) {
        let _ = compile_files(&[("site.plan", &text), ("company.plan", include_str!("../samples/company.plan"))]);
    }

    #[test]
    fn order_never_matters(items in Just(ITEMS.to_vec()).prop_shuffle()) {
        prop_assert_eq!(model_of(&items.concat()), model_of(&ITEMS.concat()));
    }
}
