//! The boot of this machine's kernel: which it is, and how long ago it was.

use rustix::time::{ClockId, clock_gettime};

/// Which boot this is, and milliseconds since then, sleep included; `None` where the system does
/// not tell.
#[must_use]
pub fn since_boot() -> Option<([u8; 16], u64)> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let since = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(since.tv_sec).ok()?;
    let milliseconds = u64::try_from(since.tv_nsec).ok()? / 1_000_000;
    Some((id(&text)?, seconds.checked_mul(1000)?.checked_add(milliseconds)?))
}

/// Reads the 32 digits of a UUID.
fn id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|letter| *letter != '-').collect();
    let is_id = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_id.then(|| u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_goes_on() {
        let (boot, early) = since_boot().unwrap();
        let (same, late) = since_boot().unwrap();
        assert_eq!(boot, same);
        assert!(early > 0 && late >= early, "{early} {late}");
    }

    #[test]
    fn an_id_has_one_form() {
        assert_eq!(id("00000000-0000-0000-0000-0000000000ff\n").unwrap()[15], 255);
        for text in ["", "+0000000-0000-0000-0000-0000000000ff", "00", "x0000000000000000000000000"]
        {
            assert_eq!(id(text), None, "{text}");
        }
    }
}
