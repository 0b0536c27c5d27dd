//! Images for pods: pull policies, credentials, back-off, clean-up.

pub mod keyring;
pub mod puller;
