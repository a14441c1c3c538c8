//! Sources.

use super::super::Resolver;
use super::super::block::{Block, sorted};
use super::super::declare::Declared;
use super::source_ids;
use crate::codes;
use crate::finding::Finding;
use crate::kinds::Facts;
use crate::model::Source;
use crate::schema::Make;

impl<'a> Resolver<'a> {
    pub(super) fn source(&mut self, declared: Declared<'a>, block: &mut Block<'a>) -> Option<Source> {
        let Make::Source(make) = declared.ty?.make else { return None };
        let kind = make(block);
        if let Some(kind) = &kind {
            self.check_driver(kind.facts(), block);
        }
        Some(Source {
            name: declared.name().to_owned(),
            place: block.head,
            kind: kind?,
            after: source_ids(sorted(block.refs("after").unwrap_or_default())),
            optional: block.bool("optional").unwrap_or(false),
            strict: block.bool("strict").unwrap_or(false),
            timeout: block.amount("timeout"),
        })
    }

    fn check_driver(&mut self, facts: &Facts, block: &Block<'_>) {
        let Some(driver) = facts.driver else { return };
        for attr in facts.useless.iter().filter(|attr| block.wrote(attr)) {
            let message = format!("`{attr}` means nothing to the driver `{driver}`");
            self.findings.push(
                Finding::new(&codes::DRIVER_ATTRIBUTE, block.place(attr), message)
                    .with(block.place("driver"), "the driver")
                    .help(format!("leave `{attr}` out, or choose another driver")),
            );
        }
        let beside = facts.beside.iter().filter(|(attr, other)| block.wrote(attr) && block.wrote(other));
        for (attr, other) in beside {
            let message = format!("`{attr}` means nothing beside `{other}`");
            self.findings.push(
                Finding::new(&codes::DRIVER_ATTRIBUTE, block.place(attr), message)
                    .with(block.place(other), "beside this")
                    .help(format!("leave one of `{attr}` and `{other}` out")),
            );
        }
        for (attr, example) in facts.needed.iter().filter(|(attr, _)| !block.wrote(attr)) {
            let message = format!("the driver `{driver}` needs `{attr}`");
            self.findings.push(
                Finding::new(&codes::MISSING_ATTRIBUTE, block.head, message)
                    .with(block.place("driver"), "the driver")
                    .help(format!("add `{attr} = {example}`")),
            );
        }
    }
}
