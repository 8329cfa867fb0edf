//! Asana, as far as this program reads it: one request, the pace of all of them, and pages.
//!
//! Rule: every request to Asana passes [`Pacer`] first and is judged by one function, [`verdict`]. What Asana says
//! about one object is an [`Answer`], also when it says no; an [`Error`](crate::error::Error) is what no object can
//! help: a refused token or one of somebody else, a redirect, a service that asks for more patience than a run has.
//!
//! The way of a request: [`Client`] → pace (its turn, under the limits of the token) → [`Transport`] (the network, or
//! a service in this process) → verdict → an answer, or the same way again.
//!
//! A crash leaves nothing behind: this room writes nothing. Dropping a future gives its place back.

mod answer;
mod client;
mod exchange;
mod http;
mod identity;
mod network;
mod pace;
mod pages;
mod statistics;
#[cfg(test)]
mod tests;
mod token;

pub use answer::{Answer, Events, Found, Heard, Page, Records, Refusal};
pub use client::{Client, ClientOptions, Live};
pub use http::{RetryOptions, Verdict, verdict};
pub use network::{AnswerBody, Get, NetworkOptions, Transport, transport_in_process, transport_over_network};
pub use pace::{PaceOptions, Pacer};
pub use pages::Pages;
pub use statistics::Statistics;
pub use token::Token;
