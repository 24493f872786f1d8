//! One line for each input; those that the CLI must refuse are run through the program as well.

use proptest::prelude::*;

use super::LocationReason as Why;
use super::*;

#[test]
fn local_paths_are_taken_as_they_are() {
    for text in [
        "a",
        "./a:b",
        "/abs/a:b",
        "a/b:c",
        "dir/",
        "..",
        ".",
        "~",
        "~user/x",
        "*.rs",
        "-rf",
        "--",
        "a b",
        "[x].txt",
        "a\\b",
        "%00",
        "naïve",
        "\n",
        " ",
        "a//b",
        "dir/x://y",
    ] {
        assert_eq!(Location::parse(text.as_bytes()).unwrap(), Location::local(text), "{text}");
    }
    let bytes = b"\xff\xfe/\x80";
    assert_eq!(Location::parse(bytes).unwrap(), Location::local(&bytes[..]));
    assert_eq!(local(b"file:///a%20b/"), b"/a b/");
    assert_eq!(local(b"file://localhost/x"), b"/x");
    assert_eq!(local(b"file:///%ff"), b"/\xff");
    assert_eq!(local(b"file:///a%252f"), b"/a%2f");
}

#[test]
fn remote_forms() {
    for (text, user, host, port, path) in [
        ("h:", None, "h", None, ""),
        ("h:p", None, "h", None, "p"),
        ("h:/p/", None, "h", None, "/p/"),
        ("h:a:b", None, "h", None, "a:b"),
        ("h:~/x", None, "h", None, "x"),
        ("h:~", None, "h", None, ""),
        ("h:./~x", None, "h", None, "./~x"),
        ("h:*.pt", None, "h", None, "*.pt"),
        ("u@h.example:p", Some("u"), "h.example", None, "p"),
        ("a@b.c@h:p", Some("a@b.c"), "h", None, "p"),
        ("C:\\x", None, "C", None, "\\x"),
        ("h.:p", None, "h.", None, "p"),
        ("bücher.example:p", None, "bücher.example", None, "p"),
        ("[::1]:p", None, "::1", None, "p"),
        ("u@[::1]:/p", Some("u"), "::1", None, "/p"),
        ("[fe80::1%eth0]:p", None, "fe80::1%eth0", None, "p"),
        ("ssh://h", None, "h", None, ""),
        ("ssh://h/", None, "h", None, "/"),
        ("ssh://h/p", None, "h", None, "/p"),
        ("ssh://u@h:2222/p/", Some("u"), "h", Some(2222), "/p/"),
        ("ssh://h/~/p", None, "h", None, "p"),
        ("ssh://h:65535/a%20b", None, "h", Some(65535), "/a b"),
        ("ssh://[fe80::1%eth0]/x", None, "fe80::1%eth0", None, "/x"),
        ("ssh://[fe80::1%25eth0]:22/x", None, "fe80::1%eth0", Some(22), "/x"),
        ("ssh://[::ffff:1.2.3.4]/x", None, "::ffff:1.2.3.4", None, "/x"),
        ("ssh://33402296/x", None, "33402296", None, "/x"),
        ("ssh://h/a/../b", None, "h", None, "/a/../b"),
        ("ssh://h/a%2520", None, "h", None, "/a%20"),
    ] {
        let location = Location::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let host = SshHost { user: user.map(String::from), host: host.into(), port };
        let expected = Location { machine: Machine::Ssh(host), path: path.into() };
        assert_eq!(location, expected, "{text}");
    }
}

