//! What is asked, in parts that can be run alone.

pub mod discovery;
pub mod objects;
pub mod openapi;
pub mod scripts;
pub mod start;

mod stored;
