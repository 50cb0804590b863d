//! Columns.

use super::text::visible;

/// Rows under headings. Every cell is made safe to look at, because most of them were written by strangers.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: impl IntoIterator<Item = &'static str>) -> Self {
        Self { headings: headings.into_iter().collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        self.rows.push(cells.into_iter().map(|cell| visible(cell.as_ref()).into_owned()).collect());
    }

    /// The line of headings, and the other lines.
    pub(super) fn lines(&self) -> (String, Vec<String>) {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            longest.max(self.headings.get(column).map_or(0, |heading| heading.len()))
        };
        let widths: Vec<_> = (0..self.headings.len()).map(width).collect();
        let line = |cells: Vec<&str>| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let rows = self.rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
        (line(self.headings.clone()), rows.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_cells_cannot_break_out() {
        let mut table = Table::new(["A", "LONG"]);
        table.row(["wide cell", "x"]);
        table.row(["é", "two\nlines"]);
        let (headings, rows) = table.lines();
        assert_eq!(headings, "A          LONG");
        assert_eq!(rows, ["wide cell  x", "é          two\\nlines"]);
    }
}
