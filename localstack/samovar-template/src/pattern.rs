//! `AllowedPattern`: whether a parameter's whole value matches a regular expression.
//!
//! CloudFormation's patterns are Java's. This module understands the part that parameters use: classes, groups,
//! alternatives and repetition. It matches by sets of positions, so no pattern takes exponential time. Anything else is
//! an error.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

/// The deepest nesting of groups. Each level takes a part of the stack.
const MAX_DEPTH: usize = 64;

/// Whether all of `text` matches; the error names what in the pattern is not understood.
pub(crate) fn matches(pattern: &str, text: &str) -> Result<bool, String> {
    let mut parser = Parser { rest: pattern.chars().peekable(), depth: 0 };
    let whole = parser.alternatives()?;
    if parser.rest.next().is_some() {
        return Err("an unmatched )".to_owned());
    }
    let text: Vec<char> = text.chars().collect();
    Ok(whole.ends(&text, &BTreeSet::from([0])).contains(&text.len()))
}

enum Part {
    Class { negated: bool, ranges: Vec<(char, char)> },
    Alternatives(Vec<Vec<Part>>),
    Repeat { part: Box<Part>, least: u32, most: Option<u32> },
    Start,
    End,
}

impl Part {
    /// The positions after this part, for the positions before it.
    fn ends(&self, text: &[char], from: &BTreeSet<usize>) -> BTreeSet<usize> {
        match self {
            Part::Class { negated, ranges } => from
                .iter()
                .filter(|at| {
                    let within = |c: &char| ranges.iter().any(|(low, high)| (low..=high).contains(&c));
                    text.get(**at).is_some_and(|c| within(c) != *negated)
                })
                .map(|at| at + 1)
                .collect(),
            Part::Alternatives(alternatives) => alternatives
                .iter()
                .flat_map(|parts| parts.iter().fold(from.clone(), |from, part| part.ends(text, &from)))
                .collect(),
            Part::Repeat { part, least, most } => {
                let mut reached = from.clone();
                for _ in 0..*least {
                    let next = part.ends(text, &reached);
                    // From here on, more repetitions lead to the same positions, or to none.
                    if next == reached {
                        break;
                    }
                    reached = next;
                }
                let mut newest = reached.clone();
                let mut left = most.map(|most| most.saturating_sub(*least));
                while !newest.is_empty() && left != Some(0) {
                    newest = part.ends(text, &newest).difference(&reached).copied().collect();
                    reached.extend(&newest);
                    left = left.map(|left| left - 1);
                }
                reached
            }
            Part::Start => from.iter().copied().filter(|at| *at == 0).collect(),
            Part::End => from.iter().copied().filter(|at| *at == text.len()).collect(),
        }
    }
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    /// The number of open groups.
    depth: usize,
}

