//! What a picture is drawn on, in the pixels that are shown: a picture of pixels or of shapes, by plotters.

use std::sync::OnceLock;

use plotters::backend::SVGBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    FontDesc, FontFamily, FontStyle, FontTransform, RGBAColor, ShapeStyle, TextStyle, register_font,
};
use plotters_backend::{DrawingBackend, DrawingErrorKind};

use super::color::Color;
use super::pixels::Pixels;

/// The font. It is part of the program; who shows a picture of shapes looks for one of these names.
const FONT: &str = "DejaVu Sans,Verdana,sans-serif";
/// How high plotters' sizes of fonts are, in units of ours, the em.
const HEIGHT: f64 = 1.164;

/// A picture, of which this tells where a text stands that hangs from a point.
pub trait Picture: DrawingBackend {
    /// How far below the point its baseline is, in plotters' sizes.
    const BASELINE: f64;
}

impl Picture for Pixels {
    const BASELINE: f64 = 0.5;
}

impl Picture for SVGBackend<'_> {
    const BASELINE: f64 = 0.76 / 1.24;
}

/// A place, from the left and from the top.
pub type Place = (f64, f64);

/// Which part of a text stands at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Center,
    Right,
}

/// Where the top of a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Up,
    Left,
    Right,
}

/// A size of font, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Font {
    pub size: f64,
    pub bold: bool,
}

impl Font {
    /// How far letters go above the line.
    pub fn ascent(self) -> f64 {
        self.size * 0.93
    }

    /// How far two lines are apart.
    pub fn line(self) -> f64 {
        (self.size * HEIGHT).ceil()
    }

    fn description(self, scale: f64) -> FontDesc<'static> {
        let style = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        FontDesc::new(FontFamily::Name(FONT), self.size * HEIGHT * scale, style)
    }

    /// How wide a text is.
    pub fn width(self, text: &str) -> f64 {
        const FINE: f64 = 16.0;
        register();
        self.description(FINE).layout_box(text).map_or(0.0, |((left, _), (right, _))| f64::from(right - left) / FINE)
    }
}

/// Makes the font known to plotters.
fn register() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        // Fonts that are no fonts would have no width, which a test would notice.
        let _ = register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
        let _ = register_font(FONT, FontStyle::Bold, dejavu::sans::bold());
    });
}

/// A picture to draw on.
pub struct Canvas<P> {
    picture: P,
    /// How many units of the picture a pixel is.
    scale: f64,
}

impl<P: Picture> Canvas<P> {
    /// A canvas on a picture that is drawn so many times as large.
    pub fn new(picture: P, scale: u32) -> Self {
        register();
        Self { picture, scale: f64::from(scale) }
    }

    /// The picture, once all is drawn.
    pub fn into_picture(self) -> P {
        self.picture
    }

    fn at(&self, (x, y): Place) -> (i32, i32) {
        #[expect(clippy::cast_possible_truncation, reason = "a cast of a double saturates")]
        let unit = |pixels: f64| (pixels * self.scale).round().clamp(-1e6, 1e6) as i32;
        (unit(x), unit(y))
    }

    fn stroke(&self, color: Color, width: f64) -> ShapeStyle {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a double saturates")]
        let width = (width * self.scale).round().max(1.0) as u32;
        ShapeStyle { color: rgba(color), filled: true, stroke_width: width }
    }

    /// A line through places.
    ///
    /// # Errors
    /// When plotters cannot draw it, which is a bug.
    pub fn line(&mut self, places: &[Place], color: Color, width: f64) -> Result<(), String> {
        if color.alpha <= 0.0 || places.is_empty() {
            return Ok(());
        }
        let style = self.stroke(color, width);
        let path: Vec<_> = places.iter().map(|place| self.at(*place)).collect();
        self.picture.draw_path(path, &style).map_err(told::<P>)
    }

    /// What is between places.
    ///
    /// # Errors
    /// As [`Canvas::line`].
    pub fn area(&mut self, places: &[Place], color: Color) -> Result<(), String> {
        if color.alpha <= 0.0 || places.len() < 3 {
            return Ok(());
        }
        let path: Vec<_> = places.iter().map(|place| self.at(*place)).collect();
        self.picture.fill_polygon(path, &rgba(color)).map_err(told::<P>)
    }

    /// A rectangle.
    ///
    /// # Errors
    /// As [`Canvas::line`].
    pub fn rectangle(&mut self, (x, y): Place, width: f64, height: f64, color: Color) -> Result<(), String> {
        self.area(&[(x, y), (x + width, y), (x + width, y + height), (x, y + height)], color)
    }

    /// A text whose baseline begins, ends or has its middle at a place.
    ///
    /// # Errors
    /// As [`Canvas::line`].
    pub fn text(
        &mut self,
        text: &str,
        place: Place,
        font: Font,
        color: Color,
        align: Align,
        turn: Turn,
    ) -> Result<(), String> {
        let baseline = font.size * HEIGHT * P::BASELINE;
        let (place, transform) = match turn {
            Turn::Up => ((place.0, place.1 - baseline), FontTransform::None),
            Turn::Left => ((place.0 - baseline, place.1), FontTransform::Rotate270),
            Turn::Right => ((place.0 + baseline, place.1), FontTransform::Rotate90),
        };
        let side = match align {
            Align::Left => HPos::Left,
            Align::Center => HPos::Center,
            Align::Right => HPos::Right,
        };
        let font = font.description(self.scale).transform(transform);
        let color = rgba(color);
        let style = TextStyle::from(font).color(&color).pos(Pos::new(side, VPos::Top));
        let at = self.at(place);
        self.picture.draw_text(text, &style, at).map_err(told::<P>)
    }
}

fn rgba(color: Color) -> RGBAColor {
    let (red, green, blue) = color.rgb;
    RGBAColor(red, green, blue, color.alpha.clamp(0.0, 1.0))
}

fn told<P: Picture>(error: DrawingErrorKind<P::ErrorType>) -> String {
    error.to_string()
}
