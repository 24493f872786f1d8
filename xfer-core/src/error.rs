//! Why a transfer failed, and which exit code that is.
