//! Named formats: `format.dns1123Label().validate(...)`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orlop_base::names;

use super::strings::text;
use super::urls;
use crate::decls::Op;
use crate::value::{Result, Value, no_overload, time};

/// A rule for strings.
#[derive(Debug)]
pub struct NamedFormat {
    /// As in `format.NAME()`.
    pub name: &'static str,
    /// What is wrong; empty when fine.
    pub validate: fn(&str) -> Vec<String>,
    /// How long a regular expression it may take, for its cost.
    pub regex_size: u64,
}

static FORMATS: [NamedFormat; 13] = [
    NamedFormat { name: "dns1123Label", validate: names::dns1123_label, regex_size: 30 },
    NamedFormat { name: "dns1123Subdomain", validate: names::dns1123_subdomain, regex_size: 60 },
    NamedFormat { name: "dns1035Label", validate: names::dns1035_label, regex_size: 30 },
    NamedFormat { name: "qualifiedName", validate: names::qualified_name, regex_size: 60 },
    NamedFormat { name: "dns1123LabelPrefix", validate: |text| names::dns1123_label(&as_prefix(text)), regex_size: 30 },
    NamedFormat {
        name: "dns1123SubdomainPrefix",
        validate: |text| names::dns1123_subdomain(&as_prefix(text)),
        regex_size: 60,
    },
    NamedFormat { name: "dns1035LabelPrefix", validate: |text| names::dns1035_label(&as_prefix(text)), regex_size: 30 },
    NamedFormat { name: "labelValue", validate: names::label_value, regex_size: 40 },
    NamedFormat { name: "uri", validate: |text| urls::parse(text).err().into_iter().collect(), regex_size: 1103 },
    NamedFormat {
        name: "uuid",
        validate: |text| unless(is_uuid(text), "does not match the UUID format"),
        regex_size: 70,
    },
    NamedFormat { name: "byte", validate: |text| unless(is_base64(text), "invalid base64"), regex_size: 84 },
    NamedFormat { name: "date", validate: |text| unless(is_date(text), "invalid date"), regex_size: 71 },
    NamedFormat { name: "datetime", validate: |text| unless(is_date_time(text), "invalid datetime"), regex_size: 71 },
];

pub fn op(function: &str, _overload: &str) -> Option<Op> {
    Some(match function {
        "format.dns1123Label" => |_, _| constant(0),
        "format.dns1123Subdomain" => |_, _| constant(1),
        "format.dns1035Label" => |_, _| constant(2),
        "format.qualifiedName" => |_, _| constant(3),
        "format.dns1123LabelPrefix" => |_, _| constant(4),
        "format.dns1123SubdomainPrefix" => |_, _| constant(5),
        "format.dns1035LabelPrefix" => |_, _| constant(6),
        "format.labelValue" => |_, _| constant(7),
        "format.uri" => |_, _| constant(8),
        "format.uuid" => |_, _| constant(9),
        "format.byte" => |_, _| constant(10),
        "format.date" => |_, _| constant(11),
        "format.datetime" => |_, _| constant(12),
        "format.named" => |_, args| {
            let name = text(&args[0])?;
            let found = FORMATS.iter().find(|format| format.name == name);
            Ok(found.map_or(Value::NONE, |format| Value::some(Value::Format(format))))
        },
        "validate" => |_, args| {
            let Value::Format(format) = &args[0] else { return no_overload() };
            let errors = (format.validate)(text(&args[1])?);
            if errors.is_empty() {
                return Ok(Value::NONE);
            }
            Ok(Value::some(Value::list(errors.into_iter().map(Value::string).collect())))
        },
        _ => return None,
    })
}

fn constant<'a>(index: usize) -> Result<Value<'a>> {
    Ok(Value::Format(&FORMATS[index]))
}

/// What a generated name would be: a prefix may end in a dash.
fn as_prefix(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(start) if !start.is_empty() => format!("{start}a"),
        _ => text.to_owned(),
    }
}

fn unless(fine: bool, error: &str) -> Vec<String> {
    if fine { Vec::new() } else { vec![error.to_owned()] }
}

fn is_uuid(text: &str) -> bool {
    let mut rest = text;
    for (index, digits) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let Some((group, after)) = rest.split_at_checked(digits) else { return false };
        if !group.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

fn is_base64(text: &str) -> bool {
    !text.is_empty() && STANDARD.decode(text).is_ok()
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && time::parse_timestamp(&format!("{text}T00:00:00Z")).is_ok()
}

fn is_date_time(text: &str) -> bool {
    text.len() >= 4 && time::parse_timestamp(&text.to_ascii_uppercase()).is_ok()
}
