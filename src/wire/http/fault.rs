//! What is wrong below the tracker protocol.
//!
//! Owns: the faults that are answered with a 4xx or 5xx, and their texts. Whatever the tracker
//! protocol can express is a [`Failure`](crate::wire::failure::Failure) instead: clients hide the
//! text of a 4xx from their users.

/// What is wrong below the tracker protocol; answered with its status, then the connection closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HttpFault {
    /// 400: not HTTP/1.x.
    BadRequest,
    /// 404: no route.
    NotFound,
    /// 405: neither GET nor HEAD nor OPTIONS.
    MethodNotAllowed,
    /// 408: part of a request arrived, and the rest did not in time.
    Timeout,
    /// 414: the limit was reached, and the request line takes the larger part of it.
    TargetTooLong,
    /// 431: the limit was reached, and the headers take the larger part of it, or there are too
    /// many of them.
    HeadersTooLarge,
    /// 503: too many connections to read this one.
    Overloaded,
}

impl HttpFault {
    /// The status line, and the text of the body: one line each. Transmission looks for
    /// `Request-URI Too Long` and asks for fewer torrents in its next scrape; RFC 9110 wants
    /// `Allow` with a 405.
    pub fn texts(self) -> (&'static str, &'static str) {
        match self {
            HttpFault::BadRequest => {
                ("HTTP/1.1 400 Bad Request", "Bad Request: this is not HTTP/1.1\n")
            }
            HttpFault::NotFound => {
                ("HTTP/1.1 404 Not Found", "Not Found: there is /announce and /scrape\n")
            }
            HttpFault::MethodNotAllowed => (
                "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD, OPTIONS",
                "Method Not Allowed: use GET\n",
            ),
            HttpFault::Timeout => (
                "HTTP/1.1 408 Request Timeout",
                "Request Timeout: the rest of the request did not come\n",
            ),
            HttpFault::TargetTooLong => (
                "HTTP/1.1 414 Request-URI Too Long",
                "Request-URI Too Long: ask for fewer torrents\n",
            ),
            HttpFault::HeadersTooLarge => (
                "HTTP/1.1 431 Request Header Fields Too Large",
                "Request Header Fields Too Large: send fewer headers\n",
            ),
            HttpFault::Overloaded => {
                ("HTTP/1.1 503 Service Unavailable", "Service Unavailable: too many connections\n")
            }
        }
    }
}

impl From<httparse::Error> for HttpFault {
    fn from(error: httparse::Error) -> HttpFault {
        match error {
            httparse::Error::TooManyHeaders => HttpFault::HeadersTooLarge,
            _ => HttpFault::BadRequest,
        }
    }
}
