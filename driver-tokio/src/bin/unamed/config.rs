//! The configuration file: TOML, whose keys are the names of flags.
//!
//! What it says takes the place of the defaults of the command line, so a flag wins over a variable, and a variable over the
//! file. Each value goes through the parser of its flag, and what that refuses is said with file, line and key. Keys of any
//! command may stand in one file; a command takes those that it has.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, CommandFactory as _, FromArgMatches as _};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Failure;
use crate::args::{self, Args};

/// Longest file, bytes.
const BYTES_MAX: u64 = 1024 * 1024;
/// Flags that make no sense in a file.
const NOT_IN_FILES: [&str; 3] = ["config", "help", "version"];
/// Width of the comments of an example.
const WIDTH: usize = 100;

/// Reads the command line, with the variables, over the configuration file that it names.
///
/// # Errors
/// What is wrong with the file. A wrong command line ends the program.
pub(crate) fn command_line() -> Result<Args, Failure> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let read = |command: Command| {
        let matches = command.try_get_matches_from(&arguments);
        matches.and_then(|matches| Args::from_arg_matches(&matches)).unwrap_or_else(|error| error.exit())
    };
    let bare = read(Args::command());
    let Some(path) = &bare.config else { return Ok(bare) };
    Ok(read(with_file(Args::command(), path)?))
}

/// `unamed config check`: whether a service node, and members, could run with this file. Files that it names are not opened.
///
/// # Errors
/// What is wrong.
pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    let command = without_variables(with_file(Args::command(), path)?);
    for line in [&["unamed", "serve"][..], &["unamed", "room", "any room"]] {
        let matches = command.clone().try_get_matches_from(line);
        let args = matches.and_then(|matches| Args::from_arg_matches(&matches));
        let args = args.map_err(|error| Failure::usage(format!("{}: {}", path.display(), reason(&error))))?;
        if let args::Command::Serve(serve) = &args.command {
            serve.check().map_err(|failure| failure.within(path))?;
        }
    }
    Ok(())
}

/// A command without what its surroundings say.
fn without_variables(command: Command) -> Command {
    let bare = |arg: Arg| arg.env(Resettable::Reset);
    command.mut_args(bare).mut_subcommands(|command| command.mut_args(bare))
}

/// The command line, with the values of a file as defaults.
fn with_file(command: Command, path: &Path) -> Result<Command, Failure> {
    let text = read(path)?;
    with_text(command, &text).map_err(|failure| failure.within(path))
}

fn read(path: &Path) -> Result<String, Failure> {
    let bad = |what: String| Failure::file(format!("--config {}: {what}", path.display()));
    let io = |error: std::io::Error| bad(error.to_string());
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Err(bad("not a regular file".into()));
    }
    let mut text = String::new();
    let file = fs::File::open(path).map_err(io)?;
    file.take(BYTES_MAX.saturating_add(1)).read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(bad(format!("more than {BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// The command line, with the values of a text as defaults.
fn with_text(mut command: Command, text: &str) -> Result<Command, Failure> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Failure::file(format!("line {}: {}", line(text, at), error.message()))
    })?;
    for (key, value) in table.get_ref() {
        let name = key.get_ref().as_ref();
        let wrong =
            |what: String| Failure::usage(format!("line {}: {name}: {what}", line(text, key.span().start)));
        let arg = settings(&command).remove(name).ok_or_else(|| wrong(unknown(&command, name)))?;
        let values = values(&arg, value).map_err(wrong)?;
        for value in &values {
            parse(&arg, value).map_err(wrong)?;
        }
        if !values.is_empty() {
            let id = arg.get_id().clone();
            let set = |arg: Arg| if *arg.get_id() == id { arg.default_values(values.clone()) } else { arg };
            command = command.mut_args(set).mut_subcommands(|command| command.mut_args(set));
        }
    }
    Ok(command)
}

/// The line in which a place is, from 1.
fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count().saturating_add(1)
}

/// All flags that may stand in a file, by name.
fn settings(command: &Command) -> BTreeMap<String, Arg> {
    let own = command.get_arguments();
    let all = own.chain(command.get_subcommands().flat_map(Command::get_arguments));
    let named = all.filter_map(|arg| Some((arg.get_long()?.to_owned(), arg.clone())));
    named.filter(|(name, _)| !NOT_IN_FILES.contains(&name.as_str())).collect()
}

/// Says that there is no such key, and which one may be meant.
fn unknown(command: &Command, name: &str) -> String {
    let settings = settings(command);
    let meant = name.replace('_', "-").to_lowercase();
    if settings.contains_key(&meant) {
        return format!("there is no such key; {meant:?} is one");
    }
    if NOT_IN_FILES.contains(&name) {
        return "this is a flag only".to_owned();
    }
    let near = |key: &&String| key.contains(&meant) || meant.contains(key.as_str());
    match settings.keys().find(near) {
        Some(near) => format!("there is no such key; {near:?} is one"),
        None => "there is no such key; `unamed config example` has them all".to_owned(),
    }
}

