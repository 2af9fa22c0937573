//! Parses a template, by descent. White space is left out where Velocity 1.7 leaves it out: a line end after a
//! directive, and blanks before `#set`.

use serde_json::Value;

use super::syntax::{Expression, Node, Operator, Reference, Step};
use super::{MAX_DEPTH, Problem};

/// Operators by precedence, the weakest first, as signs and as words. A longer sign comes before its beginning.
const OPERATORS: [&[(&str, Operator)]; 6] = [
    &[("||", Operator::Or), ("or", Operator::Or)],
    &[("&&", Operator::And), ("and", Operator::And)],
    &[("==", Operator::Equal), ("!=", Operator::Unequal), ("eq", Operator::Equal), ("ne", Operator::Unequal)],
    &[
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
        ("le", Operator::LessOrEqual),
        ("ge", Operator::GreaterOrEqual),
        ("lt", Operator::Less),
        ("gt", Operator::Greater),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)],
];

/// Directives of Velocity that are not run here.
const UNKNOWN: [&str; 5] = ["macro", "parse", "include", "define", "evaluate"];

/// The directive that ends a block.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Template,
    End,
    Else,
    ElseIf,
}

pub(super) fn parse(template: &str) -> Result<Vec<Node>> {
    Parser { source: template, at: 0, depth: 0, line: 1, counted: 0 }.template()
}

struct Parser<'t> {
    source: &'t str,
    at: usize,
    depth: usize,
    /// The line at `counted`. A string is a source of its own and begins on a later line than 1.
    line: usize,
    counted: usize,
}

type Result<T> = std::result::Result<T, Problem>;

impl<'t> Parser<'t> {
    fn template(mut self) -> Result<Vec<Node>> {
        match self.nodes()? {
            (nodes, Ending::Template) => Ok(nodes),
            (_, _) => Err(self.wrong("#end, #else or #elseif without an #if or #foreach")),
        }
    }

    /// The nodes up to the end of the block, which is consumed.
    fn nodes(&mut self) -> Result<(Vec<Node>, Ending)> {
        self.enter()?;
        let (mut nodes, mut text) = (Vec::new(), String::new());
        let end = loop {
            let Some(character) = self.rest().chars().next() else { break Ending::Template };
            match character {
                '#' => match self.directive(&mut text, &mut nodes)? {
                    Some(end) => break end,
                    None => continue,
                },
                '$' => {
                    if let Some(reference) = self.reference()? {
                        flush(&mut text, &mut nodes);
                        nodes.push(Node::Reference(reference));
                        continue;
                    }
                }
                '\\' => {
                    self.at += 1;
                    match self.reference()? {
                        Some(reference) => {
                            flush(&mut text, &mut nodes);
                            nodes.push(Node::Escaped(reference));
                        }
                        None if self.word_after_hash().is_some_and(|(word, _)| is_directive(word)) => {
                            text.push('#');
                            self.at += 1;
                        }
                        None => text.push('\\'),
                    }
                    continue;
                }
                _ => {}
            }
            text.push(character);
            self.at += character.len_utf8();
        };
        flush(&mut text, &mut nodes);
        self.depth -= 1;
        Ok((nodes, end))
    }

