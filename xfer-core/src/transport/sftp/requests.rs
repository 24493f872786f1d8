//! What is asked about paths

use bytes::Bytes;

use super::attributes::Attributes;
use super::handle::{OpenHandle, done};
use super::packet::{Encoder, kind};
use super::reply::{FileSystem, Refusal, Reply};
use super::session::{Sftp, SftpError, mismatched, refused};

const READ: u32 = 1;
const WRITE: u32 = 2;
const CREATE: u32 = 8;
const EXCLUSIVE: u32 = 0x20;

/// What a file is opened for
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// To read what is there
    Read,
    /// To write what is there, and read it
    Write,
    /// To write a new file, whose name must be free; for its owner alone
    Create,
}

impl Sftp {
    /// Opens a file; a symbolic link at the end of its path is followed but by [`Opening::Create`].
    pub(crate) async fn open(
        &self,
        path: &[u8],
        opening: Opening,
    ) -> Result<OpenHandle, SftpError> {
        let (flags, permissions) = match opening {
            Opening::Read => (READ, None),
            Opening::Write => (READ | WRITE, None),
            Opening::Create => (READ | WRITE | CREATE | EXCLUSIVE, Some(0o600)),
        };
        let attributes = Attributes { permissions, ..Attributes::default() };
        let build = |out: &mut Encoder| {
            out.string(path).u32(flags).attributes(&attributes);
        };
        self.handle(self.ask(kind::OPEN, Bytes::new(), build).await?)
    }

    /// Opens a directory for listing it.
    pub(crate) async fn open_directory(&self, path: &[u8]) -> Result<OpenHandle, SftpError> {
        self.handle(self.about(kind::OPENDIR, path).await?)
    }

    fn handle(&self, reply: Reply) -> Result<OpenHandle, SftpError> {
        match reply {
            Reply::Handle(handle) if handle.is_empty() => Err(mismatched()),
            Reply::Handle(handle) => Ok(OpenHandle::new(self.clone(), handle)),
            other => Err(refused(other)),
        }
    }

    /// What stands at a path, the last link followed or not
    pub(crate) async fn attributes(
        &self,
        path: &[u8],
        follow: bool,
    ) -> Result<Attributes, SftpError> {
        let kind = if follow { kind::STAT } else { kind::LSTAT };
        match self.about(kind, path).await? {
            Reply::Attributes(found) => Ok(found),
            other => Err(refused(other)),
        }
    }

    /// Sets what is given of an entry, links followed.
    pub(crate) async fn set(&self, path: &[u8], attributes: &Attributes) -> Result<(), SftpError> {
        let build = |out: &mut Encoder| {
            out.string(path).attributes(attributes);
        };
        done(self.ask(kind::SETSTAT, Bytes::new(), build).await?)
    }

    /// The same of a link itself
    pub(crate) async fn set_link(
        &self,
        path: &[u8],
        attributes: &Attributes,
    ) -> Result<(), SftpError> {
        self.extended(self.extensions().link_attributes, |out| {
            out.string(b"lsetstat@openssh.com").string(path).attributes(attributes);
        })
        .await
    }

    /// Makes a directory for its owner alone, or one that the far side's own mask decides about.
    pub(crate) async fn make_directory(&self, path: &[u8], mode: u32) -> Result<(), SftpError> {
        let attributes = Attributes { permissions: Some(mode), ..Attributes::default() };
        let build = |out: &mut Encoder| {
            out.string(path).attributes(&attributes);
        };
        done(self.ask(kind::MKDIR, Bytes::new(), build).await?)
    }

    /// Removes an entry that is no directory.
    pub(crate) async fn remove(&self, path: &[u8]) -> Result<(), SftpError> {
        done(self.about(kind::REMOVE, path).await?)
    }

    /// Removes a directory in which nothing is.
    pub(crate) async fn remove_directory(&self, path: &[u8]) -> Result<(), SftpError> {
        done(self.about(kind::RMDIR, path).await?)
    }

    /// Renames: over what is there where the far side can, and only to a free name where not.
    pub(crate) async fn rename(&self, from: &[u8], to: &[u8]) -> Result<(), SftpError> {
        let over = self.extensions().rename_over;
        let build = |out: &mut Encoder| {
            if over {
                out.string(b"posix-rename@openssh.com");
            }
            out.string(from).string(to);
        };
        let kind = if over { kind::EXTENDED } else { kind::RENAME };
        done(self.ask(kind, Bytes::new(), build).await?)
    }

    /// Makes a symbolic link. OpenSSH takes the content first, against the draft, and everybody
    /// follows it.
    pub(crate) async fn make_link(&self, content: &[u8], path: &[u8]) -> Result<(), SftpError> {
        let build = |out: &mut Encoder| {
            out.string(content).string(path);
        };
        done(self.ask(kind::SYMLINK, Bytes::new(), build).await?)
    }

    /// Gives a file one more name.
    pub(crate) async fn make_hard_link(&self, of: &[u8], path: &[u8]) -> Result<(), SftpError> {
        self.extended(self.extensions().hard_link, |out| {
            out.string(b"hardlink@openssh.com").string(of).string(path);
        })
        .await
    }

    /// The bytes that a symbolic link holds
    pub(crate) async fn link_content(&self, path: &[u8]) -> Result<Bytes, SftpError> {
        one_name(self.about(kind::READLINK, path).await?)
    }

    /// The absolute path of what is there, without links
    pub(crate) async fn absolute_path(&self, path: &[u8]) -> Result<Bytes, SftpError> {
        one_name(self.about(kind::REALPATH, path).await?)
    }

    /// What the file system at a path has left
    pub(crate) async fn file_system(&self, path: &[u8]) -> Result<FileSystem, SftpError> {
        if !self.extensions().space {
            return Err(SftpError::Refused(Refusal::Unsupported));
        }
        let build = |out: &mut Encoder| {
            out.string(b"statvfs@openssh.com").string(path);
        };
        match self.ask(kind::EXTENDED, Bytes::new(), build).await? {
            Reply::Extended(reply) => FileSystem::decode(reply).map_err(|_| mismatched()),
            other => Err(refused(other)),
        }
    }

    async fn about(&self, kind: u8, path: &[u8]) -> Result<Reply, SftpError> {
        let build = |out: &mut Encoder| {
            out.string(path);
        };
        self.ask(kind, Bytes::new(), build).await
    }

    async fn extended(&self, can: bool, build: impl FnOnce(&mut Encoder)) -> Result<(), SftpError> {
        if !can {
            return Err(SftpError::Refused(Refusal::Unsupported));
        }
        done(self.ask(kind::EXTENDED, Bytes::new(), build).await?)
    }
}

fn one_name(reply: Reply) -> Result<Bytes, SftpError> {
    match reply {
        Reply::Names(mut names) if names.len() == 1 => {
            names.pop().map(|name| name.name).ok_or_else(mismatched)
        }
        Reply::Names(_) => Err(mismatched()),
        other => Err(refused(other)),
    }
}
