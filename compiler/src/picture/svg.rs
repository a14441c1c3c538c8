//! The picture as SVG.

use crate::count::plural;
use std::fmt::Write;

use super::layout::{HEIGHT, LEFT, Layout, Placed, TOP, WIDTH, layout};
use super::{Band, Node, Picture, Shape};
use crate::diff::changes::Fate;

/// Sizes of letters, in pixels: a step's name, its second line, a band's title, the title of all.
const NAME: i64 = 12;
const SMALL: i64 = 10;
const BAND: i64 = 13;
const TITLE: i64 = 18;
/// The least width: that of the line that says what shapes mean.
const LEAST: i64 = 620;

const STYLE: &str = "\
text{font-family:system-ui,'DejaVu Sans',sans-serif;font-size:12px;fill:#1b1f24}\
.small{font-size:10px;fill:#57606a}.title{font-size:18px;font-weight:600}.head{font-weight:600;fill:#424a53}\
.band{fill:#f6f8fa;stroke:#d0d7de}.band.store{fill:#eef4fb}.band.run{fill:#faf7f0}.name{font-weight:600;font-size:13px;paint-order:stroke;stroke:#fff;stroke-width:3px}.back{fill:#fff;opacity:.94}\
.step>.b{fill:#fff;stroke:#57606a;stroke-width:1.2}.source>.b{fill:#e8f5e9}.pack>.b{fill:#e3eefc}.seal>.b{fill:#dff3f1;stroke-width:2.4}\
.delete>.b{fill:#fdf0e4}.lock>.b,.note>.b{fill:#f3f3f3}.window>.b{fill:#f3ebfa}\
.line{fill:none;stroke:#8c959f;stroke-width:1.2}.disc{fill:#24415f}.number{fill:#fff;font-size:11px;font-weight:700;text-anchor:middle}\
.added>.b{stroke:#1a7f37;stroke-width:3}.removed>.b{stroke:#cf222e;stroke-width:2.4;stroke-dasharray:6 4}.changed>.b{stroke:#9a6700;stroke-width:3;stroke-dasharray:12 3}\
.mark{font-size:16px;font-weight:700;text-anchor:middle}.added .mark{fill:#1a7f37}.removed .mark{fill:#cf222e}.changed .mark{fill:#9a6700}\
.same{opacity:.62}";

/// The picture as one SVG document that needs nothing else.
pub fn svg(picture: &Picture) -> String {
    let layout = layout(picture);
    let (width, height) = (layout.width.max(LEAST), layout.height);
    let class = if layout.is_down { "down" } else { "across" };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"{class}\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\">\n<title>plan {}</title>\n<style>{STYLE}</style>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#8c959f\"/></marker></defs>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n",
        escaped(&picture.title)
    );
    heading(&mut out, picture, width);
    bands(&mut out, &layout);
    for ((from, to), corners) in picture.edges.iter().zip(&layout.lines) {
        let path: Vec<String> = corners.iter().map(|(x, y)| format!("{x} {y}")).collect();
        let _ = writeln!(
            out,
            "<path class=\"line\" data-from=\"{from}\" data-to=\"{to}\" d=\"M{}\" marker-end=\"url(#tip)\"/>",
            path.join("L")
        );
    }
    for (at, node) in picture.nodes.iter().enumerate() {
        step(&mut out, at, node, layout.places[at], picture.is_diff);
    }
    names(&mut out, &layout);
    phases(&mut out, &layout, width);
    out.push_str("</svg>\n");
    out
}

/// How many steps changed, in words.
fn changes(picture: &Picture) -> String {
    if !picture.is_diff {
        return String::new();
    }
    let count = |fate| picture.nodes.iter().filter(|node| node.mark == Some(fate)).count();
    format!(", {} new, {} gone, {} changed", count(Fate::Added), count(Fate::Removed), count(Fate::Changed))
}

