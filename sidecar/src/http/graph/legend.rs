//! The legend: a box in the colour of each series, and its name, in columns below the picture.

use super::canvas::{Align, Canvas, Font, Picture, Turn};
use super::color::Color;
use super::lines::{Line, Side};
use super::options::Options;

/// Between a box and its name, and between names.
const PADDING: f64 = 5.0;
/// The most of a picture that a legend may take.
const MOST: f64 = 0.6;
/// Around boxes.
const EDGE: Color = Color::new(111, 111, 111);

/// One column after the other, a row full before the next one begins.
#[derive(Debug)]
pub struct Legend {
    entries: Vec<Entry>,
    font: Font,
    columns: usize,
    column_width: f64,
    rows: usize,
    /// What did not fit.
    left_out: usize,
}

#[derive(Debug, PartialEq)]
struct Entry {
    name: String,
    color: Color,
    side: Side,
    row: usize,
    column: usize,
}

impl Legend {
    /// The legend of lines for a picture with these sides; `None` when there is nothing to name.
    pub fn new(lines: &[Line], options: &Options, font: Font) -> Option<Self> {
        let (width, height) = (f64::from(options.width), f64::from(options.height));
        let mut named: Vec<(&Line, String)> = Vec::new();
        for line in lines {
            let is_known = options.unique_legend && named.iter().any(|(known, _)| known.name == line.name);
            let is_hidden = options.hide_null_from_legend && line.is_empty();
            if line.name.is_empty() || is_known || is_hidden {
                continue;
            }
            named.push((line, shortened(&line.name, font, width - row_height(font) - 2.0 * options.margin - PADDING)));
        }
        let longest = named.iter().map(|(_, name)| font.width(name)).reduce(f64::max)?;
        let column_width = longest + 2.0 * (row_height(font) + PADDING);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a double saturates")]
        let (columns, most_rows) =
            (((width / column_width) as usize).max(1), ((height * MOST / row_height(font)) as usize).max(1));
        let has_right = named.iter().any(|(line, _)| line.side == Side::Right);
        // Those of the right axis stand on the right, if there is room for both.
        let (columns, places) =
            if has_right && columns > 1 { (columns / 2 * 2, columns / 2) } else { (columns, columns) };
        let mut counts = [0_usize; 2];
        let mut entries = Vec::new();
        let mut left_out = 0;
        for (line, name) in named {
            let is_right = line.side == Side::Right && columns != places;
            let index = counts[usize::from(is_right)];
            counts[usize::from(is_right)] += 1;
            let (row, column) = (index / places, index % places);
            if row >= most_rows {
                left_out += 1;
                continue;
            }
            let column = if is_right { columns - 1 - column } else { column };
            entries.push(Entry { name, color: line.color.with_alpha(1.0), side: line.side, row, column });
        }
        let rows = entries.iter().map(|entry| entry.row + 1).max().unwrap_or(0);
        Some(Self { entries, font, columns, column_width, rows, left_out })
    }

    /// How much of the picture's height it takes.
    pub fn height(&self) -> f64 {
        let rows = self.rows + usize::from(self.left_out > 0);
        rows as f64 * row_height(self.font) + PADDING
    }

    /// Draws it with its top at `y`.
    ///
    /// # Errors
    /// When it cannot be drawn, which is a bug.
    pub fn draw<P: Picture>(
        &self,
        canvas: &mut Canvas<P>,
        (left, right): (f64, f64),
        y: f64,
        foreground: Color,
    ) -> Result<(), String> {
        let size = row_height(self.font) - 2.0;
        for entry in &self.entries {
            let y = y + entry.row as f64 * row_height(self.font);
            let baseline = y + self.font.ascent();
            let from_right = entry.side == Side::Right && entry.column * 2 >= self.columns && self.columns > 1;
            let x = if from_right {
                right - (self.columns - 1 - entry.column) as f64 * self.column_width - size
            } else {
                left + entry.column as f64 * self.column_width
            };
            canvas.rectangle((x, y), size, size, EDGE)?;
            canvas.rectangle((x + 1.0, y + 1.0), size - 2.0, size - 2.0, entry.color)?;
            let (x, align) = if from_right { (x - PADDING, Align::Right) } else { (x + size + PADDING, Align::Left) };
            canvas.text(&entry.name, (x, baseline), self.font, foreground, align, Turn::Up)?;
        }
        if self.left_out > 0 {
            let baseline = y + self.rows as f64 * row_height(self.font) + self.font.ascent();
            let text = format!("and {} more", self.left_out);
            canvas.text(&text, (left, baseline), self.font, foreground, Align::Left, Turn::Up)?;
        }
        Ok(())
    }
}

