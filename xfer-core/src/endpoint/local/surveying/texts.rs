//! What the kernel's texts say. Names in them are of any bytes, chosen by whoever wishes to hide.

/// A process is none of a user's: a thread of the kernel.
const PF_KTHREAD: u64 = 0x0020_0000;

/// What `stat` of a process says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// Its name, cut off by the kernel.
    pub(super) name: Vec<u8>,
    /// Whether it has ended, and only its number is left.
    pub(super) has_ended: bool,
    /// Whether it is the kernel's.
    pub(super) is_kernel: bool,
    /// When it started, in ticks since boot.
    pub(super) started: u64,
}

/// Reads `stat`: the name stands in brackets and may hold any, so the last one ends it.
pub(super) fn status(text: &[u8]) -> Option<Status> {
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let name = text.get(open + 1..close)?.to_vec();
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    let fields: Vec<_> = rest.split_ascii_whitespace().collect();
    // The first field behind the name is the third of all.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Status {
        name,
        has_ended: matches!(*fields.first()?, "Z" | "X" | "x"),
        is_kernel: number(9)? & PF_KTHREAD != 0,
        started: number(22)?,
    })
}

/// How a descriptor is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// Whether bytes can be written through it.
    pub(super) writes: bool,
    /// The mount that it was opened through.
    pub(super) mount: Option<u32>,
}

/// Reads `fdinfo`.
pub(super) fn opened(text: &[u8]) -> Option<Opened> {
    const ACCESS: u32 = 0o3;
    const PATH_ONLY: u32 = 0o1000_0000;
    let text = String::from_utf8_lossy(text);
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let flags = u32::from_str_radix(field("flags:")?, 8).ok()?;
    let writes = matches!(flags & ACCESS, 1 | 2) && flags & PATH_ONLY == 0;
    Some(Opened { writes, mount: field("mnt_id:").and_then(|mount| mount.parse().ok()) })
}

/// A shared mapping of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// Where in memory, as the kernel words it.
    pub(super) range: Vec<u8>,
    /// Whether it can be written now.
    pub(super) writes: bool,
    /// Major and minor number of the file system.
    pub(super) device: (u32, u32),
    pub(super) path: Vec<u8>,
}

/// The shared mappings of files in `maps`; `None` where a line is none that the kernel writes.
pub(super) fn mappings(text: &[u8]) -> Option<Vec<Mapping>> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let mut found = Vec::new();
    for line in lines {
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let (range, rights) = (fields.next()?, fields.next()?);
        let (device, path) = (fields.nth(1)?, fields.nth(1).unwrap_or_default());
        let path = path.trim_ascii_start();
        if rights.get(3) != Some(&b's') || !path.starts_with(b"/") {
            continue;
        }
        found.push(Mapping {
            range: range.to_vec(),
            writes: rights.get(1) == Some(&b'w'),
            device: device_of(device, 16)?,
            path: unescape(path),
        });
    }
    Some(found)
}

/// Whether `smaps` says of a mapping that the file behind it was open for writing, so that it may
/// be made writable at any time; whatever does not say so clearly does.
pub(super) fn may_write(smaps: &[u8], range: &[u8]) -> bool {
    let mut lines = smaps.split(|&byte| byte == b'\n');
    let begins = |line: &[u8]| line.strip_prefix(range).is_some_and(|rest| rest.starts_with(b" "));
    if !lines.any(begins) {
        return true;
    }
    let flags = lines.find_map(|line| line.strip_prefix(b"VmFlags:".as_slice()));
    flags.is_none_or(|flags| flags.split(|&byte| byte == b' ').any(|flag| flag == b"sh"))
}

/// `8:1`, in decimal or hexadecimal.
pub(super) fn device_of(text: &[u8], radix: u32) -> Option<(u32, u32)> {
    let (major, minor) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some((u32::from_str_radix(major, radix).ok()?, u32::from_str_radix(minor, radix).ok()?))
}

