//! Where the target of a request leads.
//!
//! Owns: the paths that mean something, and where a target's query begins and ends.
//!
//! Never: unescapes a path: no client escapes the segments that matter.

use memchr::{memchr2, memrchr2};

use crate::wire::query::{pairs, pairs_behind_question_marks, split_once, value_of};

/// Where a request target leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route<'b> {
    /// An announce, with its query.
    Announce(&'b [u8]),
    /// A scrape, with its query, fragment included: see [`Hashes`](crate::wire::scrape::Hashes).
    Scrape(&'b [u8]),
    /// The one line that says who answers here.
    Index,
    /// The lines that ask search engines to stay away.
    Robots,
    /// The icon that browsers ask for. There is none, and it is nobody's fault.
    Icon,
    /// Nothing.
    NotFound,
}

/// Takes a request target apart. The last path segment that begins with `announce` or `scrape`
/// decides, whatever stands before or behind it: `/announce`, `/announce.php`, `//announce`,
/// `/announce/`, `/KEY/announce`, `/announce/KEY`, `http://host/announce`. Announces to the root
/// are told by their info hash. Segments are compared as they were sent: no client escapes them.
pub fn route(target: &[u8]) -> Route<'_> {
    // Nearly every announce and scrape.
    if let Some(query) = target.strip_prefix(b"/announce?") {
        return Route::Announce(without_fragment(skip_question_marks(query)));
    }
    if let Some(query) = target.strip_prefix(b"/scrape?") {
        return Route::Scrape(skip_question_marks(query));
    }
    let Some(target) = origin_form(target) else {
        return Route::NotFound;
    };
    let (path, query) = split_once(target, b'?').unwrap_or((target, b""));
    let query = skip_question_marks(query);
    for segment in path.rsplit(|byte| *byte == b'/') {
        if segment.starts_with(b"announce") {
            return Route::Announce(without_fragment(query));
        }
        if segment.starts_with(b"scrape") {
            return Route::Scrape(query);
        }
    }
    let query = without_fragment(query);
    match without_fragment(path) {
        b"/robots.txt" => Route::Robots,
        b"/favicon.ico" => Route::Icon,
        b"" | b"/" if query.is_empty() => Route::Index,
        b"" | b"/" if names_info_hash(query) => Route::Announce(query),
        _ => Route::NotFound,
    }
}

/// Further question marks in front of a query are no part of it.
fn skip_question_marks(mut query: &[u8]) -> &[u8] {
    while let [b'?', rest @ ..] = query {
        query = rest;
    }
    query
}

/// Cuts off what a `#` in the last pair of a query begins: libtorrent sends the fragment of an
/// announce URL. In a pair before the last, `#` is a byte of an info hash that was not escaped.
fn without_fragment(mut query: &[u8]) -> &[u8] {
    while let Some(at) = memrchr2(b'#', b'&', query)
        && query[at] == b'#'
    {
        query = &query[..at];
    }
    query
}

fn names_info_hash(query: &[u8]) -> bool {
    let is_info_hash = |pair| value_of(pair, b"info_hash").is_some();
    pairs(query).any(is_info_hash)
        || pairs_behind_question_marks(query).is_some_and(|mut pairs| pairs.any(is_info_hash))
}

/// Path and query of a target; of an absolute one (`http://host/announce?…`, as proxies
/// are sent) what follows its host.
fn origin_form(target: &[u8]) -> Option<&[u8]> {
    if let [b'/' | b'?', ..] = target {
        return Some(target);
    }
    let (scheme, rest) = split_once(target, b':')?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return None;
    }
    let after_scheme = rest.strip_prefix(b"//")?;
    let host_bytes = memchr2(b'/', b'?', after_scheme).unwrap_or(after_scheme.len());
    after_scheme.get(host_bytes..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_is_cut_off_wherever_it_stands_in_the_last_pair() {
        for bytes in 0..40 {
            for at in 0..bytes {
                let mut query = vec![b'%'; bytes];
                query[at] = b'#';
                assert_eq!(without_fragment(&query), &query[..at], "# at {at} of {bytes}");
                for other in at + 1..bytes {
                    query[other] = b'#';
                    assert_eq!(without_fragment(&query), &query[..at], "two # from {at} on");
                    query[other] = b'&';
                    assert_eq!(without_fragment(&query), query, "& at {other} behind # at {at}");
                    query[other] = b'%';
                }
            }
            for filling in [b'%', b'\'', b'"', 0, 0xff] {
                let query = vec![filling; bytes];
                assert_eq!(without_fragment(&query), query, "{bytes} of {filling}");
            }
        }
    }
}
