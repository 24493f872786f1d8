//! What moving bytes costs, where machines are rented by platforms that bill them.

use std::collections::BTreeMap;
use std::fmt;

/// Bytes of the gigabyte that prices are given for.
const GB: f64 = 1e9;

/// What one end takes for the bytes that pass it.
#[derive(Clone, Debug, PartialEq)]
pub struct Toll {
    /// The machine, as a location begins.
    pub machine: String,
    /// Whether they leave it.
    pub out: bool,
    /// US dollars for 10⁹ bytes; not always known.
    pub per_gb: Option<f64>,
    /// US dollars for an hour in which the machine runs.
    pub per_hour: Option<f64>,
}

/// The bill of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cost {
    /// Bytes that are to be moved, those whose content is yet to decide included.
    pub bytes: u64,
    /// What each end takes; an end that nobody bills is not there.
    pub parts: Vec<CostPart>,
}

/// What one end takes.
#[derive(Clone, Debug, PartialEq)]
pub struct CostPart {
    /// Its prices.
    pub toll: Toll,
    /// Bytes that pass it.
    pub bytes: u64,
    /// US dollars; not always known.
    pub usd: Option<f64>,
}

impl Cost {
    /// That of so many bytes in all, of which each end is passed by some.
    #[must_use]
    pub fn of(bytes: u64, tolls: impl IntoIterator<Item = (Toll, u64)>) -> Self {
        let part = |(toll, bytes): (Toll, u64)| {
            #[expect(clippy::cast_precision_loss, reason = "an amount of money is no count")]
            let amount = bytes as f64 / GB;
            let usd = if bytes == 0 { Some(0.0) } else { toll.per_gb.map(|price| price * amount) };
            CostPart { toll, bytes, usd }
        };
        Self { bytes, parts: tolls.into_iter().map(part).collect() }
    }

    /// US dollars in all; nothing where a part is not known.
    #[must_use]
    pub fn usd(&self) -> Option<f64> {
        self.parts.iter().map(|part| part.usd).sum()
    }

    /// US dollars that all machines take for an hour; nothing where one is not known.
    #[must_use]
    pub fn per_hour(&self) -> Option<f64> {
        let tolls = self.parts.iter().map(|part| &part.toll);
        let machines: BTreeMap<_, _> = tolls.map(|toll| (&toll.machine, toll.per_hour)).collect();
        machines.into_values().sum()
    }

    /// Whether it may be spent under a cap; what is not known passes none.
    #[must_use]
    pub fn is_within(&self, cap: f64) -> bool {
        self.usd().is_some_and(|usd| usd <= cap)
    }
}

/// Shows the bill in one line.
impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dollars =
            |usd: Option<f64>| usd.map_or_else(|| "$?".to_owned(), |usd| format!("${usd:.2}"));
        write!(f, "{} for {}", dollars(self.usd()), decimal(self.bytes))?;
        for CostPart { toll, .. } in &self.parts {
            let way = if toll.out { "out of" } else { "into" };
            let price = toll.per_gb.map_or_else(|| "$?".to_owned(), |price| format!("${price:.4}"));
            write!(f, ", {way} {} at {price}/GB", toll.machine)?;
        }
        match self.per_hour() {
            Some(hour) => write!(f, ", and ${hour:.4}/h while it runs"),
            None => write!(f, ", and $?/h while it runs"),
        }
    }
}

/// As a person says it: three digits at most, in powers of a thousand.
pub(crate) fn decimal(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    #[expect(clippy::cast_precision_loss, reason = "it is shown with three digits")]
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 999.5 && unit + 1 < UNITS.len() {
        (amount, unit) = (amount / 1000.0, unit + 1);
    }
    let text =
        if amount >= 9.95 || unit == 0 { format!("{amount:.0}") } else { format!("{amount:.1}") };
    format!("{} {}", text.trim_end_matches(".0"), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toll(out: bool, per_gb: Option<f64>) -> Toll {
        Toll { machine: "vast:1".to_owned(), out, per_gb, per_hour: Some(0.4321) }
    }

    /// Bytes, prices of the source and of the destination, dollars by hand.
    type Row = (u64, Option<Option<f64>>, Option<Option<f64>>, Option<f64>);

    #[test]
    fn a_bill_is_what_a_hand_computes() {
        const TB: u64 = 1_000_000_000_000;
        let rows: [Row; 12] = [
            (TB, Some(Some(0.004)), None, Some(4.0)),
            (TB, None, Some(Some(0.002)), Some(2.0)),
            (TB, Some(Some(0.004)), Some(Some(0.002)), Some(6.0)),
            (214_000_000_000, Some(Some(0.02)), None, Some(4.28)),
            (1, Some(Some(1.0)), None, Some(0.000_000_001)),
            (0, Some(Some(0.004)), Some(None), Some(0.0)),
            (TB, Some(Some(0.0)), None, Some(0.0)),
            (TB, None, None, Some(0.0)),
            (TB, Some(None), None, None),
            (TB, Some(Some(0.004)), Some(None), None),
            (TB, Some(None), Some(Some(0.002)), None),
            (500_000_000, Some(Some(0.01)), Some(Some(0.01)), Some(0.01)),
        ];
        for (bytes, out, into, usd) in rows {
            let tolls: Vec<_> = out
                .map(|price| toll(true, price))
                .into_iter()
                .chain(into.map(|price| toll(false, price)))
                .collect();
            let cost = Cost::of(bytes, tolls.into_iter().map(|toll| (toll, bytes)));
            match (cost.usd(), usd) {
                (Some(usd), Some(expected)) => {
                    assert!((usd - expected).abs() < 1e-12, "{bytes} {out:?} {into:?}: {usd}");
                    assert!(
                        cost.is_within(expected + 1e-9)
                            && (expected == 0.0 || !cost.is_within(expected / 2.0))
                    );
                }
                (found, expected) => {
                    assert_eq!(found, expected, "{bytes} {out:?} {into:?}");
                    assert!(!cost.is_within(f64::INFINITY), "what is not known passes no cap");
                }
            }
        }
        let other = Toll { machine: "vast:2".to_owned(), ..toll(false, Some(1.0)) };
        let both = Cost::of(1, [(toll(true, None), 1), (other, 1), (toll(false, None), 1)]);
        assert_eq!(both.per_hour(), Some(0.8642), "a machine is paid for once");
    }

    #[test]
    fn a_bill_is_read_in_one_line() {
        let cost =
            Cost::of(214_000_000_000, [(toll(true, Some(0.004)), 1), (toll(false, None), 1)]);
        let expected = "$? for 214 GB, out of vast:1 at $0.0040/GB, into vast:1 at $?/GB, and \
                        $0.4321/h while it runs";
        assert_eq!(cost.to_string(), expected);
    }

    #[test]
    fn amounts_are_short() {
        for (bytes, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1 KB"),
            (1_250_000, "1.2 MB"),
            (999_600_000, "1 GB"),
            (1_000_000_001, "1 GB"),
            (10_400_000_000, "10 GB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(decimal(bytes), shown, "{bytes}");
        }
    }
}
