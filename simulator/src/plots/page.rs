//! One page that holds a report: figures inline, nothing to load from elsewhere.

use serde_json::Value;

use super::About;

/// A figure on the page.
pub(crate) struct Shown<'a> {
    pub(crate) name: &'static str,
    pub(crate) caption: &'static str,
    pub(crate) svg: &'a str,
}

/// Text as HTML, in elements and in attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

const STYLE: &str = "\
:root{color-scheme:light}\
body{margin:0 auto;max-width:1580px;padding:1.5rem;background:#f6f8f9;color:#1f2428;\
font:15px/1.5 system-ui,sans-serif}\
h1{font-size:1.5rem;margin:0 0 .3rem}h2{font-size:1.1rem;margin:2rem 0 .6rem}\
pre{background:#fff;border:1px solid #dfe4e7;border-radius:6px;padding:.7rem .9rem;overflow:auto;margin:.4rem 0}\
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,560px),1fr));gap:1rem}\
figure{margin:0;background:#fff;border:1px solid #dfe4e7;border-radius:6px;padding:.5rem}\
figure svg{display:block;width:100%;height:auto}\
figcaption{color:#5c666e;font-size:.85rem;padding:.2rem .6rem .4rem}\
.tables{columns:3 300px;column-gap:1.5rem}\
table{border-collapse:collapse;width:100%;background:#fff;border:1px solid #dfe4e7;margin:0 0 1rem;\
break-inside:avoid;font-size:.9rem}\
caption{text-align:left;font-weight:600;padding:.2rem 0}\
td,th{padding:.22rem .6rem;border-top:1px solid #eef1f3;text-align:left;font-weight:400}\
td{text-align:right;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}\
.good{color:#00664a}.bad{color:#a33d00;font-weight:600}";

/// The page. `figures` is the report as JSON.
pub(crate) fn page(about: &About, figures: &Value, shown: &[Shown<'_>]) -> String {
    let title = escape(&about.title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    verdict(&mut out, figures);
    out += "<h2>The run again</h2>\n";
    out += &format!("<pre>{}</pre>\n", escape(&about.command));
    if let Some(scenario) = &about.scenario {
        out +=
            &format!("<details><summary>the scenario</summary><pre>{}</pre></details>\n", escape(scenario));
    }
    out += "<h2>Pictures</h2>\n<div class=\"figures\">\n";
    for figure in shown {
        let (name, caption) = (escape(figure.name), escape(figure.caption));
        // In HTML an SVG element needs no namespace.
        let svg = figure.svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
        out += &format!(
            "<figure id=\"{name}\" role=\"img\" aria-label=\"{caption}\">\n{svg}<figcaption>{caption}</figcaption>\n</figure>\n"
        );
    }
    out += "</div>\n<h2>Figures</h2>\n<div class=\"tables\">\n";
    tables(&mut out, figures);
    out += "</div>\n";
    details(&mut out, figures);
    out += "</body>\n</html>\n";
    out
}

fn strings<'a>(figures: &'a Value, key: &str) -> Vec<&'a str> {
    let list = figures.get(key).and_then(Value::as_array);
    list.map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

fn verdict(out: &mut String, figures: &Value) {
    let failures = strings(figures, "failures");
    if failures.is_empty() {
        *out += "<p class=\"good\">All that must hold holds.</p>\n";
        return;
    }
    *out += "<ul class=\"bad\">\n";
    for failure in failures {
        *out += &format!("<li>{}</li>\n", escape(failure));
    }
    *out += "</ul>\n";
}

fn details(out: &mut String, figures: &Value) {
    let lines = strings(figures, "details");
    if !lines.is_empty() {
        *out += &format!("<h2>In words</h2>\n<pre>{}</pre>\n", escape(&lines.join("\n")));
    }
}

/// A table for each object, and one of what stands outside of objects.
fn tables(out: &mut String, figures: &Value) {
    let Some(object) = figures.as_object() else { return };
    let plain = object.iter().filter(|(_, value)| !value.is_object() && !value.is_array());
    table(out, "run", plain);
    for (name, value) in object {
        if let Some(inner) = value.as_object() {
            table(out, name, inner.iter());
        }
    }
}

fn table<'a>(out: &mut String, name: &str, rows: impl Iterator<Item = (&'a String, &'a Value)>) {
    *out += &format!("<table>\n<caption>{}</caption>\n", escape(name));
    for (name, value) in rows {
        *out += &format!("<tr><th>{}</th><td>{}</td></tr>\n", escape(name), escape(&words(value)));
    }
    *out += "</table>\n";
}

/// A value as a reader wants it.
fn words(value: &Value) -> String {
    match value {
        Value::Null => String::from("\u{2013}"),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => super::axes::figure(float),
            _ => number.to_string(),
        },
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let about = About {
            title: String::from("<b>\"x\" & 'y'"),
            command: String::from("a <script>alert(1)</script>\u{0}"),
            scenario: Some(String::from("</pre><img src=x>")),
        };
        let figures = serde_json::json!({
            "<i>": 1, "finds": {"<u>": null}, "failures": ["<s>"], "details": ["<q>"],
        });
        let page = page(&about, &figures, &[]);
        for tag in ["<b>", "<script", "</pre><img", "<i>", "<u>", "<s>", "<q>", "\u{0}"] {
            assert!(!page.contains(tag), "{tag:?}");
        }
        assert!(page.contains("&lt;script&gt;") && page.contains("&#39;y&#39;"));
    }
}
