//! Why text names no place, and what to type instead.

use xfer_protocol::path::Escaped;

/// Why text names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {}", Escaped(.text))]
pub struct LocationError {
    /// What was typed, any password removed.
    pub text: Vec<u8>,
    /// What is wrong with it.
    pub reason: LocationReason,
}

/// What is wrong with a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocationReason {
    /// Nothing was typed.
    #[error("a location is empty")]
    Empty,
    /// `-` alone.
    #[error("standard input and output are no locations")]
    Dash,
    /// A NUL byte, written or encoded.
    #[error("a location holds a NUL byte")]
    Nul,
    /// Longer than any path.
    #[error("a location is too long")]
    TooLong,
    /// No scheme that xfer knows.
    #[error("unknown scheme")]
    UnknownScheme,
    /// A password.
    #[error("a location must not hold a password")]
    Password,
    /// No host.
    #[error("a host is missing")]
    HostMissing,
    /// A host that could be taken for something else.
    #[error("that is no host name")]
    BadHost,
    /// A host of digits only.
    #[error("a bare number is no host")]
    NumericHost,
    /// A user that could be taken for something else.
    #[error("that is no user name")]
    BadUser,
    /// Brackets that do not hold an IPv6 address followed by what must follow.
    #[error("brackets must hold an IPv6 address, and a : follows them")]
    BadAddress,
    /// `HOST::…`, or an IPv6 address without brackets.
    #[error("one : stands between host and path, and an IPv6 address stands in brackets")]
    DoubleColon,
    /// No port of 1 to 65535.
    #[error("a port is a number from 1 to 65535")]
    BadPort,
    /// `file://` with a host, or without an absolute path.
    #[error("file: locations are of this machine, as file:///absolute/path")]
    FileHost,
    /// `%` without two hexadecimal digits.
    #[error("% must be followed by two hexadecimal digits")]
    BadEscape,
    /// An encoded `/`, `.` or `..`.
    #[error("an encoded / or .. is refused")]
    EncodedSeparator,
    /// `xfer://…@host`, where a user or a secret has no place.
    #[error("nothing stands before the host of a standing peer, a token least of all")]
    TokenInLocation,
    /// `xfer://host` without a port.
    #[error("the port of the standing peer is missing")]
    PeerPortMissing,
    /// `xfer://host:port` without a root.
    #[error("the name of a root is missing")]
    RootMissing,
    /// `vast:` and something that is no id.
    #[error("that names no machine of the platform")]
    BadMachine,
    /// `vast:self` elsewhere.
    #[error("this process does not run on a machine of the platform")]
    NotOnMachine,
    /// `vast:` alone, where one machine must be meant.
    #[error("which machine of the platform is missing")]
    MachineMissing,
    /// `~name` on another machine.
    #[error("another user's home cannot be named")]
    OtherHome,
    /// `s3://` without a bucket.
    #[error("the name of a bucket is missing")]
    BucketMissing,
    /// A name that no bucket of that store has.
    #[error("no bucket there has such a name")]
    BadBucket,
    /// The name of an object that has an empty part, `.` or `..`, or what begins a query.
    #[error("no object is named so in a location")]
    BadKey,
    /// A key, a token or a password before the `@` of an address.
    #[error("a location must not hold a key or a password")]
    KeyInLocation,
    /// `http://` to another machine.
    #[error("http:// is neither secret nor safe on its way, and refused")]
    Unencrypted,
    /// An `https://` address without a file's name, or with `.`, `..` or a fragment.
    #[error("that address names no file")]
    BadAddressOfFile,
    /// `rclone:` and what is no remote.
    #[error("that names no remote of rclone's")]
    BadRemote,
    /// The path in a remote has an empty part, `.` or `..`.
    #[error("no file of a remote is named so in a location")]
    BadRemotePath,
    /// `rclone:name,parameter=…:`, which may hold a key.
    #[error("a location must not hold the parameters of a remote")]
    RemoteParameters,
    /// `hf://` and what is no repository.
    #[error("that names no repository of the hub")]
    BadRepository,
}

