//! From series to what is drawn of them: on which side, in which colour, as lines or areas, on top of which others.

use std::collections::BTreeMap;

use statline_graphite::Series;

use super::color::Color;
use super::options::{AreaMode, LineMode, Options, SideOptions};

/// The side on which a series has its axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Line,
    /// Down to what is below it.
    Area,
    /// A vertical line at each value above 0.
    Bars,
}

/// A series as it is drawn.
#[derive(Debug)]
pub struct Line {
    pub name: String,
    pub color: Color,
    /// Of the area, where it is one.
    pub fill: Color,
    pub side: Side,
    pub shape: Shape,
    pub width: f64,
    pub dash: Option<f64>,
    /// Whether an area has a line on top.
    pub has_edge: bool,
    /// Seconds since the epoch.
    pub start: f64,
    /// Seconds.
    pub step: f64,
    /// NaN where there is none.
    pub values: Vec<f64>,
    /// From where an area goes up to each value; empty for lines.
    pub floor: Vec<f64>,
}

impl Line {
    /// The time of a value.
    pub fn time(&self, index: usize) -> f64 {
        self.start + self.step * index as f64
    }

    /// Whether there is nothing to see.
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(|value| value.is_nan())
    }
}

/// How high what is already drawn goes at each time, above and below 0.
#[derive(Default)]
struct Skyline(BTreeMap<i64, (f64, f64)>);

impl Skyline {
    /// What there is at a time, or was within a step before.
    fn at(&self, millis: i64, step: i64) -> (f64, f64) {
        let last = self.0.range(millis.saturating_sub(step).saturating_add(1)..=millis).next_back();
        last.map_or((0.0, 0.0), |(_, heights)| *heights)
    }

    fn raise(&mut self, millis: i64, value: f64) {
        let (high, low) = self.0.entry(millis).or_insert((0.0, 0.0));
        *high = high.max(value);
        *low = low.min(value);
    }
}

/// Prepares series. Areas come before lines, so that lines are seen.
pub fn prepare(series: &[Series], options: &Options) -> Vec<Line> {
    let colors = &options.colors.lines;
    let mut color = colors.iter().cycle();
    let has_right = series.iter().any(|one| one.options.contains_key("secondYAxis"));
    let mut lines: Vec<Line> = Vec::with_capacity(series.len());
    for (index, one) in series.iter().enumerate() {
        let (side, said) = match one.options.contains_key("secondYAxis") {
            true => (Side::Right, Some(&options.right)),
            false => (Side::Left, has_right.then_some(&options.left)),
        };
        let own = said_color(one).or(said.and_then(|said| said.color));
        let own = own.or_else(|| color.next().copied()).unwrap_or(options.colors.foreground);
        lines.push(line(one, index, own, side, said, options));
    }
    // In the order of their series, before they are sorted: what is first is in front.
    stand(&mut lines, series, options);
    lines.sort_by_key(|line| line.shape != Shape::Area);
    lines
}

/// The colour that a target says, where it is one.
fn said_color(series: &Series) -> Option<Color> {
    series.options.get("color").and_then(|color| color.parse().ok())
}

fn line(
    series: &Series,
    index: usize,
    color: Color,
    side: Side,
    said: Option<&SideOptions>,
    options: &Options,
) -> Line {
    let number = |name: &str| {
        series.options.get(name).and_then(|text| text.parse().ok()).filter(|number: &f64| number.is_finite())
    };
    let is_area = series.options.contains_key("stacked")
        || match options.area_mode {
            AreaMode::None => false,
            AreaMode::First => index == 0,
            AreaMode::All | AreaMode::Stacked => true,
        };
    let shape = match is_area {
        _ if series.options.contains_key("drawAsInfinite") => Shape::Bars,
        true => Shape::Area,
        false => Shape::Line,
    };
    let color = match number("alpha") {
        Some(alpha) => color.with_alpha(alpha.clamp(0.0, 1.0)),
        None => color,
    };
    let color = if series.options.contains_key("invisible") { color.with_alpha(0.0) } else { color };
    let fill = match options.area_alpha {
        Some(alpha) if color.alpha > 0.0 => color.with_alpha(alpha),
        _ => color,
    };
    let missing = if options.null_as_zero { 0.0 } else { f64::NAN };
    Line {
        name: series.name.clone(),
        color,
        fill,
        side,
        shape,
        width: said.and_then(|said| said.width).or(number("lineWidth")).unwrap_or(options.line_width).clamp(0.0, 100.0),
        dash: said.and_then(|said| said.dash).or(number("dashed")).filter(|dash| *dash > 0.0),
        has_edge: options.area_alpha.is_some(),
        start: series.start.millis() as f64 / 1000.0,
        step: series.step.seconds(),
        values: series.values().iter().map(|value| if value.is_finite() { *value } else { missing }).collect(),
        floor: Vec::new(),
    }
}

/// Puts areas on top of each other, or in front of each other.
fn stand(lines: &mut [Line], series: &[Series], options: &Options) {
    let stack = options.area_mode == AreaMode::Stacked;
    let mut skylines = [Skyline::default(), Skyline::default()];
    for (line, series) in lines.iter_mut().zip(series).filter(|(line, _)| line.shape == Shape::Area) {
        let skyline = &mut skylines[usize::from(line.side == Side::Right)];
        let step = series.step.millis();
        line.floor.reserve(line.values.len());
        for (index, value) in line.values.iter_mut().enumerate() {
            let millis = series.time_of(index).millis();
            let (high, low) = skyline.at(millis, step);
            let below = if *value < 0.0 { low } else { high };
            if stack {
                *value += below;
            }
            line.floor.push(if *value < 0.0 { below.max(*value) } else { below.min(*value) });
        }
        for (index, value) in line.values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            skyline.raise(series.time_of(index).millis(), *value);
        }
    }
}