/// Takes back the kernel's `\040` for bytes that would break a line or a field.
pub(super) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        let octal =
            behind.get(..3).filter(|digits| digits.iter().all(|d| (b'0'..b'8').contains(d)));
        match octal.map(|d| d.iter().fold(0, |sum: u32, &d| sum * 8 + u32::from(d - b'0'))) {
            Some(value) if byte == b'\\' && value < 256 => {
                plain.push(u8::try_from(value).unwrap_or_default());
                rest = &behind[3..];
            }
            _ => {
                plain.push(byte);
                rest = behind;
            }
        }
    }
    plain
}

/// What platforms call a container, in the environment of its first process; empty where none of
/// them does, `None` where they do not agree or what they say is no label.
pub(super) fn label(environment: &[u8]) -> Option<String> {
    let told = |name: &str| -> Vec<&[u8]> {
        let of = |pair: &'_ &[u8]| pair.starts_with(name.as_bytes());
        let pairs = environment.split(|&byte| byte == 0).filter(of);
        pairs.filter_map(|pair| pair[name.len()..].strip_prefix(b"=")).collect()
    };
    let mut labels = std::collections::BTreeSet::new();
    for name in ["VAST_CONTAINERLABEL", "CONTAINER_ID", "RUNPOD_POD_ID"] {
        for value in told(name).into_iter().filter(|value| !value.is_empty()) {
            let is_number = name == "CONTAINER_ID" && value.iter().all(u8::is_ascii_digit);
            let label = if is_number { [b"C.", value].concat() } else { value.to_vec() };
            labels.insert(label);
        }
    }
    if labels.len() > 1 {
        return None;
    }
    let label = labels.pop_first().unwrap_or_default();
    let fits = label.len() <= xfer_protocol::limits::CONTAINER_LABEL_BYTES_MAX
        && label.iter().all(u8::is_ascii_graphic);
    String::from_utf8(label).ok().filter(|_| fits)
}

