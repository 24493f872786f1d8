//! Every number of the SSH transport, in one place

use std::time::Duration;

/// Most bytes that one write takes: what has been taken and waits for the far side's window is in
/// memory. The engine cuts it into packets of the 32 KiB that SSH peers accept
pub(super) const TAKEN_BYTES_MAX: usize = 256 << 10;

/// Bytes a channel may send us before it needs our leave, on a link without delay
///
/// A server keeps as much in a buffer that it grows packet by packet, copying it every time.
pub(super) const CHANNEL_WINDOW_BYTES_MIN: u32 = 2 << 20;

/// The same on a long link: enough for 1 Gbit/s at 130 ms
pub(super) const CHANNEL_WINDOW_BYTES_MAX: u32 = 16 << 20;

/// Bytes a second that a window is laid out for
pub(super) const WINDOW_RATE: u64 = 1 << 30;

/// Largest packet that we accept
pub(super) const PACKET_BYTES_MAX: u32 = 32 << 10;

/// Packets of a channel that wait for its reader before the whole connection waits
pub(super) const CHANNEL_PACKETS_BUFFERED: usize = 256;

/// Bytes taken from the socket at once; a packet costs two reads without it
pub(super) const SOCKET_READ_BYTES: usize = 256 << 10;

/// Bytes between two key exchanges, as OpenSSH does it for AES
pub(super) const REKEY_BYTES: usize = 1 << 30;

/// Time between two key exchanges
pub(super) const REKEY_AFTER: Duration = Duration::from_secs(3600);

/// Silence after which the peer is asked whether it lives
///
/// With [`KEEPALIVES_UNANSWERED_MAX`] a dead peer is noticed after 28 s; a configuration may ask
/// for less.
pub(super) const KEEPALIVE_AFTER: Duration = Duration::from_secs(7);

/// Questions in a row that may stay unanswered
pub(super) const KEEPALIVES_UNANSWERED_MAX: usize = 3;

/// Time for the whole login of one hop, people's answers not counted
pub(super) const LOGIN_WITHIN: Duration = Duration::from_secs(8);

/// Time for the ssh-agent to list its keys, which needs no person
pub(super) const AGENT_WITHIN: Duration = Duration::from_secs(3);

/// Time for a signature of the ssh-agent, which may ask its owner first
pub(super) const AGENT_SIGNS_WITHIN: Duration = Duration::from_secs(60);

/// Time to open a channel and start a command
pub(super) const CHANNEL_OPENS_WITHIN: Duration = Duration::from_secs(20);

/// Time that an agent may take for a signature of its own; one that takes longer may have asked its
/// owner, who is not asked for a further login
pub(super) const AGENT_ALONE_WITHIN: Duration = Duration::from_millis(300);

/// The first pause before a channel is asked for again that was refused while the host may still
/// count one that was given back, and the longest
pub(super) const CHANNEL_PAUSE: Duration = Duration::from_millis(20);
pub(super) const CHANNEL_PAUSE_MAX: Duration = Duration::from_millis(640);

/// Time for `ssh -G`; a `Match exec` in the configuration may take a while
pub(super) const RESOLVE_WITHIN: Duration = Duration::from_secs(20);

/// Time to say goodbye
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Bytes of text before the server's banner that are kept for the error message
pub(super) const GREETING_BYTES_MAX: usize = 1 << 10;

/// Last bytes of a command's stderr that are kept
pub(super) const STDERR_BYTES_MAX: usize = 64 << 10;

/// Size limit of a private key file
pub(super) const KEY_FILE_BYTES_MAX: u64 = 1 << 20;

/// Size limit of a configuration file for our own parser, and of what `ssh -G` prints
pub(super) const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Longest line of a known_hosts file that is looked at
pub(super) const KNOWN_HOSTS_LINE_BYTES_MAX: usize = 64 << 10;

/// Keys of an agent that are considered
pub(super) const AGENT_KEYS_MAX: usize = 64;

/// Jump hosts in a row
pub(super) const JUMPS_MAX: usize = 16;

/// The longest pause before a host that takes no further logins is dialled again
pub(super) const BUSY_PAUSE_MAX: Duration = Duration::from_secs(15);
