//! The gate against judges that do not share its code

mod coverage;
mod mutants;
mod properties;
mod reasons;
mod reference;
mod samples;
mod states;
mod texts;
mod tokens;
