//! Cells of volumes and their claims.

use serde_json::Value;

use crate::kinds::read::{Read, annotation};
use crate::table::or;

/// `Bound`, or `Terminating` from deletion on.
pub fn phase(volume: &Value) -> &str {
    if crate::meta::is_terminating(volume) { "Terminating" } else { volume.text("status.phase") }
}

/// The storage class, by the annotation of old or by the field.
pub fn class(volume: &Value) -> &str {
    or(annotation(volume, "volume.beta.kubernetes.io/storage-class"), volume.text("spec.storageClassName"))
}

pub fn attributes_class(volume: &Value) -> &str {
    let class = volume.at("spec.volumeAttributesClassName");
    class.as_str().unwrap_or("<unset>")
}

/// `RWO,RWX`
pub fn access_modes(modes: &[Value]) -> String {
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let named: Vec<&str> =
        short.iter().filter(|(mode, _)| modes.iter().any(|m| m == mode)).map(|(_, short)| *short).collect();
    named.join(",")
}