#[test]
fn refused_forms() {
    let long_host = format!("{}:p", "a".repeat(300));
    let long_path = "a".repeat(1 << 20);
    assert_refused(&[
        ("", Why::Empty),
        ("-", Why::Dash),
        ("a\0b", Why::Nul),
        (&long_path, Why::TooLong),
        (&long_host, Why::BadHost),
        (":p", Why::HostMissing),
        ("u@:p", Why::HostMissing),
        ("@h:p", Why::BadUser),
        ("-oProxyCommand=id:p", Why::BadHost),
        ("-l@h:p", Why::BadUser),
        ("h$(id):p", Why::BadHost),
        ("h`id`:p", Why::BadHost),
        ("h x:p", Why::BadHost),
        ("h\nx:p", Why::BadHost),
        ("h%0a:p", Why::BadHost),
        ("u$(id)@h:p", Why::BadUser),
        ("33402296:/p", Why::NumericHost),
        ("h:~root/x", Why::OtherHome),
        ("u:secret@h:p", Why::Password),
        ("::1:p", Why::DoubleColon),
        ("fe80::1:/p", Why::DoubleColon),
        ("u@h::module", Why::DoubleColon),
        ("[::1", Why::BadAddress),
        ("[::1]", Why::BadAddress),
        ("[zz]:p", Why::BadAddress),
        ("[fe80::1%]:p", Why::BadAddress),
        ("[fe80::1%$x]:p", Why::BadAddress),
    ]);
}

#[test]
fn refused_ssh_uris() {
    assert_refused(&[
        ("ssh://", Why::HostMissing),
        ("ssh:///p", Why::HostMissing),
        ("ssh://h:0/", Why::BadPort),
        ("ssh://h:70000/", Why::BadPort),
        ("ssh://h:65536/", Why::BadPort),
        ("ssh://h:-1/", Why::BadPort),
        ("ssh://h:22x/", Why::BadPort),
        ("ssh://h:+22/", Why::BadPort),
        ("ssh://h:٣/", Why::BadPort),
        ("ssh://h:/", Why::BadPort),
        ("ssh://[::1", Why::BadAddress),
        ("ssh://[::1]x/", Why::BadAddress),
        ("ssh://::1/x", Why::BadPort),
        ("ssh://-oProxyCommand=id/x", Why::BadHost),
        ("ssh://-l@h/x", Why::BadUser),
        ("ssh://%2dl@h/x", Why::BadUser),
        ("ssh://h%0a/x", Why::BadHost),
        ("ssh://h /x", Why::BadHost),
        ("ssh://u:secret@h/x", Why::Password),
        ("ssh://u:se/cret@h/x", Why::Password),
        ("ssh://h/~root/x", Why::OtherHome),
        ("ssh://h/%00", Why::Nul),
        ("ssh://h/..%2fx", Why::EncodedSeparator),
        ("ssh://h/%2e%2e/x", Why::EncodedSeparator),
        ("ssh://h/%", Why::BadEscape),
        ("ssh://h/%4", Why::BadEscape),
        ("ssh://h/%zz", Why::BadEscape),
    ]);
}

#[test]
fn standing_peers() {
    for (text, host, port, path) in [
        ("xfer://h:1/r", "h", 1, "/r"),
        ("xfer://h:65535/r/a%20b/", "h", 65535, "/r/a b/"),
        ("xfer://[::1]:4242/r//x", "::1", 4242, "/r//x"),
        ("xfer://h:1/r/../x", "h", 1, "/r/../x"),
    ] {
        let location = Location::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let machine = Machine::Peer(PeerHost { host: host.into(), port });
        assert_eq!(location, Location { machine, path: path.into() }, "{text}");
    }
    assert_refused(&[
        ("xfer://", Why::HostMissing),
        ("xfer://h/r", Why::PeerPortMissing),
        ("xfer://h:0/r", Why::BadPort),
        ("xfer://h:x/r", Why::BadPort),
        ("xfer://h:1", Why::RootMissing),
        ("xfer://h:1//", Why::RootMissing),
        ("xfer://token@h:1/r", Why::TokenInLocation),
        ("xfer://u:se/cret@h:1/r", Why::TokenInLocation),
        ("xfer://-h:1/r", Why::BadHost),
        ("xfer://h:1/r/..%2fx", Why::EncodedSeparator),
        ("xfer://h:1/r/%00", Why::Nul),
    ]);
}

