//! The same limits in both versions' terms.

/// v1's `cpu.shares` (2..=262144) as v2's `cpu.weight` (1..=10000), so that minimum, default and maximum
/// meet (github.com/opencontainers/cgroups, `ConvertCPUSharesToCgroupV2Value`).
pub fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

/// `hugepages-2Mi` sizes come in bytes; the kernel's files are named `2MB`, `1GB`.
pub fn hugepage_file_size(size: &str) -> Option<String> {
    let size = size.strip_prefix("hugepages-").unwrap_or(size);
    let digits: String = size.chars().take_while(char::is_ascii_digit).collect();
    let number: u64 = digits.parse().ok()?;
    let bytes = match &size[digits.len()..] {
        "" | "B" => number,
        "Ki" | "KB" => number << 10,
        "Mi" | "MB" => number << 20,
        "Gi" | "GB" => number << 30,
        _ => return None,
    };
    Some(match bytes {
        b if b >= 1 << 30 => format!("{}GB", b >> 30),
        b if b >= 1 << 20 => format!("{}MB", b >> 20),
        b => format!("{}KB", b >> 10),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        for (shares, weight) in [(0, 1), (2, 1), (102, 17), (1024, 100), (262_144, 10_000), (1 << 40, 10_000)] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
    }

    #[test]
    fn hugepage_sizes_become_file_names() {
        for (size, want) in [
            ("hugepages-2Mi", Some("2MB")),
            ("1Gi", Some("1GB")),
            ("64KB", Some("64KB")),
            ("2097152", Some("2MB")),
            ("x", None),
            ("2Xi", None),
        ] {
            assert_eq!(hugepage_file_size(size).as_deref(), want, "{size}");
        }
    }
}
