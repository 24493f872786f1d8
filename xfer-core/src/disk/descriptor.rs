//! Descriptors as the runtime wants them.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::ReadBuf;
use tokio::io::unix::AsyncFd;

/// Bytes that a pipe holds, where the system lets us choose: with the usual 64 KiB both ends wake
/// each other for every packet.
const PIPE_BYTES: usize = 1 << 20;

/// Whether standard output was closed when the process began; the language's own start then opens
/// `/dev/null` in its place, where what is written is lost without a word.
static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

// SAFETY: the loader calls what stands in this section once, before `main`, with arguments that may
// be left alone; the function asks the system one question and stores the answer.
#[cfg(target_os = "linux")]
#[used]
#[expect(unsafe_code, reason = "nothing else runs before the streams are replaced")]
#[unsafe(link_section = ".init_array")]
static LOOK_AT_STDOUT: extern "C" fn() = {
    extern "C" fn look() {
        let found = rustix::io::fcntl_getfd(rustix::stdio::stdout());
        STDOUT_WAS_CLOSED.store(found == Err(Errno::BADF), Ordering::Relaxed);
    }
    look
};

/// Whether standard output was closed when the process began.
#[must_use]
pub fn stdout_was_closed() -> bool {
    STDOUT_WAS_CLOSED.load(Ordering::Relaxed)
}

/// Lets the runtime tell when a descriptor can be read or written; it must be a pipe or socket.
pub(crate) fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, always the same descriptor, and stays so while it is owned.
    #[expect(unsafe_code, reason = "the runtime asks for a promise that `OwnedFd` keeps")]
    let watched = unsafe { AsyncFd::register(descriptor) };
    watched.map_err(Into::into)
}

/// Gives a pipe more room. A socket has none to give, and a limit of the system's is no failure.
pub(crate) fn widen_pipe(descriptor: impl AsFd) {
    #[cfg(target_os = "linux")]
    let _refused = rustix::pipe::fcntl_setpipe_size(descriptor, PIPE_BYTES);
    #[cfg(not(target_os = "linux"))]
    let _nothing_to_do = descriptor;
}

/// Reads into the part of a buffer that is not filled, without clearing it first.
pub(crate) fn read_into(descriptor: impl AsFd, buffer: &mut ReadBuf<'_>) -> Result<(), Errno> {
    // SAFETY: nothing but the system writes here, and it writes what it then counts.
    #[expect(unsafe_code, reason = "a buffer of a block is not cleared for every read")]
    let spare = unsafe { buffer.unfilled_mut() };
    let (read, _) = rustix::io::read(descriptor, spare)?;
    let count = read.len();
    // SAFETY: the system has written this many bytes.
    #[expect(unsafe_code, reason = "what the system wrote is initialised")]
    unsafe {
        buffer.assume_init(count);
    }
    buffer.advance(count);
    Ok(())
}

/// Writes to a socket; one that the peer has closed gives an error and no signal.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    #[cfg(target_os = "linux")]
    let flags = rustix::net::SendFlags::NOSIGNAL;
    #[cfg(not(target_os = "linux"))]
    let flags = rustix::net::SendFlags::empty();
    rustix::net::send(socket, bytes, flags)
}

/// Tells the peer of a socket that nothing more comes. One that is gone need not be told.
pub(crate) fn shut_down_writing(socket: impl AsFd) -> Result<(), Errno> {
    match rustix::net::shutdown(socket, rustix::net::Shutdown::Write) {
        Err(Errno::NOTCONN) => Ok(()),
        other => other,
    }
}

/// Has the system confirm at once what came on a socket, not after its usual 40 ms. It is a hint,
/// and holds until more comes.
pub(crate) fn answer_at_once(socket: impl AsFd) {
    #[cfg(target_os = "linux")]
    let _hint = rustix::net::sockopt::set_tcp_quickack(socket, true);
    #[cfg(not(target_os = "linux"))]
    let _nothing_to_do = socket;
}

/// Asks for the system's congestion control that keeps its pace through loss. A system without it,
/// or one that keeps it from us, goes on with its own.
pub(crate) fn pace_by_bandwidth(socket: impl AsFd) {
    #[cfg(target_os = "linux")]
    let _hint = rustix::net::sockopt::set_tcp_congestion(socket, "bbr");
    #[cfg(not(target_os = "linux"))]
    let _nothing_to_do = socket;
}

/// Asks for a congestion control that sets no pace, only a window. A system that keeps all of them
/// from us goes on with the one it has.
pub(crate) fn pace_by_loss(socket: impl AsFd) {
    #[cfg(target_os = "linux")]
    for name in ["cubic", "reno"] {
        if rustix::net::sockopt::set_tcp_congestion(&socket, name).is_ok() {
            return;
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _nothing_to_do = socket;
}

/// What the system knows of a connected TCP socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SocketFacts {
    /// How long a packet and its answer took lately; zero where nothing was answered yet.
    pub(crate) round_trip: Duration,
    /// Packets with payload that were sent.
    pub(crate) sent_packets: u64,
    /// Packets that were sent again.
    pub(crate) resent_packets: u64,
    /// Packets that arrived before one that was sent earlier.
    pub(crate) disordered_packets: u64,
    /// Bytes of the largest packet that passes whole.
    pub(crate) path_mtu: u32,
}

/// How long a packet and its answer took lately on a connected TCP socket; unknown on some systems.
pub(crate) fn round_trip(socket: impl AsFd) -> Option<Duration> {
    let told = socket_facts(socket)?.round_trip;
    (told > Duration::ZERO).then_some(told)
}

/// What the system knows of a connected TCP socket; nothing on some systems.
pub(crate) fn socket_facts(socket: impl AsFd) -> Option<SocketFacts> {
    #[cfg(target_os = "linux")]
    {
        let socket = socket.as_fd().as_raw_fd();
        // SAFETY: it is plain numbers, for which zero is a value.
        #[expect(unsafe_code, reason = "a structure of the system's begins empty")]
        let mut told: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut length = libc::socklen_t::try_from(size_of_val(&told)).ok()?;
        let place = std::ptr::from_mut(&mut told).cast();
        // SAFETY: the descriptor is open, and the system writes no more than the length says.
        #[expect(unsafe_code, reason = "nothing safe asks a socket for this")]
        let outcome = unsafe {
            libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut length)
        };
        (outcome == 0).then(|| SocketFacts {
            round_trip: Duration::from_micros(told.tcpi_rtt.into()),
            sent_packets: told.tcpi_data_segs_out.into(),
            resent_packets: told.tcpi_total_retrans.into(),
            disordered_packets: told.tcpi_rcv_ooopack.into(),
            path_mtu: told.tcpi_pmtu,
        })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _nothing_to_ask = socket;
        None
    }
}

/// Has the system ask a silent peer whether it is there; one that is not is noticed within a
/// minute.
pub(crate) fn keep_alive(socket: impl AsFd) {
    let _hint = rustix::net::sockopt::set_socket_keepalive(&socket, true);
    #[cfg(target_os = "linux")]
    {
        use rustix::net::sockopt;
        let _hint = sockopt::set_tcp_keepidle(&socket, Duration::from_secs(20));
        let _hint = sockopt::set_tcp_keepintvl(&socket, Duration::from_secs(5));
        let _hint = sockopt::set_tcp_keepcnt(&socket, 6);
    }
}
