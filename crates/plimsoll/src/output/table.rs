//! Columns as Docker aligns them.

/// Blanks between the widest cell of a column and the next column.
const PADDING: usize = 3;
/// Narrowest column, padding included.
const MINIMUM: usize = 10;

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// Aligns tab-separated lines: every cell but the last of its line is padded.
///
/// Docker writes its tables with Go's `tabwriter` (minimum width 10, padding 3), so scripts cut at these places.
/// As there, a column is a run of consecutive lines that have it.
pub(crate) fn align(text: &str) -> String {
    align_with(text, MINIMUM, PADDING)
}

/// As [`align`], with other widths.
pub(crate) fn align_with(text: &str, minimum: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut aligned = String::with_capacity(text.len() * 2);
    for (row, cells) in lines.iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            aligned.push_str(cell);
            if column + 1 < cells.len() {
                let width = (widest(&lines, row, column) + padding).max(minimum);
                let blanks = width - cell.chars().count();
                aligned.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        aligned.push('\n');
    }
    aligned
}

/// Widest cell of `column` in the block of lines around `row` that have it.
fn widest(lines: &[Vec<&str>], row: usize, column: usize) -> usize {
    let has = |cells: &&Vec<&str>| cells.len() > column + 1;
    let above = lines[..row].iter().rev().take_while(has);
    let below = lines[row..].iter().take_while(has);
    above
        .chain(below)
        .map(|cells| cells[column].chars().count())
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_all_but_the_last_cell() {
        assert_eq!(
            align("A\tLONG HEADER\tB\nvery long cell\tx\ty"),
            "A                LONG HEADER   B\nvery long cell   x             y\n"
        );
    }

    #[test]
    fn short_columns_have_a_minimum() {
        assert_eq!(align("A\tB"), "A         B\n");
    }
}
