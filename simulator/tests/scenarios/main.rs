//! Scenarios in virtual time, by theme: a handful of nodes, one thing that happens, and all that follows from it.

mod attacks;
mod circuits;
mod crypto;
mod direct;
mod driver;
mod dsl;
mod links;
mod member_data;
mod messages;
mod rooms;
mod routing;
