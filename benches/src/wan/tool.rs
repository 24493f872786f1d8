//! Who moves the file over a link

use std::path::Path;
use std::process::Command;

use xfer_tests::xfer::Xfer;

use crate::contender::{Contender, Direction, Move};
use crate::direct::Route;
use crate::lab::Lab;

/// The mapped port of the far host
const PORT: u16 = 7700;

/// Who moves the file
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Xfer(Route),
    /// By whatever way it finds
    Peer(Contender),
    /// By ssh and nothing else, where it has another way too
    Held(Contender),
    /// Needs to be found by the far host too
    Qcp,
}

impl Tool {
    pub(super) const ALL: [Self; 9] = [
        Self::Xfer(Route::Quic),
        Self::Xfer(Route::Tls),
        Self::Xfer(Route::Ssh),
        Self::Peer(Contender::Rsync),
        Self::Peer(Contender::Scp),
        Self::Peer(Contender::Syq),
        Self::Held(Contender::Syq),
        Self::Peer(Contender::Mscp),
        Self::Qcp,
    ];

    pub(super) fn name(self) -> String {
        match self {
            Self::Xfer(route) => format!("xfer-{}", route.name()),
            Self::Peer(peer) => peer.name().to_owned(),
            Self::Held(peer) => format!("{}-ssh", peer.name()),
            Self::Qcp => String::from("qcp"),
        }
    }

    pub(super) fn is_ours(self) -> bool {
        matches!(self, Self::Xfer(_))
    }

    /// Whether it needs no port but that of sshd
    pub(super) fn is_by_ssh(self) -> bool {
        match self {
            Self::Xfer(route) => route == Route::Ssh,
            Self::Peer(peer) => peer != Contender::Syq,
            Self::Held(_) => true,
            Self::Qcp => false,
        }
    }

    pub(super) fn is_installed(self) -> bool {
        match self {
            Self::Xfer(_) => true,
            Self::Peer(peer) | Self::Held(peer) => peer.program().is_some(),
            Self::Qcp => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                std::env::split_paths(&path).any(|place| place.join("qcp").is_file())
            }
        }
    }

    /// One move; the program runs in `home` and tells of it in `events`
    pub(super) fn command(self, lab: &Lab, home: &Xfer, wanted: &Move, events: &Path) -> Command {
        match self {
            Self::Xfer(route) => {
                let mut arguments = wanted.xfer();
                arguments.splice(1..1, route.flags(&lab.address().to_string(), PORT));
                arguments.extend(["--events".into(), events.into()]);
                home.command(arguments)
            }
            Self::Peer(peer) => peer.by_any_route(lab, wanted),
            Self::Held(peer) => peer.command(lab, wanted),
            Self::Qcp => {
                let mut command = Command::new("qcp");
                command.arg("-q").arg("--ssh-config").arg(lab.ssh_config());
                let far = |path: &Path| format!("{}:{}", Lab::HOST, path.display());
                match wanted.direction {
                    Direction::Push => command.arg(&wanted.source).arg(far(&wanted.landed())),
                    Direction::Pull => command.arg(far(&wanted.source)).arg(wanted.landed()),
                };
                command
            }
        }
    }
}
