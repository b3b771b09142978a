//! The listener: accepts connections while there is room, and drains them at the end.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tokio_io_timeout::TimeoutStream;

use super::{Config, SharedService, respond::Responder};

/// A bound listener.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    config: Arc<Config>,
    responder: Responder,
}

// How long requests under way may take once the server is told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
// After a failed accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

// === impl Server ===

impl Server {
    /// Takes the listening address.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn bind(config: Config, service: SharedService) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen_address).await?;
        let config = Arc::new(config);
        let responder = Responder::new(Arc::clone(&config), service);
        Ok(Self { listener, config, responder })
    }

    /// The address it listens on; the port is a real one even if 0 was asked for.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` becomes true; then finishes the requests under way.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let connections = GracefulShutdown::new();
        let mut tasks = JoinSet::new();
        let room = Arc::new(Semaphore::new(self.config.connections_max));
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                (stream, permit) = self.accept(&room) => {
                    tasks.spawn(self.serve(stream, permit, &connections));
                }
                Some(_) = tasks.join_next() => (),
            }
        }
        drop(self.listener);
        if tokio::time::timeout(DRAIN_TIMEOUT, connections.shutdown()).await.is_err() {
            tracing::warn!(timeout = ?DRAIN_TIMEOUT, "requests still under way at shutdown are cut off");
        }
        // Nothing is answered any more once this returns.
        tasks.shutdown().await;
    }

    async fn accept(&self, room: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
        let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, permit),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// The work of one connection, until it closes.
    fn serve(
        &self,
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
        connections: &GracefulShutdown,
    ) -> impl Future<Output = ()> + use<> {
        // Answers are small and clients wait for them.
        let _ = stream.set_nodelay(true);
        let responder = self.responder.clone();
        // A client that does not read its answer would keep its place for ever.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.config.read_timeout));
        let service = service_fn(move |request| {
            let responder = responder.clone();
            async move { Ok::<_, Infallible>(responder.respond(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.read_timeout)
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = connections.watch(connection);
        async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            drop(permit);
        }
    }
}
