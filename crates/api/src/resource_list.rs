//! `v1.ResourceList`: amounts by resource name, and the arithmetic quotas, limits and requests share
//! (`k8s.io/apiserver/pkg/quota/v1/resources.go`).

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::quantity::Quantity;

/// Amounts by resource name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceList(BTreeMap<String, Quantity>);

impl ResourceList {
    /// Reads a list; what is no quantity counts as nothing, validation keeps it out.
    pub fn read(list: &Value) -> Self {
        let entries = list.as_object().into_iter().flatten();
        Self(entries.filter_map(|(name, amount)| Some((name.clone(), quantity(amount)?))).collect())
    }

    pub fn to_value(&self) -> Value {
        let entries = self.0.iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string())));
        Value::Object(entries.collect::<Map<_, _>>())
    }

    pub fn get(&self, name: &str) -> Option<&Quantity> {
        self.0.get(name)
    }

    pub fn set(&mut self, name: impl Into<String>, amount: Quantity) {
        self.0.insert(name.into(), amount);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Quantity)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), amount))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn retain(&mut self, keep: impl Fn(&str, &Quantity) -> bool) {
        self.0.retain(|name, amount| keep(name, amount));
    }

    /// Adds name by name.
    pub fn add(&mut self, more: &Self) {
        for (name, amount) in &more.0 {
            match self.0.get_mut(name) {
                Some(mine) => mine.add(amount),
                None => self.set(name.clone(), amount.clone()),
            }
        }
    }

    /// The larger of both, name by name.
    pub fn raise(&mut self, floor: &Self) {
        for (name, amount) in &floor.0 {
            if self.0.get(name).is_none_or(|mine| amount > mine) {
                self.set(name.clone(), amount.clone());
            }
        }
    }

    /// Subtracts name by name, never below zero; what only `less` names becomes zero.
    pub fn subtract_to_zero(&mut self, less: &Self) {
        for (name, amount) in &less.0 {
            let mine = self.0.entry(name.clone()).or_insert(Quantity::ZERO);
            mine.sub(amount);
            if mine.sign() < 0 {
                *mine = Quantity::ZERO;
            }
        }
    }

    /// The entries with these names.
    pub fn mask<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let kept = names.into_iter().filter_map(|name| Some((name.to_owned(), self.0.get(name)?.clone())));
        Self(kept.collect())
    }

    /// Names whose amount is above what `limit` says of them.
    pub fn exceeding<'a>(&'a self, limit: &Self) -> Vec<&'a str> {
        self.iter()
            .filter(|(name, amount)| limit.get(name).is_some_and(|most| *amount > most))
            .map(|(n, _)| n)
            .collect()
    }
}

impl FromIterator<(String, Quantity)> for ResourceList {
    fn from_iter<I: IntoIterator<Item = (String, Quantity)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

/// `cpu=1,memory=2Gi`
impl fmt::Display for ResourceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, amount)) in self.0.iter().enumerate() {
            write!(f, "{}{name}={amount}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// A quantity as JSON may hold it: text or number.
pub fn quantity(amount: &Value) -> Option<Quantity> {
    match amount {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arithmetic() {
        let mut list = ResourceList::read(&json!({"cpu": "500m", "pods": 2}));
        list.add(&ResourceList::read(&json!({"cpu": "500m", "memory": "1Gi"})));
        assert_eq!(list.to_string(), "cpu=1,memory=1Gi,pods=2");
        list.raise(&ResourceList::read(&json!({"cpu": "250m", "pods": "3"})));
        assert_eq!(list.mask(["cpu", "pods", "x"]).to_string(), "cpu=1,pods=3");
        assert_eq!(list.exceeding(&ResourceList::read(&json!({"pods": 2, "cpu": 1}))), ["pods"]);
        list.subtract_to_zero(&ResourceList::read(&json!({"cpu": "2", "secrets": "1"})));
        assert_eq!(list.to_value(), json!({"cpu": "0", "memory": "1Gi", "pods": "3", "secrets": "0"}));
    }
}
