//! The inner part of a picture: where values and times lie on it, the grid, and the lines.

use statline_series::Timestamp;

use super::canvas::{Canvas, Font, Picture, Place};
use super::color::Color;
use super::lines::{self, Line, Shape, Side};
use super::options::{LineMode, Options};
use super::time_axis::TimeAxis;
use super::value_axis::ValueAxis;

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

impl Area {
    /// Whether there is anything in it.
    pub fn is_real(&self) -> bool {
        self.right - self.left >= 2.0 && self.bottom - self.top >= 2.0
    }
}

/// Where everything lies.
pub struct Plot<'a> {
    pub area: Area,
    pub left: &'a ValueAxis,
    /// Where there are two axes.
    pub right: Option<&'a ValueAxis>,
    /// Seconds since the epoch.
    pub start: f64,
    pub end: f64,
    pub mode: LineMode,
    pub options: &'a Options,
}

impl Plot<'_> {
    /// How far from the left a moment is.
    pub fn x(&self, seconds: f64) -> f64 {
        let share = (seconds - self.start) / (self.end - self.start);
        self.area.left + share * (self.area.right - self.area.left)
    }

    /// How far from the top a value is; `None` for what has no place.
    pub fn y(&self, side: Side, value: f64) -> Option<f64> {
        let axis = if side == Side::Right { self.right.unwrap_or(self.left) } else { self.left };
        axis.place(value).map(|share| self.area.bottom - share * (self.area.bottom - self.area.top))
    }

    /// Draws the grid: fine lines, and stronger ones at labels.
    ///
    /// # Errors
    /// When it cannot be drawn, which is a bug.
    pub fn draw_grid<P: Picture>(&self, canvas: &mut Canvas<P>, times: &TimeAxis) -> Result<(), String> {
        let colors = &self.options.colors;
        let Area { left, right, top, bottom } = self.area;
        let (major, minor) = (faint(colors.major_line, 0.8), faint(colors.minor_line, 0.4));
        let seconds = |moment: &Timestamp| moment.millis() as f64 / 1000.0;
        for moment in &times.minor {
            let x = self.x(seconds(moment));
            canvas.line(&[(x, top), (x, bottom)], minor, 0.5)?;
        }
        let heights: Vec<f64> = self.left.labels.iter().filter_map(|(value, _)| self.y(Side::Left, *value)).collect();
        for pair in heights.windows(2) {
            let parts = f64::from(self.options.minor_lines + 1);
            for part in 1..=self.options.minor_lines {
                let y = pair[0] + (pair[1] - pair[0]) * f64::from(part) / parts;
                canvas.line(&[(left, y), (right, y)], minor, 0.5)?;
            }
        }
        for y in heights {
            canvas.line(&[(left, y), (right, y)], major, 0.5)?;
        }
        for (moment, _) in &times.labels {
            let x = self.x(seconds(moment));
            canvas.line(&[(x, top), (x, bottom)], major, 0.5)?;
        }
        for x in [left, right] {
            canvas.line(&[(x, top), (x, bottom)], major, 0.7)?;
        }
        Ok(())
    }

    /// Draws a series.
    ///
    /// # Errors
    /// As [`Plot::draw_grid`].
    pub fn draw_line<P: Picture>(&self, canvas: &mut Canvas<P>, line: &Line) -> Result<(), String> {
        match line.shape {
            Shape::Bars => self.draw_bars(canvas, line),
            Shape::Line => self.draw_edge(canvas, line),
            Shape::Area => {
                self.draw_area(canvas, line)?;
                if line.has_edge { self.draw_edge(canvas, line) } else { Ok(()) }
            }
        }
    }

    fn draw_bars<P: Picture>(&self, canvas: &mut Canvas<P>, line: &Line) -> Result<(), String> {
        for (index, _) in line.values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            let x = self.x(line.time(index));
            if x >= self.area.left - 0.5 && x <= self.area.right + 0.5 {
                self.stroke(canvas, line, &[(x, self.area.bottom), (x, self.area.top)])?;
            }
        }
        Ok(())
    }

    fn runs(&self, line: &Line) -> Vec<Vec<usize>> {
        let most_missing = if self.mode == LineMode::Connected { self.options.connected_limit } else { 0.0 };
        lines::runs(&line.values, most_missing)
    }

    /// The way through the places of some values.
    fn way(&self, line: &Line, run: &[usize], value: impl Fn(usize) -> f64) -> Vec<Place> {
        let mut way = Vec::with_capacity(run.len() * 2);
        for index in run {
            let Some(y) = self.y(line.side, value(*index)) else { continue };
            way.push((self.x(line.time(*index)), y));
            if self.mode == LineMode::Staircase {
                way.push((self.x(line.time(index + 1)), y));
            }
        }
        way
    }

    fn draw_edge<P: Picture>(&self, canvas: &mut Canvas<P>, line: &Line) -> Result<(), String> {
        for run in self.runs(line) {
            let mut way = self.way(line, &run, |index| line.values[index]);
            if let [(x, y)] = way[..] {
                // A value between missing ones is a dot.
                way = vec![(x - 0.5, y), (x + 0.5, y)];
            }
            for part in clipped(&way, self.area) {
                self.stroke(canvas, line, &part)?;
            }
        }
        Ok(())
    }

    fn stroke<P: Picture>(&self, canvas: &mut Canvas<P>, line: &Line, way: &[Place]) -> Result<(), String> {
        match line.dash {
            None => canvas.line(way, line.color, line.width),
            Some(length) => {
                dashes(way, length.max(1.0)).iter().try_for_each(|dash| canvas.line(dash, line.color, line.width))
            }
        }
    }

    fn draw_area<P: Picture>(&self, canvas: &mut Canvas<P>, line: &Line) -> Result<(), String> {
        for run in self.runs(line) {
            let mut outline = self.way(line, &run, |index| line.values[index]);
            let floor = |index: usize| line.floor.get(index).copied().unwrap_or(0.0);
            let mut under = self.way(line, &run, floor);
            if under.is_empty() {
                // 0 has no place on an axis of logarithms.
                under = outline.iter().map(|(x, _)| (*x, self.area.bottom)).collect();
            }
            outline.extend(under.into_iter().rev());
            canvas.area(&cut(&outline, self.area), line.fill)?;
        }
        Ok(())
    }
}

