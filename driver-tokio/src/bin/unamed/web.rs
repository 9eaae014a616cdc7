//! `unamed serve --web`: hands out the demo page.
//!
//! The page comes from the program itself, if it was built after `cargo xtask web`, or from a folder. It learns where to
//! start from `/config.json`. Nothing here is of use to anybody else, so a handful of connections must do.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::Serialize;

use crate::http::{self, Answer, Http};

/// What `cargo xtask web` built: names and contents.
static BUILT: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/web_files.rs"));

/// Connections at a time.
const CONNECTIONS_MAX: usize = 256;
/// The page's own scripts, the module, its worker, and links to any service node.
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; \
                      connect-src 'self' ws: wss:; img-src 'self' data: blob:; frame-ancestors 'none'";

/// Where the page comes from.
#[derive(Clone, Debug)]
pub(crate) enum Pages {
    /// The program.
    Built,
    /// A folder.
    Folder(PathBuf),
}

impl Pages {
    /// The pages of `root`, or of the program.
    ///
    /// # Errors
    /// If there are none, in words.
    pub(crate) fn open(root: Option<&Path>) -> Result<Self, String> {
        match root {
            None if BUILT.is_empty() => {
                Err("--web: this program was built without its page: run `cargo xtask web` \
                                             and build it again, or name a folder with --web-root"
                    .into())
            }
            None => Ok(Self::Built),
            Some(root) if root.join("index.html").is_file() => Ok(Self::Folder(root.to_owned())),
            Some(root) => Err(format!("--web-root {}: there is no index.html", root.display())),
        }
    }

    fn read(&self, name: &str) -> Option<Bytes> {
        match self {
            Self::Built => {
                let found = BUILT.binary_search_by_key(&name, |(name, _)| name).ok()?;
                BUILT.get(found).map(|(_, content)| Bytes::from_static(content))
            }
            Self::Folder(root) => {
                let name = Path::new(name);
                let inside = name.components().all(|part| matches!(part, Component::Normal(_)));
                inside.then(|| std::fs::read(root.join(name)).ok()).flatten().map(Bytes::from)
            }
        }
    }
}

/// What the page is told.
#[derive(Debug, Serialize)]
pub(crate) struct PageConfig {
    pub(crate) network: String,
    pub(crate) bootstrap: Vec<String>,
}

/// A bound listener for the page.
#[derive(Debug)]
pub(crate) struct Web {
    http: Http,
    pages: Pages,
}

impl Web {
    /// Binds; port 0 takes a free one.
    pub(crate) async fn bind(address: SocketAddr, pages: Pages) -> io::Result<Self> {
        Ok(Self { http: Http::bind(address).await?, pages })
    }

    /// The origin of the page, which is its URL without the last slash.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.http.local())
    }

    /// Serves until it is dropped.
    pub(crate) async fn run(self, config: &PageConfig) -> Infallible {
        let site = Arc::new(Site {
            pages: self.pages,
            config: serde_json::to_vec(config).map(Bytes::from).unwrap_or_default(),
        });
        let answer = move |request| std::future::ready(site.answer(&request));
        self.http.run(CONNECTIONS_MAX, answer).await
    }
}

struct Site {
    pages: Pages,
    config: Bytes,
}

impl Site {
    fn answer(&self, request: &Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return http::plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n");
        }
        let name = match request.uri().path().trim_start_matches('/') {
            "" => "index.html",
            name => name,
        };
        let content = if name == "config.json" { Some(self.config.clone()) } else { self.pages.read(name) };
        let Some(content) = content else {
            return http::plain(StatusCode::NOT_FOUND, "there is no such page\n");
        };
        let mut response = http::answer(StatusCode::OK, content_type(name), content);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("json" | "webmanifest") => "application/json",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_what_is_in_it_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::fs::write(root.join("index.html"), "i").unwrap();
        std::fs::write(root.join("sub/a.js"), "a").unwrap();
        let pages = Pages::open(Some(&root)).unwrap();
        assert_eq!(pages.read("index.html").as_deref(), Some(b"i".as_slice()));
        assert_eq!(pages.read("sub/a.js").as_deref(), Some(b"a".as_slice()));
        for name in ["", "sub", "none", "../secret", "sub/../../secret", "/etc/passwd", "./index.html/.."] {
            assert_eq!(pages.read(name), None, "{name}");
        }
        assert!(Pages::open(Some(dir.path())).unwrap_err().contains("index.html"));
    }

    #[test]
    fn what_was_built_is_found_by_its_name() {
        assert!(BUILT.is_sorted_by_key(|(name, _)| name));
        for (name, content) in BUILT {
            assert_eq!(Pages::Built.read(name).as_deref(), Some(*content));
        }
    }
}
