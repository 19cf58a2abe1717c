//! What is in an image, for a person: layers by size, waste, large files and packages, changes. Pure text.

use std::fmt::Write as _;

use super::style::Paint;
use super::summary::aligned;
use monoship_core::collect::Collect as _;
use monoship_core::sorted::{Order as _, SortedMap};
use monoship_core::text::{bytes, clean, fit};
use monoship_docker::layers::{Difference, LayerSummary, Place, Since, Summary, Waste, Wasted};

/// Longer steps are cut: they are RUN lines of many commands.
const STEP_COLUMNS: usize = 90;

/// The text about an image, for a terminal of so many columns; each list has at most `top` lines.
#[must_use]
pub fn text(image: &Summary, top: usize, paint: Paint, columns: Option<usize>) -> String {
    let place = match image.place {
        Place::Engine => "in the engine",
        Place::Registry => "in the registry",
    };
    let mut text = paint.strong(&image.image);
    let (packed, unpacked, layers) = (bytes(image.packed_bytes), bytes(image.unpacked_bytes), image.layers.len());
    let _ = writeln!(text, " {place}, {}: {packed} stored, {unpacked} unpacked, {layers} layers", image.platform);
    text += &layers_by_size(image, paint, columns);
    let _ =
        writeln!(text, "\nwasted: {}", if image.wasted.is_empty() { "nothing".to_owned() } else { bytes(image.wasted_bytes) });
    list(&mut text, top, &by_lines(&image.wasted), |files| {
        let first = files[0];
        let (of, by) = (line(image, first.layer), line(image, first.by));
        let what = match first.why {
            Waste::Repeated => format!("put by {of}, and again, the same, by {by}"),
            Waste::Replaced => format!("put by {of}, replaced by {by}"),
            Waste::Deleted => format!("put by {of}, deleted by {by}"),
        };
        let more = if files.len() > 1 { format!(" and {} more", files.len() - 1) } else { String::new() };
        (files.iter().map(|file| file.bytes).sum(), format!("{}{more}: {what}", clean(&first.path)))
    });
    if !image.copies.is_empty() {
        let _ = writeln!(text, "\nthere twice: {}", bytes(image.copied_bytes));
        list(&mut text, top, &image.copies, |copies| {
            let places = copies.places.iter().map(|(path, layer)| format!("{} ({})", clean(path), line(image, *layer)));
            (copies.bytes, places.take(3).into_vec().join(", "))
        });
    }
    text += "\nlargest files\n";
    list(&mut text, top.min(image.largest.len()), &image.largest[..top.min(image.largest.len())], |file| {
        (file.bytes, format!("{} ({})", clean(&file.path), line(image, file.layer)))
    });
    if !image.packages.is_empty() {
        let _ = writeln!(text, "\nnpm packages: {}", image.packages.len());
        list(&mut text, top, &image.packages, |package| {
            let times = if package.places > 1 { format!(", {} times", package.places) } else { String::new() };
            (package.bytes, format!("{} {}{times}", clean(&package.name), clean(&package.version)))
        });
    }
    text.push('\n');
    match &image.since {
        Since::None(why) => drop(writeln!(text, "no release to compare with: {}", clean(why))),
        Since::Release { image: name, packed_bytes, difference } => {
            changes(&mut text, image, name, *packed_bytes, difference, top);
        }
    }
    text
}

fn layers_by_size(image: &Summary, paint: Paint, columns: Option<usize>) -> String {
    let mut layers: Vec<&LayerSummary> = image.layers.iter().into_vec();
    layers.order_by_key(|layer| std::cmp::Reverse((layer.packed_bytes, layer.unpacked_bytes)));
    let rows: Vec<Vec<String>> = layers
        .iter()
        .map(|layer| {
            let step = match &layer.line {
                // Of what the base image brings its own history says more.
                Some(line) if line.text.starts_with("FROM ") => format!("{}: {}", line.text, layer.made_by),
                Some(line) => line.text.clone(),
                None => layer.made_by.clone(),
            };
            vec![
                bytes(layer.packed_bytes),
                bytes(layer.unpacked_bytes),
                layer.files.to_string(),
                layer.line.as_ref().map(|line| format!("{}:{}", line.file, line.line)).unwrap_or_default(),
                fit(&clean(&step), STEP_COLUMNS),
            ]
        })
        .into_vec();
    aligned(&["stored", "unpacked", "files", "line", "step"], &rows, &[0, 1, 2], columns, |_, column, cell| match column {
        3 => paint.faint(cell),
        _ => cell.to_owned(),
    })
}

/// Wasted files by the two steps that waste them, costliest first: a line that deletes a folder of the base image would hide all else.
fn by_lines(wasted: &[Wasted]) -> Vec<Vec<&Wasted>> {
    let mut groups: SortedMap<(usize, usize, Waste), Vec<&Wasted>> = SortedMap::new();
    for file in wasted {
        groups.entry((file.layer, file.by, file.why)).or_default().push(file);
    }
    let mut groups: Vec<Vec<&Wasted>> = groups.into_values().into_vec();
    groups.order_by_key(|files| std::cmp::Reverse(files.iter().map(|file| file.bytes).sum::<u64>()));
    groups
}

/// How a layer is called: by its line, else by its number.
fn line(image: &Summary, layer: usize) -> String {
    let line = image.layers.get(layer).and_then(|layer| layer.line.as_ref());
    line.map_or_else(|| format!("layer {}", layer + 1), |line| format!("line {}", line.line))
}

fn list<T>(text: &mut String, top: usize, items: &[T], shown: impl Fn(&T) -> (u64, String)) {
    for item in items.iter().take(top) {
        let (size, what) = shown(item);
        let _ = writeln!(text, "  {:>8}  {what}", bytes(size));
    }
    if items.len() > top {
        let _ = writeln!(text, "            and {} more", items.len() - top);
    }
}

fn changes(text: &mut String, image: &Summary, name: &str, before: u64, difference: &Difference, top: usize) {
    let sign = |was: u64, is: u64| format!("{}{}", if is < was { "-" } else { "+" }, bytes(is.abs_diff(was)));
    let new = image.layers.len() - difference.shared_layers;
    let size = if before == image.packed_bytes { "the same size".to_owned() } else { sign(before, image.packed_bytes) };
    let _ = writeln!(text, "since {}: {size}, {new} of {} layers are new", clean(name), image.layers.len());
    for (name, was, is) in difference.packages.iter().take(top) {
        let versions = |versions: &[String]| if versions.is_empty() { "none".to_owned() } else { versions.join(", ") };
        let _ = writeln!(text, "            {} {} → {}", clean(name), clean(&versions(was)), clean(&versions(is)));
    }
    for (path, was, is) in difference.files.iter().take(top) {
        let what = match (was, is) {
            (None, _) => "new",
            (_, None) => "gone",
            _ => "changed",
        };
        let _ = writeln!(text, "  {:>8}  {} ({what})", sign(was.unwrap_or(0), is.unwrap_or(0)), clean(path));
    }
    if difference.files.len() > top {
        let _ = writeln!(text, "            and {} more files", difference.files.len() - top);
    }
}
