//! Devices: selectors are CEL over a device (`k8s.io/dynamic-resource-allocation/cel`), and access for administrators
//! is a right of the namespace.

use std::sync::{Arc, LazyLock};

use orlop_api::field::{ErrorList, Path};
use orlop_api::{Value, meta};
use orlop_cel::cost::PER_CALL_LIMIT;
use orlop_cel::cost::estimate::estimate;
use orlop_cel::decl::{DeclType, Form};
use orlop_cel::env::Env;
use orlop_cel::types::Type;

use super::{Extension, Hooks};
use crate::Server;
use crate::admission::find;

/// Of one expression, in bytes.
const MAX_EXPRESSION: usize = 10 * 1024;
const ADMIN_LABEL: &str = "resource.kubernetes.io/admin-access";

pub fn extensions() -> [Extension; 3] {
    [
        Extension::new("resource.k8s.io/deviceclasses").hooks(Class),
        Extension::new("resource.k8s.io/resourceclaims").hooks(Claim("/spec/devices", "spec.devices")),
        Extension::new("resource.k8s.io/resourceclaimtemplates")
            .hooks(Claim("/spec/spec/devices", "spec.spec.devices")),
    ]
}

struct Class;

impl Hooks for Class {
    /// Selectors that an update leaves alone are not held against it.
    fn validate(&self, _server: &Server, class: &Value, old: Option<&Value>) -> ErrorList {
        let mut errors = ErrorList::default();
        let selectors = &class["spec"]["selectors"];
        if old.is_none_or(|old| old["spec"]["selectors"] != *selectors) {
            check_selectors(selectors, &Path::new("spec").child("selectors"), &mut errors);
        }
        errors
    }
}

/// Where what is asked for stands: as a pointer and as a path.
struct Claim(&'static str, &'static str);

impl Claim {
    fn requests<'a>(&self, claim: &'a Value) -> &'a [Value] {
        let devices = claim.pointer(self.0);
        devices.and_then(|devices| devices["requests"].as_array()).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Hooks for Claim {
    fn permit(&self, server: &Server, claim: &Value) -> ErrorList {
        let mut errors = ErrorList::default();
        check_admin_access(server, claim, self.requests(claim), &mut errors);
        errors
    }

    /// What a claim asks for never changes.
    fn validate(&self, _server: &Server, claim: &Value, old: Option<&Value>) -> ErrorList {
        let mut errors = ErrorList::default();
        let requests = if old.is_none() { self.requests(claim) } else { &[] };
        let devices = Path::new(self.1);
        let path = devices.child("requests");
        for (i, request) in requests.iter().enumerate() {
            let path = path.index(i);
            let at = path.child("exactly");
            check_selectors(&request["exactly"]["selectors"], &at.child("selectors"), &mut errors);
            let at = path.child("firstAvailable");
            for (i, sub) in request["firstAvailable"].as_array().into_iter().flatten().enumerate() {
                check_selectors(&sub["selectors"], &at.index(i).child("selectors"), &mut errors);
            }
        }
        errors
    }
}

fn check_admin_access(server: &Server, claim: &Value, requests: &[Value], errors: &mut ErrorList) {
    let Some(i) = requests.iter().position(|request| request["exactly"]["adminAccess"] == true) else { return };
    let namespace = find(server, "namespaces", "", meta::namespace(claim));
    if namespace.is_none_or(|namespace| namespace["metadata"]["labels"][ADMIN_LABEL] != "true") {
        let detail =
            format!("admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace");
        // Of a template, too, upstream names the place in a claim.
        errors.forbidden(&Path::new("spec.devices.requests").index(i).child("adminAccess"), detail);
    }
}

fn check_selectors(selectors: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for (i, selector) in selectors.as_array().into_iter().flatten().enumerate() {
        let path = path.index(i);
        check(selector["cel"]["expression"].as_str().unwrap_or_default(), &path.child("cel.expression"), errors);
    }
}

fn check(expression: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if expression.len() > MAX_EXPRESSION {
        return errors.too_long(path, MAX_EXPRESSION);
    }
    match DEVICE.compile(expression) {
        Err(issues) => errors.invalid(path, expression, format!("compilation failed: {issues}")),
        Ok(checked) if !matches!(checked.result_type(), Type::Bool | Type::Dyn) => {
            let found = checked.result_type().describe();
            errors.invalid(path, expression, format!("must evaluate to bool or the unknown type, not {found}"));
        }
        Ok(checked) if estimate(&checked, &DEVICE).max > PER_CALL_LIMIT => {
            errors.forbidden(path, "too complex, exceeds cost limit");
        }
        Ok(_) => {}
    }
}

/// The variable `device`, and how large it can be.
static DEVICE: LazyLock<Env> = LazyLock::new(|| {
    let sized = |mut decl: DeclType, max_elements: u64| {
        decl.max_elements = max_elements;
        decl
    };
    let mut quantity = DeclType::scalar(Form::Dyn);
    quantity.cel = Some(Type::object("kubernetes.Quantity"));
    // By domain, then by name: at most 32 of either.
    let by_name = |value: DeclType| sized(DeclType::map(Arc::new(value)), 32);
    let fields = [
        ("driver", sized(DeclType::scalar(Form::String), 63)),
        ("allowMultipleAllocations", sized(DeclType::scalar(Form::Bool), 1)),
        ("attributes", by_name(by_name(sized(DeclType::scalar(Form::Dyn), 64)))),
        ("capacity", by_name(by_name(quantity))),
    ];
    let fields = fields.map(|(name, decl)| (Arc::from(name), Arc::new(decl)));
    Env::new().with_declared("device", Arc::new(DeclType::object("kubernetes.DRADevice", fields)))
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_see_a_device_and_say_yes_or_no() {
        for (expression, wrong) in [
            ("device.driver == 'example.com'", ""),
            (
                "device.attributes['a.b'].model == 'x' && device.capacity['a.b'].memory.isGreaterThan(quantity('1Gi'))",
                "",
            ),
            ("device.attributes['a.b'].ok", ""),
            ("device.driver", "must evaluate to bool or the unknown type, not string"),
            ("device.name == 'x'", "undefined field 'name'"),
            (
                "device.attributes.all(d, device.attributes.all(e, device.attributes.all(f, device.attributes.all(g, d.matches('(x+x+)+y')))))",
                "too complex",
            ),
        ] {
            let mut errors = ErrorList::default();
            check(expression, &Path::new("e"), &mut errors);
            let text = errors.0.first().map(ToString::to_string).unwrap_or_default();
            assert_eq!(text.is_empty(), wrong.is_empty(), "{expression}: {text}");
            assert!(text.contains(wrong), "{expression}: {text}");
        }
    }
}
