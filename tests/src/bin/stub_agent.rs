//! An agent that lies, placed on a server in place of the real one
//!
//! The file `row` in its home says how it lies.

use std::io::{Cursor, Read, Write};

use xfer_tests::stub;

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "--version") || words.iter().any(|w| w == "--join")
    {
        return;
    }
    let home = std::env::var("HOME").expect("a home");
    let row = std::fs::read_to_string(format!("{home}/row")).expect("a row");
    let sentinel = words.iter().skip_while(|word| *word != "--sentinel").nth(1).expect("a mark");
    let opening = std::env::var("XFER_OPENING").map(|opening| stub::from_hex(&opening));
    let mut output = std::io::stdout();
    output.write_all(&stub::from_hex(sentinel)).expect("write");
    output.flush().expect("write");
    // It ends as the program hangs up on it.
    let opening = Cursor::new(opening.unwrap_or_default());
    let _ended = stub::serve(&mut opening.chain(std::io::stdin()), &mut output, row.trim());
}
