//! Files that are named: patterns, lists, output, receipts and manifests

use std::fs;

use crate::place::{Place, assert_shown_safely, by_shell, judge};

#[test]
fn patterns() {
    let long = "a".repeat(100_000);
    let nested = "{".repeat(3000);
    let stars = "*a".repeat(3000);
    for pattern in ["[", "a[!", "", &long, &nested, &stars, "[z-a]"] {
        for flag in ["--exclude", "--include"] {
            judge(&[("B-C9", &["push", flag, pattern, "@s", "@d"], 2, "bad-pattern")]);
        }
    }
    judge(&[(
        "B-C9",
        &["push", "--exclude-from", "@broken-patterns", "@s", "@d"],
        2,
        "bad-pattern",
    )]);
}

#[test]
fn lists_of_patterns_and_paths() {
    for flag in ["--exclude-from", "--files-from", "--files-from0"] {
        for (file, reason) in [
            ("@missing", "config-missing"),
            ("@s", "config-unreadable"),
            ("@fifo", "config-unreadable"),
            ("/dev/zero", "config-unreadable"),
            ("@world", "config-exposed"),
        ] {
            let place = Place::new();
            let words = ["push", flag, file, "@s", "@d"];
            let told = place.refuses("B-C8", || place.command(&words), 3, reason);
            let name = file.trim_start_matches('@');
            assert!(told.lines().next().unwrap().contains(name), "{told}");
        }
    }
    judge(&[
        ("B-C8", &["push", "--exclude-from", "@huge", "@s", "@d"], 3, "config-too-large"),
        ("B-C8", &["push", "--files-from", "@climbing", "@s", "@d"], 3, "config-malformed"),
    ]);
}

/// A list may come through a pipe; what it names and is not there is missing
#[test]
fn lists_of_paths() {
    for (script, code) in [
        ("\"$@\" --files-from <(echo file)", 0),
        ("\"$@\" --files-from0 <(printf 'file\\0')", 0),
        ("echo deep > patterns; \"$@\" --exclude-from <(cat patterns)", 0),
        ("printf '# no path\\n; nor this\\nfile\\n' | \"$@\" --files-from /dev/stdin", 0),
        ("\"$@\" --files-from <(printf 'file\\nmissing\\n')", 4),
        ("\"$@\" --files-from <(printf 'file\\nmissing/deep\\n')", 4),
    ] {
        let place = Place::new();
        let words = ["push", "@s/", "@d/", "--json"];
        let ended = xfer_tests::xfer::Running::start(by_shell(&place, script, &words)).wait();
        let result = ended.expect_code(code).result();
        assert_eq!(fs::read(place.path("d/file")).unwrap(), b"file", "{script}");
        assert!(!place.path("d/deep").exists(), "{script}");
        let (retry, failed) = if code == 0 { ("never", 0) } else { ("after-fix", 1) };
        assert_eq!(
            (&result["retry"], &result["entries"]["failed"]),
            (&retry.into(), &failed.into())
        );
    }
}

/// What is asked to stay free stays so, and no device is replaced by a receipt
#[test]
fn room_and_receipts_as_asked() {
    judge(&[("B-C3", &["push", "--reserve", "1PB", "@s", "@d"], 8, "no-space")]);
    for (receipt, code, reason) in [("/dev/null", 0, "done"), ("/dev/full", 1, "output-lost")] {
        let place = Place::new();
        let words = place.words(&["push", "--json", "--receipt", receipt, "@s", "@d/"]);
        let result = place.xfer.run(words).expect_code(code).result();
        assert_eq!(result["reason"], reason, "{result}");
        use std::os::unix::fs::FileTypeExt;
        assert!(fs::symlink_metadata(receipt).unwrap().file_type().is_char_device(), "{receipt}");
        assert_eq!(fs::read(place.path("d/s/file")).unwrap(), b"file");
    }
}

/// What no endless reading can be is refused although it comes from elsewhere
#[test]
fn a_list_on_standard_input_has_an_end() {
    for script in ["exec \"$@\" < /dev/zero", "exec \"$@\" <&-"] {
        let place = Place::new();
        let words = ["push", "--exclude-from", "-", "@s", "@d"];
        let ended = xfer_tests::xfer::Running::start(by_shell(&place, script, &words)).wait();
        assert!([0, 2, 3].contains(&ended.code()), "B-C8: {script}: {}", ended.stderr);
        assert_shown_safely("B-C8", &ended);
    }
}

