//! Positions: where in a query's text a node of its syntax tree, or an error of its parser, is.
//!
//! The parser's tree has no positions, its tokens do. The tree is walked in the order of the text,
//! every node claiming the token that is typical of it. All of this happens only on refusal.

use lrpar::{Lexeme, Lexer as _};
use promql_parser::parser::{
    self, Expr, VectorSelector,
    token::{
        T_BOOL, T_BY, T_COLON, T_DURATION, T_EOF, T_EQL_REGEX, T_GROUP_LEFT, T_GROUP_RIGHT, T_IGNORING,
        T_LEFT_BRACE, T_LEFT_BRACKET, T_LEFT_PAREN, T_NEQ_REGEX, T_NUMBER, T_ON, T_RIGHT_BRACE,
        T_RIGHT_PAREN, T_STRING, T_SUB, T_WITHOUT, TokenId,
    },
};

use super::{Error, Spot};

// The tree is walked and dropped by recursion, at most one level per token; the largest queries of
// public SLOs have some 300. A longer one is refused.
const TOKENS_MAX: usize = 2_000;

// Finding a lexer's error lexes every prefix: 4 KiB take some milliseconds. In longer texts it is
// reported at the end.
const LEXER_ERROR_SEARCH_BYTES_MAX: usize = 4_096;

// Each of them completes a query that was cut off somewhere, given enough closing parentheses. The
// first is the cut in front of a complete operand; then follow the insides of parentheses, braces
// and brackets.
const COMPLETIONS: [&str; 11] =
    ["", "a", "(a)", "a) (a)", ") (a)", "a=\"a\"}", "=\"a\"}", "\"a\"}", "}", "5m]", "]"];

// A subquery is `[5m:1m]`, any other range has no colon.
const COLON_BEHIND_BRACKET: usize = 3;

// All that the parser says about it.
const BAD_GRAMMAR: &str = "invalid promql query";

/// The text of a query with its tokens.
pub(super) struct Tokens<'t> {
    text: &'t str,
    tokens: Vec<Token>,
}

struct Token {
    id: TokenId,
    start: usize,
    end: usize,
}

/// The walk of the tree beside the tokens.
struct Cursor<'a> {
    tokens: &'a Tokens<'a>,
    next: usize,
    target: &'a Expr,
    found: Option<usize>,
}

// === impl Tokens ===

