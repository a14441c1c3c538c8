//! Runs that this machine committed, and that no store has any more.

#![allow(clippy::unwrap_used)]

use super::stage::{Job, run_id};
use crate::catalog::made::{Made, Mark, told_gone};
use crate::catalog::runs::Catalog;

#[test]
fn what_a_store_had_behind_all_that_is_there_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    for sequence in 1..=4 {
        Made::keep(folder.path(), run_id(sequence), b"bytes").unwrap();
        // What no store took in the end was never there.
        if sequence != 3 {
            Made::keep_done(folder.path(), run_id(sequence), "store").unwrap();
        }
    }
    let made = Made::load(folder.path()).unwrap();
    let with = |sequences: &[u32]| {
        let mut catalog = Catalog::default();
        sequences.iter().for_each(|sequence| catalog.add(Job::new(*sequence, 1).manifest()));
        catalog
    };
    let gone = |catalogs: &[Catalog]| made.gone(catalogs.iter());
    assert_eq!(gone(&[with(&[1])]), [2, 4].map(run_id));
    assert_eq!(gone(&[with(&[1]), with(&[2])]), [run_id(4)]);
    assert_eq!(gone(&[with(&[2]), with(&[4])]), []);
    // What is older may have been pruned. Of a store without any run, the newest was not.
    assert_eq!(gone(&[with(&[4])]), []);
    assert_eq!(gone(&[with(&[])]), [run_id(4)]);
    assert!(told_gone(&[]).is_none());
    // A run has found it: it is told until it is there again, or somebody says that it is right so.
    let marked = |marks: &[(u32, Mark)]| {
        for (sequence, mark) in marks {
            Made::mark(folder.path(), run_id(*sequence), *mark).unwrap();
        }
        let made = Made::load(folder.path()).unwrap();
        (made.gone([with(&[1]), with(&[5])].iter()), made.back([with(&[2])].iter()))
    };
    assert_eq!(marked(&[(2, Mark::Lost), (4, Mark::Lost)]), ([2, 4].map(run_id).to_vec(), vec![run_id(2)]));
    assert_eq!(marked(&[(2, Mark::Here)]), (vec![run_id(4)], vec![]));
    assert_eq!(marked(&[(4, Mark::Accepted)]), (vec![], vec![]));
    let made = Made::load(folder.path()).unwrap();
    assert_eq!(made.gone([with(&[1])].iter()), [run_id(2)]);
    assert_eq!(made.gone([with(&[])].iter()), []);
    assert!(made.is_own(run_id(3), b"bytes") && !made.is_own(run_id(3), b"others"));
}
