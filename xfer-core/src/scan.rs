//! The walk of a tree, in the order of paths.
