//! Patterns as auth servers write them, in Go's syntax, made into patterns as the `regex` crate
//! reads them. Both take time in proportion to the text, whatever the pattern.
//!
//! The two syntaxes differ in little, but a pattern that silently means something else would let
//! somebody in: what is special in one of them only is written so that it is not in the other, or
//! refused.

use regex::bytes::{Regex, RegexBuilder};

use super::super::limits::AUTH_PATTERN_BYTES;

/// The highest count in braces that Go takes.
const REPEAT_MAX: u32 = 1000;

/// A pattern that matches anywhere in a name, as Go's does.
///
/// # Errors
/// Why it is none. The pattern itself is not repeated.
pub fn compile(go: &str) -> Result<Regex, String> {
    let pattern = translate(go)?;
    // Names have ASCII only, so that bytes will do; classes of characters want more.
    let build = |unicode| {
        RegexBuilder::new(&pattern).unicode(unicode).size_limit(AUTH_PATTERN_BYTES).build()
    };
    build(false).or_else(|_| build(true)).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
        _ => "the pattern cannot be read".to_owned(),
    })
}

fn translate(go: &str) -> Result<String, String> {
    let mut out = String::with_capacity(go.len() + 8);
    let mut rest = go;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\\' => escape(rest, &mut out)?,
            '[' => class(rest, &mut out)?,
            '(' if rest.starts_with("(?") => flags(rest, &mut out)?,
            '{' => braces(rest, &mut out)?,
            c => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    Ok(out)
}

/// A backslash and what it makes of the next character. The bytes taken.
fn escape(rest: &str, out: &mut String) -> Result<usize, String> {
    if let Some(literal) = rest.strip_prefix("\\Q") {
        let end = literal.find("\\E");
        let literal = &literal[..end.unwrap_or(literal.len())];
        out.push_str(&regex::escape(literal));
        return Ok(literal.len() + 2 + if end.is_some() { 2 } else { 0 });
    }
    let Some(next) = rest[1..].chars().next() else {
        return Err("the pattern ends in a backslash".to_owned());
    };
    let after = &rest[1 + next.len_utf8()..];
    if let Some(value) = octal(&rest[1..]) {
        out.push_str(&format!("\\x{{{:x}}}", value.0));
        return Ok(1 + value.1);
    }
    if "pPx".contains(next) && after.starts_with('{') {
        let end = after.find('}').ok_or("a brace in the pattern has no end")?;
        out.push_str(&rest[..2 + end + 1]);
        return Ok(2 + end + 1);
    }
    // Borders of words other than these are written with letters or brackets that Go has not.
    let word_border = matches!(next, 'b' | 'B') && !after.starts_with('{');
    if word_border || "AzadDsSwWpPxfntrv".contains(next) {
        out.extend(['\\', next]);
    } else if next.is_ascii_punctuation() {
        out.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])));
    } else {
        return Err(format!("the pattern has an escape that is none: {next:?}"));
    }
    Ok(1 + next.len_utf8())
}

/// A character by its number: up to three octal digits, of which a lone one other than 0 would be
/// something else. The number, and how many digits.
fn octal(text: &str) -> Option<(u32, usize)> {
    let digits = text.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    let whole = digits > 1 || text.starts_with('0');
    whole.then(|| Some((u32::from_str_radix(&text[..digits], 8).ok()?, digits)))?
}

/// A class in brackets. Inside, what would be an operation on classes is a character for Go.
fn class(rest: &str, out: &mut String) -> Result<usize, String> {
    let mut at = 1;
    out.push('[');
    if rest[at..].starts_with('^') {
        out.push('^');
        at += 1;
    }
    let first = at;
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with(']') && at > first {
            out.push(']');
            return Ok(at + 1);
        }
        if here.starts_with("[:")
            && let Some(end) = here.find(":]")
        {
            out.push_str(&here[..end + 2]);
            at += end + 2;
            continue;
        }
        at += member(here, out)?;
        // A range, unless the dash is the last in the class.
        let range = rest[at..].strip_prefix('-').filter(|after| !after.starts_with(']'));
        if let Some(after) = range.filter(|after| !after.is_empty()) {
            out.push('-');
            at += 1 + member(after, out)?;
        }
    }
    Err("a class in the pattern has no end".to_owned())
}

/// A character of a class, or an escape. The bytes taken.
fn member(rest: &str, out: &mut String) -> Result<usize, String> {
    if rest.starts_with("\\Q") {
        return Err("the pattern has \\Q in a class".to_owned());
    }
    let c = rest.chars().next().ok_or("a class in the pattern has no end")?;
    match c {
        '\\' => return escape(rest, out),
        '[' | ']' | '&' | '~' | '-' | '^' => out.extend(['\\', c]),
        c => out.push(c),
    }
    Ok(c.len_utf8())
}

