//! Reasons of failures that happen at a place: each with its stable id and its sentence.

use super::ExitClass;

/// Declares a reason: each variant with its stable id and its sentence.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $id:literal, $text:literal;)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* #[error($text)] $variant,)+
        }

        impl $name {
            /// The stable id.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }
        }
    };
}

reasons! {
    /// What is wrong with a configuration, key or credential file.
    ConfigReason {
        /// Others could write or read it.
        Exposed = "config-exposed", "others may read or write it";
        /// No key of a platform.
        PlatformKeyMissing = "platform-key-missing", "no API key for it is at hand";
        /// A key of a platform, or its address, that cannot be used.
        PlatformKey = "platform-key-unusable", "its API key or address cannot be used";
        /// A configuration of ssh.
        Ssh = "ssh-config-unusable", "its ssh configuration cannot be used";
        /// A private key that cannot be used.
        Key = "key-unusable", "a key for it cannot be used";
        /// No token of a standing peer.
        TokenMissing = "peer-token-missing", "no token for it is at hand";
        /// A file of tokens of standing peers.
        Token = "peer-token-unusable", "no token for it can be read";
        /// A directory of records on a network file system.
        StateOnNetwork = "state-on-network", "it lies on a network file system";
        /// A directory of records in the destination.
        StateInDestination = "state-in-destination", "xfer's own records lie in it, nothing sent";
        /// No credentials of a store.
        CredentialsMissing = "credentials-missing", "no credentials for it are at hand";
        /// Credentials of a store that cannot be used.
        Credentials = "credentials-unusable", "its credentials cannot be used";
        /// An address or a region of a store that cannot be used.
        Endpoint = "endpoint-unusable", "where it is cannot be told";
        /// No rclone, or none that can be used.
        RcloneMissing = "rclone-missing", "rclone is needed for it, and there is none to use";
        /// A remote that rclone does not know, or a configuration of it that cannot be read.
        RcloneRemote = "rclone-remote-unusable", "rclone's configuration has no such remote";
        /// A file for results.
        Output = "output-unwritable", "it cannot be written";
    }
}

reasons! {
    /// What could not be written.
    OutputReason {
        /// The receipt, after the transfer.
        Receipt = "output-lost", "the receipt could not be written there";
    }
}

reasons! {
    /// How the network failed.
    NetworkReason {
        /// The name has no address.
        Unresolved = "host-unresolved", "the name has no address";
        /// No data port of the machine answers as the route that was asked for.
        NoDataPort = "no-data-port", "none of its data ports can be reached by the route asked for";
        /// Neither of two machines reaches the other.
        NoPassage = "no-way-between", "neither machine reaches the other by itself";
        /// Nothing answers.
        Unreachable = "host-unreachable", "it cannot be reached";
        /// An answer took too long.
        TimedOut = "connect-timeout", "it did not answer in time";
        /// The server admits no further connection.
        Throttled = "server-throttles", "the server admits no more connections for now";
        /// The connection ended, and so did the attempts.
        Lost = "connection-lost", "the connection was lost, and no retry brought it back";
        /// No answer of a store, or none that can be used.
        StoreUnreachable = "store-unreachable", "the store cannot be reached";
        /// Nothing moved.
        Stalled = "stalled", "no verified byte arrived for too long";
    }
}

reasons! {
    /// Why a login failed, or why a peer is not believed.
    AuthenticationReason {
        /// None of our keys is accepted.
        KeyRefused = "key-refused", "login refused: it accepts none of your keys";
        /// The host has another key than the one that is known.
        HostKeyChanged = "host-key-changed", "its host key is not the one that is known";
        /// What answers on a data port does not prove the key of the session.
        NotTheMachine = "data-port-identity", "what answers on its data port is another machine";
        /// What answers where a platform's machine should be is another one.
        NotTheInstance = "instance-identity", "what answers at its address is another machine";
        /// A platform does not take the key of the account.
        PlatformKeyRefused = "platform-key-refused", "the platform does not take the API key";
        /// What answers does not hold the key of the standing peer.
        NotThePeer = "peer-identity", "what answers there holds another key than the token names";
        /// A standing peer does not know the token.
        TokenRefused = "token-refused", "it does not accept the token";
        /// A token's time is over.
        TokenExpired = "token-expired", "the token has expired";
        /// A store does not take the credentials.
        CredentialsRefused = "credentials-refused", "the store does not take the credentials";
        /// A store takes the credentials, and they do not suffice.
        AccessDenied = "access-denied", "the credentials do not suffice";
        /// What answers for a store does not prove to be it.
        StoreUntrusted = "store-untrusted", "who answers for the store is not believed";
        /// The host's key is not known.
        HostKeyUnknown = "host-key-unknown", "its host key is not known";
        /// The host's key is too short, known by a certificate alone, or cannot be remembered.
        HostKeyUnusable = "host-key-unusable", "its host key cannot be used";
        /// The host's key was revoked.
        HostKeyRevoked = "host-key-revoked", "its host key is marked as revoked";
    }
}