    /// Parses what begins with a number sign. Returns the end of the block if it is one.
    fn directive(&mut self, text: &mut String, nodes: &mut Vec<Node>) -> Result<Option<Ending>> {
        if self.take("##") {
            let line = self.rest().find('\n').map_or(self.rest().len(), |end| end + 1);
            self.at += line;
            return Ok(None);
        }
        for (open, close) in [("#*", "*#"), ("#[[", "]]#")] {
            if self.take(open) {
                let end = self.rest().find(close).ok_or_else(|| self.wrong(&format!("{open} is not closed")))?;
                if open == "#[[" {
                    text.push_str(&self.rest()[..end]);
                }
                self.at += end + close.len();
                return Ok(None);
            }
        }
        let Some((word, after)) = self.word_after_hash().filter(|(word, _)| is_directive(word)) else {
            text.push('#');
            self.at += 1;
            return Ok(None);
        };
        if UNKNOWN.contains(&word) {
            return Err(self.wrong(&format!("#{word} is not run here")));
        }
        if ["set", "if", "elseif", "foreach"].contains(&word) {
            let before = self.at;
            self.at += after;
            self.blanks();
            if !self.take("(") {
                self.at = before + 1;
                text.push('#');
                return Ok(None);
            }
        } else {
            self.at += after;
        }
        if word == "set" {
            text.truncate(text.trim_end_matches([' ', '\t']).len());
        }
        flush(text, nodes);
        match word {
            "set" => nodes.push(self.set()?),
            "if" => nodes.push(self.branches()?),
            "foreach" => nodes.push(self.foreach()?),
            "break" => nodes.push(Node::Break),
            "stop" => nodes.push(Node::Stop),
            "elseif" => return Ok(Some(Ending::ElseIf)),
            end => {
                self.line_end();
                return Ok(Some(if end == "else" { Ending::Else } else { Ending::End }));
            }
        }
        Ok(None)
    }

    /// The word after a number sign, perhaps in braces, and the length of all that.
    fn word_after_hash(&self) -> Option<(&'t str, usize)> {
        let rest = self.rest().strip_prefix('#')?;
        let word = |text: &'t str| &text[..text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len())];
        match rest.strip_prefix('{') {
            Some(braced) => {
                let word = word(braced);
                braced[word.len()..].starts_with('}').then_some((word, word.len() + 3))
            }
            None => Some((word(rest), word(rest).len() + 1)),
        }
    }

    /// After `#set(`.
    fn set(&mut self) -> Result<Node> {
        self.spaces();
        let Some(Reference { root, steps, .. }) = self.reference()? else {
            return Err(self.wrong("#set needs a reference"));
        };
        if steps.iter().any(|step| matches!(step, Step::Method(..))) {
            return Err(self.wrong("#set can't assign to a call"));
        }
        self.expect("=")?;
        let value = self.expression()?;
        self.expect(")")?;
        self.line_end();
        Ok(Node::Set { root, steps, value })
    }

    /// After `#if(`.
    fn branches(&mut self) -> Result<Node> {
        let mut branches = Vec::new();
        loop {
            let condition = self.expression()?;
            self.expect(")")?;
            self.line_end();
            let (nodes, end) = self.nodes()?;
            branches.push((condition, nodes));
            match end {
                Ending::ElseIf => {}
                Ending::End => return Ok(Node::If { branches, otherwise: Vec::new() }),
                Ending::Else => {
                    let (otherwise, end) = self.nodes()?;
                    return match end {
                        Ending::End => Ok(Node::If { branches, otherwise }),
                        _ => Err(self.wrong("#else needs its #end")),
                    };
                }
                Ending::Template => return Err(self.wrong("#if needs its #end")),
            }
        }
    }

    /// After `#foreach(`.
    fn foreach(&mut self) -> Result<Node> {
        self.spaces();
        let reference = self.reference()?.filter(|reference| reference.steps.is_empty());
        let name = reference.ok_or_else(|| self.wrong("#foreach needs a variable"))?.root;
        self.expect("in")?;
        let list = self.expression()?;
        self.expect(")")?;
        self.line_end();
        match self.nodes()? {
            (body, Ending::End) => Ok(Node::Foreach { name, list, body }),
            _ => Err(self.wrong("#foreach needs its #end")),
        }
    }

    /// A reference, or nothing and no step if this is none.
    fn reference(&mut self) -> Result<Option<Reference>> {
        let begin = self.at;
        if !self.take("$") {
            return Ok(None);
        }
        let quiet = self.take("!");
        let is_braced = self.take("{");
        let Some(root) = self.name() else {
            self.at = begin;
            return Ok(None);
        };
        self.enter()?;
        let mut steps = Vec::new();
        loop {
            if self.rest().starts_with('[') {
                self.at += 1;
                let index = self.expression()?;
                self.expect("]")?;
                steps.push(Step::Index(index));
                continue;
            }
            let dot = self.at;
            let name = if self.take(".") { self.name() } else { None };
            let Some(name) = name else {
                self.at = dot;
                break;
            };
            steps.push(match self.take("(") {
                true => Step::Method(name, self.list_until(")")?),
                false => Step::Property(name),
            });
        }
        self.depth -= 1;
        if is_braced && !self.take("}") {
            self.at = begin;
            return Ok(None);
        }
        let written = self.source[begin..self.at].to_owned();
        Ok(Some(Reference { written, quiet, root, steps }))
    }

