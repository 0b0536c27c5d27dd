//! A request as its level knows it: who asks, for what, and how much it takes.

use std::sync::Arc;

use orlop_client::transport::UserInfo;
use tokio::time::Instant;

use super::metrics::Tally;
use super::schema::Distinguisher;
use super::width::Width;
use crate::request::RequestInfo;

#[derive(Clone, Debug)]
pub struct Asked {
    pub user: Arc<UserInfo>,
    pub info: Arc<RequestInfo>,
    /// Its schema's.
    pub tally: Arc<Tally>,
    pub distinguisher: Distinguisher,
    pub width: Width,
    pub arrived: Instant,
}

impl Asked {
    /// What tells its flow from others of its schema.
    pub fn flow(&self) -> &str {
        self.distinguisher.of(&self.user, &self.info)
    }
}

/// One that is being served.
#[derive(Clone, Debug)]
pub struct Served {
    pub asked: Asked,
    /// The one it comes from, if it had to wait.
    pub queue: Option<usize>,
    pub since: Instant,
}
