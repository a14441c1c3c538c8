//! Phases from top to bottom, bands side by side.

use std::collections::{BTreeMap, BTreeSet};

use super::{BELOW, HEIGHT, LEFT, Layout, Placed, ROW, TOP, WIDTH, column_keys, in_order, sorted};
use crate::picture::{Band, Phase, Picture};

/// Of the titles of phases, left of the bands.
const TITLES: i64 = 164;
/// Between two columns: room for the lines that run down.
const GUTTER: i64 = 44;
/// Between two phases: room for the lines that run across.
const CHANNEL: i64 = 26;
/// Of a band's title.
const HEAD: i64 = 30;
/// Lines side by side in a gutter, and one above the other in a channel.
const TRACKS: (i64, i64) = (9, 5);
/// Steps of one phase and band under one another; more stand beside them.
const DEEP: usize = 14;

/// A column of steps, and a row of them.
type Cell = (usize, (Phase, usize));

/// Where each step stands among the others.
struct Grid {
    /// Column, and row of phases.
    cells: Vec<Cell>,
    /// Place in its cell, and whether it is the last one there.
    stacked: Vec<(i64, bool)>,
    /// Bands with their first column and how many they have.
    bands: Vec<(Band, String, usize, usize)>,
}

/// Lays a picture out.
pub fn layout(picture: &Picture) -> Layout {
    let grid = grid(picture);
    let mut deep: BTreeMap<(Phase, usize), i64> = BTreeMap::new();
    for (cell, (place, _)) in grid.cells.iter().zip(&grid.stacked) {
        let rows = deep.entry(cell.1).or_insert(1);
        *rows = (*rows).max(place + 1);
    }
    let mut tops: BTreeMap<(Phase, usize), i64> = BTreeMap::new();
    let mut y = TOP - 30 + HEAD + CHANNEL;
    for (key, rows) in &deep {
        tops.insert(*key, y);
        y += rows * ROW - (ROW - HEIGHT) + CHANNEL;
    }
    let bottom = y - CHANNEL + BELOW;
    let left = |column: usize| TITLES + GUTTER + i64::try_from(column).unwrap_or(0) * (WIDTH + GUTTER);
    let places: Vec<(i64, i64)> = grid
        .cells
        .iter()
        .zip(&grid.stacked)
        .map(|(cell, (place, _))| (left(cell.0), tops[&cell.1] + place * ROW))
        .collect();
    let phases = tops.iter().filter(|(key, _)| key.1 == 0);
    let phases = phases.map(|(key, top)| (key.0.title(), (LEFT, top + HEIGHT / 2 + 4))).collect();
    let top = TOP - 30;
    let bands = grid.bands.iter().map(|(band, title, first, count)| Placed {
        band: band.clone(),
        title: title.clone(),
        at: (left(*first) - GUTTER / 2 + 3, top),
        size: (i64::try_from(*count).unwrap_or(1) * (WIDTH + GUTTER) - 6, bottom - top),
    });
    let bands: Vec<Placed> = bands.collect();
    let width = bands.last().map_or(TITLES, |band| band.at.0 + band.size.0) + LEFT / 2;
    let lines = Lines { picture, grid: &grid, places: &places, tops: &tops }.all();
    Layout { is_down: true, places, phases, bands, lines, width, height: bottom + LEFT }
}

fn grid(picture: &Picture) -> Grid {
    let keys = column_keys(picture);
    let mut grid = Grid {
        cells: vec![(0, (Phase::Lock, 0)); keys.len()],
        stacked: vec![(0, true); keys.len()],
        bands: Vec::new(),
    };
    let mut column = 0;
    for (band, title) in in_order(picture) {
        let mut own: BTreeMap<(Phase, usize), Vec<usize>> = BTreeMap::new();
        for at in sorted(picture, band) {
            own.entry(keys[at]).or_default().push(at);
        }
        let columns = own.values().map(|steps| steps.len().div_ceil(DEEP)).max().unwrap_or(1);
        for (key, steps) in own {
            let deep = steps.len().div_ceil(columns);
            for (number, at) in steps.iter().enumerate() {
                let place = number % deep;
                grid.cells[*at] = (column + number / deep, key);
                grid.stacked[*at] =
                    (i64::try_from(place).unwrap_or(0), place + 1 == deep || number + 1 == steps.len());
            }
        }
        grid.bands.push((band.clone(), title.clone(), column, columns));
        column += columns;
    }
    grid
}