/// Rows: B-U8.
#[test]
fn machines_of_a_platform() {
    use Which::{All, Itself};
    let one = |id: &str| Which::Named(id.to_owned());
    for (text, which, path, shown) in [
        ("vast:33402296:/w/ckpt/", one("33402296"), "/w/ckpt/", "vast:33402296:/w/ckpt/"),
        ("vast:1:data", one("1"), "data", "vast:1:data"),
        ("vast:1:~/data", one("1"), "data", "vast:1:data"),
        ("vast:1:/a:b", one("1"), "/a:b", "vast:1:/a:b"),
        ("vast:1:", one("1"), "", "vast:1:"),
        ("vast:1", one("1"), "", "vast:1:"),
        (
            "vast:9223372036854775807:/",
            one("9223372036854775807"),
            "/",
            "vast:9223372036854775807:/",
        ),
        ("vast:self:/w", Itself, "/w", "vast:self:/w"),
        ("vast:", All, "", "vast:"),
    ] {
        let location = Location::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let machine = Machine::Platform(PlatformMachine { platform: PlatformKind::Vast, which });
        assert_eq!(location, Location { machine, path: path.into() }, "{text}");
        assert_eq!(location.to_string(), shown);
    }
    let refused = [
        "vast://",
        "vast://abc",
        "vast://0",
        "vast:0:/x",
        "vast:-1:/x",
        "vast:01:/x",
        "vast:1,2:/x",
        "vast:/x",
        "vast::/x",
        "vast:a:/x",
        "vast:1/x",
        "vast: 1:/x",
        "vast:1.0:/x",
        "vast:SELF:/x",
        "vast:C.1:/x",
        "vast:9223372036854775808:/x",
        "vast:+1:/x",
        "vast:%31:/x",
        "vast:1\n:/x",
    ];
    assert_refused(&refused.map(|text| (text, Why::BadMachine)));
    let text = format!("vast:{}:/x", "1".repeat(200));
    assert_refused(&[(&text, Why::BadMachine), ("vast:1:~bob/x", Why::OtherHome)]);
    assert!(Location::parse(b"./vast:1:/x").unwrap().is_local());
}

/// Rows: B-U8.
#[test]
fn machines_of_every_platform_have_names_of_its_own_form() {
    use PlatformKind::{Lambda, RunPod, Sky};
    for (text, platform, which, path, shown) in [
        ("sky:train:/w", Sky, "train", "/w", "sky:train:/w"),
        ("sky:train-worker1:w/", Sky, "train-worker1", "w/", "sky:train-worker1:w/"),
        ("sky:1.A_b-:", Sky, "1.A_b-", "", "sky:1.A_b-:"),
        ("sky:self:/w", Sky, "self", "/w", "sky:self:/w"),
        ("runpod:xedezhzb9la3ye:/w", RunPod, "xedezhzb9la3ye", "/w", "runpod:xedezhzb9la3ye:/w"),
        ("runpod:7", RunPod, "7", "", "runpod:7:"),
        (
            "lambda:0920582c7ff041399e34823a0be62549:/w",
            Lambda,
            "0920582c7ff041399e34823a0be62549",
            "/w",
            "lambda:0920582c7ff041399e34823a0be62549:/w",
        ),
    ] {
        let location = Location::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let machine = Machine::Platform(PlatformMachine::named(platform, which));
        assert_eq!(location, Location { machine, path: path.into() }, "{text}");
        assert_eq!(location.to_string(), shown);
    }
    for platform in PlatformKind::ALL {
        let text = format!("{}:", platform.name());
        let machine = Machine::Platform(PlatformMachine { platform, which: Which::All });
        assert_eq!(Location::parse(text.as_bytes()).unwrap().machine, machine);
        for wrong in ["-x", ".x", "../x", "a b", "a\nb", "a*", "a%41", "é", "a,b", "a@b", "[a]"] {
            let text = format!("{}:{wrong}:/x", platform.name());
            assert_refused(&[(&text, Why::BadMachine)]);
            assert_eq!(PlatformMachine::checked(platform, wrong), None);
        }
        let text = format!("{}:{}:/x", platform.name(), "1".repeat(200));
        assert_refused(&[(&text, Why::BadMachine)]);
        assert_eq!(PlatformMachine::checked(platform, ""), None);
    }
    assert_refused(
        &["runpod:A:/x", "runpod:a-b:/x", "runpod:a.b:/x", "lambda:g:/x", "lambda:A:/x"]
            .map(|text| (text, Why::BadMachine)),
    );
    assert_refused(&[("lambda:self:/x", Why::BadMachine), ("sky:/x", Why::BadMachine)]);
}

