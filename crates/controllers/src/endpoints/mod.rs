//! What a Service leads to: EndpointSlices, and the older Endpoints object
//! (`k8s.io/endpointslice`, `pkg/controller/endpoint`).

mod backends;
pub mod mirroring;
mod object;
mod packing;
mod slices;
#[cfg(test)]
mod tests;

pub use object::controller as endpoints;
pub use slices::controller as endpoint_slices;