/// What lines need to know.
struct Lines<'a> {
    picture: &'a Picture,
    grid: &'a Grid,
    places: &'a [(i64, i64)],
    tops: &'a BTreeMap<(Phase, usize), i64>,
}

/// Lines that run side by side: those that end at one step share their way, and so do those that begin at one.
#[derive(Default)]
struct Tracks {
    given: BTreeMap<(i64, usize, bool), i64>,
    next: BTreeMap<i64, i64>,
}

impl Tracks {
    fn of(&mut self, way: i64, bus: (usize, bool), most: i64) -> i64 {
        let next = &mut self.next;
        *self.given.entry((way, bus.0, bus.1)).or_insert_with(|| {
            let next = next.entry(way).or_insert(0);
            *next += 1;
            (*next - 1) % most
        })
    }
}

impl Lines<'_> {
    fn all(&self) -> Vec<Vec<(i64, i64)>> {
        let mut coming = vec![0; self.places.len()];
        self.picture.edges.iter().for_each(|(_, to)| coming[*to] += 1);
        let (mut across, mut down) = (Tracks::default(), Tracks::default());
        let rows: BTreeSet<(Phase, usize)> = self.tops.keys().copied().collect();
        self.picture
            .edges
            .iter()
            .map(|(from, to)| {
                let bus = if coming[*to] > 1 { (*to, true) } else { (*from, false) };
                self.line((*from, *to), bus, &rows, (&mut across, &mut down))
            })
            .collect()
    }

    /// From below a step, or from its right where others stand below it, to above the other, or to its left.
    fn line(
        &self,
        (from, to): (usize, usize),
        bus: (usize, bool),
        rows: &BTreeSet<(Phase, usize)>,
        (across, down): (&mut Tracks, &mut Tracks),
    ) -> Vec<(i64, i64)> {
        let ((x1, y1), (x2, y2)) = (self.places[from], self.places[to]);
        let (cell1, cell2) = (self.grid.cells[from], self.grid.cells[to]);
        let middle = |y: i64| y + HEIGHT / 2;
        let mut beside = |x: i64| x - 9 - down.of(x, bus, TRACKS.0) * (GUTTER - 18) / TRACKS.0;
        // Locks are taken one after another in one phase.
        if cell1.1 == cell2.1 {
            let x = beside(x2);
            return match cell1.0 == cell2.0 {
                true => vec![(x1, middle(y1)), (x, middle(y1)), (x, middle(y2)), (x2, middle(y2))],
                false => vec![(x1 + WIDTH, middle(y1)), (x, middle(y1)), (x, middle(y2)), (x2, middle(y2))],
            };
        }
        let mut above = |row: (Phase, usize)| {
            let top = self.tops[&row];
            top - 8 - across.of(top, bus, TRACKS.1) * (CHANNEL - 12) / TRACKS.1
        };
        let next =
            rows.range((std::ops::Bound::Excluded(cell1.1), std::ops::Bound::Unbounded)).next().copied();
        let begin = above(next.unwrap_or(cell2.1));
        let mut way = match self.grid.stacked[from].1 {
            true => vec![(x1 + WIDTH / 2, y1 + HEIGHT), (x1 + WIDTH / 2, begin)],
            false => {
                let x = beside(x1 + WIDTH + GUTTER);
                vec![(x1 + WIDTH, middle(y1)), (x, middle(y1)), (x, begin)]
            }
        };
        if next != Some(cell2.1) {
            // Down between two columns: on the side of the other step that is nearer.
            let x = beside(if cell2.0 >= cell1.0 { x2 } else { x2 + WIDTH + GUTTER });
            way.extend([(x, begin), (x, above(cell2.1))]);
        }
        let end = above(cell2.1);
        match self.grid.stacked[to].0 {
            0 => way.extend([(x2 + WIDTH / 2, end), (x2 + WIDTH / 2, y2)]),
            _ => {
                let x = beside(x2);
                way.extend([(x, end), (x, middle(y2)), (x2, middle(y2))]);
            }
        }
        way
    }
}
