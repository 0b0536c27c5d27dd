//! The server's shared state.

use std::sync::Arc;

use crate::admission::{self, Plugin};
use crate::auth::{Authenticator, Authorizer};
use crate::extend::{self, Extension, Extensions};

/// What a server is made of.
pub struct ServerConfig {
    /// Asked in order; the first that knows the caller wins.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    pub authorizer: Arc<dyn Authorizer>,
    /// Added to the built-in ones.
    pub extensions: Vec<Extension>,
    /// Added to the built-in ones, sorted into upstream's order by name.
    pub admission: Vec<Arc<dyn Plugin>>,
}

pub struct Server {
    pub(crate) authenticators: Vec<Arc<dyn Authenticator>>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) extensions: Extensions,
    pub(crate) admission: Vec<Arc<dyn Plugin>>,
}

impl Server {
    pub fn new(config: ServerConfig) -> Arc<Self> {
        Arc::new(Self {
            authenticators: config.authenticators,
            authorizer: config.authorizer,
            extensions: Extensions::new(extend::builtin().into_iter().chain(config.extensions)),
            admission: admission::ordered(admission::builtin().into_iter().chain(config.admission).collect()),
        })
    }
}
