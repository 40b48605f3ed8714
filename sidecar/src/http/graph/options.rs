//! How a picture is asked for: Graphite's parameters, each read once and refused with a line when it makes no sense.

use chrono::format::{Item, StrftimeItems};
use chrono_tz::Tz;

use super::super::params::Params;
use super::color::{self, Color, Template};
use super::value_axis::{Bounds, Units};
use crate::engine::QueryError;

/// The most pixels of a picture.
const MAX_PIXELS: u32 = 4_000_000;
/// The longest side, in pixels.
const MAX_SIDE: u32 = 16_000;
/// The longest title or format of times, in bytes.
const MAX_TEXT_BYTES: usize = 1000;
/// The most series that a legend is drawn for unless it is asked for.
const MAX_LEGEND: usize = 10;

/// What lies between a series and its axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AreaMode {
    /// Nothing: lines.
    None,
    /// The first series is an area.
    First,
    /// All are areas.
    All,
    /// All are areas on top of each other.
    Stacked,
}

/// How points are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineMode {
    /// From one to the next.
    Slope,
    /// By steps.
    Staircase,
    /// As slopes, over what is missing, too.
    Connected,
}

/// What one of two axes is told for all its series.
#[derive(Clone, Debug, Default)]
pub struct SideOptions {
    pub bounds: Bounds,
    pub color: Option<Color>,
    pub width: Option<f64>,
    pub dash: Option<f64>,
}

/// What a picture is like.
#[derive(Clone, Debug)]
pub struct Options {
    pub width: u32,
    pub height: u32,
    pub margin: f64,
    pub title: Option<String>,
    pub left_title: Option<String>,
    pub right_title: Option<String>,
    pub colors: Template,
    pub font_size: f64,
    pub font_bold: bool,
    /// `None`: while there are few series.
    pub hide_legend: Option<bool>,
    /// Each name once.
    pub unique_legend: bool,
    /// Without series that have no value.
    pub hide_null_from_legend: bool,
    pub hide_axes: bool,
    pub hide_x_axis: bool,
    pub hide_y_axis: bool,
    pub hide_grid: bool,
    /// Whether the values of the only axis stand on the right.
    pub axis_on_right: bool,
    pub area_mode: AreaMode,
    pub area_alpha: Option<f64>,
    pub line_mode: LineMode,
    pub line_width: f64,
    /// How many values in a row may be missing where lines are connected.
    pub connected_limit: f64,
    pub null_as_zero: bool,
    pub units: Units,
    /// How many parts an axis may have.
    pub divisors: Vec<u32>,
    pub log_base: Option<f64>,
    /// How many lines there are between two labels.
    pub minor_lines: u32,
    /// Of the only axis.
    pub bounds: Bounds,
    pub left: SideOptions,
    pub right: SideOptions,
    /// Of the times on the axis, as strftime has it.
    pub time_format: Option<String>,
    pub zone: Tz,
    /// The least distance between two points, in pixels.
    pub min_x_step: f64,
}

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// When one is not what it should be.
    pub fn read(params: &Params) -> Result<Self, QueryError> {
        Reader(params).options().map_err(QueryError::Bad)
    }

    /// Whether there is a legend for so many series.
    pub fn has_legend(&self, series: usize) -> bool {
        !self.hide_legend.unwrap_or(series > MAX_LEGEND)
    }

    /// The most points of a series that can be told apart.
    pub fn max_points(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a double saturates")]
        let points = (f64::from(self.width) / self.min_x_step) as usize;
        points.max(1)
    }
}

struct Reader<'a>(&'a Params);

