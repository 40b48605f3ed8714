//! `format=png` and `format=svg`: series as a picture, laid out as graphite-web does it, drawn by plotters.
//!
//! Pure: series and options come in, the bytes of a picture go out. The font is part of the program, so that a picture has
//! texts on a machine without fonts.

mod canvas;
mod color;
mod legend;
mod lines;
mod options;
mod pixels;
mod plot;
mod time_axis;
mod value_axis;

use plotters::backend::SVGBackend;
use plotters_backend::DrawingBackend;
use statline_graphite::Series;
use statline_series::Timestamp;

use self::canvas::{Align, Canvas, Font, Picture, Turn};
use self::legend::Legend;
use self::lines::{Line, Side};
use self::options::LineMode;
use self::pixels::Pixels;
use self::plot::{Area, Plot};
use self::time_axis::TimeAxis;
use self::value_axis::{Rule, ValueAxis};

pub use self::options::Options;

/// How many units of a picture of shapes a pixel is, since plotters has whole units only.
const SVG_SCALE: u32 = 10;
/// What says that there is nothing to see.
const NO_DATA: &str = "No Data";

/// Why there is no picture.
#[derive(Debug, PartialEq, Eq)]
pub enum DrawError {
    /// The options do not fit the data, in a line.
    Bad(String),
    /// Nobody waits for it any more.
    Unwanted,
    /// A bug.
    Failed(String),
}

/// A picture of pixels, as PNG. It is left unfinished once `is_unwanted` says so.
///
/// # Errors
/// See [`DrawError`].
pub fn png(series: &[Series], options: &Options, is_unwanted: &dyn Fn() -> bool) -> Result<Vec<u8>, DrawError> {
    let scale = match options.width * options.height {
        0..=500_000 => 3,
        500_001..=1_500_000 => 2,
        _ => 1,
    };
    let mut canvas = Canvas::new(Pixels::new(options.width, options.height, scale), scale);
    Drawing { canvas: &mut canvas, options, is_unwanted }.draw(series)?;
    canvas.into_picture().png().map_err(|error| DrawError::Failed(error.to_string()))
}

/// A picture of shapes, as SVG.
///
/// # Errors
/// See [`DrawError`].
pub fn svg(series: &[Series], options: &Options, is_unwanted: &dyn Fn() -> bool) -> Result<String, DrawError> {
    let mut text = String::new();
    let size = (options.width * SVG_SCALE, options.height * SVG_SCALE);
    let mut canvas = Canvas::new(SVGBackend::with_string(&mut text, size), SVG_SCALE);
    Drawing { canvas: &mut canvas, options, is_unwanted }.draw(series)?;
    let mut picture = canvas.into_picture();
    picture.present().map_err(|error| DrawError::Failed(error.to_string()))?;
    drop(picture);
    let drawn = format!("width=\"{}\" height=\"{}\"", size.0, size.1);
    let shown = format!("width=\"{}\" height=\"{}\"", options.width, options.height);
    Ok(text.replacen(&drawn, &shown, 1))
}

struct Drawing<'a, P> {
    canvas: &'a mut Canvas<P>,
    options: &'a Options,
    is_unwanted: &'a dyn Fn() -> bool,
}

