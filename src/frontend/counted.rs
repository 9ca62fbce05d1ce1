//! Which counter each refusal and each fault adds to.
//!
//! Never: counts anything itself.

use crate::counters::Counter;
use crate::wire::failure::Failure;
use crate::wire::http::fault::HttpFault;

/// The counter of a request that is answered with `failure`.
pub(super) fn of_failure(failure: Failure) -> Counter {
    match failure {
        Failure::MissingField(_) => Counter::RefusedField,
        Failure::InfoHashLength => Counter::RefusedInfoHash,
        Failure::PeerIdLength => Counter::RefusedPeerId,
        Failure::PortInvalid | Failure::PortZero => Counter::RefusedPort,
        Failure::NotRegistered => Counter::RefusedNotRegistered,
        Failure::Banned => Counter::RefusedBanned,
        Failure::Unavailable => Counter::RefusedUnavailable,
        Failure::Busy => Counter::RefusedBusy,
        Failure::TooOften => Counter::RefusedTooOften,
        Failure::FullScrapeTooSoon | Failure::FullScrapeOff | Failure::FullScrapeTooLarge => {
            Counter::RefusedFullScrape
        }
    }
}

/// The counter of what is answered with `fault`.
pub(super) fn of_fault(fault: HttpFault) -> Counter {
    match fault {
        HttpFault::BadRequest => Counter::FaultBadRequest,
        HttpFault::NotFound => Counter::FaultNotFound,
        HttpFault::MethodNotAllowed => Counter::FaultMethod,
        HttpFault::Timeout => Counter::FaultTimeout,
        HttpFault::TargetTooLong => Counter::FaultTarget,
        HttpFault::HeadersTooLarge => Counter::FaultHeaders,
        HttpFault::Overloaded => Counter::FaultOverloaded,
    }
}
