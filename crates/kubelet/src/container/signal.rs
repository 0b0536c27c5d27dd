//! The signal that asks a container to stop.

use crate::corev1::Container;

pub const SIGTERM: i32 = 15;

const NAMES: [(&str, i32); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", SIGTERM),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];
/// First and last real-time signals as glibc numbers them.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The spec's, else the image's, else SIGTERM.
pub fn stop_signal(container: &Container, image_signal: &str) -> i32 {
    let own = container.lifecycle.as_ref().and_then(|l| l.stop_signal.as_deref());
    own.and_then(parse).or_else(|| parse(image_signal)).unwrap_or(SIGTERM)
}

/// `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`.
fn parse(text: &str) -> Option<i32> {
    let text = text.trim().to_uppercase();
    if let Ok(number) = text.parse::<i32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    let offset = |rest: &str| if rest.is_empty() { Some(0) } else { rest.parse::<i32>().ok() };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => RTMIN + offset(rest)?,
        (_, Some(rest)) => RTMAX + offset(rest)?,
        _ => return None,
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let parsed: Vec<Option<i32>> =
            ["SIGQUIT", "term", "9", "SIGRTMIN+3", "RTMAX-1", "RTMAX", "bogus", ""].map(parse).to_vec();
        assert_eq!(parsed, [Some(3), Some(15), Some(9), Some(37), Some(63), Some(64), None, None]);
    }
}