#[test]
fn refused_schemes() {
    assert_refused(&[
        ("file://remote/x", Why::FileHost),
        ("file://localhostx/x", Why::FileHost),
        ("file://", Why::FileHost),
        ("file:///%00", Why::Nul),
        ("file:///..%2f", Why::EncodedSeparator),
        ("ftp://h/x", Why::UnknownScheme),
        ("SSH://h/x", Why::UnknownScheme),
        ("S3://bucket/k", Why::UnknownScheme),
    ]);
}

#[test]
fn remotes_of_rclone() {
    for (text, name, absolute, path, called) in [
        ("rclone:drive:", "drive", false, "/", "drive:"),
        ("rclone:drive:a b/c%41", "drive", false, "/a b/c%41", "drive:"),
        ("rclone:My Drive@1:a/", "My Drive@1", false, "/a/", "My Drive@1:"),
        ("rclone:disk:/srv/x", "disk", true, "/srv/x", "disk:/"),
        ("rclone:disk:/", "disk", true, "/", "disk:/"),
        ("rclone::s3:bucket/k?*#", ":s3", false, "/bucket/k?*#", ":s3:"),
        ("rclone:r:a:b@c", "r", false, "/a:b@c", "r:"),
    ] {
        let location = Location::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let remote = RcloneRemote { name: name.into(), absolute };
        assert_eq!(remote.file_system(), called);
        let machine = Machine::Rclone(remote);
        assert_eq!(location, Location { machine, path: path.into() }, "{text}");
        assert_eq!(location.to_string(), text);
        assert!(!location.is_source_only() && !location.is_here());
    }
    assert_refused(
        &["rclone:", "rclone:r", "rclone::p", "rclone::S3:p", "rclone:-r:p", "rclone: r:p"]
            .map(|text| (text, Why::BadRemote)),
    );
    assert_refused(
        &["rclone://r/p", "rclone:r/s:p", "rclone:r\n:p"].map(|text| (text, Why::BadRemote)),
    );
    assert_refused(
        &["rclone:r:a//b", "rclone:r:../a", "rclone:r://a", "rclone:r:./a", "rclone:r:a/.."]
            .map(|text| (text, Why::BadRemotePath)),
    );
    for text in ["rclone::s3,access_key_id=AK,secret_access_key=SK:b/k", "rclone:r,pass=SK:p"] {
        let error = Location::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.reason, Why::RemoteParameters, "{text}");
        assert!(!error.to_string().contains("SK"), "{error}");
    }
}

