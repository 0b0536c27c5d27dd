//! Keeps the zone true: follows Services and EndpointSlices.
