//! Pictures as a whole: that there is on them what should be, and that no option breaks them.

use plotters::style::register_font;
use proptest::prelude::*;

use super::super::params::Params;
use super::super::render::tests::series;
use super::*;

fn options(query: &str) -> Options {
    Options::read(&Params::of(query)).unwrap()
}

fn wave(name: &str, height: f64) -> Series {
    let values: Vec<f64> = (0..240_u32)
        .map(|minute| if minute % 97 < 5 { f64::NAN } else { height * (1.2 + (f64::from(minute) / 20.0).sin()) })
        .collect();
    series(name, 1_795_850_040, 60, &values)
}

fn never() -> bool {
    false
}

/// The pixels of a picture: its width, and red, green and blue of each.
fn pixels(png: &[u8]) -> (usize, Vec<[u8; 3]>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut bytes).unwrap();
    (frame.width as usize, bytes[..frame.buffer_size()].chunks(3).map(|color| [color[0], color[1], color[2]]).collect())
}

#[test]
fn the_font_is_one() {
    assert!(register_font("test", plotters::style::FontStyle::Normal, dejavu::sans::regular()).is_ok());
    assert!(register_font("test", plotters::style::FontStyle::Bold, dejavu::sans::bold()).is_ok());
    let font = Font { size: 10.0, bold: false };
    assert!((20.0..40.0).contains(&font.width("value")), "{}", font.width("value"));
}

#[test]
fn a_picture_has_its_size_its_colours_and_texts() {
    let (width, seen) =
        pixels(&png(&[wave("a.b", 5.0), wave("a.c", 3.0)], &options("width=400&height=300"), &never).unwrap());
    assert_eq!((width, seen.len()), (400, 120_000));
    let count = |wanted: [u8; 3]| seen.iter().filter(|color| **color == wanted).count();
    assert!(count([255; 3]) > 60_000, "the background is white");
    assert!(count([100, 100, 255]) > 200 && count([0, 200, 0]) > 200, "lines are blue and green");
    // Texts are black, and nothing else is.
    let dark = |rows: std::ops::Range<usize>| {
        seen[rows.start * width..rows.end * width].iter().filter(|color| color.iter().all(|part| *part < 90)).count()
    };
    assert!(dark(270..300) > 30, "a legend");
    assert!(dark(100..200) > 10, "labels of values");
}

#[test]
fn a_picture_of_shapes_has_texts_and_lines() {
    let svg = svg(&[wave("a & b", 5.0)], &options("title=Messages&vtitle=a%20minute"), &never).unwrap();
    assert!(svg.starts_with("<svg width=\"330\" height=\"250\" viewBox=\"0 0 3300 2500\""), "{}", &svg[..100]);
    for text in ["a &amp; b", "Messages", "a minute", "08:00", "<polyline", "#6464FF", "</svg>"] {
        assert!(svg.contains(text), "no {text} in {svg}");
    }
}

#[test]
fn nothing_is_said_to_be_nothing() {
    for list in [vec![], vec![series("a", 0, 60, &[])]] {
        let text = svg(&list, &options(""), &never).unwrap();
        assert!(text.contains(NO_DATA) && !text.contains("<polyline"), "{text}");
    }
}

#[test]
fn what_does_not_fit_is_said() {
    let draw = |query: &str| svg(&[wave("a", 5.0)], &options(query), &never).unwrap_err();
    assert_eq!(draw("yMin=5&yMax=2"), DrawError::Bad("yMin is 5 and yMax 2; yMin must be below yMax".to_owned()));
    assert_eq!(png(&[wave("a", 5.0)], &options(""), &|| true), Err(DrawError::Unwanted));
    for (query, said) in [
        ("width=0", "width is \"0\"; expected a whole number of pixels from 1 to 16000"),
        ("width=4000&height=4000", "width is 4000 and height 4000; a picture has at most 4000000 pixels"),
        ("areaMode=some", "areaMode is \"some\"; expected one of none, first, all, stacked"),
        ("lineMode=straight", "lineMode is \"straight\"; expected one of slope, staircase, connected"),
        ("lineWidth=1000", "lineWidth is 1000; expected a number from 0 to 100"),
        ("yMin=low", "yMin is \"low\"; expected a number"),
        ("hideLegend=perhaps", "hideLegend is \"perhaps\"; expected true or false"),
        (
            "bgcolor=nightly",
            "bgcolor: \"nightly\" is no colour; expected a name such as blue, or digits such as ff8000",
        ),
        (
            "colorList=red,nightly",
            "colorList: \"nightly\" is no colour; expected a name such as blue, or digits such as ff8000",
        ),
        ("yDivisors=0", "yDivisors is \"0\"; expected whole numbers from 1 to 100 with commas in between"),
        ("xFormat=%25!", "xFormat is \"%!\"; expected a format of times such as %H:%M"),
    ] {
        match Options::read(&Params::of(query)) {
            Err(crate::engine::QueryError::Bad(error)) => assert_eq!(error, said, "{query}"),
            other => panic!("{query}: {other:?}"),
        }
    }
}