    fn expression(&mut self) -> Result<Expression> {
        self.enter()?;
        let expression = self.operations(0)?;
        self.depth -= 1;
        Ok(expression)
    }

    fn operations(&mut self, precedence: usize) -> Result<Expression> {
        let Some(operators) = OPERATORS.get(precedence) else { return self.operand() };
        let first = self.operations(precedence + 1)?;
        let mut others = Vec::new();
        while let Some(operator) = self.operator(operators) {
            others.push((operator, self.operations(precedence + 1)?));
        }
        Ok(if others.is_empty() { first } else { Expression::Chain(Box::new(first), others) })
    }

    fn operator(&mut self, operators: &[(&str, Operator)]) -> Option<Operator> {
        self.spaces();
        let (_, operator) = *operators.iter().find(|(sign, _)| self.take_sign(sign))?;
        Some(operator)
    }

    /// A sign, or a word that is no beginning of a longer one.
    fn take_sign(&mut self, sign: &str) -> bool {
        let Some(after) = self.rest().strip_prefix(sign) else { return false };
        let is_longer = after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if is_longer && sign.starts_with(|c: char| c.is_alphabetic()) {
            return false;
        }
        self.at += sign.len();
        true
    }

    fn operand(&mut self) -> Result<Expression> {
        self.spaces();
        let (mut is_not, mut is_negative) = (None, false);
        // In a loop, so that many of them do not nest.
        loop {
            self.spaces();
            if self.take_sign("!") || self.take_sign("not") {
                is_not = Some(!is_not.unwrap_or(false));
            } else if self.rest().starts_with('-') {
                self.at += 1;
                is_negative = !is_negative;
            } else {
                break;
            }
        }
        let mut operand = self.primary()?;
        if is_negative {
            operand = Expression::Negative(Box::new(operand));
        }
        Ok(match is_not {
            None => operand,
            Some(true) => Expression::Not(Box::new(operand)),
            Some(false) => Expression::Not(Box::new(Expression::Not(Box::new(operand)))),
        })
    }

    fn primary(&mut self) -> Result<Expression> {
        let Some(character) = self.rest().chars().next() else { return Err(self.wrong("an expression is not ended")) };
        match character {
            '(' => {
                self.at += 1;
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            '\'' | '"' => self.string(character),
            '[' => {
                self.at += 1;
                self.list_or_range()
            }
            '{' => {
                self.at += 1;
                self.map()
            }
            '$' => match self.reference()? {
                Some(reference) => Ok(Expression::Reference(reference)),
                None => Err(self.wrong("a dollar sign has no name")),
            },
            digit if digit.is_ascii_digit() => self.number(),
            _ => {
                for (word, value) in [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)]
                {
                    if self.take_sign(word) {
                        return Ok(Expression::Value(value));
                    }
                }
                Err(self.wrong(&format!("{character:?} begins no expression")))
            }
        }
    }

    fn string(&mut self, quote: char) -> Result<Expression> {
        self.line = self.line_here();
        self.counted = self.at;
        let line = self.line;
        self.at += 1;
        let mut content = String::new();
        loop {
            let Some(end) = self.rest().find(quote) else { return Err(self.wrong("a string is not closed")) };
            content.push_str(&self.rest()[..end]);
            self.at += end + 1;
            // A quote is doubled to stand for itself.
            if !self.rest().starts_with(quote) {
                break;
            }
            content.push(quote);
            self.at += 1;
        }
        if quote == '\'' || !content.contains(['$', '#']) {
            return Ok(Expression::Value(content.into()));
        }
        self.enter()?;
        let nodes = Parser { source: &content, at: 0, depth: self.depth, line, counted: 0 }.template()?;
        self.depth -= 1;
        Ok(Expression::Text(nodes))
    }

