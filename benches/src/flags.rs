//! What every race reads of a command line

use crate::Done;

/// Reads flags; a flag that `switch` does not know takes a value, for `set` to know
pub(crate) fn read<T>(
    words: &[String],
    options: &mut T,
    switch: impl Fn(&mut T, &str) -> bool,
    set: impl Fn(&mut T, &str, &str) -> Done<bool>,
) -> Done {
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        if switch(options, flag) {
            continue;
        }
        let value = words.next();
        let value = value.ok_or_else(|| format!("no flag {flag}, or its value is missing"))?;
        if !set(options, flag, value)? {
            return Err(format!("no flag {flag}"));
        }
    }
    Ok(())
}

/// A value as a number
pub(crate) fn number<N: std::str::FromStr>(flag: &str, value: &str) -> Done<N> {
    value.parse().map_err(|_| format!("{flag} {value}: not a number"))
}

/// What was asked for, or else the usual
pub(crate) fn or<T: Clone>(asked: &[T], usual: &[T]) -> Vec<T> {
    if asked.is_empty() { usual.to_vec() } else { asked.to_vec() }
}
