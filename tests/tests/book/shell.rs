//! As much of a shell's grammar as the book uses: words, quotes, comments, redirections, lists, here-documents.

/// What a reader types in one go: a line with those that continue it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Line within the block, from 0.
    pub(crate) line: usize,
    /// As it stands, here-document included.
    pub(crate) text: String,
    /// The words of each command in it, without redirections, variables set for it, and `sudo`.
    pub(crate) commands: Vec<Vec<String>>,
}

/// The entries of a block.
///
/// # Errors
/// What is not understood.
pub(crate) fn entries(block: &str) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut lines = block.lines().enumerate();
    while let Some((line, first)) = lines.next() {
        let (mut text, mut joined) = (first.to_owned(), first.to_owned());
        while let Some(before) = joined.strip_suffix('\\') {
            let (_, next) = lines.next().ok_or_else(|| format!("{first}: nothing follows"))?;
            joined = format!("{before} {next}");
            text = format!("{text}\n{next}");
        }
        if let Some((_, word)) = joined.split_once("<<") {
            let end = word.trim().trim_matches('\'').to_owned();
            loop {
                let (_, next) = lines.next().ok_or_else(|| format!("{first}: there is no {end}"))?;
                text = format!("{text}\n{next}");
                if next == end {
                    break;
                }
            }
        }
        let commands = commands(&joined).ok_or_else(|| format!("{first}: a quote is not closed"))?;
        if !commands.is_empty() {
            entries.push(Entry { line, text, commands });
        }
    }
    Ok(entries)
}

/// The words of each command of one line; `None` if a quote is not closed.
pub(crate) fn commands(line: &str) -> Option<Vec<Vec<String>>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut redirected = false;
    let mut chars = line.chars();
    loop {
        let next = chars.next();
        match next {
            Some(quote @ ('\'' | '"')) => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        c if c == quote => break,
                        '\\' if quote == '"' => word.push(chars.next()?),
                        c => word.push(c),
                    }
                }
            }
            Some('\\') => word.get_or_insert_default().push(chars.next()?),
            Some('#') if word.is_none() => break,
            Some(c) if !c.is_whitespace() && !"|&;<>".contains(c) => word.get_or_insert_default().push(c),
            // The end of a word, if there is one.
            None | Some(_) => {
                if let Some(word) = word.take()
                    && !std::mem::take(&mut redirected)
                    && let Some(command) = commands.last_mut()
                {
                    command.push(word);
                }
                match next {
                    None => break,
                    Some('|' | '&' | ';') => commands.push(Vec::new()),
                    Some('<' | '>') => redirected = true,
                    Some(_) => {}
                }
            }
        }
    }
    commands.iter_mut().for_each(without_preface);
    commands.retain(|command| !command.is_empty());
    Some(commands)
}

/// Takes off variables that are set for a command, and `sudo`.
fn without_preface(command: &mut Vec<String>) {
    let sets = |word: &String| {
        let name = word.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
    };
    while command.first().is_some_and(|word| sets(word) || word == "sudo") {
        command.remove(0);
    }
}

#[test]
fn words_are_those_of_a_shell() {
    let table: [(&str, &[&[&str]]); 8] = [
        ("unamed serve   # comment", &[&["unamed", "serve"]]),
        ("# comment", &[]),
        ("a 'b c' \"d # \\\" e\"f g\\ h", &[&["a", "b c", "d # \" ef", "g h"]]),
        ("sed 's|a|b|' x > y", &[&["sed", "s|a|b|", "x"]]),
        ("a x#y && b | sudo tee f; c &", &[&["a", "x#y"], &["b"], &["tee", "f"], &["c"]]),
        ("A_B=1 sudo unamed id", &[&["unamed", "id"]]),
        ("cat > f <<'END'", &[&["cat"]]),
        ("export PATH=\"$PWD/x:$PATH\"", &[&["export", "PATH=$PWD/x:$PATH"]]),
    ];
    for (line, words) in table {
        let found = commands(line).expect("quotes are closed");
        assert_eq!(found, words, "{line}");
    }
    assert_eq!(commands("a 'b"), None);
}

#[test]
fn entries_have_what_continues_them() {
    let block = "a \\\n    b\n\n# c\nd <<'END'\ne f\nEND\ng\n";
    let found = entries(block).expect("it is understood");
    let texts: Vec<(usize, &str)> = found.iter().map(|entry| (entry.line, entry.text.as_str())).collect();
    assert_eq!(texts, [(0, "a \\\n    b"), (4, "d <<'END'\ne f\nEND"), (7, "g")]);
    assert_eq!(found[0].commands, [["a", "b"]]);
    assert_eq!(entries("a \\\n").map(drop), Err("a \\: nothing follows".to_owned()));
    assert!(entries("cat <<'END'\nx\n").is_err());
}