impl Reader<'_> {
    fn options(&self) -> Result<Options, String> {
        let bare = self.switch("graphOnly")?.unwrap_or(false);
        let (width, height) = self.size()?;
        let colors = self.colors()?;
        let shown = |name| Ok::<_, String>(if bare { None } else { self.text(name)?.map(str::to_owned) });
        Ok(Options {
            width,
            height,
            margin: if bare { 0.0 } else { self.number_in("margin", 0.0, 1000.0)?.unwrap_or(10.0) },
            title: shown("title")?,
            left_title: shown("vtitle")?,
            right_title: shown("vtitleRight")?,
            colors,
            font_size: self.number_in("fontSize", 1.0, 200.0)?.unwrap_or(10.0),
            font_bold: self.switch("fontBold")?.unwrap_or(false),
            hide_legend: if bare { Some(true) } else { self.switch("hideLegend")? },
            unique_legend: self.switch("uniqueLegend")?.unwrap_or(false),
            hide_null_from_legend: self.switch("hideNullFromLegend")?.unwrap_or(false),
            hide_axes: bare || self.switch("hideAxes")?.unwrap_or(false),
            hide_x_axis: self.switch("hideXAxis")?.unwrap_or(false),
            hide_y_axis: self.switch("hideYAxis")?.unwrap_or(false),
            hide_grid: bare || self.switch("hideGrid")?.unwrap_or(false),
            axis_on_right: !bare && self.one_of("yAxisSide", &[("left", false), ("right", true)])?.unwrap_or(false),
            area_mode: self
                .one_of(
                    "areaMode",
                    &[
                        ("none", AreaMode::None),
                        ("first", AreaMode::First),
                        ("all", AreaMode::All),
                        ("stacked", AreaMode::Stacked),
                    ],
                )?
                .unwrap_or(AreaMode::None),
            area_alpha: self.number_in("areaAlpha", 0.0, 1.0)?,
            line_mode: self
                .one_of(
                    "lineMode",
                    &[
                        ("slope", LineMode::Slope),
                        ("staircase", LineMode::Staircase),
                        ("connected", LineMode::Connected),
                    ],
                )?
                .unwrap_or(LineMode::Slope),
            line_width: self.width("lineWidth")?.or(self.width("thickness")?).unwrap_or(1.2),
            connected_limit: self.number_in("connectedLimit", 0.0, f64::MAX)?.unwrap_or(f64::INFINITY),
            null_as_zero: self.switch("drawNullAsZero")?.unwrap_or(false),
            units: self.text("yUnitSystem")?.map_or(Units::Si, Units::named),
            divisors: self.divisors()?,
            log_base: self.log_base()?,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was just bounded")]
            minor_lines: self.number_in("minorY", 0.0, 50.0)?.unwrap_or(1.0) as u32,
            bounds: Bounds {
                least: self.number("yMin")?.or(self.number("min")?),
                most: self.number("yMax")?.or(self.number("max")?),
                limit: self.number("yLimit")?,
                step: self.step("yStep")?,
            },
            left: self.side("Left", "left")?,
            right: self.side("Right", "right")?,
            time_format: self.time_format()?,
            zone: self.0.zone(),
            min_x_step: self.number_in("minXStep", 0.01, 1000.0)?.unwrap_or(1.0),
        })
    }

    /// A value; `default` is as good as none.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).filter(|value| !value.eq_ignore_ascii_case("default"))
    }

    fn text(&self, name: &str) -> Result<Option<&str>, String> {
        let text = self.get(name);
        match text {
            Some(text) if text.len() > MAX_TEXT_BYTES => {
                Err(format!("{name} has {} bytes, more than {MAX_TEXT_BYTES}", text.len()))
            }
            text => Ok(text),
        }
    }

    fn switch(&self, name: &str) -> Result<Option<bool>, String> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Some(true)),
            "false" | "0" => Ok(Some(false)),
            _ => Err(format!("{name} is {text:?}; expected true or false")),
        }
    }

    fn number(&self, name: &str) -> Result<Option<f64>, String> {
        let Some(text) = self.get(name).filter(|text| *text != "max") else { return Ok(None) };
        let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
        number.map(Some).ok_or_else(|| format!("{name} is {text:?}; expected a number"))
    }

    fn number_in(&self, name: &str, least: f64, most: f64) -> Result<Option<f64>, String> {
        match self.number(name)? {
            Some(number) if !(least..=most).contains(&number) => {
                Err(format!("{name} is {number}; expected a number from {least} to {most}"))
            }
            number => Ok(number),
        }
    }

    fn width(&self, name: &str) -> Result<Option<f64>, String> {
        self.number_in(name, 0.0, 100.0)
    }

    fn step(&self, name: &str) -> Result<Option<f64>, String> {
        match self.number(name)? {
            Some(step) if step <= 0.0 => Err(format!("{name} is {step}; expected a number above 0")),
            step => Ok(step),
        }
    }

    fn one_of<T: Copy>(&self, name: &str, known: &[(&str, T)]) -> Result<Option<T>, String> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let found = known.iter().find(|(choice, _)| choice.eq_ignore_ascii_case(text));
        found.map(|(_, value)| Some(*value)).ok_or_else(|| {
            let choices: Vec<&str> = known.iter().map(|(choice, _)| *choice).collect();
            format!("{name} is {text:?}; expected one of {}", choices.join(", "))
        })
    }

    fn size(&self) -> Result<(u32, u32), String> {
        let side = |name: &str, default: u32| {
            let Some(text) = self.get(name) else { return Ok(default) };
            let side = text.parse().ok().filter(|side| (1..=MAX_SIDE).contains(side));
            side.ok_or_else(|| format!("{name} is {text:?}; expected a whole number of pixels from 1 to {MAX_SIDE}"))
        };
        let (width, height) = (side("width", 330)?, side("height", 250)?);
        if width * height > MAX_PIXELS {
            return Err(format!("width is {width} and height {height}; a picture has at most {MAX_PIXELS} pixels"));
        }
        Ok((width, height))
    }

    fn color(&self, name: &str) -> Result<Option<Color>, String> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error| format!("{name}: {error}"))
    }

    fn colors(&self) -> Result<Template, String> {
        let mut colors = Template::named(self.get("template").unwrap_or("default"))?;
        for (name, place) in [
            ("bgcolor", &mut colors.background),
            ("fgcolor", &mut colors.foreground),
            ("majorGridLineColor", &mut colors.major_line),
            ("minorGridLineColor", &mut colors.minor_line),
        ] {
            if let Some(color) = self.color(name)? {
                *place = color;
            }
        }
        if let Some(text) = self.text("colorList")? {
            colors.lines = color::list(text).map_err(|error| format!("colorList: {error}"))?;
        }
        Ok(colors)
    }

    fn side(&self, capital: &str, small: &str) -> Result<SideOptions, String> {
        let bounds = Bounds {
            least: self.number(&format!("yMin{capital}"))?,
            most: self.number(&format!("yMax{capital}"))?,
            limit: self.number(&format!("yLimit{capital}"))?,
            step: self.step(&format!("yStep{capital}"))?,
        };
        Ok(SideOptions {
            bounds,
            color: self.color(&format!("{small}Color"))?,
            width: self.width(&format!("{small}Width"))?,
            dash: self.number_in(&format!("{small}Dashed"), 0.0, 1000.0)?,
        })
    }

    fn divisors(&self) -> Result<Vec<u32>, String> {
        let Some(text) = self.text("yDivisors")? else { return Ok(vec![4, 5, 6]) };
        let parts: Option<Vec<u32>> =
            text.split(',').map(|part| part.trim().parse().ok().filter(|part| (1..=100).contains(part))).collect();
        parts.ok_or_else(|| {
            format!("yDivisors is {text:?}; expected whole numbers from 1 to 100 with commas in between")
        })
    }

    fn log_base(&self) -> Result<Option<f64>, String> {
        if self.get("logBase") == Some("e") {
            return Ok(Some(std::f64::consts::E));
        }
        // Below 1 it is none, as in graphite-web.
        match self.number("logBase")? {
            Some(1.0) => Err("logBase is 1; expected e, or a number above 1".to_owned()),
            base => Ok(base.filter(|base| *base > 1.0)),
        }
    }

    fn time_format(&self) -> Result<Option<String>, String> {
        let Some(text) = self.text("xFormat")? else { return Ok(None) };
        if StrftimeItems::new(text).any(|item| matches!(item, Item::Error)) {
            return Err(format!("xFormat is {text:?}; expected a format of times such as %H:%M"));
        }
        Ok(Some(text.to_owned()))
    }
}
