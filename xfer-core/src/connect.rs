//! From a location to a live endpoint.
