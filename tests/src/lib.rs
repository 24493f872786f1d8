//! What several tests share: trees to move, the program, real servers, and judges that are not ours

pub mod awkward;
pub mod changes;
pub mod http_api;
pub mod lambda_api;
pub mod machine;
pub mod measured;
pub mod medium;
pub mod net;
pub mod oracle;
pub mod random;
pub mod relay;
pub mod runpod_api;
pub mod schema;
pub mod sky;
pub mod sshd;
pub mod stores;
pub mod stub;
pub mod tree;
pub mod vast_api;
pub mod xfer;
pub mod zstd;
