//! How much memory there is.

/// Bytes that this process may use: those of the machine, or fewer where a container has fewer; 0
/// where nobody knows.
#[must_use]
pub fn bytes() -> u64 {
    [of_machine(), of_container()].into_iter().flatten().min().unwrap_or(0)
}

#[cfg(target_os = "linux")]
fn of_machine() -> Option<u64> {
    let told = rustix::system::sysinfo();
    let bytes = u128::from(told.totalram) * u128::from(told.mem_unit.max(1));
    u64::try_from(bytes).ok()
}

#[cfg(not(target_os = "linux"))]
fn of_machine() -> Option<u64> {
    None
}

fn of_container() -> Option<u64> {
    const LIMITS: [&str; 2] =
        ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let told = LIMITS.iter().find_map(|limit| std::fs::read_to_string(limit).ok())?;
    // Without a limit it is a word.
    told.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_some() {
        assert!(super::bytes() > 1 << 20);
    }
}
