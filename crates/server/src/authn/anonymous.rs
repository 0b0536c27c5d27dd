//! Where callers without credentials are let in.

/// `--anonymous-auth`, or `anonymous` of an AuthenticationConfiguration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anonymous {
    Nowhere,
    Everywhere,
    /// Only at exactly these paths.
    At(Vec<String>),
}

impl Anonymous {
    pub fn admits(&self, path: &str) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Everywhere => true,
            Self::At(paths) => paths.iter().any(|known| known == path),
        }
    }
}
