//! Colours as Graphite names them, and its templates: the colours that a picture has unless it is told others.

/// A colour with its opacity, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Color {
    /// Red, green and blue.
    pub rgb: (u8, u8, u8),
    /// The opacity.
    pub alpha: f64,
}

impl Color {
    /// An opaque colour.
    pub const fn new(red: u8, green: u8, blue: u8) -> Self {
        Self { rgb: (red, green, blue), alpha: 1.0 }
    }

    /// The colour with another opacity.
    pub const fn with_alpha(self, alpha: f64) -> Self {
        Self { alpha, ..self }
    }
}

/// The names that a colour may be called by.
const NAMED: [(&str, Color); 22] = [
    ("black", Color::new(0, 0, 0)),
    ("white", Color::new(255, 255, 255)),
    ("blue", Color::new(100, 100, 255)),
    ("green", Color::new(0, 200, 0)),
    ("red", Color::new(200, 0, 50)),
    ("yellow", Color::new(255, 255, 0)),
    ("orange", Color::new(255, 165, 0)),
    ("purple", Color::new(200, 100, 255)),
    ("brown", Color::new(150, 100, 50)),
    ("cyan", Color::new(0, 255, 255)),
    ("aqua", Color::new(0, 150, 150)),
    ("gray", Color::new(175, 175, 175)),
    ("grey", Color::new(175, 175, 175)),
    ("magenta", Color::new(255, 0, 255)),
    ("pink", Color::new(255, 100, 100)),
    ("gold", Color::new(200, 200, 0)),
    ("rose", Color::new(200, 150, 200)),
    ("darkblue", Color::new(0, 0, 255)),
    ("darkgreen", Color::new(0, 255, 0)),
    ("darkred", Color::new(255, 0, 0)),
    ("darkgray", Color::new(111, 111, 111)),
    ("darkgrey", Color::new(111, 111, 111)),
];

impl std::str::FromStr for Color {
    type Err = String;

    /// A name, or six or eight hexadecimal digits, with `#` before them or not; the last two of eight are the opacity.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((_, color)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(*color);
        }
        let digits = text.strip_prefix('#').or_else(|| text.strip_prefix("%23")).unwrap_or(text);
        let number =
            u32::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let (number, alpha) = match (number, digits.len()) {
            (Some(number), 6) => (number, 255),
            (Some(number), 8) => (number >> 8, number & 0xff),
            // `#f00`, as style sheets have it.
            (Some(number), 3) => ((number & 0xf00) * 0x1100 + (number & 0xf0) * 0x110 + (number & 0xf) * 0x11, 255),
            _ => {
                return Err(format!("{text:?} is no colour; expected a name such as blue, or digits such as ff8000"));
            }
        };
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self::new(red, green, blue).with_alpha(f64::from(alpha) / 255.0))
    }
}

/// The colours of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Behind everything.
    pub background: Color,
    /// Of texts.
    pub foreground: Color,
    /// Of the lines at labels.
    pub major_line: Color,
    /// Of the lines between them.
    pub minor_line: Color,
    /// Of series, in turn.
    pub lines: Vec<Color>,
}

/// Name, background, foreground, major lines, minor lines, series.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const DEFAULT_LINES: &str = "blue,green,red,purple,brown,yellow,aqua,grey,magenta,pink,gold,rose";
const SOLARIZED_LINES: &str = "268bd2aa,859900aa,dc322faa,d33682aa,db4b16aa,b58900aa,2aa198aa,6c71c4aa";

/// The templates that graphite-web ships as examples; the first is for every other name.
const TEMPLATES: [Row; 10] = [
    ("default", "white", "black", "rose", "grey", DEFAULT_LINES),
    ("classic", "black", "white", "white", "grey", DEFAULT_LINES),
    ("noc", "black", "white", "white", "grey", "blue,green,red,yellow,purple,brown,aqua,grey,magenta,pink,gold,rose"),
    ("plain", "white", "black", "grey", "rose", DEFAULT_LINES),
    ("summary", "black", "black", "rose", "grey", "6666ff,66ff66,ff6666"),
    ("alphas", "white", "black", "grey", "rose", "00ff00aa,ff000077,00337799"),
    ("solarized-light", "fdf6e3", "657b83", "073642", "586e75", SOLARIZED_LINES),
    ("solarized-dark", "002b36", "839496", "fdf6e3", "eee8d5", SOLARIZED_LINES),
    (
        "grafana",
        "white",
        "black",
        "rose",
        "grey",
        "7eb26d,eab839,6ed0e0,ef843c,e24d42,1f78c1,ba43a9,705da0,508642,cca300,447ebc",
    ),
    ("ocean1", "white", "black", "rose", "grey", "f7fcf0,e0f3db,ccebc5,a8ddb5,7bccc4,4eb3d3,2b8cbe,0868ac,084081"),
];

impl Template {
    /// The template of a name.
    ///
    /// # Errors
    /// Never, since each of them is read by a test.
    pub fn named(name: &str) -> Result<Self, String> {
        let row = TEMPLATES.iter().find(|row| row.0 == name).unwrap_or(&TEMPLATES[0]);
        Ok(Self {
            background: row.1.parse()?,
            foreground: row.2.parse()?,
            major_line: row.3.parse()?,
            minor_line: row.4.parse()?,
            lines: list(row.5)?,
        })
    }
}

/// Colours with commas in between.
///
/// # Errors
/// When one of them is none.
pub fn list(text: &str) -> Result<Vec<Color>, String> {
    text.split(',').map(|color| color.trim().parse()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_is_a_name_or_digits() {
        for (text, expected) in [
            ("red", Color::new(200, 0, 50)),
            ("ff8000", Color::new(255, 128, 0)),
            ("#ff8000", Color::new(255, 128, 0)),
            ("%23ff8000", Color::new(255, 128, 0)),
            ("#f0a", Color::new(255, 0, 170)),
            ("FF800080", Color::new(255, 128, 0).with_alpha(128.0 / 255.0)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "reddish", "ff80", "+f8000", "#", "ff80001"] {
            assert!(text.parse::<Color>().unwrap_err().starts_with(&format!("{text:?} is no colour")), "{text}");
        }
    }

    #[test]
    fn every_template_has_colours_and_an_unknown_one_is_the_default() {
        for row in TEMPLATES {
            assert!(!Template::named(row.0).unwrap().lines.is_empty(), "{}", row.0);
        }
        assert_eq!(Template::named("ours"), Template::named("default"));
    }
}