impl<P: Picture> Drawing<'_, P> {
    fn draw(&mut self, series: &[Series]) -> Result<(), DrawError> {
        let options = self.options;
        let (width, height) = (f64::from(options.width), f64::from(options.height));
        self.canvas.rectangle((0.0, 0.0), width, height, options.colors.background).map_err(DrawError::Failed)?;
        let lines = lines::prepare(series, options);
        let mode = lines::mode(&lines, options);
        let Some((start, end)) = span(&lines, mode) else {
            return self.draw_nothing().map_err(DrawError::Failed);
        };
        let mut area = Area {
            left: options.margin + if options.margin > 0.0 { 10.0 } else { 0.0 },
            right: width - options.margin,
            top: options.margin,
            bottom: height - options.margin,
        };
        self.draw_titles(&mut area).map_err(DrawError::Failed)?;
        if options.has_legend(lines.len())
            && let Some(legend) = Legend::new(&lines, options, self.font())
        {
            area.bottom -= legend.height();
            let (top, foreground) = (area.bottom + 10.0, options.colors.foreground);
            let sides = (options.margin.max(2.0), width - options.margin.max(2.0));
            legend.draw(self.canvas, sides, top, foreground).map_err(DrawError::Failed)?;
        }
        if !options.hide_axes && !options.hide_x_axis {
            area.bottom -= self.font().ascent() * 2.0;
        }
        let has_right = lines.iter().any(|line| line.side == Side::Right);
        let bounds = if has_right { options.left.bounds } else { options.bounds };
        let left = self.axis(&lines, Side::Left, bounds)?;
        let right = if has_right { Some(self.axis(&lines, Side::Right, options.right.bounds)?) } else { None };
        self.make_room(&mut area, &left, right.as_ref());
        if !area.is_real() {
            return Ok(());
        }
        let plot = Plot { area, left: &left, right: right.as_ref(), start, end, mode, options };
        self.draw_axes(&plot).map_err(DrawError::Failed)?;
        for line in &lines {
            if (self.is_unwanted)() {
                return Err(DrawError::Unwanted);
            }
            plot.draw_line(self.canvas, line).map_err(DrawError::Failed)?;
        }
        Ok(())
    }

    fn font(&self) -> Font {
        Font { size: self.options.font_size, bold: self.options.font_bold }
    }

    fn draw_nothing(&mut self) -> Result<(), String> {
        let (width, height) = (f64::from(self.options.width), f64::from(self.options.height));
        let font = Font { size: (width * height).ln().max(1.0), bold: false };
        let red = color::Color::new(200, 0, 50);
        self.canvas.text(NO_DATA, (width / 2.0, height / 2.0 + font.ascent()), font, red, Align::Center, Turn::Up)
    }

    fn draw_titles(&mut self, area: &mut Area) -> Result<(), String> {
        let options = self.options;
        let (width, height) = (f64::from(options.width), f64::from(options.height));
        let foreground = options.colors.foreground;
        let font = Font { size: options.font_size + options.font_size.ln().floor().max(0.0), ..self.font() };
        if let Some(title) = &options.title {
            for line in title.split('\n') {
                let text = legend::shortened(line, font, width - 4.0);
                let place = (width / 2.0, area.top + font.ascent());
                self.canvas.text(&text, place, font, foreground, Align::Center, Turn::Up)?;
                area.top += font.line();
            }
            area.top += options.margin;
        }
        if let Some(title) = &options.left_title {
            let text = legend::shortened(title, font, height - 4.0);
            let place = (area.left + font.ascent() - 10.0, height / 2.0);
            self.canvas.text(&text, place, font, foreground, Align::Center, Turn::Left)?;
            area.left += font.line() + 2.0;
        }
        if let Some(title) = &options.right_title {
            let text = legend::shortened(title, font, height - 4.0);
            let place = (area.right - font.ascent(), height / 2.0);
            self.canvas.text(&text, place, font, foreground, Align::Center, Turn::Right)?;
            area.right -= font.line() + 2.0;
        }
        Ok(())
    }

    fn axis(&self, lines: &[Line], side: Side, bounds: value_axis::Bounds) -> Result<ValueAxis, DrawError> {
        let options = self.options;
        let (least, most) = lines::limits(lines, side, options);
        let rule = Rule { units: options.units, divisors: &options.divisors, log_base: options.log_base };
        ValueAxis::new(least, most, bounds, &rule).map_err(DrawError::Bad)
    }

    /// Makes room for the labels of values.
    fn make_room(&self, area: &mut Area, left: &ValueAxis, right: Option<&ValueAxis>) {
        if self.options.hide_axes || self.options.hide_y_axis {
            return;
        }
        let widest =
            |axis: &ValueAxis| plot::widest(axis.labels.iter().map(|(_, text)| text.as_str()), self.font()) + 4.0;
        match right {
            None if self.options.axis_on_right => area.right -= widest(left),
            None => area.left = area.left.max(area.left - 10.0 + widest(left)),
            Some(right) => {
                area.left = area.left.max(area.left - 10.0 + widest(left));
                area.right -= widest(right);
            }
        }
    }

    fn draw_axes(&mut self, plot: &Plot<'_>) -> Result<(), String> {
        let options = self.options;
        if options.hide_axes {
            return Ok(());
        }
        let (font, foreground) = (self.font(), options.colors.foreground);
        let seconds = (plot.end - plot.start) / (plot.area.right - plot.area.left);
        let room = |label: &str| (font.width(label) * 1.2 + font.size) * seconds;
        let instant = |seconds: f64| {
            #[expect(clippy::cast_possible_truncation, reason = "a cast of a double saturates")]
            Timestamp::from_millis((seconds * 1000.0) as i64)
        };
        let format = options.time_format.as_deref();
        let times = TimeAxis::new(instant(plot.start), instant(plot.end), options.zone, format, room);
        if !options.hide_grid {
            plot.draw_grid(self.canvas, &times)?;
        }
        if !options.hide_x_axis {
            for (moment, text) in &times.labels {
                let x = plot.x(moment.millis() as f64 / 1000.0);
                let half = font.width(text) / 2.0;
                // What would be cut off by the edge moves in a little.
                let x = x.clamp(half.min(x), (f64::from(options.width) - half - 1.0).max(x - half));
                let place = (x, plot.area.bottom + font.ascent() * 1.6);
                self.canvas.text(text, place, font, foreground, Align::Center, Turn::Up)?;
            }
        }
        if options.hide_y_axis {
            return Ok(());
        }
        let sides = [Some((plot.left, Side::Left)), plot.right.map(|axis| (axis, Side::Right))];
        for (axis, side) in sides.into_iter().flatten() {
            let on_right = side == Side::Right || (plot.right.is_none() && options.axis_on_right);
            let (x, align) =
                if on_right { (plot.area.right + 3.0, Align::Left) } else { (plot.area.left - 3.0, Align::Right) };
            for (value, text) in &axis.labels {
                let Some(y) = plot.y(side, *value) else { continue };
                self.canvas.text(text, (x, y + font.ascent() * 0.38), font, foreground, align, Turn::Up)?;
            }
        }
        Ok(())
    }
}

/// From when to when a picture goes, in seconds; `None` when there is nothing.
fn span(lines: &[Line], mode: LineMode) -> Option<(f64, f64)> {
    let last = |line: &Line| {
        let slots = if mode == LineMode::Staircase { line.values.len() } else { line.values.len().saturating_sub(1) };
        line.time(slots)
    };
    let here = || lines.iter().filter(|line| !line.values.is_empty());
    let start = here().map(|line| line.start).reduce(f64::min)?;
    let end = here().map(last).reduce(f64::max)?;
    Some((start, if end > start { end } else { start + 1.0 }))
}

#[cfg(test)]
mod tests;
