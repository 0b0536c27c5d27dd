//! Images for pods: pull policies, credentials, back-off, clean-up.

pub mod collector;
pub mod keyring;
pub mod puller;
