//! What must change: source, destination and records compared.
