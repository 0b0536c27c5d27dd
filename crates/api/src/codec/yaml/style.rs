//! Which quotes a text needs, by go-yaml's emitter.

use super::scalar::Resolved;

/// Where a node stands; decides indentation of lists and quoting of empty words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Root,
    Item,
    Key,
    Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// What the characters of a text allow.
#[derive(Default)]
struct Analysis {
    plain: bool,
    single: bool,
    block: bool,
    multiline: bool,
}

impl Analysis {
    fn of(text: &str) -> Self {
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut special, mut multiline) = (false, false);
        let (mut break_space, mut space_break) = (false, false);
        let (mut after_space, mut after_break, mut after_blank) = (false, false, true);
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            let before_blank = chars.peek().is_none_or(|n| matches!(n, ' ' | '\t'));
            indicators |= match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
                    if first =>
                {
                    true
                }
                '?' | '-' if first => before_blank,
                ':' => before_blank,
                '#' => after_blank,
                _ => false,
            };
            // go-yaml writes line breaks of YAML 1.1 as they are. To readers of version 1.2 they are none, so
            // that the indentation behind them would become text.
            special |= !is_printable(c) || (is_break(c) && c != '\n');
            multiline |= is_break(c);
            break_space |= c == ' ' && after_break;
            space_break |= is_break(c) && after_space;
            (after_space, after_break) = (c == ' ', is_break(c));
            after_blank = matches!(c, ' ' | '\t' | '\0') || is_break(c);
            first = false;
        }
        let edge = |c: Option<char>| c.is_some_and(|c| c == ' ' || is_break(c));
        let open_edges = edge(text.chars().next()) || edge(text.chars().next_back());
        Self {
            plain: !(open_edges || break_space || space_break || special || multiline || indicators),
            single: !(break_space || space_break || special),
            block: !(text.ends_with(' ') || space_break || special),
            multiline,
        }
    }
}

pub fn style_of(text: &str, place: Place) -> Style {
    let analysis = Analysis::of(text);
    // go-yaml writes this key plain too, and then cannot read it back.
    let merges = text == "<<" && place == Place::Key;
    let wanted = if text.contains('\n') {
        Style::Literal
    } else if Resolved::of(text) == Resolved::Text && !looks_like_timestamp(text) && !is_base60(text) && !merges {
        Style::Plain
    } else {
        Style::Double
    };
    let quoted = if analysis.single { Style::Single } else { Style::Double };
    match wanted {
        _ if place == Place::Key && analysis.multiline => Style::Double,
        Style::Plain if !analysis.plain => quoted,
        // A block without a parent has no indentation to count from.
        Style::Literal if !analysis.block || matches!(place, Place::Key | Place::Root) => Style::Double,
        style => style,
    }
}

/// Dates resolve to timestamps when read by YAML 1.1, so they are quoted.
fn looks_like_timestamp(text: &str) -> bool {
    let Some((date, rest)) = text.split_once(['T', 't', ' ']).or(Some((text, ""))) else { return false };
    let mut parts = date.split('-');
    let number = |part: Option<&str>, width: std::ops::RangeInclusive<usize>, max: u32| {
        part.filter(|p| width.contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|p| p.parse::<u32>().ok())
            .filter(|n| *n <= max)
    };
    let year = number(parts.next(), 4..=4, 9999);
    let month = number(parts.next(), 1..=2, 12).filter(|n| *n > 0);
    let day = number(parts.next(), 1..=2, 31).filter(|n| *n > 0);
    let (Some(year), Some(month), Some(day), None) = (year, month, day, parts.next()) else { return false };
    if jiff::civil::Date::new(year as i16, month as i8, day as i8).is_err() {
        return false;
    }
    date.len() == text.len() || is_clock(rest, !text[date.len()..].starts_with(' '))
}

/// `15:4:5.999`, followed by a zone exactly when one is due.
fn is_clock(text: &str, with_zone: bool) -> bool {
    let zone_at = text.find(['Z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(zone_at);
    let zone_fits = match zone.as_bytes() {
        [] => !with_zone,
        [b'Z'] => with_zone,
        [_, a, b, b':', c, d] => with_zone && [a, b, c, d].iter().all(|b| b.is_ascii_digit()),
        _ => false,
    };
    let (clock, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    let in_range = parts.iter().zip([24, 60, 60]).all(|(part, bound)| {
        (1..=2).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_digit())
            && part.parse().is_ok_and(|n: u32| n < bound)
    });
    let digits = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    zone_fits && parts.len() == 3 && in_range && digits
}

/// `^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$`
fn is_base60(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let Some((first, rest)) = text.split_once(':') else { return false };
    let whole = |b: u8| b.is_ascii_digit() || b == b'_';
    if !first.starts_with(|c: char| c.is_ascii_digit()) || !first.bytes().all(whole) {
        return false;
    }
    let (groups, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let sixty = |group: &str| match group.as_bytes() {
        [d] => d.is_ascii_digit(),
        [t, d] => (b'0'..=b'5').contains(t) && d.is_ascii_digit(),
        _ => false,
    };
    groups.split(':').all(sixty) && fraction.bytes().all(whole)
}

pub fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// go-yaml's notion, which knows no character beyond the basic plane.
pub fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}
