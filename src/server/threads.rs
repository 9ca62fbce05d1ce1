//! The workers' threads: started over opened sockets, stopped in good order.
//!
//! Owns: the threads. Whoever starts them is told of each one's end, in order or by panic.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::mailbox::Wake;
use crate::secrets;
use crate::server::inherited::HandedSocket;
use crate::server::parts::{Own, WorkerShared};
use crate::server::sockets::Sockets;
use crate::server::stop::{Stop, StopOptions};
use crate::server::worker::Worker;

/// Running workers; dropping this without [`Server::stop_and_join`] leaves them running.
pub struct Server {
    addresses: Vec<SocketAddr>,
    udp_addresses: Vec<SocketAddr>,
    for_successor: Vec<HandedSocket>,
    workers: Vec<JoinHandle<io::Result<()>>>,
    wakes: Vec<Wake>,
    stop: Arc<Stop>,
}

/// Is told the index of a worker that has ended.
type WorkerEnded = Arc<dyn Fn(usize) + Send + Sync>;

/// Tells of a worker's end however its thread ends.
struct EndNotice(usize, WorkerEnded);

impl Drop for EndNotice {
    fn drop(&mut self) {
        (self.1)(self.0);
    }
}

impl Server {
    /// Starts a worker for each set of sockets. `worker_ended` is called with the index of each
    /// that ends.
    ///
    /// # Errors
    /// When a worker or its thread cannot be made.
    pub fn start(
        sockets: Sockets,
        shared: &WorkerShared,
        worker_ended: impl Fn(usize) + Send + Sync + 'static,
    ) -> io::Result<Server> {
        let Sockets { workers: of_workers, addresses, udp_addresses, wakes, for_successor } =
            sockets;
        let worker_ended: WorkerEnded = Arc::new(worker_ended);
        let mut server = Server {
            addresses,
            udp_addresses,
            for_successor,
            workers: Vec::new(),
            wakes,
            stop: Arc::default(),
        };
        let workers = of_workers.len();
        for (number, own) in of_workers.into_iter().enumerate() {
            let own = Own {
                index: u16::try_from(number).map_err(io::Error::other)?,
                workers,
                poll: own.poll,
                listeners: own.listeners,
                datagram_sockets: own.datagram_sockets,
                seed: secrets::key()?,
            };
            let worker = Worker::new(shared.clone(), own, Arc::clone(&server.stop))?;
            server.workers.push(spawn(number, worker, Arc::clone(&worker_ended))?);
        }
        Ok(server)
    }

    /// Where the workers listen, with the ports the kernel chose for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The same for UDP.
    pub fn udp_addresses(&self) -> &[SocketAddr] {
        &self.udp_addresses
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Each socket once more, to be handed to a successor.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn sockets(&self) -> io::Result<Vec<HandedSocket>> {
        self.for_successor.iter().map(HandedSocket::try_clone).collect()
    }

    /// Lets kept-alive connections come for a last answer, stops accepting, lets what is being
    /// answered be answered, and waits for the workers.
    ///
    /// # Errors
    /// The first worker's that ended badly.
    pub fn stop_and_join(mut self, options: StopOptions) -> io::Result<()> {
        if !options.has_successor {
            // The workers' own are the last ones then: when they close, clients are refused.
            self.for_successor.clear();
        }
        self.stop.begin(options, self.workers.len());
        self.wakes.iter().for_each(|wake| wake());
        let ends = self.workers.into_iter().map(|worker| match worker.join() {
            Ok(end) => end,
            Err(_) => Err(io::Error::other("a worker panicked")),
        });
        // All are waited for, whatever the first one's end was.
        let mut worst = Ok(());
        for end in ends {
            worst = worst.and(end);
        }
        worst
    }
}

fn spawn(
    index: usize,
    worker: Worker,
    worker_ended: WorkerEnded,
) -> io::Result<JoinHandle<io::Result<()>>> {
    thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let _notice = EndNotice(index, worker_ended);
        let end = worker.run();
        if let Err(error) = &end {
            log::error!("worker {index} cannot go on: {error}");
        }
        end
    })
}