impl<'t> Tokens<'t> {
    pub(super) fn lex(text: &'t str) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Err(Error { offset: 0, message: "query is empty".to_owned() });
        }
        let lexer = parser::lexer(text).map_err(|message| lexer_error(text, message))?;
        let tokens: Vec<Token> = lexer
            .iter()
            .filter_map(Result::ok)
            .filter(|lexeme| lexeme.tok_id() != T_EOF)
            .map(|lexeme| Token {
                id: lexeme.tok_id(),
                start: lexeme.span().start(),
                end: lexeme.span().end(),
            })
            .collect();
        match tokens.get(TOKENS_MAX) {
            Some(token) => {
                let message = format!("query has more than {TOKENS_MAX} tokens; split it");
                Err(Error { offset: token.start, message })
            }
            None => Ok(Self { text, tokens }),
        }
    }

    /// The text with equalities in place of regular expressions, whose patterns begin with `mark`; `None` if it
    /// has none.
    pub(super) fn with_equalities(&self, mark: char) -> Option<String> {
        let (mut text, mut copied) = (String::new(), 0);
        for pair in self.tokens.windows(2) {
            let op = match pair[0].id {
                T_EQL_REGEX => "=",
                T_NEQ_REGEX => "!=",
                _ => continue,
            };
            // What follows is a string in quotes of one byte, or an error that the parser will find.
            let quoted = pair[1].start..pair[1].end.min(pair[1].start + 1);
            text.push_str(&self.text[copied..pair[0].start]);
            text.extend([op, self.text.get(quoted)?]);
            text.push(mark);
            copied = pair[1].start + 1;
        }
        (copied > 0).then(|| text + &self.text[copied..])
    }

    /// The byte offset of what is refused in the tree `root`.
    pub(super) fn locate(&self, root: &Expr, node: &Expr, spot: Spot) -> usize {
        let mut cursor = Cursor { tokens: self, next: 0, target: node, found: None };
        cursor.visit(root);
        let node = cursor.found.unwrap_or(0);
        let spot = match spot {
            Spot::Itself => None,
            Spot::Token(id) => self.positions(node, id).next(),
            Spot::Range => self.positions(node, T_LEFT_BRACKET).next(),
            Spot::MatcherValue(index) => self.positions(node, T_STRING).nth(index),
        };
        self.start(spot.unwrap_or(node))
    }

    /// The parser's error, placed at a token it names or at the first one it cannot use.
    pub(super) fn syntax_error(&self, message: &str) -> Error {
        let offset = self.named_in(message).unwrap_or_else(|| self.first_unusable(message));
        Error { offset, message: format!("cannot parse query as PromQL: {message}") }
    }

    fn named_in(&self, message: &str) -> Option<usize> {
        let quoted = |token: &&Token| {
            let text = self.text_of(token);
            message.contains(&format!("'{text}'")) || self.is_string_in(token, message)
        };
        self.tokens.iter().find(quoted).map(|token| token.start)
    }

    fn is_string_in(&self, token: &Token, message: &str) -> bool {
        let content = self.text_of(token).trim_matches(['"', '\'', '`']);
        token.id == T_STRING && content.len() > 1 && message.contains(content)
    }

    /// Every prefix of a usable prefix is usable, so that bisection finds the first bad token.
    fn first_unusable(&self, message: &str) -> usize {
        let (mut usable, mut unusable) = (0, self.tokens.len());
        if unusable == 0 {
            return 0;
        }
        if self.is_usable(unusable, message) {
            return self.text.trim_end().len();
        }
        while usable + 1 < unusable {
            let middle = usable.midpoint(unusable);
            if self.is_usable(middle, message) { usable = middle } else { unusable = middle }
        }
        self.start(unusable - 1)
    }

    /// Whether some continuation of the first `count` tokens parses, or fails for another reason than
    /// `message` and bad grammar.
    fn is_usable(&self, count: usize, message: &str) -> bool {
        let prefix = &self.text[..self.tokens[count - 1].end];
        let open = prefix.matches('(').count();
        COMPLETIONS.iter().any(|completion| {
            (0..=open).any(|closing| {
                let query = format!("{prefix} {completion}{}", ")".repeat(closing));
                parser::lexer(&query).is_ok()
                    && parser::parse(&query)
                        .err()
                        .is_none_or(|error| error != message && error != BAD_GRAMMAR)
            })
        })
    }

    fn positions(&self, from: usize, id: TokenId) -> impl Iterator<Item = usize> {
        (from..self.tokens.len()).filter(move |index| self.tokens[*index].id == id)
    }

    fn start(&self, index: usize) -> usize {
        self.tokens.get(index).map_or(0, |token| token.start)
    }

    fn text_of(&self, token: &Token) -> &'t str {
        &self.text[token.start..token.end]
    }
}

/// The lexer stops at its first error without saying where: that is behind the longest prefix that
/// it does not refuse for the same reason. What is not closed is missed at the end.
fn lexer_error(text: &str, message: String) -> Error {
    let differs = |end: &usize| parser::lexer(&text[..*end]).err().as_ref() != Some(&message);
    let is_at_end = ["unclosed", "unexpected end"].iter().any(|start| message.starts_with(start));
    let offset = if text.len() > LEXER_ERROR_SEARCH_BYTES_MAX || is_at_end {
        text.trim_end().len()
    } else {
        text.char_indices().map(|(start, _)| start).rev().find(differs).unwrap_or(0)
    };
    Error { offset, message: format!("cannot parse query as PromQL: {message}") }
}

