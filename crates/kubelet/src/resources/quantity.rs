//! Amounts in lists of resources.

use std::collections::BTreeMap;
use std::fmt;

use orlop_api::quantity::{Format, Quantity as Exact};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What a pod or container asks for, by resource name.
pub type ResourceList = BTreeMap<String, Quantity>;

/// A quantity to reckon with.
#[derive(Clone, Debug)]
pub struct Amount(Exact);

impl Amount {
    pub fn zero() -> Self {
        Self(Exact::ZERO)
    }

    /// Whole units, such as pods, printed with decimal suffixes.
    pub fn units(units: i64) -> Self {
        Self(Exact::new(units, Format::DecimalSi))
    }

    /// Whole units, printed with binary suffixes, as memory is.
    pub fn bytes(bytes: i64) -> Self {
        Self(Exact::new(bytes, Format::BinarySi))
    }

    pub fn milli(milli: i64) -> Self {
        Self(Exact::from_milli(milli, Format::DecimalSi))
    }

    /// `None` for what is not a quantity; the API server lets none through.
    pub fn parse(text: &str) -> Option<Self> {
        Exact::parse(text).ok().map(Self)
    }

    /// The amount in `list`, zero when absent.
    pub fn of(list: Option<&ResourceList>, name: &str) -> Self {
        Self::find(list, name).unwrap_or_else(Self::zero)
    }

    pub fn find(list: Option<&ResourceList>, name: &str) -> Option<Self> {
        list?.get(name).and_then(|q| Self::parse(&q.0))
    }

    /// Whole units, rounded up.
    pub fn value(&self) -> i64 {
        self.0.value()
    }

    /// Thousandths, rounded up.
    pub fn milli_value(&self) -> i64 {
        self.0.milli_value()
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// Never below zero: what is left after a reservation.
    pub fn saturating_sub(mut self, other: &Self) -> Self {
        self.0.sub(&other.0);
        if self.0.sign() < 0 { Self::zero() } else { self }
    }

    pub fn to_quantity(&self) -> Quantity {
        Quantity(self.to_string())
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.0.partial_cmp(&other.0)
    }
}

impl std::ops::Add for Amount {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self.0.add(&other.0);
        self
    }
}
