//! The parser's tree of a query, without the parser compiling its regular expressions.
//!
//! Compiling one takes some 60 µs, ten times what the rest of a matcher does, and nobody uses what the parser
//! compiles: matchers have [a compiled form of their own](crate::labels::Matcher), shared by all that say the same. So
//! the parser is shown equalities, marked, and the tree is mended afterwards. What is unusual in any way is
//! parsed as it stands, so that all errors are the parser's own.

use std::sync::LazyLock;

use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{self, Expr, VectorSelector},
};
use regex::Regex;

use super::tokens::Tokens;

// A noncharacter, which no text has in it (Unicode 16.0, 23.7).
const MARK: char = '\u{fdd0}';

// Stands for every regular expression in the tree: what it is follows from the value beside it.
static UNCOMPILED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("").expect("nothing is a regular expression"));

/// The tree of a query.
pub(super) fn parse(text: &str, tokens: &Tokens<'_>) -> Result<Expr, String> {
    let is_marked =
        text.contains(MARK) || text.contains(r"\u") || text.contains(r"\U") || text.contains(r"\x");
    if !is_marked
        && let Some(marked) = tokens.with_equalities(MARK)
        && let Ok(mut root) = parser::parse(&marked)
        && mend(&mut root)
    {
        return Ok(root);
    }
    parser::parse(text)
}

/// Makes regular expressions of what is marked. False if the parser must see them itself.
fn mend(expr: &mut Expr) -> bool {
    match expr {
        Expr::Paren(paren) => mend(&mut paren.expr),
        Expr::Aggregate(aggregate) => {
            aggregate.param.as_deref_mut().is_none_or(mend) && mend(&mut aggregate.expr)
        }
        Expr::Binary(binary) => mend(&mut binary.lhs) && mend(&mut binary.rhs),
        Expr::Unary(unary) => mend(&mut unary.expr),
        Expr::Subquery(subquery) => mend(&mut subquery.expr),
        Expr::Call(call) => call.args.args.iter_mut().all(|argument| mend(argument)),
        Expr::VectorSelector(vector) => mend_selector(vector),
        Expr::MatrixSelector(matrix) => mend_selector(&mut matrix.vs),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => true,
        Expr::Extension(_) => false,
    }
}

fn mend_selector(vector: &mut VectorSelector) -> bool {
    let groups = &mut vector.matchers.or_matchers;
    let all = vector.matchers.matchers.iter_mut().chain(groups.iter_mut().flatten());
    // A selector may not select everything, and whether a regular expression does the parser must find out.
    let is_something = |matcher: &mut Matcher| !mend_matcher(matcher) && !matcher.is_match("");
    all.map(is_something).fold(vector.name.is_some(), |is_any, is_something| is_any | is_something)
}

/// Whether it is a regular expression.
fn mend_matcher(matcher: &mut Matcher) -> bool {
    let Some(pattern) = matcher.value.strip_prefix(MARK) else { return false };
    matcher.value = pattern.to_owned();
    matcher.op = match matcher.op {
        MatchOp::NotEqual => MatchOp::NotRe(UNCOMPILED.clone()),
        _ => MatchOp::Re(UNCOMPILED.clone()),
    };
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree says what that of the parser says.
    #[track_caller]
    fn check(text: &str) {
        let tokens = Tokens::lex(text).unwrap();
        let show = |tree: Result<Expr, String>| tree.map(|tree| tree.to_string());
        assert_eq!(show(parse(text, &tokens)), show(parser::parse(text)), "{text}");
    }

    #[test]
    fn the_tree_is_the_parsers() {
        check(r#"sum by (a) (rate(m{a=~"x.+",b!~'y|z',c="d",e!=""}[5m])) / on (a) -n{a=~`.+`}"#);
        check(
            r#"topk(3, max_over_time(m{a=~"x"}[1h:5m] offset 1m)) + histogram_quantile(0.9, m{a!~"y"} @ 5)"#,
        );
        check(r#"{a=~"x" or b!~"y"}"#);
        check(r#"{"m", "a b"=~"x"}"#);
        check(r#"m{a=~""}"#);
        check(r#"m{a=~"\u00e9"}"#);
        check(r#"m{a="\ufdd0.*",b=~"x"}"#);
    }

    #[test]
    fn the_errors_are_the_parsers() {
        check(r#"{a=~".*"}"#);
        check(r#"{a!~".+",b=""}"#);
        check(r#"{a=~".+"}"#);
        check(r#"m{__name__=~"n"}"#);
        check(r#"sum(m{a=~"x"}[5m])"#);
        check(r#"m{a=~"x"} +"#);
    }
}