// === impl Cursor ===

impl Cursor<'_> {
    fn visit(&mut self, expr: &Expr) {
        match expr {
            Expr::Paren(paren) => self.visit(&paren.expr),
            Expr::Aggregate(aggregate) => {
                self.claim_id(expr, aggregate.op.id());
                self.skip_modifiers();
                aggregate.param.iter().for_each(|param| self.visit(param));
                self.visit(&aggregate.expr);
            }
            Expr::Binary(binary) => {
                self.visit(&binary.lhs);
                self.claim_id(expr, binary.op.id());
                self.skip_modifiers();
                self.visit(&binary.rhs);
            }
            Expr::Unary(unary) => {
                self.claim_id(expr, T_SUB);
                self.visit(&unary.expr);
            }
            Expr::Subquery(subquery) => {
                self.visit(&subquery.expr);
                self.skip_past(T_COLON);
                self.next = self.next.saturating_sub(COLON_BEHIND_BRACKET);
                self.claim_id(expr, T_LEFT_BRACKET);
            }
            Expr::Call(call) => {
                self.claim_text(expr, call.func.name);
                call.args.args.iter().for_each(|argument| self.visit(argument));
            }
            Expr::VectorSelector(vector) => self.claim_selector(expr, vector),
            Expr::MatrixSelector(matrix) => self.claim_selector(expr, &matrix.vs),
            Expr::NumberLiteral(_) => self.claim(expr, |_, token| matches!(token.id, T_NUMBER | T_DURATION)),
            Expr::StringLiteral(_) => self.claim_id(expr, T_STRING),
            Expr::Extension(_) => (),
        }
    }

    fn claim_selector(&mut self, expr: &Expr, vector: &VectorSelector) {
        match &vector.name {
            Some(name) => self.claim_text(expr, name),
            None => self.claim_id(expr, T_LEFT_BRACE),
        }
        let in_braces = vector.name.is_none() || self.peek() == Some(T_LEFT_BRACE);
        if in_braces {
            self.skip_past(T_RIGHT_BRACE);
        }
    }

    fn claim_id(&mut self, expr: &Expr, id: TokenId) {
        self.claim(expr, |_, token| token.id == id);
    }

    fn claim_text(&mut self, expr: &Expr, text: &str) {
        self.claim(expr, |tokens, token| tokens.text_of(token) == text);
    }

    /// The next token that `is_typical` belongs to this node.
    fn claim(&mut self, expr: &Expr, is_typical: impl Fn(&Tokens<'_>, &Token) -> bool) {
        let rest = self.tokens.tokens.iter().enumerate().skip(self.next);
        let Some((index, _)) = rest.into_iter().find(|(_, token)| is_typical(self.tokens, token)) else {
            return;
        };
        self.next = index + 1;
        if std::ptr::eq(expr, self.target) {
            self.found = Some(index);
        }
    }

    /// Skips `by (…)`, `on (…) group_left (…)` and the like, whose labels could look like metrics.
    fn skip_modifiers(&mut self) {
        while matches!(
            self.peek(),
            Some(T_BY | T_WITHOUT | T_ON | T_IGNORING | T_GROUP_LEFT | T_GROUP_RIGHT | T_BOOL)
        ) {
            let takes_labels = matches!(self.peek(), Some(T_BY | T_WITHOUT | T_ON | T_IGNORING));
            self.next += 1;
            if takes_labels && self.peek() == Some(T_LEFT_PAREN) {
                self.skip_past(T_RIGHT_PAREN);
            }
        }
    }

    fn skip_past(&mut self, id: TokenId) {
        if let Some(index) = self.tokens.positions(self.next, id).next() {
            self.next = index + 1;
        }
    }

    fn peek(&self) -> Option<TokenId> {
        self.tokens.tokens.get(self.next).map(|token| token.id)
    }
}
