//! Regular expressions as Prometheus has them, compiled once for all who say the same.
//!
//! Ten thousand SLOs have a few hundred different ones; a compiled one takes some 60 µs and 10 KiB, and its
//! caches more once it is used. So those in use are known by their text. This is state of the whole process, and
//! nobody can tell: what a text compiles to depends on nothing else, and what nobody uses any more is let go.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Weak},
};

use parking_lot::Mutex;
use regex::Regex;

use super::RegexError;

static IN_USE: LazyLock<Mutex<HashMap<Box<str>, Weak<Regex>>>> = LazyLock::new(Mutex::default);

/// The regular expression, anchored at both ends, with a `.` that matches a newline.
pub(super) fn compile(pattern: &str) -> Result<Arc<Regex>, RegexError> {
    if let Some(known) = IN_USE.lock().get(pattern).and_then(Weak::upgrade) {
        return Ok(known);
    }
    // Not under the lock. Who compiles the same at the same time has one of its own.
    let compiled = Regex::new(&format!("^(?s:{pattern})$"))
        .map_err(|error| RegexError { pattern: pattern.to_owned(), reason: reason(&error) })?;
    let compiled = Arc::new(compiled);
    let mut in_use = IN_USE.lock();
    if in_use.len() == in_use.capacity() {
        in_use.retain(|_, regex| regex.strong_count() > 0);
    }
    in_use.insert(pattern.into(), Arc::downgrade(&compiled));
    Ok(compiled)
}

/// What is wrong, without the drawing of where.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_twice_is_compiled_once_and_let_go_with_the_last() {
        let (one, other) = (compile("said-twice.+").unwrap(), compile("said-twice.+").unwrap());
        assert!(Arc::ptr_eq(&one, &other));
        let weak = Arc::downgrade(&one);
        drop((one, other));
        assert!(weak.upgrade().is_none());
        assert!(compile("said-twice.+").is_ok());
    }

    #[test]
    fn texts_that_are_gone_are_forgotten() {
        for n in 0..2_000 {
            compile(&format!("gone-{n}")).unwrap();
        }
        let gone =
            |in_use: &HashMap<Box<str>, _>| in_use.keys().filter(|text| text.starts_with("gone-")).count();
        assert!(gone(&IN_USE.lock()) < 1_500);
    }

    #[test]
    fn what_is_wrong_is_said_in_a_line() {
        assert_eq!(
            compile("a(b").unwrap_err().to_string(),
            r#"cannot use regular expression "a(b": unclosed group"#
        );
        assert!(compile("(x{1000}){1000}").unwrap_err().to_string().contains("size limit"));
    }
}