reasons! {
    /// Why the far side cannot be spoken to.
    ProtocolFailure {
        /// There is no agent for that machine.
        NoAgent = "no-agent", "there is no agent for that machine";
        /// The agent could not be placed or started.
        AgentFailed = "agent-failed", "the agent could not be started";
        /// No version in common.
        Version = "no-common-version", "it speaks no version that this xfer speaks";
        /// It is not an agent.
        Greeting = "bad-greeting", "what answers is not an xfer agent";
        /// It said what it may not say.
        Broken = "protocol-broken", "it broke the protocol";
        /// It does not tell which container it is.
        NoIdentity = "no-identity", "nothing there tells which container it is";
        /// It lists less than was asked for.
        Unlisted = "root-unlisted", "a root there cannot be listed whole";
    }
}

reasons! {
    /// Which limit of ours was exceeded.
    LimitReason {
        /// A frame or field.
        Frame = "frame-limit", "it sent more than a frame may hold";
        /// A frame or field of ours.
        Request = "request-limit", "what is asked of it is more than a frame may hold";
    }
}

reasons! {
    /// What is wrong with our own records.
    StateReason {
        /// It cannot be written.
        Unwritable = "state-unwritable", "it cannot be written";
        /// A receipt.
        Receipt = "receipt-unreadable", "it is no receipt that can be read";
        /// The key that signs receipts.
        Key = "state-key-unusable", "it has no key that could sign for it";
    }
}

reasons! {
    /// How a platform's interface failed.
    PlatformReason {
        /// It knows no such thing.
        NotFound = "platform-not-found", "the platform knows nothing of that name";
        /// No answer.
        Unreached = "platform-unreached", "the platform's API does not answer";
        /// Too many requests.
        Busy = "platform-busy", "the platform's API takes no more requests for now";
        /// It says no.
        Refused = "platform-refused", "the platform's API refuses";
        /// An answer that means nothing, or two things.
        Answer = "platform-answer", "what the platform's API answers cannot be used";
        /// A machine that runs, and to which no way in is told.
        NoLogin = "no-login-route", "the platform tells no way to log in there";
    }
}

reasons! {
    /// What is wrong with a store or a bucket.
    StoreReason {
        /// No such bucket to read from.
        NoSource = "no-such-bucket", "there is no such bucket";
        /// No such bucket to write to.
        NoDestination = "no-such-bucket", "there is no such bucket, nothing sent";
        /// No such repository of a hub.
        NoRepository = "no-such-repository", "there is no such repository or revision";
        /// An answer that makes no sense.
        Nonsense = "store-answers-nonsense", "what answers there makes no sense";
        /// Any other refusal.
        Refuses = "store-refuses", "the store refuses";
    }
}

reasons! {
    /// What is refused though it could be done.
    PolicyReason {
        /// More money than may be spent, or an unknown amount.
        CostOverCap = "cost-over-cap", "nothing sent: it would cost more than may be spent";
        /// More than may cross a proxy.
        ProxiedOverLimit = "proxied-over-limit", "more than the limit would cross a proxy";
        /// More entries would be removed than may be.
        MaxDelete = "max-delete", "nothing sent and nothing deleted: too much would be deleted";
        /// The time was over before anything had moved.
        Deadline = "deadline", "nothing sent: the deadline has come";
        /// The time was over before all had moved.
        DeadlineCut = "deadline-cut",
            "the deadline came before all had arrived; what has is kept, partials too";
        /// The source is empty, and what stands at the destination would all be removed.
        SourceEmpty = "source-empty",
            "nothing sent and nothing deleted: the source is empty, and the destination is not";
        /// A directory stands where the source is none, or the other way round.
        RootTypeChanged = "root-type-changed",
            "nothing sent and nothing deleted: source and destination are of different kinds";
    }
}