/// A value of the file as texts for the flag's parser. Where a default would be none, there is none.
fn values(arg: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, String> {
    let repeated = matches!(arg.get_action(), ArgAction::Append);
    match (arg.get_action(), value.get_ref()) {
        (ArgAction::SetTrue, DeValue::Boolean(on)) => Ok(vec![on.to_string()]),
        (ArgAction::SetTrue, _) => Err("true or false is expected".into()),
        (_, DeValue::Array(list)) if repeated => {
            if list.is_empty() && !arg.get_default_values().is_empty() {
                return Err("at least one value is expected".into());
            }
            list.iter().map(|value| scalar(value.get_ref())).collect()
        }
        (_, DeValue::Array(_)) => Err("one value is expected, not a list".into()),
        (_, value) => scalar(value).map(|value| vec![value]),
    }
}

fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.as_ref().to_owned()),
        DeValue::Integer(number) => {
            let number = i128::from_str_radix(number.as_str(), number.radix());
            number.map(|number| number.to_string()).map_err(|_| "the number is too large".into())
        }
        DeValue::Float(_) => Err("a whole number is expected".into()),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err("a text in quotes or a whole number is expected".into())
        }
    }
}

/// Gives a value to the flag's parser.
fn parse(arg: &Arg, value: &str) -> Result<(), String> {
    let name = arg.get_long().unwrap_or_default();
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Ok(());
    }
    let alone =
        Command::new("value").no_binary_name(true).disable_help_flag(true).arg(arg.clone().global(false));
    match alone.try_get_matches_from([format!("--{name}={value}")]) {
        Ok(_) => Ok(()),
        Err(error) if value.is_empty() && error.kind() == ErrorKind::InvalidValue => {
            Err("a value is expected".into())
        }
        Err(error) => Err(format!("{value:?}: {}", reason(&error))),
    }
}

/// What is wrong, without the flag and hints that clap adds.
fn reason(error: &clap::Error) -> String {
    if let Some(source) = std::error::Error::source(error) {
        return source.to_string();
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

/// `unamed config example`: a file with every key and its default.
pub(crate) fn example() -> String {
    let mut text = String::from(
        "# Settings of `unamed`, by the names of flags: `unamed --config FILE …`. A flag wins over a variable (UNAMED_LISTEN), a\n\
         # variable over this file. What is set here is the default; a key behind \"#\" has none.\n",
    );
    let command = Args::command();
    let mut written: Vec<String> = Vec::new();
    let groups = std::iter::once(("all commands", &command))
        .chain(command.get_subcommands().map(|command| (command.get_name(), command)));
    for (group, command) in groups {
        let fresh = |arg: &&Arg| {
            arg.get_long().is_some_and(|name| {
                !NOT_IN_FILES.contains(&name) && !written.iter().any(|known| known == name)
            })
        };
        let arguments: Vec<Arg> = command.get_arguments().filter(fresh).cloned().collect();
        if !arguments.is_empty() {
            text.push_str(&format!("\n\n# ---- {group} ----\n"));
        }
        for arg in arguments {
            let name = arg.get_long().unwrap_or_default().to_owned();
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            text.push('\n');
            for line in wrapped(&help.replace("--", "")) {
                text.push_str(&format!("# {line}\n"));
            }
            text.push_str(&assignment(&arg, &name));
            written.push(name);
        }
    }
    text
}

/// A line that sets a flag to its default; behind `#`, to an example, where there is none.
fn assignment(arg: &Arg, name: &str) -> String {
    let quoted = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let plain = |value: &str| if value.parse::<u64>().is_ok() { value.to_owned() } else { quoted(value) };
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| plain(&value.to_string_lossy())).collect();
    let list = matches!(arg.get_action(), ArgAction::Append);
    match (arg.get_action(), defaults.as_slice()) {
        (ArgAction::SetTrue, _) => format!("{name} = false\n"),
        (_, []) if list => format!("#{name} = [{}]\n", quoted(sample(name))),
        (_, []) => format!("#{name} = {}\n", quoted(sample(name))),
        (_, defaults) if list => format!("{name} = [{}]\n", defaults.join(", ")),
        (_, defaults) => format!("{name} = {}\n", defaults.concat()),
    }
}

/// A value for what has no default.
fn sample(name: &str) -> &'static str {
    match name {
        "bootstrap" => "/dns/node.example/tcp/443/wss",
        "identity" => "/var/lib/unamed/identity.key",
        "state" => "/var/lib/unamed",
        "ice-server" => "stun:stun.example",
        "tls-roots" => "/etc/ssl/certs/ca-certificates.crt",
        "tls-cert" => "/etc/letsencrypt/live/node.example/fullchain.pem",
        "tls-key" => "/etc/letsencrypt/live/node.example/privkey.pem",
        "address" => "/dns/node.example/tcp/443/wss",
        "trusted-proxy" => "127.0.0.1",
        "allow-origin" => "https://app.example",
        "web" => "127.0.0.1:8888",
        "web-root" => "/srv/unamed",
        "metrics" => "127.0.0.1:9464",
        "control" => "/run/unamed/control",
        "to" => "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
        "passphrase-file" => "/etc/unamed/passphrase",
        "name" => "Anna",
        _ => "",
    }
}

/// Words in lines of [`WIDTH`].
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len().saturating_add(word.len()) < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests;
