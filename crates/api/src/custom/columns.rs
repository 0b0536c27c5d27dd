//! `additionalPrinterColumns` (`registry/customresource/tableconvertor`).

use serde_json::Value;

use crate::jsonpath::{Template, show};
use crate::kind::{Column, Text};
use crate::kinds::read::Read;
use crate::meta;
use crate::table::{Now, columns, moment};

/// Columns after the name.
pub struct PrinterColumns(Vec<PrinterColumn>);

struct PrinterColumn {
    column: Column,
    path: Option<Template>,
}

impl PrinterColumns {
    /// Without any, the age is shown.
    pub fn read(written: &Value) -> Self {
        let standard = [serde_json::json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
                        "description": crate::openapi::descriptions::of_metadata("creationTimestamp")})];
        let list = written.as_array().filter(|list| !list.is_empty()).map_or(&standard[..], Vec::as_slice);
        Self(list.iter().map(PrinterColumn::read).collect())
    }

    pub fn definitions(&self) -> Vec<Column> {
        let mut all = columns("Name");
        all.extend(self.0.iter().map(|own| own.column.clone()));
        all
    }

    pub fn cells(&self, obj: &Value, now: Now) -> Vec<Value> {
        let mut cells = vec![meta::name(obj).into()];
        cells.extend(self.0.iter().map(|own| own.cell(obj, now)));
        cells
    }
}

impl PrinterColumn {
    fn read(written: &Value) -> Self {
        let text = |field: &str| Text::Owned(written.text(field).to_owned());
        let path = written.text("jsonPath");
        let description = match written.text("description") {
            "" => Text::Owned(format!("Custom resource definition column (in JSONPath format): {path}")),
            _ => text("description"),
        };
        let priority = written.int("priority") as i32;
        let column = Column { name: text("name"), ty: text("type"), format: text("format"), description, priority };
        Self { column, path: Template::parse(path).ok() }
    }

    fn cell(&self, obj: &Value, now: Now) -> Value {
        let Some(value) = self.path.as_ref().and_then(|path| path.values(obj).first().copied()) else {
            return Value::Null;
        };
        match &*self.column.ty {
            "string" => show(value).into(),
            "integer" => value.as_i64().or_else(|| value.as_f64().map(|n| n as i64)).into(),
            "number" => value.as_f64().into(),
            "boolean" => value.as_bool().into(),
            "date" if value.is_string() => match moment(value) {
                Some(then) => now.since(then).into(),
                None => "<invalid>".into(),
            },
            _ => Value::Null,
        }
    }
}