impl Parser<'_> {
    fn alternatives(&mut self) -> Result<Part, String> {
        let mut alternatives = vec![Vec::new()];
        while let Some(next) = self.rest.peek() {
            match next {
                ')' => break,
                '|' => {
                    self.rest.next();
                    alternatives.push(Vec::new());
                }
                _ => {
                    let part = self.repeated()?;
                    if let Some(current) = alternatives.last_mut() {
                        current.push(part);
                    }
                }
            }
        }
        Ok(Part::Alternatives(alternatives))
    }

    fn repeated(&mut self) -> Result<Part, String> {
        let part = self.one()?;
        let (least, most) = match self.rest.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                let inside: String = self.rest.by_ref().skip(1).take_while(|c| *c != '}').collect();
                return self.repeat(part, counts(&inside)?);
            }
            _ => return Ok(part),
        };
        self.rest.next();
        self.repeat(part, (least, most))
    }

    fn repeat(&mut self, part: Part, (least, most): (u32, Option<u32>)) -> Result<Part, String> {
        match self.rest.peek() {
            // A reluctant repetition matches the same texts.
            Some('?') => drop(self.rest.next()),
            Some('*' | '+' | '{') => return Err("a repetition of a repetition".to_owned()),
            _ => {}
        }
        Ok(Part::Repeat { part: Box::new(part), least, most })
    }

    fn one(&mut self) -> Result<Part, String> {
        let class = |negated, ranges| Ok(Part::Class { negated, ranges });
        match self.rest.next() {
            Some('(') => {
                if self.rest.next_if_eq(&'?').is_some() && self.rest.next() != Some(':') {
                    return Err("a group that begins with (? and is not (?:".to_owned());
                }
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(format!("groups are nested deeper than {MAX_DEPTH} levels"));
                }
                let group = self.alternatives()?;
                self.depth -= 1;
                self.rest.next().ok_or("an unmatched (")?;
                Ok(group)
            }
            Some('[') => self.class(),
            Some('.') => class(true, vec![('\n', '\n'), ('\r', '\r')]),
            Some('^') => Ok(Part::Start),
            Some('$') => Ok(Part::End),
            Some('\\') => {
                let (negated, ranges) = self.escape()?;
                class(negated, ranges)
            }
            Some(c @ ('*' | '+' | '?' | '{')) => Err(format!("a {c} that repeats nothing")),
            Some(c) => class(false, vec![(c, c)]),
            None => Err("an end too early".to_owned()),
        }
    }

    fn class(&mut self) -> Result<Part, String> {
        let negated = self.rest.next_if_eq(&'^').is_some();
        let mut ranges = Vec::new();
        loop {
            let low = match self.rest.next().ok_or("an unmatched [")? {
                ']' if !ranges.is_empty() => return Ok(Part::Class { negated, ranges }),
                c @ ('[' | ']' | '&') => return Err(format!("an unescaped {c} within [ ]")),
                '\\' => match self.escape()? {
                    (true, _) => return Err("a negated class within [ ]".to_owned()),
                    (false, escaped) => match escaped.as_slice() {
                        [(c, same)] if c == same => *c,
                        _ => {
                            ranges.extend(escaped);
                            continue;
                        }
                    },
                },
                c => c,
            };
            // A hyphen is a range only between two characters.
            let mut ahead = self.rest.clone();
            if ahead.next() == Some('-') && ahead.next().is_some_and(|c| !matches!(c, ']' | '[' | '\\')) {
                self.rest.next();
                let high = self.rest.next().filter(|high| *high >= low).ok_or("a range from high to low")?;
                ranges.push((low, high));
            } else {
                ranges.push((low, low));
            }
        }
    }

    fn escape(&mut self) -> Result<(bool, Vec<(char, char)>), String> {
        let c = self.rest.next().ok_or("a \\ at its end")?;
        let ranges = match c.to_ascii_lowercase() {
            'd' => vec![('0', '9')],
            'w' => vec![('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
            's' => vec![('\t', '\r'), (' ', ' ')],
            _ => match c {
                't' => return Ok((false, vec![('\t', '\t')])),
                'n' => return Ok((false, vec![('\n', '\n')])),
                'r' => return Ok((false, vec![('\r', '\r')])),
                _ if c.is_ascii_alphanumeric() => return Err(format!("the escape \\{c}")),
                _ => return Ok((false, vec![(c, c)])),
            },
        };
        Ok((c.is_ascii_uppercase(), ranges))
    }
}

/// `3`, `3,` or `3,5`.
fn counts(inside: &str) -> Result<(u32, Option<u32>), String> {
    let count = |text: &str| match text.parse::<u32>() {
        Ok(count) if count <= 1_000 => Ok(count),
        _ => Err(format!("the repetition {{{inside}}}")),
    };
    match inside.split_once(',') {
        None => count(inside).map(|times| (times, Some(times))),
        Some((least, "")) => Ok((count(least)?, None)),
        Some((least, most)) => Ok((count(least)?, Some(count(most)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn the_whole_value_must_match() {
        for (pattern, text, expected) in [
            ("default|[0-9]{1,6}", "default", true),
            ("default|[0-9]{1,6}", "123456", true),
            ("default|[0-9]{1,6}", "1234567", false),
            ("default|[0-9]{1,6}", "", false),
            ("^[a-z][-a-z0-9]*$", "a-1", true),
            ("[a-z]+", "abcD", false),
            (r"\d{4}-\d\d(?:-\d{2})?", "2024-05", true),
            (r"\d{4}-\d\d(?:-\d{2})?", "2024-05-1", false),
            (r"[^\s@]+@[\w.]+", "a@b.c", true),
            (r"[^\s@]+@[\w.]+", "a b@c", false),
            ("(a|ab)(c|bcd)", "abcd", true),
            ("(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false),
            (".{2,}", "ä", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, text), Ok(expected), "{pattern} on {text}");
        }
    }

    #[test]
    fn an_unsupported_pattern_is_an_error() {
        for pattern in ["(?i)a", r"\bword", r"(a)\1", "[a&&b]", "a++", "[z-a]", "(a", "a)", "*", "a{x}", r"\p{L}"] {
            assert!(matches(pattern, "a").is_err(), "{pattern}");
        }
    }
}
