//! An endpoint in memory, for tests and as the model of an object store.