fn row_height(font: Font) -> f64 {
    font.line() + 2.0
}

/// A text that fits, cut at its end if it must be.
pub fn shortened(text: &str, font: Font, room: f64) -> String {
    // No letter is narrower than a quarter of an em, so that a long text need not be measured as a whole.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a double saturates")]
    let most = (room / font.size * 4.0).max(1.0) as usize;
    let mut kept: String =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(most).collect();
    if kept.chars().count() == text.chars().count() && font.width(&kept) <= room {
        return kept;
    }
    while !kept.is_empty() && font.width(&kept) + font.width("…") > room {
        kept.pop();
    }
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::super::super::params::Params;
    use super::super::super::render::tests::series;
    use super::super::lines;
    use super::*;

    const FONT: Font = Font { size: 10.0, bold: false };

    fn legend(names: &[&str], query: &str) -> Option<Legend> {
        let options = Options::read(&Params::of(query)).unwrap();
        let mut list: Vec<_> = names.iter().map(|name| series(name, 0, 60, &[1.0])).collect();
        for one in list.iter_mut().filter(|one| one.name.starts_with("right")) {
            one.options.insert("secondYAxis", "true".to_owned());
        }
        Legend::new(&lines::prepare(&list, &options), &options, FONT)
    }

    fn places(legend: &Legend) -> Vec<(&str, usize, usize)> {
        legend.entries.iter().map(|entry| (entry.name.as_str(), entry.row, entry.column)).collect()
    }

    #[test]
    fn names_stand_in_columns() {
        assert!(legend(&[], "").is_none());
        let three = legend(&["a", "b", "c"], "width=70").unwrap();
        assert_eq!(places(&three), [("a", 0, 0), ("b", 1, 0), ("c", 2, 0)]);
        let three = legend(&["a", "b", "a"], "width=100&uniqueLegend=true").unwrap();
        assert_eq!(places(&three), [("a", 0, 0), ("b", 0, 1)]);
        let sides = legend(&["a", "right1", "b", "right2"], "width=200").unwrap();
        assert_eq!(sides.columns, 2);
        assert_eq!(places(&sides), [("a", 0, 0), ("right1", 0, 1), ("b", 1, 0), ("right2", 1, 1)]);
    }

    #[test]
    fn it_is_never_larger_than_its_share() {
        let names: Vec<String> = (0..500).map(|index| format!("series {index} {}", "x".repeat(100))).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let many = legend(&names, "").unwrap();
        assert!(many.height() <= 250.0 * MOST + 2.0 * row_height(FONT), "{}", many.height());
        assert_eq!(many.entries.len() + many.left_out, 500);
        assert!(many.entries.iter().all(|entry| FONT.width(&entry.name) < 310.0 && entry.name.ends_with('…')));
    }

    #[test]
    fn a_text_is_cut_where_its_room_ends() {
        assert_eq!(shortened("abc", FONT, 100.0), "abc");
        assert_eq!(shortened("a\nb", FONT, 100.0), "a b");
        assert_eq!(shortened("abcdefghijklmnop", FONT, 50.0), "abcdef…");
        assert_eq!(shortened("abc", FONT, 0.0), "…");
        assert_eq!(shortened(&"é".repeat(100_000), FONT, 30.0).chars().last(), Some('…'));
    }
}