fn heading(out: &mut String, picture: &Picture, width: i64) {
    let counts = format!(": {}{}", plural(picture.nodes.len(), "step"), changes(picture));
    let room = width - 2 * LEFT - measured(&counts, TITLE) - measured("plan ", TITLE);
    let title = escaped(&fitting(&picture.title, room, TITLE));
    let _ = writeln!(out, "<text class=\"title\" x=\"{LEFT}\" y=\"32\">plan {title}{counts}</text>");
    let legend = match picture.is_diff {
        true => "+ new (thick line)   \u{2212} gone (dashes)   ~ changed (long dashes)   pale: as before",
        false => {
            "round: source   double: archive   heavy: commit   six corners: deletes   cut corners: lock   number: store"
        }
    };
    let _ =
        writeln!(out, "<text class=\"small\" xml:space=\"preserve\" x=\"{LEFT}\" y=\"54\">{legend}</text>");
}

/// The titles of phases, in a group of their own: a page keeps them in sight.
fn phases(out: &mut String, layout: &Layout, width: i64) {
    out.push_str("<g class=\"phases\">");
    if !layout.is_down {
        let _ = writeln!(out, "<rect class=\"back\" y=\"{}\" width=\"{width}\" height=\"26\"/>", TOP - 32);
    }
    for (title, (x, y)) in &layout.phases {
        let _ = writeln!(out, "<text class=\"head\" x=\"{x}\" y=\"{y}\">{title}</text>");
    }
    out.push_str("</g>\n");
}

fn bands(out: &mut String, layout: &Layout) {
    for Placed { band, at: (x, y), size: (width, height), .. } in &layout.bands {
        let class = match band {
            Band::Run => "band run",
            Band::Store(..) => "band store",
            Band::Archive(_) | Band::Separate => "band",
        };
        let _ = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>"
        );
    }
}

/// The names of bands, in a group of their own: a page keeps them in sight. A wide band says its name again where its steps
/// begin.
fn names(out: &mut String, layout: &Layout) {
    let mut again = String::new();
    out.push_str("<g class=\"names\">\n");
    for Placed { band, title, at, size } in &layout.bands {
        let (mut x, y) = (at.0 + LEFT / 2 + 2, at.1);
        if let Band::Store(number, _) = band {
            disc(out, x + 8, y + 13, *number);
            x += 22;
        }
        let title = escaped(&fitting(title, at.0 + size.0 - x - 6, BAND));
        let _ = writeln!(out, "<text class=\"name\" x=\"{x}\" y=\"{}\">{title}</text>", y + 17);
        let inside = layout.places.iter().filter(|place| (y..y + size.1).contains(&place.1));
        let first = inside.map(|place| place.0).min().filter(|_| !layout.is_down);
        if let Some(first) = first.filter(|first| *first > x + WIDTH) {
            let _ =
                writeln!(again, "<text class=\"name again\" x=\"{first}\" y=\"{}\">{title}</text>", y + 17);
        }
    }
    out.push_str("</g>\n");
    out.push_str(&again);
}

fn disc(out: &mut String, x: i64, y: i64, number: usize) {
    let _ = writeln!(
        out,
        "<circle class=\"disc\" cx=\"{x}\" cy=\"{y}\" r=\"8\"/><text class=\"number\" x=\"{x}\" y=\"{}\">{number}</text>",
        y + 4
    );
}

fn step(out: &mut String, at: usize, node: &Node, (x, y): (i64, i64), is_diff: bool) {
    let (mark, sign) = match node.mark {
        Some(Fate::Added) => ("added", "+"),
        Some(Fate::Removed) => ("removed", "\u{2212}"),
        Some(Fate::Changed) => ("changed", "~"),
        None if is_diff => ("same", ""),
        None => ("", ""),
    };
    let _ = writeln!(
        out,
        "<g class=\"step {} {mark}\" data-step=\"{at}\"><title>{}</title>",
        class(node.shape),
        escaped(&format!("{}{}", node.id, node.effects))
    );
    out.push_str(&outline(node.shape, x, y));
    let text = x + if sign.is_empty() { 16 } else { 28 };
    let room = x + WIDTH - text - if node.store.is_some() { 26 } else { 12 };
    let line = if node.about.is_empty() { 22 } else { 15 };
    let _ = writeln!(
        out,
        "<text x=\"{text}\" y=\"{}\">{}</text>",
        y + line,
        escaped(&fitting(&node.id.0, room, NAME))
    );
    if !node.about.is_empty() {
        let about = escaped(&fitting(&node.about, room, SMALL));
        let _ = writeln!(out, "<text class=\"small\" x=\"{text}\" y=\"{}\">{about}</text>", y + 28);
    }
    if !sign.is_empty() {
        let _ = writeln!(out, "<text class=\"mark\" x=\"{}\" y=\"{}\">{sign}</text>", x + 17, y + 22);
    }
    if let Some(number) = node.store {
        disc(out, x + WIDTH - 15, y + HEIGHT / 2, number);
    }
    out.push_str("</g>\n");
}