#[test]
fn buckets() {
    use StoreKind::{Azure, B2, Gcs, S3};
    let long = format!("{}.{}", "a".repeat(63), "b".repeat(63));
    let long = (format!("gs://{long}/x"), long);
    for (text, kind, name, path) in [
        ("s3://bucket", S3, "bucket", "/"),
        ("s3://bucket/", S3, "bucket", "/"),
        ("s3://a.b-3/run7/", S3, "a.b-3", "/run7/"),
        ("s3://bucket/a b/%41%2f*[x]", S3, "bucket", "/a b/%41%2f*[x]"),
        ("s3://bucket/a:b@c", S3, "bucket", "/a:b@c"),
        ("s3://bucket/..a/.b/c..", S3, "bucket", "/..a/.b/c.."),
        ("gs://my_bucket/k", Gcs, "my_bucket", "/k"),
        (&long.0, Gcs, &long.1, "/x"),
        ("az://container-1/p", Azure, "container-1", "/p"),
        ("b2://bucket/naïve", B2, "bucket", "/naïve"),
    ] {
        let location = Location::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let machine = Machine::Store(Bucket { kind, name: name.into() });
        assert_eq!(location, Location { machine, path: path.into() }, "{text}");
        let whole =
            if path == "/" { format!("{}/", text.trim_end_matches('/')) } else { text.into() };
        assert_eq!(location.to_bytes(), whole.as_bytes());
    }
    assert_eq!(Location::parse(b"s3://bucket/\xff").unwrap().path, b"/\xff");
    assert!(Location::parse(b"./s3://bucket/k").unwrap().is_local());
}

/// Rows: B-U1.
#[test]
fn what_names_no_bucket_and_no_object() {
    let long = format!("s3://{}/k", "a".repeat(64));
    let parts = format!("gs://{}.b/k", "a".repeat(64));
    assert_refused(&[
        ("s3://", Why::BucketMissing),
        ("s3:///k", Why::BucketMissing),
        ("gs://", Why::BucketMissing),
        ("s3://bucket//k", Why::BadKey),
        ("s3://bucket//", Why::BadKey),
        ("s3://bucket/a//b", Why::BadKey),
        ("s3://bucket/a/./b", Why::BadKey),
        ("s3://bucket/../c", Why::BadKey),
        ("s3://bucket/a/..", Why::BadKey),
        ("s3://bucket/k?x", Why::BadKey),
        ("s3://bucket/k#frag", Why::BadKey),
        ("s3://B_UPPER/k", Why::BadBucket),
        ("s3://ab/k", Why::BadBucket),
        ("s3://a_b/k", Why::BadBucket),
        ("s3://-ab/k", Why::BadBucket),
        ("s3://ab./k", Why::BadBucket),
        ("s3://a..b/k", Why::BadBucket),
        ("s3://bucket?x", Why::BadBucket),
        ("s3://bucket:9000/k", Why::BadBucket),
        ("s3://b ck/k", Why::BadBucket),
        ("s3://b\ncket/k", Why::BadBucket),
        ("s3://bücher/k", Why::BadBucket),
        ("s3://%62ucket/k", Why::BadBucket),
        ("az://a.b/k", Why::BadBucket),
        ("az://a_b/k", Why::BadBucket),
        ("b2://a_b/k", Why::BadBucket),
        (&long, Why::BadBucket),
        (&parts, Why::BadBucket),
        ("s3://AKIA:secret@bucket/k", Why::KeyInLocation),
        ("s3://AKIA:se/cret@bucket/k", Why::KeyInLocation),
        ("s3://bucket/a\0b", Why::Nul),
    ]);
}

