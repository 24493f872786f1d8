//! A link with a rate, a delay, a queue and a loss, and senders that share it, on a virtual clock

mod cubic;
mod link;
mod tests;
