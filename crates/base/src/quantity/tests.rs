use super::*;

fn canonical(text: &str) -> String {
    Quantity::parse(text).map_or_else(|e| format!("error: {e}"), |q| q.to_string())
}

#[test]
fn prints_the_canonical_text() {
    for (text, want) in [
        ("0", "0"),
        ("-0", "0"),
        ("0Ki", "0"),
        ("0.0", "0"),
        ("1", "1"),
        ("+1", "+1"),
        ("100m", "100m"),
        ("0.5", "500m"),
        ("1.5", "1500m"),
        ("1.500", "1.500"),
        ("1000", "1k"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1.5Gi", "1536Mi"),
        ("1024", "1024"),
        ("1024Ki", "1Mi"),
        ("1025Ki", "1025Ki"),
        ("512Ki", "512Ki"),
        ("0.5Ki", "512"),
        ("128974848", "128974848"),
        ("129e6", "129e6"),
        ("129M", "129M"),
        ("123Mi", "123Mi"),
        ("1e3", "1e3"),
        ("1E3", "1E3"),
        ("12e6", "12e6"),
        ("1000e3", "1e6"),
        ("0.1m", "100u"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("0.0000000001", "1n"),
        ("-0.1n", "-1n"),
        ("100Ei", "9223372036854775807"),
        ("1.1E", "1100P"),
        ("1e-3", "1e-3"),
        ("1e-9", "1e-9"),
        ("1e-10", "1e-9"),
        ("1e30", "1e30"),
        (".5", "500m"),
        ("5.", "5."),
        ("0.1Mi", "104857600m"),
        ("9999999999999999999999999999", "9999999999999999999999999999"),
        ("8Ei", "9223372036854775807"),
        ("7Ei", "7Ei"),
        ("0005", "0005"),
        ("-1.5Gi", "-1536Mi"),
        ("0.0001Ki", "102400u"),
    ] {
        assert_eq!(canonical(text), want, "{text}");
    }
}

/// Found by fuzzing.
#[test]
fn what_is_written_is_read_as_the_same() {
    for text in [
        "-10888002100000080100100.862987483400007119e019",
        "-102888010002000801000000100e1110214119",
        "100e999999",
        "99999999999999999999999999999999999999e1",
        "99999999999999999999999999999999999999e2",
    ] {
        let quantity = Quantity::parse(text).unwrap();
        let written = quantity.to_string();
        let again = Quantity::parse(&written).unwrap_or_else(|error| panic!("{error}: {written} of {text}"));
        assert_eq!(again.to_string(), written, "{text}");
        assert_eq!(again, quantity, "{text}");
    }
}

#[test]
fn rejects_in_upstreams_words() {
    let format = ParseQuantityError::Format;
    for (text, want) in [
        ("", format),
        ("1 ", format),
        ("1Gx", format),
        ("1K", ParseQuantityError::Suffix),
        ("1mi", ParseQuantityError::Suffix),
        ("1e", ParseQuantityError::Suffix),
        ("one", format),
        ("1.2.3", format),
        ("1Kii", ParseQuantityError::Suffix),
        ("1e+", ParseQuantityError::Suffix),
    ] {
        assert_eq!(Quantity::parse(text), Err(want), "{text}");
    }
}

#[test]
fn rounds_values_up() {
    let value = |text: &str| {
        let q = Quantity::parse(text).unwrap();
        (q.value(), q.milli_value())
    };
    assert_eq!(value("100m"), (1, 100));
    assert_eq!(value("1500m"), (2, 1500));
    assert_eq!(value("-1500m"), (-2, -1500));
    assert_eq!(value("1u"), (1, 1));
    assert_eq!(value("1Gi"), (1 << 30, (1 << 30) * 1000));
    assert_eq!(value("1e30"), (i64::MAX, i64::MAX));
}

#[test]
fn compares_across_scales() {
    let ordered =
        ["-1e60", "-1", "-1m", "0", "1n", "1m", "999m", "1", "1000", "1Ki", "1025", "1e18", "1E30", "1e31", "1e100"];
    for pair in ordered.windows(2) {
        let (a, b) = (Quantity::parse(pair[0]).unwrap(), Quantity::parse(pair[1]).unwrap());
        assert!(a < b, "{pair:?}");
        assert!(b > a, "{pair:?}");
    }
    assert_eq!(Quantity::parse("1").unwrap(), Quantity::parse("1000m").unwrap());
    assert_eq!(Quantity::parse("1Gi").unwrap(), Quantity::parse("1073741824").unwrap());
}

#[test]
fn sums_keep_the_first_nonzero_format() {
    let sum = |texts: &[&str]| {
        texts.iter().fold(Quantity::ZERO, |mut sum, text| {
            sum.add(&Quantity::parse(text).unwrap());
            sum
        })
    };
    assert_eq!(sum(&["1Gi", "512Mi"]).to_string(), "1536Mi");
    assert_eq!(sum(&["100m", "900m"]).to_string(), "1");
    assert_eq!(sum(&["1", "1Gi"]).to_string(), "1073741825");
    let mut rest = Quantity::parse("4").unwrap();
    rest.sub(&Quantity::parse("250m").unwrap());
    assert_eq!(rest.to_string(), "3750m");
}
