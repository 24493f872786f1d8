//! Pauses shorter than the runtime's millisecond.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

/// A pause that can be taken again and again.
#[derive(Debug)]
pub(crate) struct Pause(imp::Timer);

impl Pause {
    /// Prepares a pause of this length, which begins with [`Self::begin`].
    pub(crate) fn new(length: Duration) -> io::Result<Self> {
        imp::Timer::new(length).map(Self)
    }

    /// Begins it anew.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.0.begin()
    }

    /// Waits for its end.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_over(cx)
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::task::{Context, Poll, ready};
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    use crate::disk::descriptor;

    #[derive(Debug)]
    pub(super) struct Timer {
        clock: AsyncFd<OwnedFd>,
        length: Timespec,
    }

    impl Timer {
        pub(super) fn new(length: Duration) -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let clock = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            let length = Timespec::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
            Ok(Self { clock: descriptor::watched(clock)?, length })
        }

        pub(super) fn begin(&mut self) -> io::Result<()> {
            let once = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: self.length,
            };
            timerfd_settime(&self.clock, TimerfdTimerFlags::empty(), &once)?;
            Ok(())
        }

        pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            ready!(self.clock.poll_read_ready(cx))?.clear_ready();
            Poll::Ready(Ok(()))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use tokio::time::{Sleep, sleep};

    /// As short as the runtime can pause.
    #[derive(Debug)]
    pub(super) struct Timer {
        sleeping: Pin<Box<Sleep>>,
        length: Duration,
    }

    impl Timer {
        pub(super) fn new(length: Duration) -> io::Result<Self> {
            Ok(Self { sleeping: Box::pin(sleep(length)), length })
        }

        pub(super) fn begin(&mut self) -> io::Result<()> {
            self.sleeping.set(sleep(self.length));
            Ok(())
        }

        pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.sleeping.as_mut().poll(cx).map(Ok)
        }
    }
}
