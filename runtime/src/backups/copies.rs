//! An artefact that several stores have, read as one: where a store fails half-way the next goes on, and where the bytes of one are
//! damaged those of another are taken.
//!
//! What is published to several stores is packed once, so that its bytes are the same in all. They are proven by their digests,
//! wherever they come from.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::BackupsError;
use crate::artefact::ReadAt;

/// The copies of one artefact.
pub struct Copies {
    artefact: String,
    /// Each with the name of its store.
    copies: Vec<(String, Arc<dyn ReadAt>)>,
    /// The one that is asked first: those that were before it have failed.
    first: AtomicUsize,
    /// What was wrong with copies, by their numbers: what was seen first, and which was read instead.
    wrong: Mutex<BTreeMap<usize, (String, usize)>>,
}

impl Copies {
    /// The copies of an artefact, by the names of their stores; the first is read as long as nothing is wrong with it.
    pub fn new(artefact: &str, copies: Vec<(String, Arc<dyn ReadAt>)>) -> Copies {
        Copies { artefact: artefact.to_owned(), copies, first: AtomicUsize::new(0), wrong: Mutex::default() }
    }

    /// What was wrong with copies: a sentence each.
    pub fn told(&self) -> Vec<String> {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let told = wrong.iter().map(|(copy, (what, other))| {
            let (store, other) = (&self.copies[*copy].0, &self.copies[*other].0);
            format!("store `{store}`: `{}` {what}; store `{other}` was read instead", self.artefact)
        });
        told.collect()
    }

    /// The number of the copy that is asked behind `tried` others.
    fn behind(&self, tried: usize) -> usize {
        (self.first.load(Ordering::Relaxed) + tried) % self.copies.len()
    }

    fn note(&self, copy: usize, what: String, other: usize) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.entry(copy).or_insert((what, other));
    }

    /// Opens it, from the next copy where one is not what it should be.
    ///
    /// # Errors
    /// What the first copy is refused for, where all are.
    pub fn open<T>(
        self: &Arc<Self>,
        open: impl Fn(Arc<dyn ReadAt>) -> Result<T, BackupsError>,
    ) -> Result<T, BackupsError> {
        let mut refused = None;
        let mut wrong = Vec::new();
        for copy in 0..self.copies.len() {
            self.first.store(copy, Ordering::Relaxed);
            match open(Arc::clone(self) as Arc<dyn ReadAt>) {
                Ok(opened) => {
                    for (other, what) in wrong {
                        self.note(other, format!("cannot be used ({what})"), copy);
                    }
                    return Ok(opened);
                }
                Err(error) => {
                    wrong.push((copy, error.of_artefact()));
                    refused.get_or_insert(error);
                }
            }
        }
        self.first.store(0, Ordering::Relaxed);
        Err(refused.unwrap_or_else(|| BackupsError::NoStore { reasons: Vec::new() }))
    }

    /// Asks one copy after the other until one answers; that is the first from then on.
    fn ask<T>(&self, ask: impl Fn(&dyn ReadAt) -> io::Result<T>) -> io::Result<T> {
        let order: Vec<usize> = (0..self.copies.len()).map(|tried| self.behind(tried)).collect();
        let mut failed: Vec<(usize, io::Error)> = Vec::new();
        for copy in order {
            match ask(&*self.copies[copy].1) {
                Ok(answer) => {
                    if !failed.is_empty() {
                        self.first.store(copy, Ordering::Relaxed);
                    }
                    for (other, error) in failed {
                        self.note(other, format!("could not be read to its end ({error})"), copy);
                    }
                    return Ok(answer);
                }
                Err(error) => failed.push((copy, error)),
            }
        }
        let first = failed.into_iter().next().map(|(_, error)| error);
        Err(first.unwrap_or_else(|| io::Error::other("there is no copy of it")))
    }
}

impl ReadAt for Copies {
    fn size(&self) -> io::Result<u64> {
        self.ask(|copy| copy.size())
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.ask(|copy| copy.read_at(offset, len))
    }

    fn read_copy(&self, tried: usize, offset: u64, len: usize) -> Option<io::Result<Vec<u8>>> {
        if tried >= self.copies.len() {
            return None;
        }
        let copy = self.behind(tried);
        let read = self.copies[copy].1.read_at(offset, len);
        if read.is_ok() {
            self.note(self.behind(tried - 1), format!("is damaged from byte {offset} on"), copy);
        }
        Some(read)
    }

    fn copies(&self) -> usize {
        self.copies.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Bytes that fail from a place on.
    struct Cut(Vec<u8>, u64);

    impl ReadAt for Cut {
        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
            if offset + len as u64 > self.1 {
                return Err(io::Error::other("gone"));
            }
            let start = offset as usize;
            Ok(self.0[start..(start + len).min(self.0.len())].to_vec())
        }
    }

    fn copies(cuts: &[u64]) -> Copies {
        let bytes: Vec<u8> = (0..100).collect();
        let copy = |(number, cut): (usize, &u64)| {
            (format!("s{number}"), Arc::new(Cut(bytes.clone(), *cut)) as Arc<dyn ReadAt>)
        };
        Copies::new("a.tar.gz", cuts.iter().enumerate().map(copy).collect())
    }

    #[test]
    fn the_next_goes_on_where_one_ends_and_is_asked_first_then() {
        let copies = copies(&[10, 50, 100]);
        assert_eq!(copies.read_at(0, 10).unwrap(), (0..10).collect::<Vec<u8>>());
        assert!(copies.told().is_empty());
        assert_eq!(copies.read_at(10, 10).unwrap()[0], 10);
        assert_eq!(copies.read_at(90, 10).unwrap()[0], 90);
        let told = copies.told();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("store `s0`: `a.tar.gz` could not be read to its end (gone); store `s1`")
        );
        assert!(told[1].ends_with("store `s2` was read instead"), "{told:?}");
        // Those that failed are asked again where the others fail.
        assert!(copies.read_at(95, 10).is_err());
    }

    #[test]
    fn who_finds_bytes_wrong_gets_those_of_each_other_copy_once() {
        let copies = copies(&[100, 100]);
        assert_eq!(copies.read_copy(1, 20, 5).unwrap().unwrap()[0], 20);
        assert!(copies.read_copy(2, 20, 5).is_none());
        let told = copies.told();
        assert_eq!(told, ["store `s0`: `a.tar.gz` is damaged from byte 20 on; store `s1` was read instead"]);
    }
}
