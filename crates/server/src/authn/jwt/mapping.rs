//! From the claims of a token to a user.

use std::collections::BTreeSet;

use orlop_api::field::{ErrorList, Path};
use orlop_api::{Map, Value};
use orlop_cel::types::Type;
use orlop_client::transport::UserInfo;
use serde_json::json;

use super::config::{ClaimRule, JwtConfig, Source, validate_extra_key};
use super::expressions::{About, Expression};

/// Compiled; parts that do not compile are left out, and reported.
#[derive(Default)]
pub struct Mapping {
    username: Part,
    groups: Part,
    uid: Part,
    extra: Vec<(String, Expression)>,
    required: Vec<(String, String)>,
    claim_rules: Vec<(Expression, String)>,
    user_rules: Vec<(Expression, String)>,
}

#[derive(Default)]
enum Part {
    #[default]
    Nothing,
    Claim {
        name: String,
        prefix: String,
    },
    Expression(Expression),
}

const BOTH: &str = "claim and expression can't both be set";

impl Mapping {
    pub fn compile(config: &JwtConfig, path: &Path<'_>, errors: &mut ErrorList) -> Self {
        let mut mapping = Self::default();
        mapping.compile_claim_rules(&config.claim_validation_rules, &path.child("claimValidationRules"), errors);
        mapping.compile_mappings(config, &path.child("claimMappings"), errors);
        let path = path.child("userValidationRules");
        let mut seen = BTreeSet::new();
        for (i, rule) in config.user_validation_rules.iter().enumerate() {
            let path = path.index(i);
            let (path, text) = (path.child("expression"), rule.expression.as_str());
            if text.is_empty() {
                errors.required(&path, "");
            } else if !seen.insert(text) {
                errors.duplicate(&path, text);
            } else if let Some(compiled) = compile(text, About::User, &[Type::Bool], &path, errors) {
                mapping.user_rules.push((compiled, rule.message.clone()));
            }
        }
        mapping
    }

    fn compile_claim_rules(&mut self, rules: &[ClaimRule], path: &Path<'_>, errors: &mut ErrorList) {
        for (i, rule) in rules.iter().enumerate() {
            let (path, earlier) = (path.index(i), &rules[..i]);
            match (&*rule.claim, &*rule.expression) {
                ("", "") => errors.required(&path, "claim or expression is required"),
                ("", text) => {
                    if !rule.required_value.is_empty() {
                        let why = "may not be specified when expression is set";
                        errors.invalid(&path.child("requiredValue"), rule.required_value.as_str(), why);
                    }
                    let path = path.child("expression");
                    if earlier.iter().any(|other| other.claim.is_empty() && other.expression == text) {
                        errors.duplicate(&path, text);
                    } else if let Some(compiled) = compile(text, About::Claims, &[Type::Bool], &path, errors) {
                        self.claim_rules.push((compiled, rule.message.clone()));
                    }
                }
                (claim, "") => {
                    if !rule.message.is_empty() {
                        let why = "may not be specified when claim is set";
                        errors.invalid(&path.child("message"), rule.message.as_str(), why);
                    }
                    if earlier.iter().any(|other| other.expression.is_empty() && other.claim == claim) {
                        errors.duplicate(&path.child("claim"), claim);
                    }
                    self.required.push((claim.to_owned(), rule.required_value.clone()));
                }
                (claim, _) => errors.invalid(&path, claim, BOTH),
            }
        }
    }