/// The least and the largest value of lines; 0 is among them where areas stand on each other.
pub fn limits(lines: &[Line], side: Side, options: &Options) -> (f64, f64) {
    let here = lines.iter().filter(|line| line.side == side && line.shape != Shape::Bars);
    let values = here
        .flat_map(|line| line.values.iter().copied())
        .filter(|value| !value.is_nan() && (options.log_base.is_none() || *value > 0.0));
    let ends = values.fold(None, |ends: Option<(f64, f64)>, value| {
        Some(ends.map_or((value, value), |(least, most)| (least.min(value), most.max(value))))
    });
    let (least, most) = ends.unwrap_or((0.0, 1.0));
    let stands = options.log_base.is_none() && options.area_mode == AreaMode::Stacked;
    if stands { (least.min(0.0), most.max(0.0)) } else { (least, most) }
}

/// The mode of a picture: slopes need two points.
pub fn mode(lines: &[Line], options: &Options) -> LineMode {
    let is_point = |line: &Line| line.values.len() == 1 && line.shape != Shape::Bars;
    match options.line_mode {
        LineMode::Slope if lines.iter().any(is_point) => LineMode::Staircase,
        mode => mode,
    }
}

/// Runs of indices with values, over gaps of at most so many missing ones.
pub fn runs(values: &[f64], most_missing: f64) -> Vec<Vec<usize>> {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    let mut missing = 0.0;
    for (index, value) in values.iter().enumerate() {
        if value.is_nan() {
            missing += 1.0;
            continue;
        }
        match runs.last_mut().filter(|_| missing <= most_missing) {
            Some(run) => run.push(index),
            None => runs.push(vec![index]),
        }
        missing = 0.0;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::super::super::params::Params;
    use super::super::super::render::tests::series;
    use super::*;

    const NO: f64 = f64::NAN;

    fn options(query: &str) -> Options {
        Options::read(&Params::of(query)).unwrap()
    }

    #[test]
    fn runs_end_where_too_much_is_missing() {
        let values = [NO, 1.0, 2.0, NO, 3.0, NO, NO, 4.0];
        assert_eq!(runs(&values, 0.0), [vec![1, 2], vec![4], vec![7]]);
        assert_eq!(runs(&values, 1.0), [vec![1, 2, 4], vec![7]]);
        assert_eq!(runs(&values, f64::INFINITY), [vec![1, 2, 4, 7]]);
    }

    #[test]
    fn areas_stand_on_each_other_by_time() {
        let list = [
            series("a", 0, 60, &[1.0, NO, 3.0]),
            series("b", 60, 60, &[10.0, 20.0]),
            series("c", 0, 60, &[-1.0, -2.0]),
        ];
        let lines = prepare(&list, &options("areaMode=stacked"));
        assert_eq!(format!("{:?}", lines[0].values), "[1.0, NaN, 3.0]");
        assert_eq!((&lines[1].values[..], &lines[1].floor[..]), (&[10.0, 23.0][..], &[0.0, 3.0][..]));
        assert_eq!((&lines[2].values[..], &lines[2].floor[..]), (&[-1.0, -2.0][..], &[0.0, 0.0][..]));
        assert_eq!(limits(&lines, Side::Left, &options("areaMode=stacked")), (-2.0, 23.0));
        // In front of each other: what is lower and comes later is not seen.
        let lines = prepare(&list, &options("areaMode=all"));
        assert_eq!((&lines[1].values[..], &lines[1].floor[..]), (&[10.0, 20.0][..], &[0.0, 3.0][..]));
    }

    #[test]
    fn what_targets_and_requests_say_is_heard() {
        let mut list =
            [series("a", 0, 60, &[1.0, f64::INFINITY]), series("b", 0, 60, &[1.0]), series("c", 0, 60, &[1.0])];
        list[0].options.insert("color", "ff0000".to_owned());
        list[0].options.insert("alpha", "0.5".to_owned());
        list[1].options.insert("secondYAxis", "true".to_owned());
        list[1].options.insert("dashed", "5".to_owned());
        list[2].options.insert("drawAsInfinite", "true".to_owned());
        let lines = prepare(&list, &options("rightWidth=3&colorList=00ff00,0000ff&areaMode=first&areaAlpha=0.25"));
        let seen: Vec<_> =
            lines.iter().map(|line| (line.side, line.shape, line.color, line.width, line.dash)).collect();
        assert_eq!(
            seen,
            [
                (Side::Left, Shape::Area, Color::new(255, 0, 0).with_alpha(0.5), 1.2, None),
                (Side::Right, Shape::Line, Color::new(0, 255, 0), 3.0, Some(5.0)),
                (Side::Left, Shape::Bars, Color::new(0, 0, 255), 1.2, None),
            ]
        );
        assert_eq!(lines[0].fill, Color::new(255, 0, 0).with_alpha(0.25));
        assert!(lines[0].values[1].is_nan() && lines[0].has_edge);
        assert_eq!(mode(&lines, &options("")), LineMode::Staircase);
        assert_eq!(limits(&lines, Side::Right, &options("")), (1.0, 1.0));
    }
}
