//! Whether there is a path of some kind, by following all patterns at once through the bytes of every path there can be:
//! bytes that no pattern tells apart are one, and what led to the same place in all patterns is followed once.

use std::collections::{HashSet, VecDeque};

use super::glob::Token;
use super::{Line, Patterns};

/// What a search came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// There is such a path: this one.
    Path(Vec<u8>),
    /// There is none.
    Nothing,
    /// Nobody knows: it would take too long to look at all of them.
    Unknown,
}

/// So many steps of single patterns are made at the most.
const MOST_STEPS: usize = 200_000;

impl Patterns {
    /// A path of a file that the patterns leave.
    pub fn left(&self) -> Found {
        // What stands before a pattern that matches everything decides nothing.
        let begin = self.lines.iter().rposition(Line::is_everything).unwrap_or(0);
        let lines: Vec<&Line> = self.lines[begin..].iter().collect();
        search(&lines, |hits| Answer { found: !hits.left_out(false), enter: !hits.left_out(true) })
    }

    /// A path that the pattern at this place matches.
    pub fn matched_by(&self, place: usize) -> Found {
        let Some(line) = self.lines.get(place) else { return Found::Nothing };
        search(&[line], |hits| Answer { found: hits.hits(0, true), enter: true })
    }

    /// A path that the pattern at this place, one with `!`, takes back from those before it.
    pub fn taken_back_by(&self, place: usize) -> Found {
        let lines: Vec<&Line> = self.lines.iter().take(place + 1).collect();
        search(&lines, |hits| {
            let takes = |is_folder| hits.hits(place, is_folder) && hits.before(place).left_out(is_folder);
            Answer { found: takes(false) || takes(true), enter: !hits.left_out(true) }
        })
    }
}

impl Line {
    /// Whether it plainly leaves out whatever there is.
    fn is_everything(&self) -> bool {
        let all = match self.glob.tokens.as_slice() {
            [Token::Star] => true,
            [Token::Deep] | [Token::Folders, Token::Inside, Token::Star | Token::Deep] => self.anchored,
            _ => false,
        };
        all && !self.takes_in && !self.folders_only
    }
}

/// What is wanted of a path, and whether the search goes on into it as a folder.
struct Answer {
    found: bool,
    enter: bool,
}

/// Which patterns match a path.
struct Hits<'a> {
    lines: &'a [&'a Line],
    ends: &'a [bool],
}

impl Hits<'_> {
    fn hits(&self, at: usize, is_folder: bool) -> bool {
        self.ends[at] && (is_folder || !self.lines[at].folders_only)
    }

    fn before(&self, at: usize) -> Hits<'_> {
        Hits { lines: &self.lines[..at], ends: &self.ends[..at] }
    }

    fn left_out(&self, is_folder: bool) -> bool {
        let last = (0..self.lines.len()).rev().find(|at| self.hits(*at, is_folder));
        last.is_some_and(|at| !self.lines[at].takes_in)
    }
}

/// Where all patterns are behind some bytes: a bit for each token, those of one pattern behind those of another.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    bits: Vec<u64>,
    /// Bytes of the last name, as far as they matter: no name is empty, `.` or `..`.
    name: Name,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Name {
    Empty,
    Dot,
    TwoDots,
    Real,
}

impl Name {
    fn and(self, byte: u8) -> Name {
        match (self, byte) {
            (Name::Empty, b'.') => Name::Dot,
            (Name::Dot, b'.') => Name::TwoDots,
            _ => Name::Real,
        }
    }
}

