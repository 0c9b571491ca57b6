//! A treemap: each directory a rectangle as large as its share of the bytes.
//!
//! Laid out by the squarified algorithm of Bruls, Huizing and van Wijk (2000), which keeps rectangles near squares, in
//! a plane of [`WIDTH`] by [`HEIGHT`]; what comes out is in percent of it, so that the page may be of any width.

use std::collections::BTreeMap;

use plimsoll_image::FileUsage;
use serde::Serialize;

use crate::output::units::human_size;

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 520.0;
/// Names below the root that become rectangles of their own.
const DEEPEST: usize = 6;
/// Rectangles smaller than this on the plane are put together.
const SMALLEST: f64 = 260.0;
/// Room for the name of a directory above what is in it.
const HEADER: f64 = 19.0;
/// A directory smaller than this is not divided.
const DIVISIBLE: (f64, f64) = (64.0, 52.0);
const GAP: f64 = 2.0;
/// A rectangle smaller than this has no room for words.
const LEGIBLE: (f64, f64) = (40.0, 17.0);

/// One rectangle, in percent of the whole.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cell {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    /// What stands in it.
    pub(super) label: String,
    pub(super) size: String,
    /// What pointing at it tells.
    pub(super) title: String,
    /// A directory that is divided: only its header shows.
    pub(super) is_divided: bool,
    /// Whether there is room for words.
    pub(super) is_legible: bool,
    /// The layer that most of it is from.
    pub(super) layer: usize,
}

/// A directory, or a file.
#[derive(Default)]
struct Node {
    size: u64,
    files: u64,
    layers: BTreeMap<usize, u64>,
    children: BTreeMap<String, Node>,
}

#[derive(Clone, Copy, Debug)]
struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// Returns the rectangles of an image's files, a directory before what is in it.
pub(super) fn treemap<'a>(files: impl Iterator<Item = FileUsage<'a>>) -> Vec<Cell> {
    let mut root = Node::default();
    for file in files.filter(|file| file.size > 0) {
        root.add(&file);
    }
    let mut cells = Vec::new();
    let all = Area {
        x: 0.0,
        y: 0.0,
        width: WIDTH,
        height: HEIGHT,
    };
    if root.size > 0 {
        root.divide("", all, &mut cells);
    }
    cells
}

impl Node {
    fn add(&mut self, file: &FileUsage<'_>) {
        let path = String::from_utf8_lossy(file.path);
        self.count(file);
        let mut node = self;
        for name in path.split('/').take(DEEPEST) {
            node = node.children.entry(name.to_owned()).or_default();
            node.count(file);
        }
    }

    fn count(&mut self, file: &FileUsage<'_>) {
        self.size += file.size;
        self.files += 1;
        *self.layers.entry(file.layer).or_default() += file.size;
    }

    /// Places the children, the greatest first; what is too small to see becomes one rectangle.
    fn divide(&self, path: &str, area: Area, cells: &mut Vec<Cell>) {
        let unit = area.width * area.height / as_float(self.size);
        let mut children: Vec<_> = self.children.iter().collect();
        children.sort_by_key(|(_, child)| std::cmp::Reverse(child.size));
        let is_visible = |(_, child): &(&String, &Node)| as_float(child.size) * unit >= SMALLEST;
        let visible = children.iter().take_while(|child| is_visible(child)).count();
        let (visible, small) = children.split_at(visible);
        let rest = Node::of_all(small.iter().map(|(_, child)| *child));
        let mut sizes: Vec<f64> = visible
            .iter()
            .map(|(_, child)| as_float(child.size) * unit)
            .collect();
        if rest.size > 0 {
            sizes.push(as_float(rest.size) * unit);
        }
        let mut places = squarify(&sizes, area).into_iter();
        for ((name, child), place) in visible.iter().zip(&mut places) {
            child.draw(format!("{path}/{name}"), name, place, cells);
        }
        if let Some(place) = places.next() {
            let label = format!("{} more", small.len());
            cells.push(rest.cell(&label, &format!("{path}/…"), place, false));
        }
    }

    fn draw(&self, path: String, name: &str, area: Area, cells: &mut Vec<Cell>) {
        // A directory with one entry only: the two names together.
        if let Some((inner, child)) = self
            .children
            .first_key_value()
            .filter(|_| self.children.len() == 1)
        {
            return child.draw(format!("{path}/{inner}"), &format!("{name}/{inner}"), area, cells);
        }
        let divided = !self.children.is_empty() && area.width >= DIVISIBLE.0 && area.height >= DIVISIBLE.1;
        cells.push(self.cell(name, &path, area, divided));
        if divided {
            let inside = Area {
                x: area.x + GAP,
                y: area.y + HEADER,
                width: area.width - 2.0 * GAP,
                height: area.height - HEADER - GAP,
            };
            self.divide(&path, inside, cells);
        }
    }

    fn of_all<'a>(nodes: impl Iterator<Item = &'a Node>) -> Self {
        nodes.fold(Self::default(), |mut sum, node| {
            sum.size += node.size;
            sum.files += node.files;
            for (layer, size) in &node.layers {
                *sum.layers.entry(*layer).or_default() += size;
            }
            sum
        })
    }

    fn cell(&self, label: &str, path: &str, area: Area, is_divided: bool) -> Cell {
        let files = if self.files == 1 {
            String::new()
        } else {
            format!(" in {} files", self.files)
        };
        let layer = self.layers.iter().max_by_key(|(_, size)| **size);
        Cell {
            left: 100.0 * area.x / WIDTH,
            top: 100.0 * area.y / HEIGHT,
            width: 100.0 * area.width / WIDTH,
            height: 100.0 * area.height / HEIGHT,
            label: label.to_owned(),
            size: human_size(self.size),
            title: format!("{path}: {}{files}", human_size(self.size)),
            is_divided,
            is_legible: area.width >= LEGIBLE.0 && area.height >= LEGIBLE.1,
            layer: layer.map_or(0, |(layer, _)| *layer),
        }
    }
}

