//! A page on each finding: what it means, a plan that has it, the same plan mended. The examples are real plans, and a
//! test compiles them all.

mod declarations;
mod future;
mod imports;
mod live;
mod names;
mod paths;
mod promises;
mod reach;
mod secrets;
mod text;
mod together;
mod values;

use crate::codes::{Code, code};

/// A page on a finding.
#[derive(Debug)]
pub struct Page {
    /// The finding's name.
    pub name: &'static str,
    /// What it means and why it matters: a paragraph or two.
    pub text: &'static str,
    /// A plan, `site.plan`, that has the finding and no other; empty where no plan can be shown, as it comes from the world.
    pub failing: &'static str,
    /// The plan without it; empty where no plan would tell anything.
    pub mended: &'static str,
    /// What `company.plan` holds, where the plan imports it.
    pub library: Option<&'static str>,
    /// `-p NAME=VALUE`, where the finding comes from there.
    pub params: &'static [Given],
}

/// A parameter that is given with an example.
#[derive(Debug)]
pub struct Given {
    /// The parameter.
    pub name: &'static str,
    /// Its value where the finding is.
    pub failing: &'static str,
    /// Its value where it is mended.
    pub mended: &'static str,
}

impl Page {
    /// The name, weight and meaning of its finding.
    pub fn code(&self) -> Option<&'static Code> {
        code(self.name)
    }
}

/// Every page, by subject.
pub fn pages() -> impl Iterator<Item = &'static Page> {
    let parts = [
        text::PAGES,
        declarations::PAGES,
        values::PAGES,
        imports::PAGES,
        reach::PAGES,
        names::PAGES,
        paths::PAGES,
        secrets::PAGES,
        promises::PAGES,
        future::PAGES,
        live::PAGES,
        together::PAGES,
    ];
    parts.into_iter().flatten()
}

/// The page on the finding with this name.
pub fn page(name: &str) -> Option<&'static Page> {
    pages().find(|page| page.name == name)
}
