//! The workers' threads: started over opened sockets, stopped in good order.
//!
//! Owns: the threads. Whoever starts them is told of each one's end, in order or by panic.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::mailbox::Wake;
use crate::secrets;
use crate::server::sockets::Sockets;
use crate::server::worker::{Own, Stop, Worker, WorkerShared};

/// Running workers; dropping this without [`Server::stop_and_join`] leaves them running.
pub struct Server {
    addresses: Vec<SocketAddr>,
    udp_addresses: Vec<SocketAddr>,
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
        let Sockets { workers: of_workers, addresses, udp_addresses, wakes } = sockets;
        let worker_ended: WorkerEnded = Arc::new(worker_ended);
        let stop = Arc::default();
        let mut server = Server { addresses, udp_addresses, workers: Vec::new(), wakes, stop };
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

    /// Stops accepting, lets what is being answered be answered, for `grace` at most, and waits for
    /// the workers.
    ///
    /// # Errors
    /// The first worker's that ended badly.
    pub fn stop_and_join(self, grace: Duration) -> io::Result<()> {
        self.stop.begin(grace);
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
