//! A small HTTP/1.1 server for what `unamed serve` offers beside its links: the demo page, and metrics.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// How long a request may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause of accepting when file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Http {
    listener: TcpListener,
    local: SocketAddr,
}

impl Http {
    /// Binds; port 0 takes a free one.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        Ok(Self { listener, local })
    }

    /// Where it listens.
    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Answers requests of up to so many connections at a time, until it is dropped.
    pub(crate) async fn run<F>(
        self,
        connections_max: usize,
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Infallible
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(connections_max));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { continue };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "accepting pauses");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
                if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                    tracing::trace!(%error, "an HTTP connection failed");
                }
                drop(place);
            });
        }
    }
}

/// An answer of this type.
pub(crate) fn answer(status: StatusCode, content_type: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(content.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A short answer in words.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Answer {
    answer(status, "text/plain; charset=utf-8", text)
}

/// Whether a request names a host that a listener on `local` has. What listens on loopback is within reach of every page that
/// the user of the machine opens, by a name that resolves there (DNS rebinding); elsewhere any name will do.
pub(crate) fn names_own_host<B>(request: &Request<B>, local: IpAddr) -> bool {
    if !local.is_loopback() {
        return true;
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.and_then(|host| host.parse::<hyper::http::uri::Authority>().ok()) else {
        return false;
    };
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_hosts_do_not_reach_loopback() {
        let asked = |host: Option<&str>, local: &str| {
            let mut request = Request::new(());
            if let Some(host) = host {
                request.headers_mut().insert(header::HOST, HeaderValue::from_str(host).unwrap());
            }
            names_own_host(&request, local.parse().unwrap())
        };
        for host in ["localhost", "LOCALHOST:9464", "127.0.0.1:9464", "[::1]:9464", "127.1.2.3"] {
            assert!(asked(Some(host), "127.0.0.1"), "{host}");
        }
        for host in ["rebound.example", "localhost.evil.example", "10.0.0.1", "", "a b"] {
            assert!(!asked(Some(host), "127.0.0.1"), "{host}");
        }
        assert!(!asked(None, "::1"));
        assert!(asked(Some("node.example:9464"), "10.0.0.1") && asked(None, "0.0.0.0"));
    }
}
