//! Serves a simulator over HTTP, on connections that can break as those of the real world do.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::http::Extensions;
use axum::serve::{IncomingStream, Listener};
use bytes::Bytes;
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::simulator::Simulator;

/// Marks an answer that stands for a reset connection. A test that calls the router in process sees it among the
/// response's extensions, since there is no connection to reset.
#[derive(Clone, Copy, Debug)]
pub struct Severed;

/// Serves the simulator on the listener until `stop` is done and the requests in flight have their answers.
///
/// # Errors
/// Those of the listener.
pub async fn serve(
    simulator: Simulator,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service = simulator.router().into_make_service_with_connect_info::<Line>();
    axum::serve(Door(listener), service).with_graceful_shutdown(stop).await
}

/// Accepts connections.
struct Door(TcpListener);

impl Listener for Door {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        let (stream, from) = Listener::accept(&mut self.0).await;
        // Small answers must not wait for the caller's acknowledgement of the last one.
        drop(stream.set_nodelay(true));
        (Wire { stream, severed: Arc::default() }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection that can be reset instead of answered.
struct Wire {
    stream: TcpStream,
    severed: Arc<AtomicBool>,
}

/// What a request knows of its connection.
#[derive(Clone, Debug)]
struct Line(Arc<AtomicBool>);

impl Connected<IncomingStream<'_, Door>> for Line {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(Arc::clone(&stream.io().severed))
    }
}

/// Lets the connection of a request end in a reset, if it came over one.
pub(crate) fn sever(extensions: &Extensions) {
    if let Some(ConnectInfo(Line(severed))) = extensions.get::<ConnectInfo<Line>>() {
        severed.store(true, Ordering::Release);
    }
}

impl Wire {
    fn is_severed(&self) -> bool {
        self.severed.load(Ordering::Acquire)
    }

    fn check(&self) -> io::Result<()> {
        if self.is_severed() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.is_severed() {
            // Closed without lingering, a connection ends in a reset instead of in order.
            drop(self.stream.set_zero_linger());
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(task, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(task, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_severed() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

/// A body that fails after its first bytes.
pub(crate) fn cut(bytes: Vec<u8>) -> Body {
    Body::from_stream(Cut { bytes: Some(bytes.into()), flushed: false })
}

struct Cut {
    bytes: Option<Bytes>,
    flushed: bool,
}

impl Stream for Cut {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(bytes) = self.bytes.take().filter(|bytes| !bytes.is_empty()) {
            return Poll::Ready(Some(Ok(bytes)));
        }
        if !self.flushed {
            // One turn of waiting lets the server send what it has before the connection breaks.
            self.flushed = true;
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())))
    }
}
