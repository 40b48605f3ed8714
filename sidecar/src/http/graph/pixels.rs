//! A picture of pixels, as plotters draws on one: drawn several times as large as it is shown, so that edges are smooth.
//!
//! Lines and areas are drawn by a mask, which is coloured once: where a line crosses itself it is not darker than elsewhere.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "what is drawn is cut to the picture, whose sides are far below what any of the types holds"
)]

use std::convert::Infallible;

use plotters_backend::{BackendColor, BackendCoord, BackendStyle, DrawingBackend, DrawingErrorKind};

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// The pixels, red, green and blue.
pub struct Pixels {
    width: usize,
    height: usize,
    /// How many times as large as it is shown.
    scale: usize,
    colors: Vec<[u8; 3]>,
    mask: Vec<bool>,
}

impl Pixels {
    /// A white picture that is shown with these sides.
    pub fn new(width: u32, height: u32, scale: u32) -> Self {
        let (width, height, scale) = (width as usize, height as usize, scale as usize);
        let count = width * height * scale * scale;
        Self {
            width: width * scale,
            height: height * scale,
            scale,
            colors: vec![[255; 3]; count],
            mask: vec![false; count],
        }
    }

    /// The picture as PNG, at the size at which it is shown.
    ///
    /// # Errors
    /// When it cannot be encoded, which is a bug.
    pub fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let (width, height) = (self.width / self.scale, self.height / self.scale);
        let samples = (self.scale * self.scale) as u32;
        let mut bytes = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                let mut sums = [0_u32; 3];
                for row in y * self.scale..(y + 1) * self.scale {
                    let start = row * self.width + x * self.scale;
                    for color in &self.colors[start..start + self.scale] {
                        for (sum, part) in sums.iter_mut().zip(color) {
                            *sum += u32::from(*part);
                        }
                    }
                }
                bytes.extend(sums.map(|sum| ((sum + samples / 2) / samples) as u8));
            }
        }
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&bytes)?;
        writer.finish()?;
        Ok(file)
    }

    fn blend(&mut self, at: usize, color: BackendColor) {
        let (red, green, blue) = color.rgb;
        for (part, wanted) in self.colors[at].iter_mut().zip([red, green, blue]) {
            let mixed = f64::from(*part) + (f64::from(wanted) - f64::from(*part)) * color.alpha.clamp(0.0, 1.0);
            *part = mixed.round() as u8;
        }
    }

    /// Colours what the mask has in these rows, and clears it.
    fn color_mask(&mut self, rows: std::ops::Range<usize>, color: BackendColor) {
        for at in rows.start * self.width..rows.end * self.width {
            if std::mem::take(&mut self.mask[at]) {
                self.blend(at, color);
            }
        }
    }

    /// Masks a disc of this diameter, as far as it is on the picture.
    fn stamp(&mut self, x: f64, y: f64, spans: &[(i64, i64, i64)]) {
        let (x, y) = (x.round() as i64, y.round() as i64);
        for (row, left, right) in spans {
            let row = y + row;
            if !(0..self.height as i64).contains(&row) {
                continue;
            }
            let (left, right) = ((x + left).max(0), (x + right).min(self.width as i64 - 1));
            if left <= right {
                let start = row as usize * self.width;
                self.mask[start + left as usize..=start + right as usize].fill(true);
            }
        }
    }

    fn clamp_row(&self, y: f64) -> usize {
        y.clamp(0.0, self.height as f64) as usize
    }
}

/// The rows of a disc: each with where it begins and ends.
fn disc(diameter: u32) -> Vec<(i64, i64, i64)> {
    let diameter = i64::from(diameter.max(1));
    let radius = diameter as f64 / 2.0;
    let first = -(diameter / 2);
    let middle = first as f64 + radius - 0.5;
    (first..first + diameter)
        .filter_map(|row| {
            let off = row as f64 - middle;
            let half = (radius * radius - off * off).max(0.0).sqrt();
            let (left, right) = ((middle - half + 0.5).floor() as i64, (middle + half - 0.5).ceil() as i64);
            (left <= right).then_some((row, left, right))
        })
        .collect()
}

