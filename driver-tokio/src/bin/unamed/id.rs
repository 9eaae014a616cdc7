//! `unamed id`

use std::ffi::OsString;
use std::path::PathBuf;

use unamed_protocol::crypto::RealCrypto;
use unamed_tokio::read_or_create_identity;

use crate::args::IdArgs;
use crate::output::{Id, Output};
use crate::{Failure, say};

/// Creates or shows an identity.
pub(crate) fn run(args: &IdArgs, json: bool) -> Result<(), Failure> {
    let path = match &args.identity {
        Some(path) => path.clone(),
        None => default_path()?,
    };
    let (identity, new) =
        read_or_create_identity(&path).map_err(|error| Failure::file(format!("--identity {error}")))?;
    let made = if new { "a new identity is kept in" } else { "this identity is kept in" };
    say(&format!("{made} {0}; use it with --identity {0}", path.display()));
    let id = Id { peer_id: identity.peer_id(&RealCrypto).to_string() };
    Output { json }.id(&id).map_err(|error| Failure::other(format!("stdout: {error}")))
}

/// `unamed/identity.key` in the user's configuration directory, whose `unamed` is created.
fn default_path() -> Result<PathBuf, Failure> {
    let dir = config_dir(std::env::var_os("XDG_CONFIG_HOME"), std::env::var_os("HOME"))
        .ok_or_else(|| Failure::usage("--identity is missing, and HOME is not set"))?
        .join("unamed");
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&dir).map_err(|error| Failure::file(format!("{}: {error}", dir.display())))?;
    Ok(dir.join("identity.key"))
}

/// The XDG base directory specification: a relative path counts as none.
fn config_dir(xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    xdg.and_then(absolute).or_else(|| home.and_then(absolute).map(|home| home.join(".config")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_directory_follows_the_environment() {
        let dir =
            |xdg: Option<&str>, home: Option<&str>| config_dir(xdg.map(Into::into), home.map(Into::into));
        assert_eq!(dir(Some("/x"), Some("/h")), Some("/x".into()));
        assert_eq!(dir(Some("x"), Some("/h")), Some("/h/.config".into()));
        assert_eq!(dir(Some(""), Some("/h")), Some("/h/.config".into()));
        assert_eq!(dir(None, None), None);
    }
}