#[test]
fn output() {
    judge(&[
        ("B-C8", &["push", "--events", "@fifo", "@s", "@d"], 3, "output-unwritable"),
        ("B-C8", &["push", "--events", "@s", "@s", "@d"], 3, "output-unwritable"),
        ("B-C8", &["push", "--log-file", "/nonexistent/x", "@s", "@d"], 3, "output-unwritable"),
        ("B-C8", &["push", "--receipt", "/nonexistent/x", "@s", "@d"], 3, "output-unwritable"),
        ("B-C8", &["push", "--receipt", "@s", "@s", "@d"], 3, "output-unwritable"),
        ("B-C8", &["push", "--receipt", "@file/below", "@s", "@d"], 3, "output-unwritable"),
    ]);
}

/// A receipt is kept in a file of its own, and one that cannot be made leaves nothing behind
#[test]
fn a_receipt_is_tried_and_not_yet_made() {
    let place = Place::new();
    let words = ["push", "--receipt", "@r", "@missing", "@d"];
    place.refuses("B-C8", || place.command(&words), 4, "not-found");
    let left: Vec<_> = fs::read_dir(place.xfer.home())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".r.") || name == "r")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn receipts_and_manifests_that_are_none() {
    judge(&[
        ("B-M1", &["receipt", "show", "@missing"], 4, "not-found"),
        ("B-M1", &["receipt", "show", "@file"], 14, "receipt-malformed"),
        ("B-M1", &["receipt", "export", "@empty"], 14, "receipt-malformed"),
        ("B-M1", &["verify", "@d", "--against", "@empty"], 14, "manifest-malformed"),
        ("B-M1", &["verify", "@d", "--against", "@file"], 14, "manifest-malformed"),
        ("B-M1", &["verify", "@d", "--against", "@missing"], 4, "not-found"),
    ]);
}

#[test]
fn manifests() {
    let digest = "0".repeat(64);
    let line = |name: &str| format!("{digest}  {name}\n");
    let twice = format!("{}{}  a\n", line("a"), "1".repeat(64));
    for (row, text, code, reason) in [
        ("B-M1", format!("{}garbage", line("a")), 14, "manifest-malformed"),
        ("B-M1", "{\"schema\":\"xfer.receipt/999\"}\n".to_owned(), 14, "manifest-malformed"),
        ("B-M1", "{\"schema\":\"xfer.receipt/0\"}\n".to_owned(), 14, "manifest-malformed"),
        ("B-M1", format!("{{{}", "[".repeat(100_000)), 14, "manifest-malformed"),
        ("B-M2", line("../up"), 16, "manifest-unsafe"),
        ("B-M2", line(".."), 16, "manifest-unsafe"),
        ("B-M2", line("/absolute"), 16, "manifest-unsafe"),
        ("B-M2", line("a//b"), 16, "manifest-unsafe"),
        ("B-M2", line("a\0b"), 16, "manifest-unsafe"),
        ("B-M2", line(&"a/".repeat(6000)), 16, "manifest-unsafe"),
        ("B-M2", twice, 16, "manifest-unsafe"),
        ("B-M2", format!("{}{}", line("a"), line("a/b")), 16, "manifest-unsafe"),
        ("B-M3", digest[1..].to_owned(), 14, "manifest-malformed"),
        ("B-M3", format!("{digest}g  a\n"), 14, "manifest-malformed"),
        ("B-M3", format!("{digest}00  a\n"), 14, "manifest-malformed"),
        ("B-M3", format!("SHA256 (a) = {digest}\n"), 14, "manifest-malformed"),
    ] {
        let place = Place::new();
        fs::write(place.path("manifest"), text).unwrap();
        let words = ["verify", "@d", "--against", "@manifest"];
        place.refuses(row, || place.command(&words), code, reason);
    }
}

/// A receipt of a push of `s` into `copy/s`, and the place
fn with_receipt() -> (Place, String) {
    let place = Place::new();
    let words = place.words(&["push", "--receipt", "@r", "@s", "@copy/"]);
    place.xfer.run(words).expect_code(0);
    let whole = fs::read_to_string(place.path("r")).unwrap();
    (place, whole)
}

/// A receipt that was cut anywhere, or has anything behind its end, is not believed; all of it is
/// there without the end of its last line
#[test]
fn damaged_receipts() {
    let (place, whole) = with_receipt();
    let whole = whole.as_bytes();
    let lines: Vec<usize> = (1..whole.len()).filter(|at| whole[at - 1] == b'\n').collect();
    let last = whole.len() - 1;
    let cuts = lines.iter().copied().chain((1..last).step_by(last / 5)).chain([last - 1]);
    let longer = [whole, b"{}\n"].concat();
    let verify = |bytes: &[u8]| {
        fs::write(place.path("r"), bytes).unwrap();
        place.xfer.run(place.words(&["verify", "@copy/s", "--against", "@r"]))
    };
    for bytes in cuts.map(|cut| &whole[..cut]).chain([&longer[..]]) {
        let ended = verify(bytes);
        assert!([7, 14].contains(&ended.code()), "B-M1: {}: {}", bytes.len(), ended.stderr);
        assert_shown_safely("B-M1", &ended);
    }
    verify(&whole[..last]).expect_code(0);
}

