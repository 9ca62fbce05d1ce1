//! HTTP heads: any bytes are read without harm, and how the network cuts them changes nothing.

use crate::tests::naive::naive_route;
use crate::wire::http::fault::HttpFault;
use crate::wire::http::head::Head;
use crate::wire::http::request::{Parsed, parse};
use crate::wire::http::route::{Route, route};

/// The default request limit, and one that short inputs reach.
const REQUEST_BYTES_MAX: [usize; 2] = [8_192, 100];
/// Prefixes tried of every input, not counting those at the end of its first request.
const PREFIXES: usize = 16;

/// `bytes` are what a connection has received.
pub fn http_head(bytes: &[u8]) {
    for request_bytes_max in REQUEST_BYTES_MAX {
        let outcome = parse(bytes, request_bytes_max);
        if let Ok(Parsed::Complete { head, consumed }) = outcome {
            assert!(
                consumed <= bytes.len().min(request_bytes_max),
                "{consumed} bytes were consumed"
            );
            assert_eq!(
                parse(&bytes[..consumed - 1], request_bytes_max),
                Ok(Parsed::Partial),
                "one byte less"
            );
            assert_eq!(parse(&bytes[..consumed], request_bytes_max), outcome, "the request alone");
            check_end(&bytes[..consumed]);
            check_target(&head);
        }
        check_reader(bytes, request_bytes_max, outcome);
        check_prefixes(bytes, request_bytes_max, outcome);
    }
}

/// With an empty line before it a request is httparse's to read: nothing else may follow from that.
fn check_reader(bytes: &[u8], request_bytes_max: usize, outcome: Result<Parsed<'_>, HttpFault>) {
    let complete = |outcome, line_bytes| match outcome {
        Ok(Parsed::Complete { mut head, consumed }) => {
            head.bytes = &head.bytes[line_bytes..];
            Some((head, consumed - line_bytes))
        }
        _ => None,
    };
    let behind_a_line = [b"\r\n", bytes].concat();
    let by_httparse = parse(&behind_a_line, request_bytes_max + 2);
    assert_eq!(complete(outcome, 0), complete(by_httparse, 2), "two readers disagree");
}

/// Once a prefix has an outcome, every longer one has the same.
fn check_prefixes(bytes: &[u8], request_bytes_max: usize, outcome: Result<Parsed<'_>, HttpFault>) {
    let stride = bytes.len() / PREFIXES + 1;
    let mut decided = false;
    for cut in (0..bytes.len()).step_by(stride) {
        match parse(&bytes[..cut], request_bytes_max) {
            Ok(Parsed::Partial) => assert!(!decided, "undecided again after {cut} bytes"),
            early => {
                decided = true;
                assert_eq!(early, outcome, "after {cut} bytes");
            }
        }
    }
}

/// A request ends with its first empty line, whatever its headers say.
fn check_end(request: &[u8]) {
    let start = request.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let is_end = |end: &usize| {
        request[start..*end].ends_with(b"\n\n") || request[start..*end].ends_with(b"\n\r\n")
    };
    assert_eq!((start..=request.len()).find(is_end), Some(request.len()));
}

/// No byte that could end a line is in a target, and it leads where the naive reading says.
fn check_target(head: &Head<'_>) {
    assert!(!head.target.is_empty() && !head.target.starts_with(b" "), "{head:?}");
    assert!(!head.target.iter().any(u8::is_ascii_control), "{head:?}");
    let (name, query): (_, &[u8]) = match route(head.target) {
        Route::Announce(query) => ("announce", query),
        Route::Scrape(query) => ("scrape", query),
        Route::Index => ("index", b""),
        Route::Icon => ("icon", b""),
        Route::Robots => ("robots", b""),
        Route::NotFound => ("not found", b""),
    };
    let (naive_name, naive_query) = naive_route(head.target);
    assert_eq!(name, naive_name, "where {head:?} leads");
    assert_eq!(query, naive_query, "the query of {head:?}");
}
