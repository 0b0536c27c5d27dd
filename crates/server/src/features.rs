//! Feature gates (`k8s.io/component-base/featuregate`). Orlop knows those of upstream's API server and can set one;
//! the others stand at upstream's default, whatever it is, and say so to who would have it otherwise.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Objects and requests in CBOR (KEP 4222), off by default.
pub const CBOR: &str = "CBORServingAndStorage";

/// A line for each gate: its name, its stage, whether it is on, `locked` where nobody may change that.
const KNOWN: &str = include_str!("features.txt");

/// The gates that stand for all of their stage, as far as they can be set.
const ALL_ALPHA: &str = "AllAlpha";
const ALL_BETA: &str = "AllBeta";

/// What is switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    pub cbor: bool,
}

impl Features {
    /// Reads what `--feature-gates` says (`A=true,B=false`); errors are upstream's, where it has one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut cbor, mut all_alpha) = (None, false);
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, value) = setting(part)?;
            let gate = known().find(|gate| gate.name == name);
            let gate = gate.ok_or_else(|| format!("unrecognized feature gate: {name}"))?;
            match name {
                CBOR => cbor = Some(value),
                ALL_ALPHA => all_alpha = value,
                ALL_BETA => {}
                _ => gate.check(value)?,
            }
        }
        Ok(Self { cbor: cbor.unwrap_or(all_alpha) })
    }

    pub(crate) fn register(self, registry: &mut Registry) {
        let enabled = Family::<Labels, Gauge>::default();
        for gate in known() {
            let on = if gate.name == CBOR { self.cbor } else { gate.on };
            // Upstream's name of the last stage is empty.
            let stage = if gate.stage == "GA" { "" } else { gate.stage };
            enabled.get_or_create(&Labels { name: gate.name, stage }).set(on.into());
        }
        let help = "This metric records the data about the stage and enablement of a k8s feature";
        registry.register("kubernetes_feature_enabled", help, enabled);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    name: &'static str,
    stage: &'static str,
}

struct Gate {
    name: &'static str,
    stage: &'static str,
    on: bool,
    locked: bool,
}

impl Gate {
    /// Refuses to set what cannot be set.
    fn check(&self, value: bool) -> Result<(), String> {
        let (name, on) = (self.name, self.on);
        if value == on {
            Ok(())
        } else if self.locked {
            Err(format!("cannot set feature gate {name} to {value}, feature is locked to {on}"))
        } else {
            Err(format!("cannot set feature gate {name} to {value}: Orlop has it at {on} always"))
        }
    }
}

fn known() -> impl Iterator<Item = Gate> {
    KNOWN.lines().map(|line| {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap_or_default();
        Gate { name: next(), stage: next(), on: next() == "on", locked: next() == "locked" }
    })
}

/// `Name=bool`, before which `kube:` may name the component.
fn setting(part: &str) -> Result<(&str, bool), String> {
    let part = part.strip_prefix("kube:").unwrap_or(part);
    let Some((name, value)) = part.split_once('=') else {
        return Err(format!("missing bool value for {}", part.trim()));
    };
    let (name, value) = (name.trim(), value.trim());
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok((name, true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok((name, false)),
        _ => Err(format!("invalid value of {name}={value}, err: strconv.ParseBool: parsing {value:?}: invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        assert_eq!(known().filter(|gate| gate.name == CBOR && !gate.on && gate.stage == "ALPHA").count(), 1);
        for gate in known() {
            assert!(matches!(gate.stage, "ALPHA" | "BETA" | "GA" | "DEPRECATED"), "{} is {}", gate.name, gate.stage);
        }
    }

    #[test]
    fn gates_are_set_as_upstream_reads_them() {
        let on = |text| Features::parse(text).map(|features| features.cbor);
        let cases = [
            ("", Ok(false)),
            ("CBORServingAndStorage=true", Ok(true)),
            (" CBORServingAndStorage = T ,,kube:WatchList=true", Ok(true)),
            ("CBORServingAndStorage=true,CBORServingAndStorage=0", Ok(false)),
            ("AllAlpha=true", Ok(true)),
            ("AllAlpha=true,CBORServingAndStorage=false,AllBeta=false", Ok(false)),
            ("WatchList=false", Err("cannot set feature gate WatchList to false: Orlop has it at true always")),
            ("ValidatingAdmissionPolicy=false", Err("unrecognized feature gate: ValidatingAdmissionPolicy")),
            ("Nothing=true", Err("unrecognized feature gate: Nothing")),
            ("CBORServingAndStorage", Err("missing bool value for CBORServingAndStorage")),
            (
                "AllAlpha=yes",
                Err("invalid value of AllAlpha=yes, err: strconv.ParseBool: parsing \"yes\": invalid syntax"),
            ),
        ];
        for (text, want) in cases {
            assert_eq!(on(text), want.map_err(str::to_owned), "{text}");
        }
        let locked = known().find(|gate| gate.locked).expect("a locked gate");
        let text = format!("{}={}", locked.name, !locked.on);
        let (name, on, other) = (locked.name, locked.on, !locked.on);
        let want = format!("cannot set feature gate {name} to {other}, feature is locked to {on}");
        assert_eq!(Features::parse(&text), Err(want));
    }
}
