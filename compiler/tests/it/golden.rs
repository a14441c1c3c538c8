//! Plans with many mistakes, and everything that is said of them.

use crate::common::{compile_files, shown};

const COMPANY: (&str, &str) = ("company.plan", include_str!("../samples/company.plan"));

fn findings(name: &str, text: &str) -> String {
    let (set, compiled) = compile_files(&[(name, text), COMPANY]);
    shown(&set, &compiled.findings)
}

macro_rules! golden {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let name = concat!(stringify!($name), ".plan");
            insta::assert_snapshot!(findings(name, include_str!(concat!("../mistakes/", stringify!($name), ".plan"))));
        })*
    };
}

golden! { declarations checks torn library_user }

/// The model of the richest sample, without the places things were written at.
#[test]
fn model() {
    let (_, compiled) = compile_files(&[("alation.plan", include_str!("../samples/alation.plan"))]);
    insta::assert_snapshot!(crate::common::placeless(&compiled.model.unwrap()));
}