reasons! {
    /// Why a token of the gate is not good.
    TokenReason {
        /// It is no token.
        Malformed = "token-malformed", "nothing destroyed: this is no gate token";
        /// Another state directory issued it.
        OtherKey = "token-other-state",
            "nothing destroyed: another state directory issued the token";
        /// It was changed, or nobody signed it.
        BadSignature = "token-bad-signature",
            "nothing destroyed: the token's signature does not fit";
        /// There is no record of it.
        NotIssued = "token-not-issued",
            "nothing destroyed: there is no record here of such a token";
        /// A clock was turned back.
        NotYetValid = "token-not-yet-valid",
            "nothing destroyed: the token was issued later than now";
        /// It is too old.
        Expired = "token-expired", "nothing destroyed: the token has expired";
        /// Only the time of day tells its age.
        ClockUncertain = "token-clock-uncertain",
            "nothing destroyed: no clock tells the token's age";
        /// It is for another machine.
        OtherMachine = "token-other-machine", "nothing destroyed: the token is for another machine";
        /// It is for another container or boot of the machine.
        OtherContainer = "token-other-container",
            "nothing destroyed: it is not the container that the token is for";
        /// Something on the machine changed.
        OtherManifest = "token-other-manifest",
            "nothing destroyed: what is on it is not what the token is for";
        /// It was spent for a machine that is there, and is not what it was for.
        Spent = "token-spent", "an earlier run spent the token, and the machine is still there";
    }
}

reasons! {
    /// How a destruction ended, where it is not proven.
    DestroyReason {
        /// Another process follows it.
        Busy = "token-busy", "another process holds the token, and follows the destruction";
        /// The platform took the request.
        Unconfirmed = "destroy-unconfirmed",
            "the platform took the request, and the machine is not seen gone yet";
        /// Nobody knows.
        Unknown = "destroy-unknown", "whether it is destroyed is not known";
        /// The platform says no.
        Refused = "destroy-refused", "the platform does not destroy it";
        /// It is gone, and this token was not spent for it.
        GoneOtherwise = "gone-otherwise", "it is gone, and not by this token";
    }
}

reasons! {
    /// Why a machine cannot be reached, and is not lost for that.
    MachineReason {
        /// It was stopped.
        Stopped = "machine-stopped", "it is stopped";
        /// It was stopped by a higher bid, or may have been.
        Outbid = "machine-outbid", "it is stopped, as a higher bid does";
        /// It is being made or started.
        Starting = "machine-starting", "it is not running yet";
        /// Its host does not report.
        HostOffline = "machine-host-offline", "its host does not report";
        /// It is there no more.
        Gone = "machine-gone", "it is gone: the platform's whole list does not have it";
        /// Nobody knows.
        Unknown = "machine-state-unknown", "it is in a state that xfer does not know";
    }
}

impl DestroyReason {
    /// The class.
    pub(super) fn class(self) -> ExitClass {
        match self {
            Self::Busy => ExitClass::Busy,
            Self::Refused => ExitClass::PlatformApi,
            Self::GoneOtherwise => ExitClass::MachineNotRunning,
            Self::Unconfirmed | Self::Unknown => ExitClass::DestroyUnknown,
        }
    }

    /// The state of the machine, where something is known of it.
    pub(super) fn machine(self) -> Option<MachineReason> {
        match self {
            Self::GoneOtherwise => Some(MachineReason::Gone),
            Self::Unconfirmed | Self::Unknown => Some(MachineReason::Unknown),
            Self::Busy | Self::Refused => None,
        }
    }
}

impl MachineReason {
    /// The state alone, as events name it.
    #[must_use]
    pub fn state(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Outbid => "outbid",
            Self::Starting => "starting",
            Self::HostOffline => "host-offline",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }
}
