//! The slow and obvious way to read a datagram, for the fast one to be judged against: field after
//! field, over owned bytes, as the tables of BEP 15 and BEP 41 list them.

use std::net::Ipv4Addr;

use crate::ids::{Crypto, Event, InfoHash, PeerId};
use crate::wire::announce::Announce;
use crate::wire::failure::Failure;
use crate::wire::udp::NoRequest;

/// A request with everything it says, nothing borrowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NaiveRequest {
    Connect {
        transaction_id: u32,
    },
    Announce {
        connection_id: u64,
        transaction_id: u32,
        announce: Result<Announce, Failure>,
        options: Vec<NaiveOption>,
    },
    Scrape {
        connection_id: u64,
        transaction_id: u32,
        hashes: Vec<InfoHash>,
    },
}

/// Kind and data.
pub type NaiveOption = (u8, Vec<u8>);

/// The bytes not yet read.
struct Rest(Vec<u8>);

impl Rest {
    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let behind = (count <= self.0.len()).then(|| self.0.split_off(count))?;
        Some(std::mem::replace(&mut self.0, behind))
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.into_iter().fold(0, |number, byte| number << 8 | u64::from(byte)))
    }

    fn twenty(&mut self) -> Option<[u8; 20]> {
        self.take(20)?.try_into().ok()
    }
}

fn narrow<T: TryFrom<u64>>(number: u64) -> T {
    T::try_from(number).ok().unwrap()
}

pub fn naive_request(packet: &[u8]) -> Result<NaiveRequest, NoRequest> {
    let mut rest = Rest(packet.to_vec());
    let too_short = NoRequest::TooShort;
    let connection_id = rest.number(8).ok_or(too_short)?;
    let action = rest.number(4).ok_or(too_short)?;
    let transaction_id = narrow(rest.number(4).ok_or(too_short)?);
    match action {
        0 if connection_id == 0x0417_2710_1980 => Ok(NaiveRequest::Connect { transaction_id }),
        1 => {
            let announce = naive_announce(&mut rest).ok_or(too_short)?;
            let options = naive_options(&rest.0);
            Ok(NaiveRequest::Announce { connection_id, transaction_id, announce, options })
        }
        2 => {
            let mut hashes = Vec::new();
            while let Some(hash) = rest.twenty() {
                hashes.push(InfoHash(hash));
            }
            hashes.truncate(74);
            Ok(NaiveRequest::Scrape { connection_id, transaction_id, hashes })
        }
        _ => Err(NoRequest::Unknown),
    }
}

/// None when it ends too early.
fn naive_announce(rest: &mut Rest) -> Option<Result<Announce, Failure>> {
    let info_hash = InfoHash(rest.twenty()?);
    let peer_id = PeerId(rest.twenty()?);
    let _downloaded = rest.number(8)?;
    let left = rest.number(8)?;
    let _uploaded = rest.number(8)?;
    let event = rest.number(4)?;
    let ip: u32 = narrow(rest.number(4)?);
    let _key = rest.number(4)?;
    let numwant: u32 = narrow(rest.number(4)?);
    let port: u16 = narrow(rest.number(2)?);
    let announce = Announce {
        info_hash,
        peer_id,
        port,
        seeder: left == 0,
        event: match event {
            1 => Event::Completed,
            2 => Event::Started,
            3 => Event::Stopped,
            _ => Event::Update,
        },
        numwant: if numwant < 1 << 31 { Some(numwant) } else { None },
        compact: true,
        no_peer_id: true,
        ip: if ip == 0 { None } else { Some(Ipv4Addr::from_bits(ip).into()) },
        crypto: Crypto::None,
    };
    Some(if port == 0 { Err(Failure::PortInvalid) } else { Ok(announce) })
}

/// The options of BEP 41 up to the end, the end option, or the first that is not whole.
pub fn naive_options(options: &[u8]) -> Vec<NaiveOption> {
    let mut found = Vec::new();
    let mut rest = Rest(options.to_vec());
    while let Some(kind) = rest.number(1).map(narrow::<u8>) {
        match kind {
            0 => break,
            1 => {}
            _ => {
                let data = rest.number(1).and_then(|bytes| rest.take(narrow(bytes)));
                let Some(data) = data else { break };
                found.push((kind, data));
            }
        }
    }
    found
}