impl DrawingBackend for Pixels {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.width as u32, self.height as u32)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        let is_here = (0..self.width as i32).contains(&x) && (0..self.height as i32).contains(&y);
        if is_here {
            self.blend(y as usize * self.width + x as usize, color);
        }
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S, fill: bool) -> Drawn {
        let corners = [from, (to.0, from.1), to, (from.0, to.1)];
        if fill { self.fill_polygon(corners, style) } else { self.draw_path(corners.into_iter().chain([from]), style) }
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        let width = style.stroke_width();
        let spans = disc(width);
        let (mut top, mut bottom) = (self.height, 0);
        let mut last: Option<(f64, f64)> = None;
        for (x, y) in path {
            let (x, y) = (f64::from(x), f64::from(y));
            let (from_x, from_y) = last.unwrap_or((x, y));
            let room = f64::from(width);
            top = top.min(self.clamp_row(from_y.min(y) - room));
            bottom = bottom.max(self.clamp_row(from_y.max(y) + room + 1.0));
            let length = (x - from_x).abs().max((y - from_y).abs()).ceil().max(1.0);
            for step in 0..=length as u32 {
                let share = f64::from(step) / length;
                self.stamp(from_x + (x - from_x) * share, from_y + (y - from_y) * share, &spans);
            }
            last = Some((x, y));
        }
        self.color_mask(top..bottom.max(top), style.color());
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        let corners: Vec<(f64, f64)> = path.into_iter().map(|(x, y)| (f64::from(x), f64::from(y))).collect();
        let Some(first) = corners.first() else { return Ok(()) };
        let top = self.clamp_row(corners.iter().fold(f64::INFINITY, |least, (_, y)| least.min(*y)));
        let bottom = self.clamp_row(corners.iter().fold(0.0, |most, (_, y)| most.max(*y)));
        // Where each row's middle enters and leaves.
        let mut rows: Vec<Vec<f64>> = vec![Vec::new(); bottom.saturating_sub(top)];
        for (from, to) in corners.iter().zip(corners.iter().skip(1).chain([first])) {
            let (upper, lower) = if from.1 <= to.1 { (from, to) } else { (to, from) };
            let (begin, end) = (self.clamp_row(upper.1).max(top), self.clamp_row(lower.1).min(bottom));
            for row in begin..end {
                let share = (row as f64 + 0.5 - upper.1) / (lower.1 - upper.1);
                rows[row - top].push(upper.0 + (lower.0 - upper.0) * share);
            }
        }
        for (row, crossings) in rows.iter_mut().enumerate() {
            crossings.sort_by(f64::total_cmp);
            let start = (top + row) * self.width;
            for pair in crossings.chunks_exact(2) {
                let cut = |x: f64| x.round().clamp(0.0, self.width as f64) as usize;
                let (left, right) = (cut(pair[0]), cut(pair[1]));
                self.mask[start + left..start + right].fill(true);
            }
        }
        self.color_mask(top..bottom.max(top), style.color());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use plotters::style::RGBAColor;

    use super::*;

    fn dark(pixels: &Pixels) -> Vec<String> {
        let row = |colors: &[[u8; 3]]| colors.iter().map(|color| if color[0] < 128 { '#' } else { '.' }).collect();
        pixels.colors.chunks(pixels.width).map(row).collect()
    }

    const BLACK: RGBAColor = RGBAColor(0, 0, 0, 1.0);

    #[test]
    fn areas_and_lines_cover_what_they_should() {
        let mut pixels = Pixels::new(6, 4, 1);
        pixels.fill_polygon([(1, 1), (5, 1), (5, 3), (1, 3)], &BLACK).unwrap();
        assert_eq!(dark(&pixels), ["......", ".####.", ".####.", "......"]);
        let mut pixels = Pixels::new(6, 4, 1);
        pixels.draw_path([(0, 0), (3, 3), (5, 3)], &BLACK).unwrap();
        assert_eq!(dark(&pixels), ["#.....", ".#....", "..#...", "...###"]);
        let mut pixels = Pixels::new(5, 5, 1);
        pixels.draw_path([(2, 2)], &plotters::style::Color::stroke_width(&BLACK, 3)).unwrap();
        assert_eq!(dark(&pixels), [".....", ".###.", ".###.", ".###.", "....."]);
    }

    #[test]
    fn what_is_off_the_picture_is_left_out_and_what_is_twice_on_it_is_coloured_once() {
        let half = RGBAColor(0, 0, 0, 0.5);
        let mut pixels = Pixels::new(4, 4, 2);
        pixels.draw_path([(-1000, 3), (1000, 3), (-1000, 3)], &half).unwrap();
        pixels.fill_polygon([(-50, -50), (-10, -50), (-10, 90)], &BLACK).unwrap();
        pixels.draw_pixel((100, 100), BackendColor { alpha: 1.0, rgb: (0, 0, 0) }).unwrap();
        let grey = [128; 3];
        assert!(
            pixels.colors.iter().enumerate().all(|(at, color)| *color == if at / 8 == 3 { grey } else { [255; 3] })
        );
        let png = pixels.png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((frame.width, frame.height), (4, 4));
        assert_eq!(bytes[..12 * 2], [[255; 12], [192; 12]].concat());
    }
}