impl LocationReason {
    /// The stable id.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Empty => "location-empty",
            Self::Dash => "location-dash",
            Self::Nul => "location-nul",
            Self::TooLong => "location-too-long",
            Self::UnknownScheme => "unknown-scheme",
            Self::Password => "password-in-location",
            Self::HostMissing => "host-missing",
            Self::BadHost | Self::NumericHost => "bad-host",
            Self::BadUser => "bad-user",
            Self::BadAddress => "bad-address",
            Self::DoubleColon => "double-colon",
            Self::BadPort => "bad-port",
            Self::FileHost => "file-on-another-machine",
            Self::BadEscape | Self::EncodedSeparator => "bad-encoding",
            Self::TokenInLocation => "token-in-location",
            Self::PeerPortMissing => "bad-port",
            Self::RootMissing => "root-missing",
            Self::BadMachine => "bad-machine",
            Self::MachineMissing => "machine-missing",
            Self::NotOnMachine => "not-on-machine",
            Self::OtherHome => "other-home",
            Self::BucketMissing => "bucket-missing",
            Self::BadBucket => "bad-bucket",
            Self::BadKey => "bad-key",
            Self::KeyInLocation => "password-in-location",
            Self::Unencrypted => "not-encrypted",
            Self::BadAddressOfFile => "bad-file-address",
            Self::BadRemote | Self::BadRemotePath => "bad-remote",
            Self::RemoteParameters => "password-in-location",
            Self::BadRepository => "bad-repository",
        }
    }

    /// What to do instead.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Empty => "name a path, or HOST:path",
            Self::Dash => "write ./- for a file of that name",
            Self::Nul | Self::TooLong => "name a path that the system can hold",
            Self::UnknownScheme => {
                "use path, HOST:path, ssh://HOST/path, xfer://HOST:PORT/ROOT, file:///path, \
                 s3://BUCKET/path, gs://, az:// or b2://, rclone:REMOTE:path"
            }
            Self::Password => "leave the password out; xfer logs in with keys (-i FILE, ssh-agent)",
            Self::HostMissing | Self::BadHost => {
                "use HOST:path with a host that ssh knows; ./ before it forces a local path"
            }
            Self::NumericHost => {
                "write ssh://NUMBER/path for a host of that name, ./NUMBER:path for a local path"
            }
            Self::BadUser => "write USER@HOST:path with the login name on that machine",
            Self::BadAddress => "write [ADDRESS]:path, or ssh://[ADDRESS]:PORT/path",
            Self::DoubleColon => {
                "write HOST:path or [ADDRESS]:path; rsync's HOST::MODULE is not spoken here"
            }
            Self::BadPort => "write ssh://HOST:22/path, or use --port 22",
            Self::FileHost => "write file:///path, or HOST:path for another machine",
            Self::BadEscape | Self::EncodedSeparator => {
                "write HOST:path, in which no byte is encoded"
            }
            Self::TokenInLocation => {
                "write xfer://HOST:PORT/ROOT/path, and the token to a file (--peer-token-file)"
            }
            Self::PeerPortMissing | Self::RootMissing => {
                "write xfer://HOST:PORT/ROOT/path, ROOT being a name that the peer serves"
            }
            Self::BadMachine | Self::MachineMissing | Self::NotOnMachine => {
                "write vast:ID:/path, sky:CLUSTER:/path, runpod:ID:/path or lambda:ID:/path; xfer \
                 ls vast: lists those of vast, and likewise the others"
            }
            Self::BucketMissing | Self::BadBucket => {
                "write s3://BUCKET/PATH: 3 to 63 of a-z, 0-9, - and . (not az://) or _ (gs:// \
                 alone); another host than the store's own is --endpoint-url URL"
            }
            Self::BadKey => {
                "write s3://BUCKET/PATH with the bytes of the name as they are: no // within, no \
                 part . or .., no ? and no #; what holds these is reached as part of a directory"
            }
            Self::KeyInLocation => {
                "leave it out; keys are read where the store's own tools read them: \
                 AWS_ACCESS_KEY_ID, ~/.aws/credentials, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN"
            }
            Self::Unencrypted => "write https://; http:// is for this machine itself alone",
            Self::BadAddressOfFile => "write https://HOST/PATH/FILE, with no #",
            Self::BadRemote => {
                "write rclone:REMOTE:path with a remote that rclone listremotes tells, or \
                 rclone::BACKEND:path with what its environment sets"
            }
            Self::BadRemotePath => {
                "write rclone:REMOTE:path with the bytes of the name as they are: no // and no \
                 part . or .."
            }
            Self::RemoteParameters => {
                "have rclone keep them: rclone config create NAME TYPE, then rclone:NAME:path"
            }
            Self::BadRepository => {
                "write hf://OWNER/MODEL/PATH or hf://datasets/OWNER/NAME/PATH, with @REVISION \
                 behind the name where it is not main"
            }
            Self::OtherHome => "write the absolute path, or ./~name for an entry of that name",
        }
    }
}
