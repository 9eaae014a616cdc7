//! The local socket by which `unamed status` and `unamed trace` ask a running node (`--control PATH`).
//!
//! A Unix socket with mode 0600: who may open it is who runs the node. The node greets with a line of JSON, then each line that
//! it is asked gets a line of JSON as answer.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use unamed_tokio::{Network, RoomId};

use crate::Failure;
use crate::status::{Status, Trace};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 16;
/// Longest question, bytes.
const QUESTION_BYTES_MAX: u64 = 4096;
/// Longest answer, bytes: that of a node that holds as many rooms as are listed has a tenth of it.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long one side may take to ask, and the other to answer. A find that fails takes some ten seconds.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Pause of accepting when file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a node says first.
#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    /// The program's version.
    unamed: String,
    /// The network, without which a room's name has no id.
    network: String,
}

/// What a node is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum Question {
    /// How it is.
    Status,
    /// To find a room, by its id in hexadecimal digits.
    Trace { room: String },
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Status(Box<Status>),
    Trace(Trace),
    Error(String),
}

/// A bound control socket.
#[derive(Debug)]
pub(crate) struct Control(UnixListener);

/// The file of a control socket, which goes with this.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Control {
    /// Binds a socket at `path`, in the place of one that a node left there that ended.
    ///
    /// # Errors
    /// If something else is there, or a node that answers, or no socket can be made.
    pub(crate) fn bind(path: &Path) -> Result<(Self, SocketFile), Failure> {
        let bad =
            |what: &dyn std::fmt::Display| Failure::file(format!("--control {}: {what}", path.display()));
        match fs::symlink_metadata(path) {
            Ok(metadata) if !is_socket(&metadata) => return Err(bad(&"there is a file that is no socket")),
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(bad(&"another node answers there"));
            }
            Ok(_) | Err(_) => {}
        }
        let listener = bind_private(path).map_err(|error| bad(&error))?;
        Ok((Self(listener), SocketFile(path.to_owned())))
    }

    /// Answers until it is dropped.
    pub(crate) async fn run(self, network: Network) -> Infallible {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { continue };
            let Ok((stream, _)) = self.0.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let network = network.clone();
            tokio::spawn(async move {
                if let Err(error) = converse(stream, &network).await {
                    tracing::debug!(%error, "the control socket");
                }
                drop(place);
            });
        }
    }
}

fn is_socket(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type())
}

/// A socket that was never open to others: it is made in a folder of its own, and moved when its mode is right.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let mut folder = path.as_os_str().to_owned();
    folder.push(format!(".{}", std::process::id()));
    let folder = PathBuf::from(folder);
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder)?;
    let inside = folder.join("s");
    let bound = UnixListener::bind(&inside).and_then(|listener| {
        fs::set_permissions(&inside, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        fs::rename(&inside, path)?;
        Ok(listener)
    });
    let _ = fs::remove_file(&inside);
    let _ = fs::remove_dir(&folder);
    bound
}

/// One connection: greets, then answers line by line.
async fn converse(mut stream: UnixStream, network: &Network) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let network_id = network.network_id().as_str().to_owned();
    let greeting = Greeting { unamed: env!("CARGO_PKG_VERSION").to_owned(), network: network_id };
    write_line(&mut writer, &greeting).await?;
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        let mut bounded = (&mut reader).take(QUESTION_BYTES_MAX);
        if timeout(TIMEOUT, bounded.read_line(&mut line)).await?? == 0 {
            return Ok(());
        }
        write_line(&mut writer, &answer(&line, network).await).await?;
    }
}

async fn answer(line: &str, network: &Network) -> Reply {
    match serde_json::from_str(line) {
        Ok(Question::Status) => match Status::of(network).await {
            Some(status) => Reply::Status(Box::new(status)),
            None => Reply::Error("the node is stopping".into()),
        },
        Ok(Question::Trace { room }) => match room_id(&room) {
            Some(room) => match network.find_room(room).await {
                Ok(report) => Reply::Trace(Trace::of(&report)),
                Err(error) => Reply::Error(error.to_string()),
            },
            None => Reply::Error("room: 64 hexadecimal digits are expected".into()),
        },
        Err(error) => Reply::Error(error.to_string()),
    }
}

/// A room id of its 64 hexadecimal digits.
pub(crate) fn room_id(text: &str) -> Option<RoomId> {
    let mut id = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(RoomId(id))
}

async fn write_line(
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    value: &impl Serialize,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    timeout(TIMEOUT, writer.write_all(&line)).await?
}

