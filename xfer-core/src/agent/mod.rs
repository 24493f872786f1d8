//! The far side: how xfer gets there, and what it does there.