/// Sixteen bytes in hexadecimal with hyphens between.
pub(super) fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let digits: Vec<_> = text.trim_ascii().iter().copied().filter(|&byte| byte != b'-').collect();
    let digits = std::str::from_utf8(&digits).ok().filter(|digits| digits.len() == 32)?;
    let digits = Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat_of(name: &str, state: &str, flags: u64) -> Vec<u8> {
        format!("41 ({name}) {state} 1 41 41 0 -1 {flags} 9 0 0 0 1 2 3 4 20 0 1 0 77 8 9").into()
    }

    #[test]
    fn a_name_cannot_pretend_to_be_another_state() {
        for name in ["sh", "a b", ") Z 1 (", "x) Z 1 41 41 0 -1 2129984 9", "", "(((", ")))"] {
            let found = status(&stat_of(name, "S", 0x0040_0100)).unwrap();
            assert_eq!((found.name, found.started), (name.as_bytes().to_vec(), 77));
            assert!(!found.has_ended && !found.is_kernel, "{name}");
        }
        assert!(status(&stat_of("k", "I", 0x0020_8040)).unwrap().is_kernel);
        assert!(status(&stat_of("z", "Z", 0)).unwrap().has_ended);
        for text in ["", "1", "1 (", "1 )(", "1 (a", "1 (a) S 1", "1 (a) S x 1 1 0 -1 0 0"] {
            assert_eq!(status(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn descriptors_tell_how_they_are_open() {
        let of =
            |flags: &str| opened(format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t31\n").as_bytes());
        for (flags, writes) in [
            ("0100000", false),
            ("0100001", true),
            ("0100002", true),
            ("0102001", true),
            ("012000000", false),
            ("012000002", false),
            ("02", true),
        ] {
            assert_eq!(of(flags), Some(Opened { writes, mount: Some(31) }), "{flags}");
        }
        assert_eq!(of("9"), None);
        assert_eq!(opened(b"pos: 1\n"), None);
        assert_eq!(opened(b"flags: 01\n"), Some(Opened { writes: true, mount: None }));
    }

    #[test]
    fn shared_mappings_are_told_from_private_ones() {
        let text = b"7f00-7f10 rw-s 00000000 fe:00 12                         /d/a b\\012c\n\
            7f10-7f20 rw-p 00000000 fe:00 12                         /d/private\n\
            7f20-7f30 r--s 00001000 fe:00 12                         /d/read (deleted)\n\
            7f30-7f40 rw-s 00000000 00:01 12                         anon_inode:x\n\
            7f40-7f50 rw-p 00000000 00:00 0 \n\
            7f50-7f60 rw-p 00000000 00:00 0                          [heap]\n";
        let found = mappings(text).unwrap();
        let told: Vec<_> = found.iter().map(|m| (m.writes, m.path.as_slice())).collect();
        assert_eq!(told, [(true, b"/d/a b\nc".as_slice()), (false, b"/d/read (deleted)")]);
        assert_eq!(found[0].device, (0xfe, 0));
        assert_eq!(mappings(b"nonsense\n"), None);
        assert_eq!(mappings(b""), Some(Vec::new()));
        let smaps = b"7f20-7f30 r--s 00001000 fe:00 12 /d/read\nRss: 1 kB\n\
            VmFlags: rd mr me ms sd \n7f60-7f70 r--s 0 fe:00 12 /x\nVmFlags: rd sh mr mw \n";
        assert!(!may_write(smaps, b"7f20-7f30"));
        assert!(may_write(smaps, b"7f60-7f70"));
        assert!(may_write(smaps, b"7f2"), "what is not there may be anything");
    }

    #[test]
    fn escapes_are_taken_back() {
        for (text, plain) in [
            ("/a\\040b", "/a b"),
            ("\\134", "\\"),
            ("\\1349", "\\9"),
            ("\\04", "\\04"),
            ("\\999", "\\999"),
            ("\\777", "\\777"),
            ("", ""),
        ] {
            assert_eq!(unescape(text.as_bytes()), plain.as_bytes(), "{text}");
        }
    }

    #[test]
    fn platforms_label_containers() {
        for (environment, wanted) in [
            ("PATH=/bin\0VAST_CONTAINERLABEL=C.7\0HOME=/\0", Some("C.7")),
            ("VAST_CONTAINERLABEL=C.7\0CONTAINER_ID=7\0", Some("C.7")),
            ("CONTAINER_ID=7\0", Some("C.7")),
            ("CONTAINER_ID=\0", Some("")),
            ("RUNPOD_POD_ID=abc9\0", Some("abc9")),
            ("XVAST_CONTAINERLABEL=C.7\0A=VAST_CONTAINERLABEL=C.8\0", Some("")),
            ("", Some("")),
            ("VAST_CONTAINERLABEL=C.7\0CONTAINER_ID=8\0", None),
            ("VAST_CONTAINERLABEL=C.7\0VAST_CONTAINERLABEL=C.8\0", None),
            ("VAST_CONTAINERLABEL=C. 7\0", None),
            ("VAST_CONTAINERLABEL=C.\u{e9}\0", None),
        ] {
            assert_eq!(label(environment.as_bytes()).as_deref(), wanted, "{environment:?}");
        }
        assert_eq!(label(&[b"CONTAINER_ID=".as_slice(), &[b'x'; 256]].concat()), None);
    }

    #[test]
    fn a_boot_id_has_sixteen_bytes() {
        let id = uuid(b"00010203-0405-0607-0809-0a0b0c0d0eff\n").unwrap();
        assert_eq!((id[1], id[15]), (1, 0xff));
        for text in ["", "0001", "+0010203-0405-0607-0809-0a0b0c0d0eff", "zz010203040506070809"] {
            assert_eq!(uuid(text.as_bytes()), None, "{text}");
        }
    }
}
