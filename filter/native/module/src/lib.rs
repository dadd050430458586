//! The library that Envoy loads as a dynamic module. All of it is in `gateway_native`, whose exported functions come along.

pub use gateway_native as adapter;
