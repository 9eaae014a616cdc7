//! What a chapter has: headings, blocks, code in running text, links.

use std::collections::BTreeMap;

/// What stands between two fences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Line of its first fence, from 1.
    pub(crate) line: usize,
    /// What stands behind that fence.
    pub(crate) language: String,
    /// Its lines, each with its newline.
    pub(crate) text: String,
    /// The heading that it stands under.
    pub(crate) heading: String,
}

/// Something within a line, with the line's number from 1.
pub(crate) type Span = (usize, String);

/// A Markdown file, as far as it is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chapter {
    /// Blocks, in order.
    pub(crate) blocks: Vec<Block>,
    /// What links to headings end in, in order.
    pub(crate) anchors: Vec<String>,
    /// What stands between backquotes in running text.
    pub(crate) code: Vec<Span>,
    /// Targets of links and pictures.
    pub(crate) links: Vec<Span>,
}

impl Chapter {
    /// Reads a file.
    ///
    /// # Errors
    /// The line of a fence that is not closed.
    pub(crate) fn parse(text: &str) -> Result<Self, usize> {
        let mut chapter = Self::default();
        let mut heading = String::new();
        let mut seen = BTreeMap::new();
        let mut open: Option<Block> = None;
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if let Some(language) = line.strip_prefix("```") {
                open = match open {
                    Some(block) => {
                        chapter.blocks.push(block);
                        None
                    }
                    None => Some(Block {
                        line: number,
                        language: language.to_owned(),
                        text: String::new(),
                        heading: heading.clone(),
                    }),
                };
            } else if let Some(block) = &mut open {
                block.text.push_str(line);
                block.text.push('\n');
            } else {
                if let Some(title) = title(line) {
                    title.clone_into(&mut heading);
                    let times = seen.entry(anchor(title)).or_insert(0_usize);
                    let suffix = if *times == 0 { String::new() } else { format!("-{times}") };
                    *times += 1;
                    chapter.anchors.push(format!("{}{suffix}", anchor(title)));
                }
                chapter.take_line(number, line);
            }
        }
        open.map_or(Ok(chapter), |block| Err(block.line))
    }

    /// Takes code and links of a line of running text.
    fn take_line(&mut self, number: usize, line: &str) {
        let mut prose = String::new();
        for (index, part) in line.split('`').enumerate() {
            if index % 2 == 0 {
                prose.push_str(part);
            } else {
                // In a table a bar is written so.
                self.code.push((number, part.replace("\\|", "|")));
            }
        }
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        self.links.extend(targets.map(|(target, _)| (number, target.to_owned())));
    }
}

/// A heading's text.
fn title(line: &str) -> Option<&str> {
    let (marks, text) = line.split_once(' ')?;
    ((1..=6).contains(&marks.len()) && marks.bytes().all(|byte| byte == b'#')).then(|| text.trim())
}

/// What GitHub and mdBook make of a heading: lower case, blanks as hyphens, and of the rest letters and digits.
fn anchor(title: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c => c.is_alphanumeric().then_some(c),
    };
    title.to_lowercase().chars().filter_map(kept).collect()
}

#[test]
fn headings_blocks_code_and_links_are_found() {
    let text = "# A `b`'s c\n\nSee [`x`](y.md#z), ![p](q.svg) and `unamed id|x`.\n\n```sh\n# no heading\n[no](link)\n```\n## Two\n## Two\n";
    let chapter = Chapter::parse(text).expect("all fences are closed");
    assert_eq!(chapter.anchors, ["a-bs-c", "two", "two-1"]);
    let links = [(3, "y.md#z".to_owned()), (3, "q.svg".to_owned())];
    assert_eq!(chapter.links, links);
    assert_eq!(chapter.code.last(), Some(&(3, "unamed id|x".to_owned())));
    let block = Block {
        line: 5,
        language: "sh".to_owned(),
        text: "# no heading\n[no](link)\n".to_owned(),
        heading: "A `b`'s c".to_owned(),
    };
    assert_eq!(chapter.blocks, [block]);
    assert_eq!(Chapter::parse("a\n```sh\n"), Err(2));
}
