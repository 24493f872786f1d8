//! Which keywords there are, and what their values may be

use crate::transport::ssh::target::parse_port;

/// Keywords with one value
pub(super) const SINGLE: [&str; 19] = [
    "addressfamily",
    "bindaddress",
    "ciphers",
    "connecttimeout",
    "hashknownhosts",
    "hostkeyalgorithms",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "kexalgorithms",
    "macs",
    "port",
    "pubkeyacceptedalgorithms",
    "pubkeyauthentication",
    "requiredrsasize",
    "serveralivecountmax",
    "serveraliveinterval",
    "stricthostkeychecking",
];

/// Keywords with a list of algorithms, which `+`, `-` and `^` may change instead of replacing it
pub(super) const ALGORITHM_LISTS: [&str; 5] =
    ["ciphers", "hostkeyalgorithms", "kexalgorithms", "macs", "pubkeyacceptedalgorithms"];

/// Keywords that must have one of two values
pub(super) const BOOLEAN: [&str; 3] = ["hashknownhosts", "identitiesonly", "pubkeyauthentication"];

/// Keywords that are accepted only when they say no
pub(super) const ONLY_NO: [&str; 3] =
    ["canonicalizehostname", "nohostauthenticationforlocalhost", "proxyusefdpass"];

/// Keywords that are refused unless they say `none`
pub(super) const ONLY_NONE: [&str; 7] = [
    "bindinterface",
    "certificatefile",
    "knownhostscommand",
    "pkcs11provider",
    "revokedhostkeys",
    "canonicaldomains",
    "canonicalizepermittedcnames",
];

/// Keywords that change neither who is reached nor how nor as whom
pub(super) const PASSED_OVER: [&str; 64] = [
    "addkeystoagent",
    "batchmode",
    "canonicalizefallbacklocal",
    "canonicalizemaxdots",
    "casignaturealgorithms",
    "challengeresponseauthentication",
    "channeltimeout",
    "checkhostip",
    "clearallforwardings",
    "compression",
    "connectionattempts",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "dynamicforward",
    "enableescapecommandline",
    "enablesshkeysign",
    "escapechar",
    "exitonforwardfailure",
    "fingerprinthash",
    "forkafterauthentication",
    "forwardagent",
    "forwardx11",
    "forwardx11timeout",
    "forwardx11trusted",
    "gatewayports",
    "gssapiauthentication",
    "gssapidelegatecredentials",
    "gssapikeyexchange",
    "gssapitrustdns",
    "hostbasedacceptedalgorithms",
    "hostbasedauthentication",
    "ipqos",
    "kbdinteractiveauthentication",
    "kbdinteractivedevices",
    "localcommand",
    "localforward",
    "loglevel",
    "logverbose",
    "numberofpasswordprompts",
    "obscurekeystroketiming",
    "passwordauthentication",
    "permitlocalcommand",
    "permitremoteopen",
    "preferredauthentications",
    "rekeylimit",
    "remotecommand",
    "remoteforward",
    "requesttty",
    "securitykeyprovider",
    "sendenv",
    "sessiontype",
    "setenv",
    "stdinnull",
    "streamlocalbindmask",
    "streamlocalbindunlink",
    "syslogfacility",
    "tcpkeepalive",
    "tunnel",
    "tunneldevice",
    "updatehostkeys",
    "verifyhostkeydns",
    "visualhostkey",
    "xauthlocation",
];

/// Older names of keywords
pub(super) fn canonical(keyword: &str) -> &str {
    match keyword {
        "pubkeyacceptedkeytypes" => "pubkeyacceptedalgorithms",
        "hostbasedkeytypes" => "hostbasedacceptedalgorithms",
        "dsaauthentication" => "pubkeyauthentication",
        other => other,
    }
}

pub(super) fn is_single(keyword: &str) -> bool {
    SINGLE.contains(&keyword) || matches!(keyword, "user" | "identityfile" | "proxyjump")
}

/// Words that have a meaning of their own may be written in any case
pub(super) fn normal(keyword: &str, value: &str) -> String {
    if BOOLEAN.contains(&keyword) || matches!(keyword, "stricthostkeychecking" | "addressfamily") {
        value.to_ascii_lowercase()
    } else {
        value.to_owned()
    }
}

pub(super) fn check_value(keyword: &str, value: &str) -> Result<(), ()> {
    let number = |limit: u64| value.parse().is_ok_and(|number: u64| number <= limit);
    let valid = match keyword {
        "port" => parse_port(value).is_ok(),
        _ if BOOLEAN.contains(&keyword) => matches!(value, "yes" | "no" | "true" | "false"),
        "stricthostkeychecking" => {
            matches!(value, "yes" | "true" | "no" | "off" | "false" | "ask" | "accept-new")
        }
        "addressfamily" => matches!(value, "any" | "inet" | "inet6"),
        "connecttimeout" => value == "none" || number(u64::from(u32::MAX)),
        "serveraliveinterval" | "serveralivecountmax" | "requiredrsasize" => {
            number(u64::from(u32::MAX))
        }
        _ => !value.is_empty(),
    };
    if valid { Ok(()) } else { Err(()) }
}