/// The other end: a connection to a running node.
#[derive(Debug)]
pub(crate) struct Asking {
    stream: BufReader<UnixStream>,
    path: PathBuf,
    /// The node's network.
    pub(crate) network: String,
}

impl Asking {
    /// Connects to the node behind `path`.
    ///
    /// # Errors
    /// If nobody answers there.
    pub(crate) async fn open(path: &Path) -> Result<Self, Failure> {
        let bad = |error: io::Error| {
            Failure::other(format!("--control {}: no node answers there: {error}", path.display()))
        };
        let stream = UnixStream::connect(path).await.map_err(bad)?;
        let mut asking =
            Self { stream: BufReader::new(stream), path: path.to_owned(), network: String::new() };
        let greeting: Greeting = asking.read().await.map_err(bad)?;
        asking.network = greeting.network;
        Ok(asking)
    }

    /// Asks how the node is.
    ///
    /// # Errors
    /// If it does not say.
    pub(crate) async fn status(&mut self) -> Result<Status, Failure> {
        match self.ask(&Question::Status).await? {
            Reply::Status(status) => Ok(*status),
            Reply::Trace(_) => Err(self.failed("another answer than asked for")),
            Reply::Error(error) => Err(self.failed(&error)),
        }
    }

    /// Has the node find a room.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) async fn trace(&mut self, room: RoomId) -> Result<Trace, Failure> {
        match self.ask(&Question::Trace { room: room.to_string() }).await? {
            Reply::Trace(trace) => Ok(trace),
            Reply::Status(_) => Err(self.failed("another answer than asked for")),
            Reply::Error(error) => Err(self.failed(&error)),
        }
    }

    async fn ask(&mut self, question: &Question) -> Result<Reply, Failure> {
        let asked = write_line(self.stream.get_mut(), question).await;
        let answered = match asked {
            Ok(()) => self.read().await,
            Err(error) => Err(error),
        };
        answered.map_err(|error| self.failed(&error.to_string()))
    }

    async fn read<T: for<'a> Deserialize<'a>>(&mut self) -> io::Result<T> {
        let mut line = String::new();
        let mut bounded = (&mut self.stream).take(ANSWER_BYTES_MAX);
        timeout(TIMEOUT, bounded.read_line(&mut line)).await??;
        Ok(serde_json::from_str(&line)?)
    }

    fn failed(&self, what: &str) -> Failure {
        Failure::other(format!("--control {}: {what}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn the_socket_is_its_owner_s_alone_and_replaces_only_a_dead_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control");
        let first = Control::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let names =
            || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(names(), ["control"]);
        assert!(Control::bind(&path).unwrap_err().message.contains("another node answers"));
        drop(first);
        assert!(names().is_empty());

        // Left behind by a node that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(Control::bind(&path).unwrap());

        fs::write(&path, "precious").unwrap();
        let failure = Control::bind(&path).unwrap_err();
        assert!(failure.code == 3 && failure.message.contains("no socket"), "{}", failure.message);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(Control::bind(&dir.path().join("no/such/folder")).unwrap_err().code, 3);
    }

    #[tokio::test]
    async fn whatever_is_asked_gets_an_answer() {
        let network = Network::builder().listen("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
        for (line, expected) in [
            ("nonsense", "expected"),
            ("{}", "ask"),
            ("{\"ask\":\"money\"}", "unknown variant"),
            ("{\"ask\":\"trace\"}", "room"),
            ("{\"ask\":\"trace\",\"room\":\"../../etc\"}", "64 hexadecimal digits"),
        ] {
            let Reply::Error(error) = answer(line, &network).await else { panic!("{line} is answered") };
            assert!(error.contains(expected), "{line}: {error}");
        }
        assert!(matches!(answer("{\"ask\":\"status\"}", &network).await, Reply::Status(_)));
        network.shutdown().await;
        assert!(matches!(answer("{\"ask\":\"status\"}", &network).await, Reply::Error(_)));
    }

    #[test]
    fn room_ids_are_hexadecimal() {
        let text = "0123456789abcdefABCDEF9876543210".repeat(2);
        assert_eq!(room_id(&text).unwrap().to_string(), text.to_lowercase());
        for bad in [
            "",
            "00",
            &"0".repeat(63),
            &"0".repeat(65),
            &"g".repeat(64),
            &"é".repeat(32),
            &format!("+{}", "0".repeat(63)),
        ] {
            assert_eq!(room_id(bad), None, "{bad}");
        }
    }
}
