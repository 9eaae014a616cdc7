//! What the tokens of one file show.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// From `fn` to the closing brace.
    pub(crate) lines: usize,
}

/// What was found in one file.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) functions: Vec<Function>,
    /// Line and description.
    pub(crate) bad: Vec<(usize, String)>,
}

/// Reads a file.
pub(crate) fn look(text: &str) -> Result<Report, proc_macro2::LexError> {
    let text =
        if text.starts_with("#!/") { text.split_once('\n').map_or("", |(_, rest)| rest) } else { text };
    let mut report = Report::default();
    visit(text.parse::<TokenStream>()?, &mut report);
    Ok(report)
}

fn visit(stream: TokenStream, report: &mut Report) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        let rest = &tokens[index..];
        if let Some(function) = function(rest) {
            report.functions.push(function);
        }
        if let Some(what) = bad(rest) {
            report.bad.push((token.span().start().line, what));
        }
        if let TokenTree::Group(group) = token {
            visit(group.stream(), report);
        }
    }
}

/// A function that starts here: `fn`, its name, and the next group in braces before a semicolon.
fn function(tokens: &[TokenTree]) -> Option<Function> {
    let [TokenTree::Ident(keyword), TokenTree::Ident(name), rest @ ..] = tokens else { return None };
    if keyword != "fn" {
        return None;
    }
    let body = rest.iter().find_map(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(Some(group)),
        TokenTree::Punct(punct) if punct.as_char() == ';' => Some(None),
        TokenTree::Group(_) | TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => None,
    })??;
    let line = keyword.span().start().line;
    Some(Function { name: name.to_string(), line, lines: body.span_close().end().line + 1 - line })
}

/// Code that must not be: an unfinished part, or a test that does not run.
fn bad(tokens: &[TokenTree]) -> Option<String> {
    match tokens {
        [TokenTree::Ident(name), TokenTree::Punct(bang), TokenTree::Group(_), ..]
            if bang.as_char() == '!' && ["todo", "unimplemented"].contains(&name.to_string().as_str()) =>
        {
            Some(format!("{name}!"))
        }
        [TokenTree::Punct(hash), TokenTree::Group(group), ..] if hash.as_char() == '#' => {
            let ignored =
                group.stream().into_iter().any(|t| matches!(&t, TokenTree::Ident(i) if i == "ignore"));
            ignored.then(|| "an ignored test".to_owned())
        }
        _ => None,
    }
}

#[test]
fn functions_and_bad_code_are_found_wherever_they_stand() {
    let text = "fn a() {\n}\nimpl X { fn b(&self) -> [u8; { 1 }]\nwhere Self: Sized;\n fn c()\n{\n fn d() {} } }\n\
                m! { fn e(x in 0..2) {\n todo!() } }\n#[ignore = \"slow\"]\nfn f() { let g: fn(u8) = h; }\n\
                const S: &str = \"todo!() #[ignore]\"; // todo!()";
    let report = look(text).expect("it lexes");
    let functions: Vec<_> = report.functions.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
    assert_eq!(functions, [("a", 1, 2), ("c", 5, 3), ("d", 7, 1), ("e", 8, 2), ("f", 11, 1)]);
    assert_eq!(report.bad, [(9, "todo!".to_owned()), (10, "an ignored test".to_owned())]);
}