    fn compile_mappings(&mut self, config: &JwtConfig, path: &Path<'_>, errors: &mut ErrorList) {
        let mappings = &config.claim_mappings;
        let texts = [Type::String, Type::list(Type::String), Type::list(Type::Dyn)];
        self.username = compile_part(&mappings.username, &texts[..1], &path.child("username"), errors);
        if mappings.username.claim.is_empty() && mappings.username.expression.is_empty() {
            errors.required(&path.child("username"), "claim or expression is required");
        }
        self.groups = compile_part(&mappings.groups, &texts, &path.child("groups"), errors);
        let uid = Source {
            prefix: Some(String::new()).filter(|_| mappings.uid.expression.is_empty()),
            ..mappings.uid.clone()
        };
        self.uid = compile_part(&uid, &texts[..1], &path.child("uid"), errors);
        let (list, mut seen) = (path.child("extra"), BTreeSet::new());
        for (i, extra) in mappings.extra.iter().enumerate() {
            let path = list.index(i);
            let (key, text) = (extra.key.as_str(), extra.value_expression.as_str());
            validate_extra_key(key, &path.child("key"), errors);
            let value = path.child("valueExpression");
            if !seen.insert(key) {
                errors.duplicate(&path.child("key"), key);
            } else if text.is_empty() {
                errors.required(&value, "");
            } else if let Some(compiled) = compile(text, About::Claims, &texts, &value, errors) {
                self.extra.push((key.to_owned(), compiled));
            }
        }
        self.check_email(&path.child("username").child("expression"), errors);
    }

    /// An address that nobody verified may be anybody's.
    fn check_email(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let Part::Expression(username) = &self.username else { return };
        let rules = self.claim_rules.iter().map(|(rule, _)| rule);
        let mut all = self.extra.iter().map(|(_, extra)| extra).chain(rules).chain([username]);
        if username.reads("email") && !all.any(|expression| expression.reads("email_verified")) {
            errors.invalid(
                path,
                username.text(),
                "claims.email_verified must be used in claimMappings.username.expression or \
                 claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is \
                 used in claimMappings.username.expression",
            );
        }
    }

    /// The user of a verified token, without the `oidc: ` that upstream's errors begin with.
    pub fn user(&self, claims: &Value) -> Result<UserInfo, String> {
        let user = UserInfo {
            name: self.username(claims)?,
            groups: self.groups(claims)?,
            uid: self.uid(claims)?,
            extra: self.extra(claims)?,
        };
        self.check_claims(claims)?;
        self.check_user(&user)?;
        Ok(user)
    }

    fn username(&self, claims: &Value) -> Result<String, String> {
        match &self.username {
            Part::Nothing => Ok(String::new()),
            Part::Expression(expression) => {
                let name = expression.text_of(claims, "username");
                let name = name.map_err(|why| format!("error evaluating username claim expression: {why}"))?;
                if name.is_empty() { Err("empty username via CEL expression is not allowed".into()) } else { Ok(name) }
            }
            Part::Claim { name, prefix } => {
                let text = claim(claims, name).map_err(|why| format!("parse username claims {name:?}: {why}"))?;
                if name == "email" && !claims["email_verified"].is_null() {
                    match claims["email_verified"].as_bool() {
                        Some(true) => {}
                        Some(false) => return Err("email not verified".into()),
                        None => {
                            let why = mismatch(&claims["email_verified"], "bool");
                            return Err(format!("parse 'email_verified' claim: {why}"));
                        }
                    }
                }
                Ok(format!("{prefix}{text}"))
            }
        }
    }

    fn groups(&self, claims: &Value) -> Result<Vec<String>, String> {
        match &self.groups {
            Part::Nothing => Ok(Vec::new()),
            Part::Expression(expression) => {
                expression.texts_of(claims).map_err(|why| format!("error evaluating group claim expression: {why}"))
            }
            Part::Claim { name, prefix } => {
                let text = |value: &Value| value.as_str().map(|text| format!("{prefix}{text}"));
                let groups = match &claims[name.as_str()] {
                    Value::Null => Some(Vec::new()),
                    Value::Array(all) => all.iter().map(text).collect(),
                    one => text(one).map(|one| vec![one]),
                };
                let why = || format!("parse groups claim {name:?}: {}", mismatch(&claims[name.as_str()], "string"));
                groups.ok_or_else(why)
            }
        }
    }

