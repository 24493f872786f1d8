//! The highest of the values seen in the last rounds

use std::collections::VecDeque;

/// A maximum over a sliding number of rounds; holds at most one value a round
#[derive(Clone, Debug)]
pub(super) struct Highest<T> {
    /// How many rounds before the newest value one still counts
    span: u64,
    /// Values that fall from front to back, each with its round
    values: VecDeque<(u64, T)>,
}

impl<T: Copy + Ord + Default> Highest<T> {
    pub(super) fn over(span: u64) -> Self {
        Self { span, values: VecDeque::new() }
    }

    /// The highest value that still counts; the default where there is none
    pub(super) fn best(&self) -> T {
        self.values.front().map_or_else(T::default, |(_, value)| *value)
    }

    /// Values leave only when newer ones come: silence forgets nothing.
    pub(super) fn saw(&mut self, round: u64, value: T) {
        while self.values.back().is_some_and(|(_, last)| *last <= value) {
            self.values.pop_back();
        }
        if self.values.back().is_none_or(|(last, _)| *last != round) {
            self.values.push_back((round, value));
        }
        while self.values.front().is_some_and(|(seen, _)| seen + self.span < round) {
            self.values.pop_front();
        }
    }

    /// Forgets all that was seen and begins again at a value
    pub(super) fn restart(&mut self, round: u64, value: T) {
        self.values.clear();
        self.values.push_back((round, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_stands_until_its_rounds_are_over() {
        let mut highest = Highest::over(3);
        assert_eq!(highest.best(), 0);
        for (round, value, best) in
            [(1, 10, 10), (1, 4, 10), (2, 7, 10), (4, 5, 10), (5, 6, 7), (6, 1, 6), (9, 2, 2)]
        {
            highest.saw(round, value);
            assert_eq!(highest.best(), best, "after {value} in round {round}");
        }
    }

    #[test]
    fn one_round_leaves_one_value() {
        let mut highest = Highest::over(10);
        for value in (0..1000).rev() {
            highest.saw(1, value);
        }
        assert_eq!((highest.values.len(), highest.best()), (1, 999));
        highest.restart(2, 3);
        assert_eq!(highest.best(), 3);
    }
}
