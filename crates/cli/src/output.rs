//! `-o`: how objects are shown.

use anyhow::{Result, bail};
use orlop_api::codec::yaml;
use orlop_client::Resource;
use serde_json::{Value, json};

use crate::print::Printer;
use crate::resources::display;
use orlop_api::jsonpath::Template;

/// A chosen format.
#[derive(Debug)]
pub enum Format {
    Table {
        wide: bool,
    },
    Json,
    Yaml,
    Name,
    JsonPath(Template),
    /// Heads and paths.
    CustomColumns(Vec<(String, Template)>),
}

impl Format {
    pub fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text else { return Ok(Self::Table { wide: false }) };
        let (name, argument) = text.split_once('=').unwrap_or((text, ""));
        Ok(match name {
            "" => Self::Table { wide: false },
            "wide" => Self::Table { wide: true },
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            "jsonpath" => Self::JsonPath(Template::parse(argument)?),
            "custom-columns" => Self::CustomColumns(columns(argument)?),
            _ => bail!(
                "unable to match a printer suitable for the output format \"{name}\", allowed formats are: \
                 custom-columns,json,jsonpath,name,wide,yaml"
            ),
        })
    }

    /// Shows whole objects; `many` makes a List of them.
    pub fn show(&self, printer: Printer, resource: Option<&Resource>, objects: Vec<Value>, many: bool) {
        let whole = |mut objects: Vec<Value>| match objects.len() {
            1 if !many => objects.remove(0),
            _ => json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "" }, "items": objects }),
        };
        match self {
            Self::Json => printer.line(serde_json::to_string_pretty(&whole(objects)).unwrap_or_default()),
            Self::Yaml => printer.bytes(yaml::to_yaml(&whole(objects)).as_bytes()),
            Self::JsonPath(template) => printer.bytes(template.render(&whole(objects)).as_bytes()),
            Self::Name | Self::Table { .. } => {
                for object in &objects {
                    printer.line(name_of(resource, object));
                }
            }
            Self::CustomColumns(columns) => {
                let cells = |object: &Value| columns.iter().map(|(_, path)| cell(&path.values(object))).collect();
                let heads = columns.iter().map(|(head, _)| head.clone()).collect();
                let table = crate::print::Columns { heads, rows: objects.iter().map(cells).collect() };
                printer.bytes(table.render(true).as_bytes());
            }
        }
    }
}

fn cell(values: &[&Value]) -> String {
    let texts: Vec<String> = values.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
    if texts.is_empty() { "<none>".into() } else { texts.join(",") }
}

fn columns(text: &str) -> Result<Vec<(String, Template)>> {
    let column = |part: &str| match part.split_once(':') {
        Some((head, path)) => Ok((head.to_owned(), Template::parse(path)?)),
        None => bail!("unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"),
    };
    text.split(',').map(column).collect()
}

fn name_of(resource: Option<&Resource>, object: &Value) -> String {
    let name = orlop_api::meta::name(object);
    if let Some(resource) = resource {
        return display(resource, name);
    }
    let group = object["apiVersion"].as_str().and_then(|v| v.split_once('/')).map(|(group, _)| format!(".{group}"));
    format!("{}{}/{name}", object["kind"].as_str().unwrap_or_default().to_lowercase(), group.unwrap_or_default())
}
