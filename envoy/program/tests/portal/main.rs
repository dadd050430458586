//! The portal as its users meet it: the program, Envoy, the Wasm filter.
//!
//! kubehook's documented commands are golden here, with only the address changed. Needs the filter's module
//! (`GATEWAY_FILTER`) and Envoy (`ENVOY_BIN`); `make unit` names both.

mod attacks;
mod commands;
mod keys;
mod life;
mod portal;
mod together;
mod trust;
