//! Where everything stands: phases side by side and bands under one another, or the other way round, whichever shows more of the
//! picture at a glance.

mod down;

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

/// A window that a picture is looked at in, in pixels.
const WINDOW: (i64, i64) = (1280, 720);

/// A finished layout.
pub struct Layout {
    /// Whether phases stand under one another.
    pub is_down: bool,
    /// Upper left corner of each step.
    pub places: Vec<(i64, i64)>,
    /// Titles of phases and where they stand.
    pub phases: Vec<(&'static str, (i64, i64))>,
    /// The bands.
    pub bands: Vec<Placed>,
    /// Corners of each edge.
    pub lines: Vec<Vec<(i64, i64)>>,
    /// Of the whole.
    pub width: i64,
    /// Of the whole.
    pub height: i64,
}

/// A band and its area.
pub struct Placed {
    /// Which.
    pub band: Band,
    /// What stands on it.
    pub title: String,
    /// Its upper left corner.
    pub at: (i64, i64),
    /// Width and height.
    pub size: (i64, i64),
}

/// Lays a picture out.
pub fn layout(picture: &Picture) -> Layout {
    let (across, down) = (across(picture), down::layout(picture));
    // In thousandths of the window.
    let need = |layout: &Layout| (layout.width * 1000 / WINDOW.0).max(layout.height * 1000 / WINDOW.1);
    if need(&down) < need(&across) { down } else { across }
}

/// Phases from left to right.
fn across(picture: &Picture) -> Layout {
    let keys = column_keys(picture);
    let used: BTreeSet<(Phase, usize)> = keys.iter().copied().collect();
    let order: BTreeMap<(Phase, usize), i64> = used.iter().copied().zip(0..).collect();
    let left = |column: i64| LEFT + 8 + column * (WIDTH + GAP);
    let phases = used.iter().filter(|key| key.1 == 0);
    let phases = phases.map(|key| (key.0.title(), (left(order[key]), TOP - 14))).collect();
    let mut places = vec![(0, 0); picture.nodes.len()];
    let mut bands = Vec::new();
    let mut y = TOP;
    let width = left(i64::try_from(used.len()).unwrap_or(0)) - GAP + 2 * LEFT;
    for (band, title) in in_order(picture) {
        let mut rows: BTreeMap<i64, i64> = BTreeMap::new();
        let top = y + HEADING;
        for at in sorted(picture, band) {
            let column = order[&keys[at]];
            let row = rows.entry(column).or_insert(0);
            places[at] = (left(column), top + *row * ROW);
            *row += 1;
        }
        let height = HEADING + rows.values().max().copied().unwrap_or(1) * ROW;
        let (at, size) = ((LEFT / 2, y), (width - LEFT, height));
        bands.push(Placed { band: band.clone(), title: title.clone(), at, size });
        y += height + BELOW;
    }
    let lines = lines(picture, &places);
    Layout { is_down: false, places, phases, bands, lines, width, height: y + LEFT }
}

/// The bands as they follow one another.
fn in_order(picture: &Picture) -> Vec<(&Band, &String)> {
    let mut all: Vec<(&Band, &String)> = picture.bands.iter().collect();
    all.sort_by_cached_key(|(band, _)| rank(band));
    all
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
fn lines(picture: &Picture, places: &[(i64, i64)]) -> Vec<Vec<(i64, i64)>> {
    let mut coming = vec![0; picture.nodes.len()];
    picture.edges.iter().for_each(|(_, to)| coming[*to] += 1);
    let mut tracks: BTreeMap<(i64, bool, usize), i64> = BTreeMap::new();
    let mut next: BTreeMap<i64, i64> = BTreeMap::new();
    let line = |(from, to): &(usize, usize)| {
        let ((x1, y1), (x2, y2)) = (places[*from], places[*to]);
        let (y1, y2) = (y1 + HEIGHT / 2, y2 + HEIGHT / 2);
        if x1 == x2 {
            return vec![(x1, y1), (x1 - BESIDE, y1), (x1 - BESIDE, y2), (x2, y2)];
        }
        let bus = if coming[*to] > 1 { (x2, true, *to) } else { (x2, false, *from) };
        let track = *tracks.entry(bus).or_insert_with(|| {
            let next = next.entry(x2).or_insert(0);
            *next += 1;
            (*next - 1) % TRACKS
        });
        let x = x2 - GAP + 8 + track * (GAP - 22) / TRACKS;
        vec![(x1 + WIDTH, y1), (x, y1), (x, y2), (x2, y2)]
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
