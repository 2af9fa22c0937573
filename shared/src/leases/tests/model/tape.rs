//! The tape: numbers made from the seed. All decisions of a case come from it.
//!
//! Every decision reads the tape, so a shorter tape makes a smaller case. To shrink a failing case, the code cuts
//! pieces out, puts zeros in, and keeps the tapes that still fail. It need not know anything about leases. So thirty
//! lines do here, without a library, and the tape at the end is replayed like any other.

/// The most runs while a failing case is shrunk.
const MAX_SHRINKING_RUNS: usize = 250;

#[derive(Debug)]
pub(super) struct Tape {
    numbers: Vec<u32>,
    next: usize,
}

impl Tape {
    pub(super) fn of(numbers: &[u32]) -> Self {
        Self { numbers: numbers.to_vec(), next: 0 }
    }

    pub(super) fn from_seed(seed: u64) -> Vec<u32> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let length = rng.usize(50..500);
        (0..length).map(|_| rng.u32(..)).collect()
    }

    pub(super) fn used(&self) -> usize {
        self.next.min(self.numbers.len())
    }

    pub(super) fn is_spent(&self) -> bool {
        self.next >= self.numbers.len()
    }

    /// A number below `bound`, or 0 when the tape is used up.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let number = self.numbers.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        number as usize % bound.max(1)
    }

    pub(super) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) >= 100 - chance
    }

    /// One of several, each as often as its weight says.
    pub(super) fn weighed<'a, T>(&mut self, choices: &'a [(usize, T)]) -> &'a T {
        let mut number = self.below(choices.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in choices {
            match number.checked_sub(*weight) {
                Some(rest) => number = rest,
                None => return choice,
            }
        }
        unreachable!("the number is below the sum of the weights")
    }

    pub(super) fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// A smaller tape that still fails.
pub(super) fn shrink(numbers: &[u32], mut fails: impl FnMut(&[u32]) -> bool) -> Vec<u32> {
    let mut best = numbers.to_vec();
    let mut runs = 0;
    let mut length = best.len() / 2;
    while length > 0 {
        let mut at = 0;
        while at < best.len() && runs < MAX_SHRINKING_RUNS {
            let end = (at + length).min(best.len());
            let cut = [&best[..at], &best[end..]].concat();
            runs += 1;
            if fails(&cut) {
                best = cut;
            } else {
                at = end;
            }
        }
        length /= 2;
    }
    for at in 0..best.len() {
        if best[at] != 0 && runs < MAX_SHRINKING_RUNS {
            let mut lower = best.clone();
            lower[at] = 0;
            runs += 1;
            if fails(&lower) {
                best = lower;
            }
        }
    }
    best
}
