//! What is no announce and no scrape: `/`, `/robots.txt`, the icon, and paths that lead nowhere.

use crate::config::Index;
use crate::counters::Counter;
use crate::frontend::output::Output;
use crate::tracker::Round;
use crate::wire::http::fault::HttpFault;
use crate::wire::http::response::{self, Framing};
use crate::wire::http::route::Route;

/// Writes the page of a route that is no request of a client's.
#[cold]
#[inline(never)]
pub(super) fn answer(
    route: Route<'_>,
    framing: Framing,
    round: &mut Round<'_>,
    out: &mut Output<'_>,
) {
    match route {
        Route::Index => out.write(|buffer| match &round.live.index {
            Index::Program => response::index(framing, buffer),
            Index::Text(text) => response::text(text, framing, buffer),
            Index::Redirect(url) => response::redirect(url, framing, buffer),
        }),
        Route::Robots => out.write(|buffer| response::robots(framing, buffer)),
        Route::Icon => {
            out.write(|buffer| response::fault(HttpFault::NotFound, framing, buffer));
        }
        Route::NotFound | Route::Announce(_) | Route::Scrape(_) => {
            round.count(Counter::FaultNotFound);
            out.write(|buffer| response::fault(HttpFault::NotFound, framing, buffer));
        }
    }
}