fn search(lines: &[&Line], wanted: impl Fn(&Hits<'_>) -> Answer) -> Found {
    let bytes = bytes_that_differ(lines);
    let first =
        State { bits: lines.iter().flat_map(|line| begin(&line.glob.tokens)).collect(), name: Name::Empty };
    let mut known = HashSet::from([first.clone()]);
    let mut open = VecDeque::from([(first, Vec::new())]);
    let mut steps = 0;
    while let Some((state, path)) = open.pop_front() {
        let mut goes_on = Vec::new();
        if state.name == Name::Real {
            let ends: Vec<bool> =
                per_line(lines, &state.bits).map(|(line, bits)| is_end(line, bits)).collect();
            let Answer { found, enter } = wanted(&Hits { lines, ends: &ends });
            if found {
                return Found::Path(path);
            }
            goes_on.extend(enter.then_some(b'/'));
        }
        goes_on.extend_from_slice(&bytes);
        for byte in goes_on {
            steps += lines.len();
            if steps > MOST_STEPS {
                return Found::Unknown;
            }
            let next = state.after(lines, byte);
            if !known.contains(&next) {
                known.insert(next.clone());
                open.push_back((next, [path.as_slice(), &[byte]].concat()));
            }
        }
    }
    Found::Nothing
}

impl State {
    fn after(&self, lines: &[&Line], byte: u8) -> State {
        let of_line = |(line, bits): (&Line, &[u64])| match byte == b'/' && !line.anchored {
            true => begin(&line.glob.tokens),
            false => step(&line.glob.tokens, bits, byte),
        };
        State {
            bits: per_line(lines, &self.bits).flat_map(of_line).collect(),
            name: if byte == b'/' { Name::Empty } else { self.name.and(byte) },
        }
    }
}

/// Each pattern with its own bits.
fn per_line<'a>(
    lines: &'a [&'a Line],
    mut bits: &'a [u64],
) -> impl Iterator<Item = (&'a Line, &'a [u64])> + 'a {
    lines.iter().map(move |line| {
        let (own, rest) = bits.split_at(words(&line.glob.tokens));
        bits = rest;
        (*line, own)
    })
}

fn words(tokens: &[Token]) -> usize {
    (tokens.len() + 1).div_ceil(64)
}

fn is_set(bits: &[u64], at: usize) -> bool {
    bits[at / 64] & (1 << (at % 64)) != 0
}

fn begin(tokens: &[Token]) -> Vec<u64> {
    let mut bits = vec![0; words(tokens)];
    reach(tokens, &mut bits, 0);
    bits
}

fn is_end(line: &Line, bits: &[u64]) -> bool {
    is_set(bits, line.glob.tokens.len())
}

/// Marks a token, and those behind it that may match nothing before.
fn reach(tokens: &[Token], bits: &mut [u64], mut at: usize) {
    loop {
        bits[at / 64] |= 1 << (at % 64);
        at += match tokens.get(at) {
            Some(Token::Star | Token::Deep) => 1,
            Some(Token::Folders) => 2,
            _ => return,
        };
    }
}

fn step(tokens: &[Token], bits: &[u64], byte: u8) -> Vec<u64> {
    let mut next = vec![0; bits.len()];
    for (at, token) in tokens.iter().enumerate().filter(|(at, _)| is_set(bits, *at)) {
        let to = match token {
            Token::Star => (byte != b'/').then_some(at),
            Token::Deep => Some(at),
            Token::Folders => Some(if byte == b'/' { at } else { at + 1 }),
            Token::Inside => Some(if byte == b'/' { at - 1 } else { at }),
            one => one.takes(byte).then_some(at + 1),
        };
        to.into_iter().for_each(|to| reach(tokens, &mut next, to));
    }
    next
}

/// One byte for all that no pattern tells from one another, those that are nice to read first. The dot is one of its own.
fn bytes_that_differ(lines: &[&Line]) -> Vec<u8> {
    let tokens = || lines.iter().flat_map(|line| &line.glob.tokens);
    let mut is_named = [false; 256];
    is_named[usize::from(b'.')] = true;
    let mut sets = Vec::new();
    for token in tokens() {
        match token {
            Token::Byte(byte) => is_named[usize::from(*byte)] = true,
            Token::Set(set) if !sets.contains(&set) => sets.push(set),
            _ => {}
        }
    }
    let mut known = HashSet::new();
    let nice = (b'a'..=b'z').chain(b'0'..=b'9').chain(1..=u8::MAX).filter(|byte| *byte != b'/');
    let kind = |byte: &u8| {
        let own = is_named[usize::from(*byte)].then_some(*byte);
        (own, sets.iter().map(|set| set.has(*byte)).collect::<Vec<bool>>())
    };
    nice.filter(|byte| known.insert(kind(byte))).collect()
}
