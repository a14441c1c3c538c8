//! Where everything stands.

use std::collections::{BTreeMap, BTreeSet};

use super::{Band, Phase, Picture};

/// Pixels.
pub const WIDTH: i64 = 186;
/// Pixels.
pub const HEIGHT: i64 = 34;
/// Between two columns: room for the lines.
const GAP: i64 = 66;
/// From one row to the next.
const ROW: i64 = 44;
/// Above the first band: title, marks, and headings.
pub const TOP: i64 = 112;
/// Left of the first column.
pub const LEFT: i64 = 16;
/// Of a band's heading.
const HEADING: i64 = 24;
/// Below a band.
const BELOW: i64 = 10;
/// From a column to the lines within it.
const BESIDE: i64 = 11;
/// Lines side by side between two columns.
const TRACKS: i64 = 9;

/// A finished layout.
pub struct Layout {
    /// Upper left corner of each step.
    pub places: Vec<(i64, i64)>,
    /// Title and left edge of each column.
    pub columns: Vec<(&'static str, i64)>,
    /// Title, upper edge and height of each band.
    pub bands: Vec<(Band, String, i64, i64)>,
    /// Corners of each edge.
    pub lines: Vec<[(i64, i64); 4]>,
    /// Of the whole.
    pub width: i64,
    /// Of the whole.
    pub height: i64,
}

/// Lays a picture out.
pub fn layout(picture: &Picture) -> Layout {
    let keys = column_keys(picture);
    let used: BTreeSet<(Phase, usize)> = keys.iter().copied().collect();
    let order: BTreeMap<(Phase, usize), i64> = used.iter().copied().zip(0..).collect();
    let left = |column: i64| LEFT + 8 + column * (WIDTH + GAP);
    let columns =
        used.iter().map(|key| (if key.1 == 0 { key.0.title() } else { "" }, left(order[key]))).collect();
    let mut places = vec![(0, 0); picture.nodes.len()];
    let mut bands = Vec::new();
    let mut y = TOP;
    let mut all: Vec<(&Band, &String)> = picture.bands.iter().collect();
    all.sort_by_cached_key(|(band, _)| rank(band));
    for (band, title) in all {
        let mut rows: BTreeMap<i64, i64> = BTreeMap::new();
        let top = y + HEADING;
        for at in sorted(picture, band) {
            let column = order[&keys[at]];
            let row = rows.entry(column).or_insert(0);
            places[at] = (left(column), top + *row * ROW);
            *row += 1;
        }
        let height = HEADING + rows.values().max().copied().unwrap_or(1) * ROW;
        bands.push((band.clone(), title.clone(), y, height));
        y += height + BELOW;
    }
    let lines = lines(picture, &places);
    let width = left(i64::try_from(used.len()).unwrap_or(0)) - GAP + 2 * LEFT;
    Layout { places, columns, bands, lines, width, height: y + LEFT }
}

/// Where a band stands among the others.
fn rank(band: &Band) -> (usize, usize, Vec<(String, u64)>) {
    match band {
        Band::Run => (0, 0, Vec::new()),
        Band::Archive(name) => (1, 0, natural(name)),
        Band::Separate => (2, 0, Vec::new()),
        Band::Store(number, _) => (3, *number, Vec::new()),
    }
}

/// A name as people order names: the numbers in it by what they count.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts: Vec<(String, u64)> = vec![(String::new(), 0)];
    let mut in_number = false;
    for c in name.chars() {
        match (c.to_digit(10), parts.last_mut()) {
            (Some(digit), Some(part)) => {
                part.1 = part.1.saturating_mul(10).saturating_add(digit.into());
                in_number = true;
            }
            (None, Some(part)) if !in_number => part.0.push(c),
            _ => {
                parts.push((c.to_string(), 0));
                in_number = false;
            }
        }
    }
    parts
}

/// The column of each step: its phase, and behind what it needs of the same phase. Locks are taken one after another, and
/// stand in one column all the same.
fn column_keys(picture: &Picture) -> Vec<(Phase, usize)> {
    let mut keys: Vec<(Phase, usize)> = picture.nodes.iter().map(|node| (node.phase, 0)).collect();
    // Each pass moves what stands too far left; a graph without loops is at rest after as many as it is deep.
    for _ in 0..picture.nodes.len() {
        let mut moved = false;
        for (from, to) in &picture.edges {
            let are_locks = keys[*to].0 == Phase::Lock;
            if keys[*to] <= keys[*from] && !are_locks {
                keys[*to] = (keys[*from].0, keys[*from].1 + 1);
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    keys
}

/// The steps of a band, by name; those of one store under one another.
fn sorted(picture: &Picture, band: &Band) -> Vec<usize> {
    let mut own: Vec<usize> =
        (0..picture.nodes.len()).filter(|at| picture.nodes[*at].band == *band).collect();
    own.sort_by_cached_key(|at| (picture.nodes[*at].store, natural(&picture.nodes[*at].id.0)));
    own
}

/// Lines with right angles. Those that end at one step share their upright part, as a bus; so do those that begin at one.
/// Within a column they run along its left.
fn lines(picture: &Picture, places: &[(i64, i64)]) -> Vec<[(i64, i64); 4]> {
    let mut coming = vec![0; picture.nodes.len()];
    picture.edges.iter().for_each(|(_, to)| coming[*to] += 1);
    let mut tracks: BTreeMap<(i64, bool, usize), i64> = BTreeMap::new();
    let mut next: BTreeMap<i64, i64> = BTreeMap::new();
    let line = |(from, to): &(usize, usize)| {
        let ((x1, y1), (x2, y2)) = (places[*from], places[*to]);
        let (y1, y2) = (y1 + HEIGHT / 2, y2 + HEIGHT / 2);
        if x1 == x2 {
            return [(x1, y1), (x1 - BESIDE, y1), (x1 - BESIDE, y2), (x2, y2)];
        }
        let bus = if coming[*to] > 1 { (x2, true, *to) } else { (x2, false, *from) };
        let track = *tracks.entry(bus).or_insert_with(|| {
            let next = next.entry(x2).or_insert(0);
            *next += 1;
            (*next - 1) % TRACKS
        });
        let x = x2 - GAP + 8 + track * (GAP - 22) / TRACKS;
        [(x1 + WIDTH, y1), (x, y1), (x, y2), (x2, y2)]
    };
    picture.edges.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn names_with_numbers_are_ordered_by_what_the_numbers_count() {
        let mut names = vec!["app_10", "app_2b", "app_2", "app", "b", "app_1"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["app", "app_1", "app_2", "app_2b", "app_10", "b"]);
    }
}