/// A colour that is less seen.
fn faint(color: Color, share: f64) -> Color {
    color.with_alpha(color.alpha * share)
}

/// How wide the widest text is.
pub fn widest<'a>(texts: impl IntoIterator<Item = &'a str>, font: Font) -> f64 {
    texts.into_iter().map(|text| font.width(text)).fold(0.0, f64::max)
}

/// The parts of a way that are in an area.
fn clipped(way: &[Place], area: Area) -> Vec<Vec<Place>> {
    let mut parts: Vec<Vec<Place>> = Vec::new();
    for pair in way.windows(2) {
        let Some((from, to)) = inside(pair[0], pair[1], area) else { continue };
        match parts.last_mut() {
            Some(part) if part.last() == Some(&from) => part.push(to),
            _ => parts.push(vec![from, to]),
        }
    }
    parts
}

/// The part of a straight line that is in an area.
fn inside(from: Place, to: Place, area: Area) -> Option<(Place, Place)> {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
    for (speed, room) in
        [(-dx, from.0 - area.left), (dx, area.right - from.0), (-dy, from.1 - area.top), (dy, area.bottom - from.1)]
    {
        if speed == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if speed < 0.0 {
            enter = enter.max(room / speed);
        } else {
            leave = leave.min(room / speed);
        }
    }
    let at = |share: f64| match share {
        0.0 => from,
        1.0 => to,
        share => (from.0 + dx * share, from.1 + dy * share),
    };
    (enter <= leave).then(|| (at(enter), at(leave)))
}

/// What of an outline is in an area: cut at each of its sides in turn.
fn cut(outline: &[Place], area: Area) -> Vec<Place> {
    let sides: [&dyn Fn(Place) -> f64; 4] =
        [&|place| place.0 - area.left, &|place| area.right - place.0, &|place| place.1 - area.top, &|place| {
            area.bottom - place.1
        }];
    let mut outline = outline.to_vec();
    for room in sides {
        let mut kept = Vec::with_capacity(outline.len());
        for (index, to) in outline.iter().enumerate() {
            let from = outline[if index == 0 { outline.len() - 1 } else { index - 1 }];
            let (before, after) = (room(from), room(*to));
            if (before < 0.0) != (after < 0.0) {
                let share = before / (before - after);
                kept.push((from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share));
            }
            if after >= 0.0 {
                kept.push(*to);
            }
        }
        outline = kept;
    }
    outline
}

/// A way in dashes as long as the gaps between them.
fn dashes(way: &[Place], length: f64) -> Vec<Vec<Place>> {
    let mut dashes = Vec::new();
    let mut dash: Vec<Place> = way.first().copied().into_iter().collect();
    let (mut is_drawn, mut left) = (true, length);
    for pair in way.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let distance = (to.0 - from.0).hypot(to.1 - from.1);
        let mut gone = 0.0;
        while distance - gone > left {
            gone += left;
            let share = gone / distance;
            let place = (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
            if is_drawn {
                dash.push(place);
                dashes.push(std::mem::take(&mut dash));
            } else {
                dash = vec![place];
            }
            is_drawn = !is_drawn;
            left = length;
        }
        left -= distance - gone;
        if is_drawn {
            dash.push(to);
        }
    }
    if dash.len() > 1 {
        dashes.push(dash);
    }
    dashes
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREA: Area = Area { left: 0.0, right: 10.0, top: 0.0, bottom: 10.0 };

    #[test]
    fn a_way_is_cut_where_it_leaves() {
        let way = [(-5.0, 5.0), (5.0, 5.0), (5.0, -5.0), (9.0, -5.0), (9.0, 5.0)];
        assert_eq!(clipped(&way, AREA), [vec![(0.0, 5.0), (5.0, 5.0), (5.0, 0.0)], vec![(9.0, 0.0), (9.0, 5.0)]]);
        assert!(clipped(&[(20.0, 20.0), (30.0, 5.0)], AREA).is_empty());
    }

    #[test]
    fn an_outline_is_cut_to_the_area() {
        let cut = cut(&[(-5.0, 5.0), (5.0, 5.0), (5.0, 15.0), (-5.0, 15.0)], AREA);
        assert_eq!(cut.len(), 4);
        for place in [(0.0, 5.0), (5.0, 5.0), (5.0, 10.0), (0.0, 10.0)] {
            assert!(cut.contains(&place), "{cut:?}");
        }
        assert!(super::cut(&[(20.0, 20.0), (30.0, 20.0), (30.0, 30.0)], AREA).is_empty());
    }

    #[test]
    fn dashes_go_around_corners() {
        let way = [(0.0, 0.0), (3.0, 0.0), (3.0, 7.0)];
        assert_eq!(
            dashes(&way, 2.0),
            [vec![(0.0, 0.0), (2.0, 0.0)], vec![(3.0, 1.0), (3.0, 3.0)], vec![(3.0, 5.0), (3.0, 7.0)]]
        );
        assert!(dashes(&[], 2.0).is_empty());
    }
}