fn option() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "width",
        "height",
        "margin",
        "title",
        "vtitle",
        "vtitleRight",
        "template",
        "bgcolor",
        "colorList",
        "fontSize",
        "fontBold",
        "hideLegend",
        "uniqueLegend",
        "hideNullFromLegend",
        "hideAxes",
        "hideXAxis",
        "hideYAxis",
        "hideGrid",
        "graphOnly",
        "yAxisSide",
        "areaMode",
        "areaAlpha",
        "lineMode",
        "lineWidth",
        "connectedLimit",
        "drawNullAsZero",
        "yUnitSystem",
        "yDivisors",
        "logBase",
        "minorY",
        "yMin",
        "yMax",
        "yLimit",
        "yStep",
        "yMinLeft",
        "yMaxRight",
        "leftColor",
        "rightDashed",
        "xFormat",
        "tz",
        "minXStep",
    ];
    let values = prop_oneof![
        Just("true".to_owned()),
        Just("1".to_owned()),
        Just("0".to_owned()),
        Just("stacked".to_owned()),
        Just("all".to_owned()),
        Just("staircase".to_owned()),
        Just("connected".to_owned()),
        Just("right".to_owned()),
        Just("red".to_owned()),
        Just("msec".to_owned()),
        Just("Asia/Tokyo".to_owned()),
        Just("%25H".to_owned()),
        "[0-9]{1,3}",
        "-?[0-9]{1,9}(\\.[0-9]{1,3})?",
    ];
    (proptest::sample::select(NAMES), values).prop_map(|(name, value)| format!("{name}={value}"))
}

fn one_series() -> impl Strategy<Value = Series> {
    let value =
        prop_oneof![Just(f64::NAN), Just(0.0), -1e3..1e3_f64, any::<f64>(), Just(f64::INFINITY), Just(f64::MAX),];
    let drawn = proptest::sample::select(
        &["", "secondYAxis", "drawAsInfinite", "stacked", "invisible", "dashed", "alpha", "lineWidth", "color"][..],
    );
    (proptest::collection::vec(value, 0..40), -100_000_i64..2_000_000_000, 1_u32..100_000, drawn, "\\PC{0,30}")
        .prop_map(|(values, start, step, drawn, name)| {
            let mut one = series(&name, start, step, &values);
            if !drawn.is_empty() {
                one.options.insert(drawn, "7".to_owned());
            }
            one
        })
}

proptest! {
    // Two pictures each.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn no_options_and_no_data_break_a_picture(
        list in proptest::collection::vec(one_series(), 0..5),
        query in proptest::collection::vec(option(), 0..8),
    ) {
        let query = query.join("&");
        let Ok(options) = Options::read(&Params::of(&query)) else { return Ok(()) };
        // Larger ones take too long to be tried often.
        if options.width * options.height > 250_000 {
            return Ok(());
        }
        match (png(&list, &options, &never), svg(&list, &options, &never)) {
            (Ok(png), Ok(svg)) => {
                let (width, seen) = pixels(&png);
                prop_assert_eq!((width, seen.len() / width), (options.width as usize, options.height as usize));
                prop_assert!(svg.ends_with("</svg>\n"));
            }
            (Err(DrawError::Bad(one)), Err(DrawError::Bad(other))) => prop_assert_eq!(one.lines().count(), other.lines().count()),
            (png, svg) => prop_assert!(false, "{query}: {:?} {:?}", png.map(|png| png.len()), svg.map(|svg| svg.len())),
        }
    }
}
