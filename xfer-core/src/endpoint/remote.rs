//! The endpoint behind a session: asks the agent on the far machine.