/// `(?…`: flags that Go knows, or a name.
fn flags(rest: &str, out: &mut String) -> Result<usize, String> {
    let inner = &rest[2..];
    let length = inner.find([':', ')', '<', '>']).unwrap_or(inner.len());
    let named = inner.starts_with('P') || inner.starts_with('<');
    if !named && !inner[..length].chars().all(|c| "imsU-".contains(c)) {
        return Err("the pattern has a flag that is none".to_owned());
    }
    out.push_str("(?");
    Ok(2)
}

/// A brace: a count, or else a character for Go.
fn braces(rest: &str, out: &mut String) -> Result<usize, String> {
    let count =
        rest.find('}').and_then(|end| rest[1..end].split_once(',').or(Some((&rest[1..end], ""))));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match count {
        Some((low, high)) if is_number(low) && (high.is_empty() || is_number(high)) => {
            let fits =
                |text: &str| text.is_empty() || text.parse().is_ok_and(|n: u32| n <= REPEAT_MAX);
            if !(fits(low) && fits(high)) {
                return Err(format!("the pattern repeats something more than {REPEAT_MAX} times"));
            }
            out.push('{');
        }
        _ => out.push_str("\\{"),
    }
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::compile;

    fn check(pattern: &str, matches: &[&str], others: &[&str]) {
        let regex = compile(pattern).unwrap_or_else(|problem| panic!("{pattern}: {problem}"));
        for text in matches {
            assert!(regex.is_match(text.as_bytes()), "{pattern} {text}");
        }
        for text in others {
            assert!(!regex.is_match(text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn what_both_know_means_the_same() {
        check("", &["", "a"], &[]);
        check("^a.*z$", &["az", "a-z"], &["az\n", "baz"]);
        check(r"^\d+\.\w$", &["1.a"], &["1-a", "x.a"]);
        check("(?i)^ABC$", &["abc"], &["abd"]);
        check("^(?:a|b){2,3}$", &["ab", "aba"], &["a", "abab"]);
        check("^(?P<name>x)$", &["x"], &["y"]);
        check(r"\bfoo\b", &["a-foo-b"], &["afoo"]);
        check("^[[:alpha:]_]+$", &["a_b"], &["a1"]);
        check(r"^\pL+$", &["abc"], &["1"]);
        check("é", &["é"], &["e"]);
    }

    #[test]
    fn what_only_the_crate_knows_is_what_go_takes_it_for() {
        // No operations on classes.
        check("^[a&&b]$", &["a", "&", "b"], &["c"]);
        check("^[[a]$", &["[", "a"], &["b"]);
        check("^[[a]]$", &["[]", "a]"], &["a"]);
        check("^[~~x]$", &["~", "x"], &["y"]);
        check("^[+--]$", &["+", ",", "-"], &["."]);
        check("^[--a]$", &["-", "A", "a"], &["b"]);
        check("^[a-]$", &["a", "-"], &["b"]);
        check("^[a^]$", &["a", "^"], &["b"]);
        check("^[]a]$", &["]", "a"], &["b"]);
        check("^[^]a]$", &["b"], &["]", "a"]);
        // Braces that count nothing.
        check("^a{$", &["a{"], &["a"]);
        check("^a{,2}$", &["a{,2}"], &["aa"]);
        check(r"^\Qa.b{\E.$", &["a.b{c"], &["axb{c"]);
        check(r"^\<a\>$", &["<a>"], &["a"]);
        check(r"^\141\x62\x{63}$", &["abc"], &["ab"]);
        check(r"^\p{Lu}\b\P{Lu}\w$", &[], &["Ab"]);
    }

    #[test]
    fn what_go_does_not_take_is_refused() {
        for wrong in [
            "(",
            ")",
            "[a",
            "*",
            r"a\",
            r"\y",
            r"\b{start}",
            "(?x)a",
            "(?=a)",
            "(?R)",
            "[z-a]",
            "a{1001}",
            "a{2,1}",
            r"\pQ",
            "((a{99}){99}){99}",
            r"(?<!a)b",
            r"\1",
        ] {
            assert!(compile(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn matching_takes_time_in_proportion_to_the_text() {
        let regex = compile("^(a+)+$").unwrap();
        let text = "a".repeat(100_000) + "b";
        let start = std::time::Instant::now();
        assert!(!regex.is_match(text.as_bytes()));
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
    }
}
