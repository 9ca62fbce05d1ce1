//! What is different about a load over UDP: its servers, and how it is sent.

use std::io;

use super::{BARE, Contender, OPENTRACKER, Runner};
use crate::loads::{Datagrams, Load};
use crate::population::Population;
use crate::site::installed;
use crate::udp_client::UdpTraffic;

const AQUATIC_UDP: &str = "aquatic_udp";
/// Where every peer announces itself once: few, so that a small receive buffer loses none of them.
const FILL_WINDOW: usize = 2;

impl Runner<'_> {
    /// Adds the bare server and the rivals; the mean length of the answers, which those of the bare
    /// server have. They are the tracker's, or a rival's when the tracker does not answer.
    pub(super) fn add_udp_servers<'p>(
        &self,
        load: &Load,
        population: &'p Population,
        contenders: &mut Vec<Contender<'p>>,
    ) -> io::Result<usize> {
        if self.takes_rivals(load) {
            contenders.push(match installed(OPENTRACKER) {
                None => {
                    Contender::missing(OPENTRACKER, "is not installed: apt-get install opentracker")
                }
                Some(program) => self.contender(load, population, OPENTRACKER, |ground| {
                    ground.opentracker(&program)
                }),
            });
            contenders.push(match installed(AQUATIC_UDP) {
                None => {
                    Contender::missing(AQUATIC_UDP, "is not installed: cargo install aquatic_udp")
                }
                Some(program) => self.contender(load, population, AQUATIC_UDP, |ground| {
                    ground.aquatic_udp(&program)
                }),
            });
        }
        let first = contenders.iter_mut().find(|contender| contender.running.is_some());
        let answer_bytes = first.map_or(Ok(0), |contender| self.warm_up(contender))?;
        let bare = self.contender(load, population, BARE, |ground| ground.bare_udp(answer_bytes));
        contenders.insert(1, bare);
        Ok(answer_bytes)
    }

    /// How a load over UDP is sent; the first time, or again and again.
    pub(super) fn udp_traffic(&self, load: &Load, how: Datagrams, started: bool) -> UdpTraffic {
        let how = match started {
            true => Datagrams { window: FILL_WINDOW, connects: false },
            false => how,
        };
        UdpTraffic {
            sockets: self.options.connections,
            window: how.window,
            connects: how.connects,
            spins: self.spins(load),
            numwant: self.options.numwant,
            started,
            scrape_in: load.scrape_in.filter(|_| !started),
        }
    }
}
