//! What the expressions of policies may refer to (`k8s.io/apiserver/pkg/admission/plugin/cel`).

use std::sync::{Arc, LazyLock};

use orlop_api::field::{ErrorList, Path};
use orlop_cel::env::{Env, Types};
use orlop_cel::plan::Program;
use orlop_cel::types::Type;

/// Fields of the types that policies declare, besides Kubernetes' library's.
const FIELDS: &str = "
kubernetes.AdmissionRequest kind kubernetes.GroupVersionKind
kubernetes.AdmissionRequest resource kubernetes.GroupVersionResource
kubernetes.AdmissionRequest subResource string
kubernetes.AdmissionRequest requestKind kubernetes.GroupVersionKind
kubernetes.AdmissionRequest requestResource kubernetes.GroupVersionResource
kubernetes.AdmissionRequest requestSubResource string
kubernetes.AdmissionRequest name string
kubernetes.AdmissionRequest namespace string
kubernetes.AdmissionRequest operation string
kubernetes.AdmissionRequest userInfo kubernetes.UserInfo
kubernetes.AdmissionRequest dryRun bool
kubernetes.AdmissionRequest options dyn
kubernetes.GroupVersionKind group string
kubernetes.GroupVersionKind version string
kubernetes.GroupVersionKind kind string
kubernetes.GroupVersionResource group string
kubernetes.GroupVersionResource version string
kubernetes.GroupVersionResource resource string
kubernetes.UserInfo username string
kubernetes.UserInfo uid string
kubernetes.UserInfo groups list(string)
kubernetes.UserInfo extra map(string, list(string))
kubernetes.Namespace metadata kubernetes.NamespaceMetadata
kubernetes.Namespace spec kubernetes.NamespaceSpec
kubernetes.Namespace status kubernetes.NamespaceStatus
kubernetes.NamespaceMetadata name string
kubernetes.NamespaceMetadata generateName string
kubernetes.NamespaceMetadata namespace string
kubernetes.NamespaceMetadata labels map(string, string)
kubernetes.NamespaceMetadata annotations map(string, string)
kubernetes.NamespaceMetadata UID string
kubernetes.NamespaceMetadata creationTimestamp timestamp
kubernetes.NamespaceMetadata deletionGracePeriodSeconds int
kubernetes.NamespaceMetadata deletionTimestamp timestamp
kubernetes.NamespaceMetadata generation int
kubernetes.NamespaceMetadata resourceVersion string
kubernetes.NamespaceMetadata finalizers list(string)
kubernetes.NamespaceSpec finalizers list(string)
kubernetes.NamespaceStatus conditions list(kubernetes.NamespaceCondition)
kubernetes.NamespaceStatus phase string
kubernetes.NamespaceCondition status string
kubernetes.NamespaceCondition type string
kubernetes.NamespaceCondition lastTransitionTime timestamp
kubernetes.NamespaceCondition message string
kubernetes.NamespaceCondition reason string
";

const VARIABLES: &str = "kubernetes.variables";

struct Declared(Vec<(&'static str, &'static str, Type)>);

static DECLARED: LazyLock<Arc<Declared>> = LazyLock::new(|| {
    let lines = FIELDS.lines().filter_map(|line| {
        let (object, rest) = line.split_once(' ')?;
        let (field, t) = rest.split_once(' ')?;
        Some((object, field, Type::parse(t)))
    });
    Arc::new(Declared(lines.collect()))
});

impl Types for Declared {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(object, ..)| *object == name)
    }

    fn field(&self, object: &str, field: &str) -> Option<Type> {
        self.0.iter().find(|(o, f, _)| *o == object && *f == field).map(|(.., t)| t.clone())
    }
}

/// The type of `variables`, whose fields were compiled before.
struct VariableTypes(Vec<(String, Type)>);

impl Types for VariableTypes {
    fn has(&self, name: &str) -> bool {
        name == VARIABLES
    }

    fn field(&self, _object: &str, field: &str) -> Option<Type> {
        self.0.iter().rev().find(|(name, _)| name == field).map(|(_, t)| t.clone())
    }
}

/// What depends on the policy and on the expression's place in it.
#[derive(Clone, Copy)]
pub struct Place {
    pub params: bool,
    pub authorizer: bool,
    /// `Object{...}` and `JSONPatch{...}` can be made.
    pub patch: bool,
}

/// An environment with the variables compiled so far; nothing where the policy has none.
pub fn environment(place: Place, variables: Option<&[(String, Type)]>) -> Env {
    let mut env = Env::new()
        .with_variable("object", Type::Dyn)
        .with_variable("oldObject", Type::Dyn)
        .with_variable("namespaceObject", Type::object("kubernetes.Namespace"))
        .with_variable("request", Type::object("kubernetes.AdmissionRequest"))
        .with_types(DECLARED.clone());
    if let Some(variables) = variables {
        env = env
            .with_variable("variables", Type::object(VARIABLES))
            .with_types(Arc::new(VariableTypes(variables.to_vec())));
        for (name, t) in variables {
            env = env.with_field_variable("variables", name, t.clone());
        }
    }
    if place.params {
        env = env.with_variable("params", Type::Dyn);
    }
    if place.authorizer {
        env = env
            .with_variable("authorizer", Type::object("kubernetes.authorization.Authorizer"))
            .with_variable("authorizer.requestResource", Type::object("kubernetes.authorization.ResourceCheck"));
    }
    if place.patch {
        env = env.with_types(Arc::new(super::patch::PatchTypes)).with_json_patch();
    }
    env
}

/// An expression ready to run, or what is wrong with it.
pub struct Compiled {
    pub expression: String,
    pub program: Result<Program, String>,
    pub result: Type,
}

impl Compiled {
    /// Reports an expression that does not compile. That one is missing is another rule's concern.
    pub fn check(&self, path: &Path<'_>, errors: &mut ErrorList) {
        if let Err(why) = &self.program
            && !self.expression.trim().is_empty()
        {
            errors.invalid(path, self.expression.as_str(), why.as_str());
        }
    }
}

/// Compiles an expression that must give one of `wanted`; anything, if none is named.
pub fn compile(env: &Env, expression: &str, wanted: &[Type]) -> Compiled {
    let failed = |why: String| Compiled { expression: expression.to_owned(), program: Err(why), result: Type::Dyn };
    let checked = match env.compile(expression) {
        Ok(checked) => checked,
        Err(issues) => return failed(format!("compilation failed: {issues}")),
    };
    let result = checked.result_type().clone();
    if !wanted.is_empty() && !wanted.contains(&result) {
        let names: Vec<String> = wanted.iter().map(Type::describe).collect();
        let got = result.describe();
        return failed(match names.as_slice() {
            [one] => format!("must evaluate to {one} but got {got}"),
            many => format!("must evaluate to one of [{}] but got {got}", many.join(" ")),
        });
    }
    match Program::new(&checked, env.types()) {
        Ok(program) => Compiled { expression: expression.to_owned(), program: Ok(program), result },
        Err(error) => failed(format!("program instantiation failed: {error}")),
    }
}
