//! From declarations to the model.

mod archive;
pub(crate) mod plan;
pub(crate) mod source;
pub(crate) mod store;

use std::collections::BTreeSet;
use std::path::PathBuf;

use backplan_grammar::ast::Decl;

use super::Resolver;
use super::block::Block;
use super::declare::Declared;
use crate::codes;
use crate::finding::Finding;
use crate::kinds::Use;
use crate::model::{Model, Source, SourceId, Store, StoreKind};
use crate::schema;
use crate::sources::{FileId, Place};

impl<'a> Resolver<'a> {
    /// The whole model. `None`, or less than was written, where something failed; that was told.
    pub(super) fn build(&mut self) -> Option<Model> {
        let stores = self.each("store", Self::store);
        let sources = self.each("source", Self::source);
        let separates = self.each("separate", Self::separate);
        let apart: BTreeSet<usize> = separates.iter().map(|separate| separate.source.0).collect();
        let archives =
            self.each("archive", |resolver, declared, block| resolver.archive(declared, block, &apart));
        let wals = self.each("wal", Self::wal);
        let staging = self.one("staging", Self::staging);
        let cycle = self.one("cycle", Self::cycle);
        let schedule = self.one("schedule", Self::schedule_block);
        let keep = self.one("keep", Self::keep);
        let retry = self.one("retry", Self::retry);
        let limits = self.one("limits", Self::limits);
        let windows = self.each("window", Self::window);
        let notifies = self.each("notify", Self::notify);
        let objectives = self.each("objective", Self::objective);
        let verifies = self.each("verify", Self::verify);
        let policies = self.each("policy", Self::policy);
        if let (Some(cycle), Some(schedule)) = (&cycle, &schedule) {
            self.check_cycle(cycle, schedule);
        }
        let secret_files = self.secret_files(&stores, &sources);
        let mut model = Model {
            name: self.plan_name.clone()?,
            file: self.set.file(self.set.root()).path.clone(),
            files: self.read_files(),
            secret_files,
            stores,
            staging,
            sources,
            archives,
            separates,
            wals,
            cycle,
            schedule,
            keep,
            retry: retry.unwrap_or_default(),
            limits: limits.unwrap_or_default(),
            windows,
            notifies,
            objectives,
            verifies,
            policies,
        };
        order_unnamed(&mut model);
        Some(model)
    }

    /// Every declaration of a kind, in the order of their names.
    fn each<T>(
        &mut self,
        kind: &'static str,
        mut make: impl FnMut(&mut Self, Declared<'a>, &mut Block<'a>) -> Option<T>,
    ) -> Vec<T> {
        let mut made = Vec::new();
        for declared in self.all_of(kind) {
            let mut block = self.block(declared.decl, declared.file, declared.kind, declared.ty);
            made.extend(make(self, declared, &mut block));
            if !declared.name().is_empty() {
                self.facts.attrs.insert((declared.kind.name, declared.name().to_owned()), block.places);
            }
        }
        made
    }

    /// The one declaration of a kind without a name.
    fn one<T>(
        &mut self,
        kind: &'static str,
        make: impl FnOnce(&mut Self, &mut Block<'a>) -> Option<T>,
    ) -> Option<T> {
        let declared = self.the_one(kind)?;
        let mut block = self.block(declared.decl, declared.file, declared.kind, declared.ty);
        let made = make(self, &mut block);
        self.facts.attrs.insert((declared.kind.name, String::new()), block.places);
        made
    }

    /// A block nested in another, if it is there.
    fn inner<T>(
        &mut self,
        block: &Block<'a>,
        kind: &'static str,
        make: impl FnOnce(&mut Self, &mut Block<'a>) -> Option<T>,
    ) -> Option<T> {
        let (name, decl): (&'static str, &'a Decl) = *block.nested.iter().find(|(name, _)| *name == kind)?;
        let mut inner = self.block(decl, block.file, schema::kind(name)?, None);
        make(self, &mut inner)
    }

    fn empty_block(&mut self, place: Place, message: &str, help: &str) {
        self.findings.push(Finding::new(&codes::EMPTY_BLOCK, place, message).help(help));
    }

    fn conflict(&mut self, place: Place, other: Place, message: impl Into<String>, help: &str) {
        self.findings.push(
            Finding::new(&codes::ATTRIBUTE_CONFLICT, place, message).with(other, "excludes it").help(help),
        );
    }

    /// The plan, then its libraries by path.
    fn read_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<FileId> = self.files.clone();
        if let Some((_, libraries)) = files.split_first_mut() {
            libraries.sort_by_key(|file| &self.set.file(*file).path);
        }
        files.into_iter().map(|file| self.set.file(file).path.clone()).collect()
    }

    /// Adds the keys that stores and tools read to those of expressions.
    fn secret_files(&mut self, stores: &[Store], sources: &[Source]) -> Vec<PathBuf> {
        for store in stores {
            let (files, place): (Vec<&PathBuf>, Place) = match &store.kind {
                StoreKind::S3 { ca_file, .. } => (ca_file.iter().collect(), store.place),
                StoreKind::Sftp { key, known_hosts, .. } => {
                    (key.iter().chain(known_hosts).collect(), store.place)
                }
                _ => continue,
            };
            self.facts.secret_files.extend(files.into_iter().map(|file| (file.clone(), place)));
        }
        for source in sources {
            let paths = source.kind.own().paths().into_iter().filter(|(what, _, _)| *what == Use::Config);
            let files = paths.map(|(_, _, file)| (file.to_path_buf(), source.place));
            self.facts.secret_files.extend(files);
        }
        let unique: BTreeSet<PathBuf> =
            self.facts.secret_files.iter().map(|(path, _)| path.clone()).collect();
        unique.into_iter().collect()
    }
}

/// Sorts what has no name by what it says, so that the model does not depend on the order written.
fn order_unnamed(model: &mut Model) {
    model.objectives.sort_by_key(|objective| {
        (objective.of.clone(), objective.rpo, objective.rto, objective.copies, objective.offsite)
    });
    model.verifies.sort_by_key(|verify| {
        (
            verify.restore,
            verify.every,
            verify.query.clone(),
            format!("{:?}{:?}", verify.command, verify.identity),
        )
    });
    let rules = |rules: &[(&'static str, Place)]| rules.iter().map(|(rule, _)| *rule).collect::<Vec<_>>();
    model.policies.sort_by_key(|policy| (rules(&policy.require), rules(&policy.forbid)));
}

/// Indices as ids of sources.
fn source_ids(indices: Vec<usize>) -> Vec<SourceId> {
    indices.into_iter().map(SourceId).collect()
}