fn class(shape: Shape) -> &'static str {
    match shape {
        Shape::Cut => "lock",
        Shape::Hexagon => "delete",
        Shape::Stadium => "source",
        Shape::Double => "pack",
        Shape::Box => "publish",
        Shape::Seal => "seal",
        Shape::Slant => "window",
        Shape::Note => "note",
    }
}

fn outline(shape: Shape, x: i64, y: i64) -> String {
    let (w, h) = (WIDTH, HEIGHT);
    let rect = |inset: i64, round: i64, class: &str| {
        format!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{round}\"/>\n",
            x + inset,
            y + inset,
            w - 2 * inset,
            h - 2 * inset
        )
    };
    let polygon = |points: &[(i64, i64)]| {
        let points: Vec<String> = points.iter().map(|(dx, dy)| format!("{},{}", x + dx, y + dy)).collect();
        format!("<polygon class=\"b\" points=\"{}\"/>\n", points.join(" "))
    };
    match shape {
        Shape::Stadium => rect(0, h / 2, "b"),
        Shape::Box => rect(0, 2, "b"),
        Shape::Seal => rect(0, 8, "b"),
        Shape::Double => rect(0, 2, "b") + &rect(3, 1, "line"),
        Shape::Cut => {
            polygon(&[(7, 0), (w - 7, 0), (w, 7), (w, h - 7), (w - 7, h), (7, h), (0, h - 7), (0, 7)])
        }
        Shape::Hexagon => polygon(&[(11, 0), (w - 11, 0), (w, h / 2), (w - 11, h), (11, h), (0, h / 2)]),
        Shape::Slant => polygon(&[(12, 0), (w, 0), (w - 12, h), (0, h)]),
        Shape::Note => polygon(&[(0, 0), (w - 10, 0), (w, 10), (w, h), (0, h)]),
    }
}

/// Pixels that a text takes at the most, in letters of this size: reckoned with room to spare, as nobody knows here which
/// letters a reader has.
fn measured(text: &str, size: i64) -> i64 {
    // In hundredths of the size.
    let letter = |letter: char| match letter {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 36,
        'f' | 'r' | 't' | '(' | ')' | '/' | '-' | ' ' | 'I' => 44,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '\u{2026}' => 100,
        'A'..='Z' => 76,
        letter if letter.is_ascii() => 64,
        letter if (letter as u32) < 0x1100 => 76,
        _ => 105,
    };
    (text.chars().map(letter).sum::<i64>() * size + 99) / 100
}

/// Text with its middle left out where it is wider than that: beginnings and ends tell steps apart.
fn fitting(text: &str, room: i64, size: i64) -> String {
    if measured(text, size) <= room {
        return text.to_owned();
    }
    let letters: Vec<char> = text.chars().collect();
    for fits in (2..letters.len()).rev() {
        let (head, tail) = (fits - fits / 2, fits / 2);
        let begin: String = letters[..head].iter().collect();
        let end: String = letters[letters.len() - tail..].iter().collect();
        let shorter = format!("{begin}\u{2026}{end}");
        if measured(&shorter, size) <= room {
            return shorter;
        }
    }
    "\u{2026}".to_owned()
}

/// Text as XML may hold it.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no way to write them.
            c if c.is_control() && c != '\n' && c != '\t' => out.push('?'),
            c => out.push(c),
        }
    }
    out
}