    fn number(&mut self) -> Result<Expression> {
        let rest = self.rest();
        let digits =
            |from: usize| rest[from..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |length| from + length);
        let mut end = digits(0);
        // `1..3` is a range.
        if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
            end = digits(end + 1);
        }
        let (written, too_large) = (&rest[..end], || self.wrong("a number is too large"));
        let number = match written.contains('.') {
            true => written.parse::<f64>().map(Value::from).map_err(|_| too_large()),
            false => written.parse::<i64>().map(Value::from).map_err(|_| too_large()),
        }?;
        self.at += end;
        Ok(Expression::Value(number))
    }

    /// After `[`.
    fn list_or_range(&mut self) -> Result<Expression> {
        self.spaces();
        if self.take("]") {
            return Ok(Expression::List(Vec::new()));
        }
        let first = self.expression()?;
        self.spaces();
        if self.take("..") {
            let last = self.expression()?;
            self.expect("]")?;
            return Ok(Expression::Range(Box::new(first), Box::new(last)));
        }
        let mut items = vec![first];
        self.spaces();
        if self.take(",") {
            items.extend(self.list_until("]")?);
        } else {
            self.expect("]")?;
        }
        Ok(Expression::List(items))
    }

    /// Expressions between commas.
    fn list_until(&mut self, close: &str) -> Result<Vec<Expression>> {
        let mut items = Vec::new();
        self.spaces();
        if self.take(close) {
            return Ok(items);
        }
        loop {
            items.push(self.expression()?);
            self.spaces();
            if self.take(close) {
                return Ok(items);
            }
            self.expect(",")?;
        }
    }

    /// After `{`.
    fn map(&mut self) -> Result<Expression> {
        let mut entries = Vec::new();
        self.spaces();
        if self.take("}") {
            return Ok(Expression::Map(entries));
        }
        loop {
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, self.expression()?));
            self.spaces();
            if self.take("}") {
                return Ok(Expression::Map(entries));
            }
            self.expect(",")?;
        }
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        let first = rest.chars().next()?;
        if !(first.is_ascii_alphabetic() || first == '_') {
            return None;
        }
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
        self.at += end;
        Some(rest[..end].to_owned())
    }

    fn rest(&self) -> &'t str {
        &self.source[self.at..]
    }

    fn take(&mut self, text: &str) -> bool {
        let is_next = self.rest().starts_with(text);
        if is_next {
            self.at += text.len();
        }
        is_next
    }

    fn expect(&mut self, text: &str) -> Result<()> {
        self.spaces();
        match self.take(text) {
            true => Ok(()),
            false => Err(self.wrong(&format!("\"{text}\" is expected"))),
        }
    }

    fn spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
    }

    /// Leaves out the rest of a line if it is blank.
    fn line_end(&mut self) {
        let rest = self.rest().trim_start_matches([' ', '\t']);
        let rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n'));
        if let Some(rest) = rest {
            self.at = self.source.len() - rest.len();
        }
    }

    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        match self.depth > MAX_DEPTH {
            true => Err(self.wrong(&format!("more than {MAX_DEPTH} levels are within each other"))),
            false => Ok(()),
        }
    }

    fn line_here(&self) -> usize {
        self.line + self.source.get(self.counted..self.at).unwrap_or_default().matches('\n').count()
    }

    fn wrong(&self, message: &str) -> Problem {
        Problem { line: self.line_here(), message: message.to_owned() }
    }
}

fn is_directive(word: &str) -> bool {
    ["set", "if", "elseif", "else", "end", "foreach", "break", "stop"].contains(&word) || UNKNOWN.contains(&word)
}

fn flush(text: &mut String, nodes: &mut Vec<Node>) {
    if !text.is_empty() {
        nodes.push(Node::Text(std::mem::take(text)));
    }
}
