//! HTTP/1.x (RFC 9110, RFC 9112), as far as a tracker speaks it.
//!
//! `request` finds one request in bytes, by `usual_head` where it has the form that nearly all
//! have; `head` keeps of its headers what matters, `route` takes its target apart; `response`
//! frames an answer, `reply` writes the bodies of announces and scrapes, `fault` is what is wrong
//! below the tracker protocol.

pub mod fault;
pub mod head;
pub mod reply;
pub mod request;
pub mod response;
pub mod route;
mod usual_head;