#[test]
fn files_of_the_web() {
    for (text, address, path, shown) in [
        ("https://h/x", "https://h/x", "/x", "https://h/x"),
        ("https://H.Example:8443/a/b%20c", "https://h.example:8443/a/b%20c", "/a/b c", ""),
        ("https://h/x?sig=a&b=c/d@e:f", "https://h/x?sig=a&b=c/d@e:f", "/x", "https://h/x?***"),
        ("https://h/a b/é\\", "https://h/a%20b/%C3%A9%5C", "/a b/é\\", ""),
        ("https://h//a@b:c", "https://h//a@b:c", "//a@b:c", ""),
        ("https://h/%2525", "https://h/%2525", "/%25", ""),
        ("https://[::1]:1/x", "https://[::1]:1/x", "/x", ""),
        ("http://127.0.0.1:80/x", "http://127.0.0.1:80/x", "/x", ""),
        ("http://localhost/x", "http://localhost/x", "/x", ""),
        ("http://[::1]:8080/x", "http://[::1]:8080/x", "/x", ""),
    ] {
        let location = Location::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let Machine::Web(place) = &location.machine else { panic!("{text}") };
        assert_eq!((place.address(), &location.path[..]), (address, path.as_bytes()), "{text}");
        let shown = if shown.is_empty() { address } else { shown };
        assert_eq!(location.to_string(), shown, "{text}");
        assert!(location.is_source_only() && !location.is_here());
        assert!(!format!("{location:?}").contains("sig="));
    }
    assert_refused(&[
        ("https://", Why::HostMissing),
        ("https:///x", Why::HostMissing),
        ("https://h", Why::BadAddressOfFile),
        ("https://h/", Why::BadAddressOfFile),
        ("https://h/a/", Why::BadAddressOfFile),
        ("https://h?x", Why::BadAddressOfFile),
        ("https://h/a/../b", Why::BadAddressOfFile),
        ("https://h/x#frag", Why::BadAddressOfFile),
        ("https://h/..%2fx", Why::EncodedSeparator),
        ("https://h/%2e%2e/x", Why::EncodedSeparator),
        ("https://h/%00", Why::Nul),
        ("https://h/%zz", Why::BadEscape),
        ("https://h:0/x", Why::BadPort),
        ("https://h x/y", Why::BadHost),
        ("https://h\n/y", Why::BadHost),
        ("https://-h/y", Why::BadHost),
        ("https://[::1/x", Why::BadAddress),
        ("https://[fe80::1%eth0]/x", Why::BadAddress),
        ("https://u:secret@h/x", Why::KeyInLocation),
        ("https://secret@h/x", Why::KeyInLocation),
        ("https://u:se/cret@h/x", Why::KeyInLocation),
        ("http://h/x", Why::Unencrypted),
        ("http://127.0.0.1.example/x", Why::Unencrypted),
        ("http://[::2]/x", Why::Unencrypted),
    ]);
}

#[test]
fn repositories_of_the_hub() {
    use HubKind::{Dataset, Model};
    for (text, kind, id, revision, path, shown) in [
        ("hf://o/m", Model, "o/m", "main", "/", "hf://o/m/"),
        ("hf://o/m@main/f", Model, "o/m", "main", "/f", "hf://o/m/f"),
        ("hf://Org-1/m.x_y@v1.0/a b/c%41", Model, "Org-1/m.x_y", "v1.0", "/a b/c%41", ""),
        ("hf://datasets/o/n/d/", Dataset, "o/n", "main", "/d/", ""),
        ("hf://datasets/o/n@refs%2Fpr%2F1/", Dataset, "o/n", "refs/pr/1", "/", ""),
    ] {
        let location = Location::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let [id, revision] = [id, revision].map(str::to_owned);
        let machine = Machine::Hub(Box::new(HubRepository { kind, id, revision }));
        assert_eq!(location, Location { machine, path: path.into() }, "{text}");
        assert_eq!(location.to_string(), if shown.is_empty() { text } else { shown });
        assert!(location.is_source_only());
    }
    let refused = [
        "hf://",
        "hf://m",
        "hf://o/",
        "hf:///m",
        "hf://datasets/o",
        "hf://spaces/o/m",
        "hf://o/..",
        "hf://o/m--x",
        "hf://o/.m",
        "hf://o/m@",
        "hf://o/m@../x",
        "hf://o/m@a%2F..%2Fb",
        "hf://o/m@refs/pr/1",
        "hf://o/m@a b",
        "hf://o%2Fx/m",
        "hf://tok:en@o/m",
        "hf://o/m?x",
    ];
    assert_refused(&refused.map(|text| (text, Why::BadRepository)));
    assert_refused(&[
        ("hf://o/m//f", Why::BadKey),
        ("hf://o/m/../f", Why::BadKey),
        ("hf://o/m/f?x", Why::BadKey),
        ("hf://o/m/f#x", Why::BadKey),
    ]);
}

