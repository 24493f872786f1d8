//! What several tests share: real servers, started privately for one test and gone with it

pub mod sshd;