/// A receipt that says something else than what was proven
#[test]
fn forged_receipts() {
    let (place, whole) = with_receipt();
    let entries = whole.lines().count() - 2;
    let count = |n: usize| format!("\"entries\":{n}");
    let mut backwards = whole.lines().rev();
    let (signature, one) = (backwards.next().unwrap(), backwards.next().unwrap());
    let other = signature.replace(|digit: char| digit.is_ascii_digit(), "0");
    for (row, from, to) in [
        ("B-M3", "\"size\":4", "\"size\":-1"),
        ("B-M3", "\"size\":4", "\"size\":9223372036854775808"),
        ("B-M3", "\"size\":4", "\"size\":18446744073709551615"),
        ("B-M3", "\"mode\":420", "\"mode\":65535"),
        ("B-M3", "\"blake3\":\"", "\"sha256\":\""),
        ("B-M3", "\"blake3\":\"", "\"blake3\":\"00"),
        ("B-M3", "\"kind\":\"file\"", "\"kind\":\"portal\""),
        ("B-M4", &count(entries), &count(entries + 1)),
        ("B-M4", &count(entries), &count(0)),
        ("B-M4", one, &format!("{one}\n{one}")),
        ("B-M2", "\"path\":\"s/file\"", "\"path\":\"../file\""),
        ("B-M2", "\"path\":\"s/file\"", "\"path\":\"/file\""),
        ("B-M5", "\"manifest_root\":\"", "\"manifest_root\":\"0"),
        ("B-M5", "\"size\":4", "\"size\":5"),
        ("B-M5", "\"failed\":0", "\"failed\":1"),
        ("B-M5", "\"key\":\"", "\"key\":\"00"),
        ("B-M5", signature, ""),
        ("B-M5", signature, &other),
        ("B-M5", signature, &format!("{signature}\n{signature}")),
    ] {
        assert!(whole.contains(from), "{row}: no {from} in {whole}");
        fs::write(place.path("r"), whole.replacen(from, to, 1)).unwrap();
        let ended = place.xfer.run(place.words(&["verify", "@copy/s", "--against", "@r"]));
        let refused = [7, 12, 14, 16].contains(&ended.code());
        assert!(refused, "{row}: {to}: {}: {}", ended.code(), ended.stderr);
        assert_shown_safely(row, &ended);
    }
    fs::write(place.path("r"), &whole).unwrap();
    place.xfer.run(place.words(&["verify", "@copy", "--against", "@r"])).expect_code(0);
}

/// Whoever may write a file may write a receipt, but sign it with no key that is believed
#[test]
fn receipts_that_nobody_vouches_for() {
    let (place, whole) = with_receipt();
    place.xfer.run(place.words(&["receipt", "check", "@r"])).expect_code(0);
    let (other, foreign) = with_receipt();
    let earlier = whole.replace("xfer.receipt/2", "xfer.receipt/1");
    let key = |text: &str| text.split("\"key\":\"").nth(1).unwrap()[..72].to_owned();
    let lines: Vec<_> = earlier.lines().collect();
    let head = lines[0].split(",\"lines\"").next().unwrap();
    let unsigned = format!("{head}}}\n{}\n", lines[1..lines.len() - 1].join("\n"));
    for (text, code, reason) in [
        (&foreign, 7, "receipt-signer-unknown"),
        (&unsigned, 7, "receipt-unsigned"),
        (&whole.replace(&key(&whole), &key(&foreign)), 7, "signature-mismatch"),
        (&whole, 0, "done"),
    ] {
        fs::write(place.path("r"), text).unwrap();
        let words = place.words(&["receipt", "check", "--json", "@r"]);
        let ended = place.xfer.run(words).expect_code(code);
        assert_eq!(ended.result()["reason"], reason, "B-M5: {}", ended.stderr);
    }
    // Somebody vouches for the other by its key.
    fs::write(place.path("r"), &foreign).unwrap();
    for (keys, code, reason) in [
        (format!("# the machine at home\n{} home\n", key(&foreign)), 0, "done"),
        (key(&whole), 7, "receipt-signer-unknown"),
        ("0123".to_owned(), 3, "key-malformed"),
    ] {
        fs::write(place.path("keys"), keys).unwrap();
        let words = ["receipt", "check", "--json", "--trust-key", "@keys", "@r"];
        let ended = place.xfer.run(place.words(&words)).expect_code(code);
        assert_eq!(ended.result()["reason"], reason, "B-M5: {}", ended.stderr);
    }
    drop(other);
}