fn assert_refused(rows: &[(&str, LocationReason)]) {
    for (text, reason) in rows {
        let error = Location::parse(text.as_bytes()).expect_err(text);
        assert_eq!(error.reason, *reason, "{text}");
        assert!(!error.reason.remedy().is_empty());
    }
}

#[test]
fn secrets_are_not_repeated() {
    for text in [
        "ssh://u:secret@h/x",
        "ssh://u:se/secret@h/x",
        "ssh://u:@secret@h/x",
        "u:secret@h:p",
        "s3://key:secret@bucket/x",
        "https://u:secret@h/x",
        "https://secret@h/x",
        "https://h/?X-Signature=secret",
        "s3://secret@bucket/x",
        "s3://bucket/k?X-Amz-Signature=secret",
        "hf://secret@o/m",
        "weird://u:secret@h",
        "xfer://secret@h:1/r",
        "xfer://se/secret?a@h:1/r",
        "https://h/a/?X-Signature=secret@b:c/d",
        "https://u:secret@h/x?sig=a@secret",
        "https://u:secret?a@h/x",
        "https://u:secret/b?a@h/x",
        "https://secret?a@h/x",
        "s3://bucket/k?X-Amz-Signature=secret@b",
        "ssh://u:se?secret@h/x",
        "weird://h/x?sig=secret@b",
    ] {
        let error = Location::parse(text.as_bytes()).expect_err(text).to_string();
        assert!(!error.contains("secret"), "{error}");
        assert!(error.contains("***"), "{error}");
    }
}

#[test]
fn last_names() {
    for (text, name) in [
        ("a/b", Some("b")),
        ("a/b/", Some("b")),
        ("h:b", Some("b")),
        ("h:", None),
        ("/", None),
        (".", None),
        ("a/..", None),
        ("s3://bucket", None),
        ("s3://bucket/a/b/", Some("b")),
        ("https://h/a/b%20c?x=/y", Some("b c")),
        ("hf://o/m", None),
    ] {
        let location = Location::parse(text.as_bytes()).unwrap();
        assert_eq!(location.last_name(), name.map(str::as_bytes), "{text}");
    }
}

fn local(text: &[u8]) -> Vec<u8> {
    let location = Location::parse(text).unwrap();
    assert!(location.is_local());
    location.path
}

#[test]
fn the_last_name_of_a_path_lies_in_a_directory() {
    for (path, directory) in [
        ("/a/b", Some("/a/")),
        ("/a/b//", Some("/a/")),
        ("a/b", Some("a/")),
        ("/a", Some("/")),
        ("a", None),
        ("/", None),
        ("", None),
    ] {
        assert_eq!(above(path.as_bytes()), directory.map(str::as_bytes), "{path}");
    }
}

#[test]
fn a_path_that_looks_like_something_else_is_shown_below_home() {
    for text in ["vast:1:~/@:", "vast:1:~/~x", "vast:1:~/:x", "vast:1:~/u:p@h:x"] {
        let location = Location::parse(text.as_bytes()).unwrap();
        let again = Location::parse(&location.to_bytes()).unwrap();
        assert_eq!(again, location, "{text}");
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_shows_a_control_byte(
        text in proptest::collection::vec(any::<u8>(), 0..64)
    ) {
        let shown = match Location::parse(&text) {
            Ok(location) => location.to_string(),
            Err(error) => error.to_string(),
        };
        prop_assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }

    #[test]
    fn what_is_shown_parses_to_the_same(
        text in "(ssh://|xfer://|file://|vast:[0-9]?:?|sky:[a-z]?:?|s3://abc|gs://abc|https://h|\
                http://127.1.1.1/|hf://o/m|hf://datasets/o/m|[a-z@]{0,3})\
                [a-z0-9@:/~.%\\-\\[\\]\n]{0,20}"
    ) {
        if let Ok(location) = Location::parse(text.as_bytes()) {
            prop_assert_eq!(Location::parse(&location.to_bytes()).ok(), Some(location));
        }
    }
}