    fn uid(&self, claims: &Value) -> Result<String, String> {
        match &self.uid {
            Part::Nothing => Ok(String::new()),
            Part::Claim { name, .. } => claim(claims, name).map_err(|why| format!("parse uid claim {name:?}: {why}")),
            Part::Expression(expression) => {
                expression.text_of(claims, "uid").map_err(|why| format!("error evaluating uid claim expression: {why}"))
            }
        }
    }

    fn extra(&self, claims: &Value) -> Result<Vec<(String, Vec<String>)>, String> {
        let mut extra = Vec::new();
        if let Some(id) = claims["jti"].as_str().filter(|id| !id.is_empty()) {
            extra.push(("authentication.kubernetes.io/credential-id".to_owned(), vec![format!("JTI={id}")]));
        }
        for (key, expression) in &self.extra {
            let failed = |why| format!("error evaluating extra claim expression: {}: {why}", expression.text());
            let values = expression.texts_of(claims).map_err(failed)?;
            if !values.is_empty() {
                extra.push((key.clone(), values));
            }
        }
        extra.sort();
        Ok(extra)
    }

    fn check_claims(&self, claims: &Value) -> Result<(), String> {
        for (name, wanted) in &self.required {
            if claims.get(name).is_none() {
                return Err(format!("required claim {name} not present in ID token"));
            }
            let got = claim(claims, name).map_err(|why| format!("parse claim {name}: {why}"))?;
            if got != *wanted {
                return Err(format!("required claim {name} value does not match. Got = {got}, want = {wanted}"));
            }
        }
        check(&self.claim_rules, claims).map_err(|why| format!("error evaluating claim validation expression: {why}"))
    }

    fn check_user(&self, user: &UserInfo) -> Result<(), String> {
        if self.user_rules.is_empty() {
            return Ok(());
        }
        let extra: Map<String, Value> = user.extra.iter().map(|(key, values)| (key.clone(), json!(values))).collect();
        let value = json!({ "username": user.name, "uid": user.uid, "groups": user.groups, "extra": extra });
        check(&self.user_rules, &value).map_err(|why| format!("error evaluating user info validation rule: {why}"))
    }
}

fn check(rules: &[(Expression, String)], input: &Value) -> Result<(), String> {
    for (rule, message) in rules {
        if !rule.holds(input)? {
            return Err(format!("validation expression '{}' failed: {message}", rule.text()));
        }
    }
    Ok(())
}

fn compile_part(source: &Source, wanted: &[Type], path: &Path<'_>, errors: &mut ErrorList) -> Part {
    match (&*source.claim, &*source.expression) {
        ("", "") => Part::Nothing,
        (claim, "") => {
            if source.prefix.is_none() {
                let why = "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
                errors.required(&path.child("prefix"), why);
            }
            Part::Claim { name: claim.to_owned(), prefix: source.prefix.clone().unwrap_or_default() }
        }
        ("", text) => {
            if let Some(prefix) = &source.prefix {
                errors.invalid(&path.child("prefix"), prefix.as_str(), "may not be specified when expression is set");
            }
            let compiled = compile(text, About::Claims, wanted, &path.child("expression"), errors);
            compiled.map_or(Part::Nothing, Part::Expression)
        }
        _ => {
            errors.invalid(path, "", BOTH);
            Part::Nothing
        }
    }
}

fn compile(text: &str, about: About, wanted: &[Type], path: &Path<'_>, errors: &mut ErrorList) -> Option<Expression> {
    let compiled = Expression::compile(text, about, wanted);
    compiled.map_err(|why| errors.invalid(path, text, why)).ok()
}

/// A claim that is a text.
fn claim(claims: &Value, name: &str) -> Result<String, String> {
    match claims.get(name) {
        None => Err("claim not present".to_owned()),
        Some(Value::String(text)) => Ok(text.clone()),
        // As Go reads null into a string.
        Some(Value::Null) => Ok(String::new()),
        Some(other) => Err(mismatch(other, "string")),
    }
}

fn mismatch(value: &Value, wanted: &str) -> String {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {kind} into Go value of type {wanted}")
}