/// Places areas that together fill `area`, the greatest first, in rows along its shorter side.
fn squarify(sizes: &[f64], mut area: Area) -> Vec<Area> {
    let mut places = Vec::with_capacity(sizes.len());
    let mut rest = sizes;
    while !rest.is_empty() {
        let side = area.width.min(area.height);
        // A row grows as long as that makes its worst rectangle better.
        let mut length = 1;
        while length < rest.len() && worst(&rest[..=length], side) <= worst(&rest[..length], side) {
            length += 1;
        }
        let (row, left) = rest.split_at(length);
        area = place_row(row, area, &mut places);
        rest = left;
    }
    places
}

/// The greatest ratio of sides in a row along `side`.
fn worst(row: &[f64], side: f64) -> f64 {
    let depth = row.iter().sum::<f64>() / side;
    let ratio = |size: &f64| {
        let length = size / depth;
        (length / depth).max(depth / length)
    };
    row.iter().map(ratio).fold(0.0, f64::max)
}

/// Places a row along the shorter side and returns what is left of the area.
fn place_row(row: &[f64], area: Area, places: &mut Vec<Area>) -> Area {
    let is_wide = area.width >= area.height;
    let side = if is_wide { area.height } else { area.width };
    let depth = row.iter().sum::<f64>() / side;
    let mut along = 0.0;
    for size in row {
        let length = size / depth;
        places.push(match is_wide {
            true => Area {
                x: area.x,
                y: area.y + along,
                width: depth,
                height: length,
            },
            false => Area {
                x: area.x + along,
                y: area.y,
                width: length,
                height: depth,
            },
        });
        along += length;
    }
    match is_wide {
        true => Area {
            x: area.x + depth,
            width: (area.width - depth).max(0.0),
            ..area
        },
        false => Area {
            y: area.y + depth,
            height: (area.height - depth).max(0.0),
            ..area
        },
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is drawn")]
fn as_float(size: u64) -> f64 {
    size as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(files: &[(&str, u64, usize)]) -> Vec<Cell> {
        let file = |(path, size, layer): &(&'static str, u64, usize)| FileUsage {
            path: path.as_bytes(),
            size: *size,
            layer: *layer,
        };
        treemap(files.iter().map(|entry| {
            let (path, size, layer) = *entry;
            let path: &'static str = Box::leak(path.to_owned().into_boxed_str());
            file(&(path, size, layer))
        }))
    }

    #[test]
    fn areas_are_shares_and_do_not_overlap() {
        let files = [("a", 50, 0), ("b", 25, 0), ("c", 15, 1), ("d", 10, 1)];
        let cells = cells(&files);
        assert_eq!(cells.len(), 4);
        for (cell, (_, size, layer)) in cells.iter().zip(files) {
            assert!(
                (cell.width * cell.height / 100.0 - size as f64).abs() < 0.01,
                "{cell:?}"
            );
            assert_eq!(cell.layer, layer);
        }
        for (at, a) in cells.iter().enumerate() {
            assert!(
                a.left > -0.01 && a.left + a.width < 100.01 && a.top + a.height < 100.01,
                "{a:?}"
            );
            for b in &cells[at + 1..] {
                let apart = a.left + a.width <= b.left + 0.01
                    || b.left + b.width <= a.left + 0.01
                    || a.top + a.height <= b.top + 0.01
                    || b.top + b.height <= a.top + 0.01;
                assert!(apart, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn directories_hold_their_files_and_lonely_ones_are_joined() {
        let cells = cells(&[("usr/lib/a", 40, 0), ("usr/lib/b", 40, 0), ("opt/x/y/z", 20, 1)]);
        let labels: Vec<_> = cells
            .iter()
            .map(|cell| (cell.label.as_str(), cell.is_divided))
            .collect();
        assert_eq!(
            labels,
            [
                ("usr/lib", true),
                ("a", false),
                ("b", false),
                ("opt/x/y/z", false)
            ]
        );
        assert_eq!(cells[0].title, "/usr/lib: 80B in 2 files");
        for inside in &cells[1..3] {
            assert!(inside.left >= cells[0].left && inside.top > cells[0].top);
            assert!(inside.left + inside.width <= cells[0].left + cells[0].width + 0.01);
        }
    }

    #[test]
    fn what_is_too_small_to_see_is_one_rectangle() {
        let names: Vec<String> = (0..500).map(|number| format!("small{number}")).collect();
        let mut files: Vec<(&str, u64, usize)> = names.iter().map(|name| (name.as_str(), 1, 0)).collect();
        files.push(("large", 1_000_000, 1));
        let cells = cells(&files);
        assert_eq!(cells.len(), 2);
        assert_eq!(
            (cells[1].label.as_str(), cells[1].size.as_str()),
            ("500 more", "500B")
        );
    }

    #[test]
    fn an_empty_image_has_none() {
        assert!(cells(&[]).is_empty());
        assert!(cells(&[("empty", 0, 0)]).is_empty());
    }
}
