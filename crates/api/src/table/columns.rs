//! The terse way to write down columns and rows.

use crate::kind::Column;
use crate::openapi::descriptions::of_metadata;

/// Columns from `"Name, Desired:integer, IP*"`: a type other than string stands behind a colon, a format behind an
/// equals sign, a star marks columns shown with `-o wide` only. The column `Name` holds the object's name.
pub fn columns(spec: &'static str) -> Vec<Column> {
    spec.split(", ").map(column).collect()
}

fn column(spec: &'static str) -> Column {
    let (spec, priority) = spec.strip_suffix('*').map_or((spec, 0), |spec| (spec, 1));
    let (name, ty) = spec.split_once(':').unwrap_or((spec, "string"));
    let (name, format) = name.split_once('=').unwrap_or((name, if name == "Name" { "name" } else { "" }));
    let description = match name {
        "Name" => of_metadata("name"),
        "Age" | "Created At" => of_metadata("creationTimestamp"),
        _ => "",
    };
    Column { name: name.into(), ty: ty.into(), format: format.into(), description: description.into(), priority }
}

/// `cells![name, 1, true]`: a row of anything that becomes JSON.
macro_rules! cells {
    ($($cell:expr),* $(,)?) => { vec![$(serde_json::Value::from($cell)),*] };
}
pub(crate) use cells;
